"""`make k8s-secrets`: closed files, ignored by git, drawn once; settings are those of an embedded home."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_account import Account
from k8s_manifests import ROOT, SOURCE, folder, of_kind, render, secret_values

from drl.local.airflow_home import airflow_environment
from drl.local.environment import environment
from drl.local.home import Home
from drl.local.servers import KINDS, Servers
from drl.local.state import Credentials, State

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
    spec = importlib.util.spec_from_file_location("make_secrets", SOURCE / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
