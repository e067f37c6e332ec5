"""The three images in pods of the *restricted* profile with read-only roots: what they hold and run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clean_code import clean_code
from cluster.images import BUILD_SECONDS, Image
from cluster.kubernetes_api import Kubectl, eventually

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

EXTRAS = {"executor": "executor", "airflow": "airflow", "api": "serving"}
GOALS_MB = {"executor": 2500, "airflow": 1500, "api": 350}
HOLDS = {
    "executor": {"torch", "ray", "great_expectations", "onnxruntime"},
    "airflow": {"airflow", "mlflow", "boto3", "cryptography", "neo4j", "psycopg2", "web3", "onnx"},
    "api": {"fastapi", "uvicorn", "onnxruntime", "numpy", "cryptography"},
}
LACKS = {
    "executor": {"airflow", "mlflow"},
    "airflow": {"torch", "ray"},
    "api": {"torch", "ray", "airflow", "mlflow"},
}
RUNS = {
    "executor": [["drl", "step", "--help"], ["drl", "run", "--help"]],
    "airflow": [["airflow", "version"], ["mlflow", "--version"], ["drl", "verify", "--help"]],
    "api": [["drl-api", "--help"], ["drl", "verify", "--help"]],
}
LOOK = Path(__file__).with_name("look_inside.py").read_text()


@pytest.fixture(scope="module")
def inside(
    images: dict[str, Image], kubectl: Kubectl, namespace: Callable[[str], str]
) -> Callable[[str], dict[str, Any]]:
    """What a pod of an image finds when it looks around; each image is asked once."""
    within = kubectl.within(namespace("images"))
    for name, image in images.items():
        within.apply(pod(name, image.name))
    found: dict[str, dict[str, Any]] = {}

    def look(name: str) -> dict[str, Any]:
        if name not in found:
            eventually(lambda: phase(within, name) in ("Succeeded", "Failed"), 300)
            log = within("logs", name)
            assert phase(within, name) == "Succeeded", log
            found[name] = json.loads(log.splitlines()[-1])
        return found[name]

    return look


def phase(kubectl: Kubectl, name: str) -> str:
    return kubectl("get", "pod", name, "--output", "jsonpath={.status.phase}")


def pod(name: str, image: str) -> dict[str, Any]:
    asked = {"modules": sorted(HOLDS[name] | LACKS[name]), "commands": RUNS[name]}
    container = {
        "name": "look",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", LOOK, json.dumps(asked)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("name", GOALS_MB)
def test_an_image_is_small_enough(name: str, images: dict[str, Image]) -> None:
    compressed = images[name].compressed
    if compressed is None:
        pytest.skip("an earlier session built it: unset DRL_CLUSTER_IMAGES")
    assert compressed < GOALS_MB[name] * 1e6


@pytest.mark.parametrize("name", HOLDS)
def test_an_image_holds_what_it_runs_and_nothing_else(
    name: str, inside: Callable[[str], dict[str, Any]]
) -> None:
    there = {module for module, found in inside(name)["modules"].items() if found}
    assert there == HOLDS[name]
    assert inside(name)["not_as_locked"] == []
    assert inside(name)["extras"] == [EXTRAS[name]]


@pytest.mark.parametrize("name", RUNS)
def test_its_commands_run_as_nobody_important_on_a_root_that_cannot_be_written(
    name: str, inside: Callable[[str], dict[str, Any]]
) -> None:
    found = inside(name)
    assert found["uid"] == 10001
    assert found["can_write"] == ["/tmp"]
    for command, (code, output) in found["commands"].items():
        assert code == 0, f"{command}: {output}"


@pytest.mark.parametrize("name", HOLDS)
def test_an_image_knows_its_commit(name: str, inside: Callable[[str], dict[str, Any]]) -> None:
    def git(what: str) -> str:
        command = ["git", "-C", str(clean_code()), "rev-parse", what]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    code = inside(name)["code"]
    assert (code["commit"], code["tree"], code["dirty"]) == (git("HEAD"), git("HEAD^{tree}"), False)
    assert code["from"] == "image build"
    assert code["archive"]["name"] == "source.tar"
