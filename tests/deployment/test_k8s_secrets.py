"""`make k8s-secrets`: closed files, ignored by git, drawn once; settings are those of an embedded home."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from by_path import module_at
from eth_account import Account
from k8s_manifests import ROOT, SOURCE, folder, of_kind, render, secret_values, workloads

from drl.local.airflow_home import airflow_environment
from drl.local.environment import environment
from drl.local.home import Home
from drl.local.servers import KINDS, Servers
from drl.local.state import Credentials, State
from drl.verification.trust import load_trust
from operators import connections
from operators.pages import TRUST

# Settings that are not the embedded home's, or that only one of the two has, and why.
DIFFERENT = {
    "AIRFLOW__API__BASE_URL": "through a port-forward, or an ingress",
    "AIRFLOW__API__HOST": "other pods ask it; the NetworkPolicies say which",
    "AIRFLOW__API__PORT": "a pod has its own ports",
    "AIRFLOW__API__SECRET_KEY": "a secret",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret",
    "AIRFLOW__CORE__DAGS_FOLDER": "the image's folder",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "the Service",
    "AIRFLOW__CORE__FERNET_KEY": "a secret",
    "AIRFLOW__CORE__PARALLELISM": "the work is in pods of their own",
    "AIRFLOW__CORE__PLUGINS_FOLDER": "the image's folder",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "a copy that an init container makes",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": "the image's folder",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "a secret, and the Service",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": "the claim",
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "a pod has its own ports",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "a pod has its own ports",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "the probes ask it",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "the probes come from the node",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": "the probes ask it",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "a restart of the api-server takes longer",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "a restart of the api-server takes longer",
}
ONLY_IN_PODS = {
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS",
}
PLACEMENT = {"DRL_PLACEMENT", "DRL_POD"}  # a home has steps in subprocesses


@pytest.fixture
def script() -> ModuleType:
    return module_at(SOURCE / "make_secrets.py")


def embedded(home: Path) -> dict[str, str]:
    """What ``drl airflow`` would be given in a home that nobody has started."""
    names = {name for kind in KINDS for name in kind.port_names}
    ports = {kind.name: dict.fromkeys(names, 4000) for kind in KINDS}
    state = State(Credentials.random(), ports=ports)
    stack = environment(Servers.of(Home.at(home), state), state.credentials)
    return airflow_environment(home, ROOT, stack, {})


def in_pods() -> dict[str, str]:
    """What the scheduler's pod is given."""
    found: dict[str, str] = {}
    for manifest in (*of_kind("ConfigMap", render(".")), *of_kind("Secret", render("."))):
        name = manifest["metadata"]["name"]
        if name.startswith("airflow-settings"):
            found |= manifest["data"]
        elif name.startswith(("airflow-core", "airflow-connections")):
            found |= {k: base64.b64decode(v).decode() for k, v in manifest["data"].items()}
    return found


def test_files_are_closed_and_ignored_by_git() -> None:
    made = [p for p in (folder() / "secrets").rglob("*") if p.suffix in (".env", ".json", ".key")]
    assert len(made) > 15
    assert [p for p in made if p.stat().st_mode & 0o177] == []
    here = [str(SOURCE / p.relative_to(folder())) for p in made]
    ignored = subprocess.run(
        ["git", "check-ignore", *here], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == here


def test_a_second_call_changes_nothing(script: ModuleType, tmp_path: Path) -> None:
    def made() -> dict[str, str]:
        script.main(tmp_path)
        return {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}

    assert made() == made()


def test_every_deployment_has_values_of_its_own(script: ModuleType) -> None:
    one, other = script._draw(), script._draw()
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] == other[name]] == []
    assert len(set(one.values())) == len(one)


def test_the_chain_key_is_of_the_mnemonic_and_funded_on_both_chains(script: ModuleType) -> None:
    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(secret_values()["evm_mnemonic"])
    assert json.loads(in_pods()["AIRFLOW_CONN_EVM_DEFAULT"])["password"] == account.key.to_0x_hex()
    genesis = json.loads((folder() / "secrets/evm-besu/genesis.json").read_bytes())
    assert set(genesis["alloc"]) == {account.address}


def test_besus_genesis_block_names_its_four_validators() -> None:
    """As QBFT documents it for four validators: 32 bytes, addresses, no votes, round 0, no seals."""
    secrets = folder() / "secrets" / "evm-besu"
    keys = [(secrets / f"validator-{n}.key").read_text().strip() for n in range(4)]
    addresses = "".join("94" + Account.from_key(key).address[2:].lower() for key in keys)
    extra = json.loads((secrets / "genesis.json").read_bytes())["extraData"]
    assert extra == f"0xf87aa0{'00' * 32}f854{addresses}c080c0"


def test_connections_have_the_embedded_types_and_fields(tmp_path: Path) -> None:
    ours, theirs = in_pods(), embedded(tmp_path)
    names = {name for name in theirs if name.startswith("AIRFLOW_CONN_")}
    assert names == {name for name in ours if name.startswith("AIRFLOW_CONN_")} - {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT"
    }
    for name in names:
        assert _shape(json.loads(ours[name])) == _shape(json.loads(theirs[name])), name


def test_the_pages_are_given_what_they_read_and_no_key_that_signs_pays_or_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = pages_variables()
    assert {name.removeprefix("AIRFLOW_CONN_") for name in given} == {
        f"{name}_DEFAULT" for name in ("MINIO", "NEO4J", "MLFLOW", "EVM")
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    store, documents = (c().settings for c in (connections.artifact_store, connections.record_documents))
    assert (store.access_key, store.secret_key) == ("pages", secret_values()["s3_pages"])
    assert documents.staging == store.sealed
    assert connections.registry_settings().uri == "http://mlflow-service.drl-system.svc:5000"
    assert connections.registry_page() == "http://localhost:5000"
    assert connections.ledger_node().rpc_url == "http://evm-service.drl-data.svc:8545"
    assert connections.lineage_graph()
    kept = {"s3_pages", "neo4j"}  # the graph's Community edition has no users who may only read
    known = [name for name, secret in secret_values().items() if any(secret in v for v in given.values())]
    assert set(known) == kept
    scheduler_has = json.loads(in_pods()["AIRFLOW_CONN_EVM_DEFAULT"])["password"]
    assert not any(scheduler_has in value for value in given.values())


def pages_variables() -> dict[str, str]:
    (secret,) = [
        s for s in of_kind("Secret", render(".")) if s["metadata"]["name"].startswith("airflow-pages")
    ]
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def test_whoever_reads_for_the_pages_writes_nothing(script: ModuleType) -> None:
    users = module_at(SOURCE / "base/minio/scripts/make_users.py")
    buckets, actions = users.RIGHTS["pages"]
    assert buckets == ["staging", "sealed"]
    assert [action for action in actions if not action.startswith("s3:Get")] == []
    identities = json.loads(script.files(secret_values())["s3-seaweedfs/identities.json"])["identities"]
    assert {i["name"] for i in identities} == {*users.RIGHTS, "root"}
    (pages,) = [i for i in identities if i["name"] == "pages"]
    assert set(pages["actions"]) == {f"{r}:{b}" for r in ("Read", "List") for b in buckets}


def test_a_trust_policy_for_the_pages_is_read_where_it_is_mounted() -> None:
    for path in ("components/pages-trust", "base/api"):
        assert load_trust(SOURCE / path / "trust.yaml").ledger
    objects = render("tests/all-components")
    (server,) = [w for w in workloads(objects) if w.name == "Deployment/airflow-api-server"]
    (container,) = server.pod["containers"]
    (asked,) = [v["value"] for v in container["env"] if v["name"] == TRUST]
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    folder, _, file = asked.rpartition("/")
    (source,) = [v["configMap"]["name"] for v in server.pod["volumes"] if v["name"] == mounts[folder]]
    (policy,) = [m for m in of_kind("ConfigMap", objects) if m["metadata"]["name"] == source]
    assert list(policy["data"]) == [file]


def test_the_command_drl_is_given_the_same_variables(tmp_path: Path) -> None:
    theirs = {name for name in embedded(tmp_path) if name.startswith("DRL_")}
    assert theirs | PLACEMENT == {name for name in in_pods() if name.startswith("DRL_")}


def test_settings_are_the_embedded_ones_but_for_a_known_few(tmp_path: Path) -> None:
    ours = {k: v for k, v in in_pods().items() if k.startswith("AIRFLOW__")}
    theirs = {k: v for k, v in embedded(tmp_path).items() if k.startswith("AIRFLOW__")}
    assert ours.keys() - theirs.keys() == ONLY_IN_PODS
    assert theirs.keys() - ours.keys() == set()
    assert {name for name in ours if ours[name] != theirs.get(name)} == set(DIFFERENT)


def _shape(value: Any) -> Any:
    return {k: _shape(v) for k, v in value.items()} if isinstance(value, dict) else type(value).__name__


def test_the_readme_lists_the_settings_that_differ() -> None:
    text = (SOURCE / "README.md").read_text()
    for name in DIFFERENT:
        assert name.removeprefix("AIRFLOW__").replace("__", ".").lower() in text, name
