"""The whole stack on a real Kubernetes: a policy trained in pods, checked, a pod lost, a part restored.

One deployment serves the tests below, in their order. The images are those that the session built.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from clean_code import clean_code
from cluster.cluster_airflow import cluster_airflow
from cluster.deployment import Deployment, deployed
from cluster.images import BUILD_SECONDS, Image
from cluster.kubernetes_api import Kubectl, eventually
from cluster.pod_profile import outside_the_profile
from cluster.records import (
    SCHEDULER,
    carry_out,
    model_root_in,
    nodes_with,
    registered_version,
    root_of_a_local_run,
    verify_inside,
    verify_outside,
)

from drl.steps.journal import run_key

PIPELINE = "cluster_cartpole"
SEEDS = [11, 12]
READY_SECONDS = 900
RUN_SECONDS = 1200

pytestmark = pytest.mark.timeout(BUILD_SECONDS + READY_SECONDS + RUN_SECONDS)


@dataclass(frozen=True)
class FinishedRun:
    """A run of the pipeline that lost a pod of the stack on its way."""

    key: str
    tasks: dict[str, dict[str, Any]]
    step_pods: list[dict[str, Any]]
    stack_pods: list[dict[str, Any]]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cartpole` with explicit seeds, so that its model root can be had elsewhere too."""
    source = clean_code() / "dags" / "cartpole.yaml"
    value = yaml.safe_load(source.read_text())
    value |= {"pipeline": PIPELINE, "registration": {"model": PIPELINE}}
    value["training"]["seeds"] = SEEDS
    path = tmp_path_factory.mktemp("pipelines") / f"{PIPELINE}.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    path.with_suffix(".py").write_text(source.with_suffix(".py").read_text())
    return path


@pytest.fixture(scope="module")
def stack_on_cluster(images: dict[str, Image], kubectl: Kubectl, pipeline: Path) -> Iterator[Deployment]:
    with deployed(kubectl, pipeline) as deployment:
        seconds = deployment.wait_until_ready(READY_SECONDS)
        print(f"apply to all ready: {seconds:.0f} s", flush=True)
        yield deployment


@pytest.fixture(scope="module")
def finished(stack_on_cluster: Deployment) -> FinishedRun:
    """Trigger, take away the object store's pod while training is under way, wait for the end."""
    with cluster_airflow() as airflow:
        airflow.wait_for_dag(PIPELINE, 180)
        airflow.pause(PIPELINE, False)
        run = airflow.trigger(PIPELINE)
        eventually(lambda: _trains(stack_on_cluster), 600)
        step_pods = stack_on_cluster.pods("drl-jobs")
        stack_pods = stack_on_cluster.pods("drl-system") + stack_on_cluster.pods("drl-data")
        stack_on_cluster.kubectl.within("drl-data")("delete", "pod", "minio-0", timeout=120)
        airflow.wait(PIPELINE, run, RUN_SECONDS)
        tasks = airflow.tasks(PIPELINE, run)
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    return FinishedRun(run_key(PIPELINE, run), tasks, step_pods, stack_pods)


@pytest.fixture(scope="module")
def verified(stack_on_cluster: Deployment, finished: FinishedRun) -> str:
    """What the verifier says of the run's record inside the cluster."""
    return verify_inside(stack_on_cluster, finished.key)


def test_every_pod_keeps_to_the_profile(stack_on_cluster: Deployment, finished: FinishedRun) -> None:
    assert {p["metadata"]["namespace"] for p in finished.stack_pods} == {"drl-system", "drl-data"}
    assert finished.step_pods
    for pod in finished.stack_pods + finished.step_pods:
        launcher = pod["metadata"]["name"] == SCHEDULER[1]
        assert not outside_the_profile(pod, may_have_token=launcher), pod["metadata"]["name"]


def test_the_run_ends_with_a_promotion_though_the_store_went_away(finished: FinishedRun) -> None:
    states = {name: task["state"] for name, task in finished.tasks.items()}
    verdicts = {name: states[name] for name in ("promote", "hold", "reject")}
    assert states["close_run"] == "success"
    assert verdicts == {"promote": "success", "hold": "skipped", "reject": "skipped"}


def test_steps_ran_in_pods_of_the_namespace_for_user_code(finished: FinishedRun) -> None:
    images = {c["image"] for pod in finished.step_pods for c in pod["spec"]["containers"]}
    assert all("drl-executor" in image for image in images), images


def test_the_record_verifies_inside(verified: str) -> None:
    assert "Level 3" in verified


def test_the_record_verifies_outside_and_its_model_is_the_laptops(
    stack_on_cluster: Deployment, verified: str, pipeline: Path, tmp_path: Path
) -> None:
    answer = verify_outside(*carry_out(stack_on_cluster, tmp_path))
    assert (answer["exit_code"], answer["level"]) == (0, 3)
    assert model_root_in(verified) == model_root_in(json.dumps(answer))
    assert model_root_in(verified) == root_of_a_local_run(pipeline, tmp_path / "local")


def test_graph_and_registry_know_the_model(stack_on_cluster: Deployment, verified: str) -> None:
    root = model_root_in(verified)
    assert registered_version(stack_on_cluster, PIPELINE, root) == 1
    assert nodes_with(stack_on_cluster, root) > 0


def test_the_object_store_comes_back_from_its_backup(
    stack_on_cluster: Deployment, finished: FinishedRun, verified: str
) -> None:
    """Save the buckets, lose the volume, restore, verify again."""
    assert "saved" in stack_on_cluster.run_backup("buckets")
    stack_on_cluster.lose("minio", "data-minio-0")
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    assert "restored" in stack_on_cluster.restore("buckets")
    again = verify_inside(stack_on_cluster, finished.key)
    assert "Level 3" in again
    assert model_root_in(again) == model_root_in(verified)


def _trains(deployment: Deployment) -> bool:
    return any(
        pod["status"]["phase"] == "Running" and pod["metadata"]["labels"].get("drl.step") == "train"
        for pod in deployment.pods("drl-jobs")
    )
