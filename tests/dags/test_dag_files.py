"""DAG files: fast to parse, import nothing heavy, and a broken one breaks only itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINES = sorted(path.stem for path in (ROOT / "dags").glob("*.yaml"))
OTHERS = ["audit", "reap_pods"]  # one Python file each, without a pipeline file
HEAVY = {"torch", "ray", "mlflow", "great_expectations", "web3", "neo4j", "pandas"}

# A fresh process, as the DAG processor starts one; Airflow's own import is not counted.
_PARSE = """
import json, sys, time
import airflow.sdk, airflow.providers.cncf.kubernetes.operators.pod
from airflow.dag_processing.dagbag import DagBag
begin = time.perf_counter()
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - begin
print("RESULT" + json.dumps({
    "dags": {name: dag.task_ids for name, dag in bag.dags.items()},
    "max_active_runs": {name: dag.max_active_runs for name, dag in bag.dags.items()},
    "params": {name: sorted(dag.params) for name, dag in bag.dags.items()},
    "errors": bag.import_errors,
    "files": len(bag.dagbag_stats),
    "seconds": seconds,
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
}))
"""


def parse(folder: Path, home: Path) -> dict[str, object]:
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return dict(json.loads(line.removeprefix("RESULT")))


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return parse(ROOT / "dags", tmp_path_factory.mktemp("airflow"))


def test_every_pipeline_is_a_dag_without_errors(parsed: dict[str, object]) -> None:
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == sorted([*PIPELINES, *OTHERS])
    assert sorted(path.stem for path in (ROOT / "dags").glob("*.py")) == sorted(parsed["dags"])
    assert set(parsed["max_active_runs"].values()) == {1}


def test_parsing_imports_nothing_heavy(parsed: dict[str, object]) -> None:
    assert not HEAVY & set(parsed["modules"])


def test_parsing_is_fast(parsed: dict[str, object]) -> None:
    assert parsed["seconds"] / parsed["files"] < 1.0


def test_the_promotion_rule_is_no_parameter(parsed: dict[str, object]) -> None:
    for names in (parsed["params"][name] for name in PIPELINES):
        assert {"time_steps", "seeds", "learning_rate"} & set(names)
        assert not {"alpha", "margin", "gate", "block", "guard", "promotion"} & set(names)


def test_the_audit_looks_and_then_judges(parsed: dict[str, object]) -> None:
    assert parsed["dags"]["audit"] == ["audit", "judge"]
    assert parsed["params"]["audit"] == ["models"]


def test_data_pipelines_prepare_and_others_do_not(parsed: dict[str, object]) -> None:
    assert "prepare" in parsed["dags"]["battery_arbitrage"]
    assert "prepare" not in parsed["dags"]["cartpole"]


def test_a_broken_file_breaks_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    for name in ("cartpole.py", "cartpole.yaml"):
        shutil.copy(ROOT / "dags" / name, folder)
    broken = (folder / "cartpole.yaml").read_text().replace("epochs: 10", "epochz: 10")
    (folder / "broken.yaml").write_text(broken.replace("pipeline: cartpole", "pipeline: broken"))
    shutil.copy(folder / "cartpole.py", folder / "broken.py")
    found = parse(folder, tmp_path / "home")
    assert list(found["dags"]) == ["cartpole"]
    (where, message), *others = found["errors"].items()
    assert not others
    assert where.endswith("broken.py")
    assert "broken.yaml:15: training.settings.epochz" in message
    assert "what to do" in message
