"""The model registry against a real MLflow server, up to a served model."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from mlflow.artifacts import download_artifacts

from drl.digest import sha256_file
from drl.errors import ConflictError, InputError, StoreError
from drl.policy.forward import NumpyPolicy
from drl.policy.root import model_root
from drl.policy.writing import write_policy
from drl.stores.registry import ModelRegistry
from drl.stores.settings import RegistrySettings


@pytest.fixture(scope="module")
def registry(stack: Any) -> ModelRegistry:
    return ModelRegistry(RegistrySettings(stack.environment()["DRL_MLFLOW_URI"]))


@pytest.fixture
def run_id(registry: ModelRegistry) -> str:
    return registry.start_run("store_tests", f"run-{secrets.token_hex(4)}", {})


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A small policy [4] -> [2], another one each time."""
    rng = np.random.default_rng(secrets.randbits(32))
    layers = [("0", 4, 8, "tanh"), ("1", 8, 2, "identity")]
    tensors = {}
    for name, inputs, outputs, _ in layers:
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    description = {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [4]},
        "action_space": {"kind": "discrete", "n": 2},
        "layers": [
            {"weight": f"{name}.weight", "bias": f"{name}.bias", "activation": activation}
            for name, _, _, activation in layers
        ],
        "head": "categorical",
    }
    write_policy(tmp_path / "policy", description, tensors)
    return tmp_path / "policy"


def tags_of(policy: Path) -> dict[str, str]:
    return {"drl.run_key": "run-1", "drl.model_root": model_root(policy), "drl.verdict": "PROMOTE"}


def test_run_is_found_again(registry: ModelRegistry) -> None:
    key = f"manual__2026-11-24T00:00:00+00:00-{secrets.token_hex(4)}"
    run_id = registry.start_run("store_tests", key, {"pipeline": "store_tests"})
    registry.end_run(run_id, "FAILED")
    assert registry.start_run("store_tests", key, {}) == run_id
    run = registry._client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["pipeline"] == "store_tests"
    assert registry.ensure_experiment("store_tests") == run.info.experiment_id


def test_run_keys_that_cannot_be_searched_for(registry: ModelRegistry) -> None:
    with pytest.raises(InputError, match="quotes"):
        registry.start_run("store_tests", "it's", {})


def test_params_and_system_info(registry: ModelRegistry, run_id: str) -> None:
    params = {"algorithm": "PPO", "network": {"hidden": [64, 64]}, **{f"p{i}": i for i in range(150)}}
    registry.log_params(run_id, params)
    registry.log_params(run_id, params)
    registry.log_system_info(run_id, {"cpus": 2, "packages": {"torch": "2.13.0+cpu"}})
    data = registry._client.get_run(run_id).data
    assert data.params["network.hidden"] == "[64, 64]"
    assert data.params["p149"] == "149"
    assert data.tags["system.packages.torch"] == "2.13.0+cpu"
    with pytest.raises(ConflictError, match="other values"):
        registry.log_params(run_id, {"algorithm": "DQN"})


def test_metrics_live_then_completed(registry: ModelRegistry, run_id: str) -> None:
    rows = [(step, {"return": step / 2, "loss": 1.0}) for step in range(1200)]
    for step, values in rows[:3]:
        registry.log_metrics(run_id, "seed-0", step, values)
    assert registry.complete_metrics(run_id, "seed-0", rows) == 2 * 1197
    assert registry.complete_metrics(run_id, "seed-0", rows) == 0
    history = registry._client.get_metric_history(run_id, "seed-0/return")
    assert sorted((m.step, m.value) for m in history) == [(step, step / 2) for step in range(1200)]


def test_one_version_of_a_run_and_root(registry: ModelRegistry, run_id: str, policy: Path) -> None:
    model = f"model-{secrets.token_hex(4)}"
    assert registry.alias(model) is None
    assert registry.version_by_root(model, model_root(policy)) is None
    first = registry.register_onnx(model, policy, run_id, tags=tags_of(policy))
    assert registry.register_onnx(model, policy, run_id, tags=tags_of(policy)) == first == 1
    assert registry.version_by_root(model, model_root(policy)) == 1
    assert len(registry._client.search_model_versions(f"name = '{model}'")) == 1

    other_run = registry.start_run("store_tests", f"run-{secrets.token_hex(4)}", {})
    assert registry.register_onnx(model, policy, other_run, tags=tags_of(policy)) == 2
    assert registry.version_by_root(model, model_root(policy)) == 1


def test_a_retry_completes_what_a_killed_task_left(
    registry: ModelRegistry, run_id: str, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f"model-{secrets.token_hex(4)}"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for step in ("log_model_artifacts", "finalize_logged_model", "create_model_version"):
        monkeypatch.setattr(registry._client, step, killed)
        with pytest.raises(KeyboardInterrupt):
            registry.register_onnx(model, policy, run_id, tags=tags_of(policy))
        monkeypatch.undo()
    assert registry.register_onnx(model, policy, run_id, tags=tags_of(policy)) == 1
    experiment = registry.ensure_experiment("store_tests")
    logged = registry._client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    assert [m.status for m in logged] == ["READY"]


def test_champion_moves_by_compare_then_set(registry: ModelRegistry, run_id: str, policy: Path) -> None:
    model = f"model-{secrets.token_hex(4)}"
    assert registry.champion(model) is None
    first = registry.register_onnx(model, policy, run_id, tags=tags_of(policy))
    other_run = registry.start_run("store_tests", f"run-{secrets.token_hex(4)}", {})
    second = registry.register_onnx(model, policy, other_run, tags=tags_of(policy))

    assert not registry.set_champion(model, first, expected=7)
    assert registry.alias(model) is None
    assert registry.set_champion(model, first, expected=None)
    assert registry.set_champion(model, first, expected=None), "a retry finds its own work"
    assert not registry.set_champion(model, second, expected=None)
    assert registry.alias(model) == first
    assert registry.set_champion(model, second, expected=first)

    champion = registry.champion(model)
    assert champion is not None
    assert (champion.version, champion.model_root, champion.run_key) == (second, model_root(policy), "run-1")
    assert {a.name: a.sha256 for a in champion.files} == {p.name: sha256_file(p) for p in policy.iterdir()}
    assert json.loads(json.dumps(champion.to_json()))["version"] == second


def test_what_cannot_be_registered(registry: ModelRegistry, run_id: str, policy: Path) -> None:
    with pytest.raises(InputError, match=r"drl\.model_root is missing"):
        registry.register_onnx("model", policy, run_id, tags={"drl.run_key": "run-1"})
    with pytest.raises(InputError, match=r"shape \(3, 5\)"):
        registry.register_onnx(
            "model", policy, run_id, tags=tags_of(policy), input_example=np.zeros((3, 5), np.float32)
        )


def test_registered_model_is_served(
    registry: ModelRegistry,
    run_id: str,
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = f"model-{secrets.token_hex(4)}"
    observations = np.random.default_rng(7).normal(size=(5, 4)).astype(np.float32)
    version = registry.register_onnx(
        model, policy, run_id, tags=tags_of(policy), input_example=observations[:2]
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.settings.uri)
    folder = Path(download_artifacts(f"models:/{model}/{version}", dst_path=str(tmp_path / "downloaded")))
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert sha256_file(files["model.onnx"]) == sha256_file(policy / "policy.onnx")
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".cloudpickle"))]
    requirements = files["requirements.txt"].read_text().split()
    assert {r.partition("==")[0] for r in requirements} == {"mlflow", "numpy", "onnxruntime"}
    assert all("==" in r for r in requirements)

    with served(f"models:/{model}/{version}", tmp_path) as address:
        answer = requests.post(f"{address}/invocations", json={"inputs": observations.tolist()}, timeout=20)
    assert answer.status_code == 200, answer.text
    outputs = np.array(answer.json()["predictions"]["outputs"])
    np.testing.assert_allclose(outputs, NumpyPolicy.load(policy).outputs(observations), atol=1e-5)


@contextmanager
def served(model_uri: str, folder: Path) -> Iterator[str]:
    """``mlflow models serve`` as a user types it, on a free port, ended with its workers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [Path(sys.executable).parent / "mlflow", "models", "serve", "-m", model_uri, "-p", str(port)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--env-manager", "local", "--workers", "1"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not answers(f"{address}/ping"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=2).ok
    except requests.RequestException:
        return False


def test_dead_server_is_an_error_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    dead = ModelRegistry(RegistrySettings(f"http://127.0.0.1:{port}"))
    start = time.monotonic()
    with pytest.raises(StoreError, match=f"127.0.0.1:{port} cannot be reached"):
        dead.ping()
    assert time.monotonic() - start < 20
