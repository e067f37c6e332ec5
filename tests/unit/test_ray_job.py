"""RayJobs without a cluster: names, statuses, and the manifest of a training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drl.artifact import Artifact
from drl.spec import PipelineSpec, PodSettings, load_pipeline
from drl.steps.request import StepRequest
from operators.placement import step_operator
from operators.pod import PodStepOperator
from operators.pod_manifest import ATTEMPT, SELECTOR
from operators.ray_jobs import ray_job_name
from operators.ray_manifest import RAY_VERSION, ray_job_manifest
from operators.ray_status import RayJobStatus
from operators.ray_step import RayStepOperator

ROOT = Path(__file__).resolve().parents[2]
RUN = "cartpole/manual__2026-11-24T16-43-05.275919-00-00"


@pytest.mark.parametrize("owner", ["a/b/c", f"{RUN}/train", "Ä" * 300, "x" * 300, "9/-/-"])
def test_a_name_is_a_label_that_kuberay_takes(owner: str) -> None:
    name = ray_job_name(owner)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 47
    assert name == ray_job_name(owner)
    assert name != ray_job_name(owner + "2")


@pytest.mark.parametrize(
    ("deployment", "job", "phase"),
    [
        ("", "", "active"),
        ("Initializing", "", "active"),
        ("Running", "RUNNING", "active"),
        ("Running", "SUCCEEDED", "active"),  # the submitter has not printed everything yet
        ("Running", "FAILED", "active"),
        ("Retrying", "FAILED", "active"),
        ("Suspending", "", "active"),
        ("Suspended", "", "active"),
        ("Waiting", "", "active"),
        ("SomethingNew", "", "active"),
        ("Complete", "SUCCEEDED", "succeeded"),
        ("Complete", "STOPPED", "failed"),
        ("Failed", "FAILED", "failed"),
        ("Failed", "SUCCEEDED", "failed"),
        ("Failed", "", "failed"),
        ("ValidationFailed", "", "failed"),
    ],
)
def test_both_statuses_make_the_phase(deployment: str, job: str, phase: str) -> None:
    status = RayJobStatus.of({"spec": {}, "status": {"jobDeploymentStatus": deployment, "jobStatus": job}})
    assert status.phase == phase
    assert status.words


def test_words_for_people() -> None:
    told = {
        "no KubeRay operator has taken it up yet": {"spec": {}},
        "suspended: it waits until its queue (Kueue) admits it": {"spec": {"suspend": True}},
        "ended as Failed, its job as never submitted (DeadlineExceeded: too late)": {
            "spec": {},
            "status": {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "message": "too late"},
        },
        "in the state 'SomethingNew', which is not known here": {
            "spec": {},
            "status": {"jobDeploymentStatus": "SomethingNew"},
        },
    }
    assert {words: RayJobStatus.of(job).words for words, job in told.items()} == {w: w for w in told}


def test_training_is_a_ray_job_and_other_steps_are_pods() -> None:
    make = step_operator("ray_job")
    made = [make(task_id=s, step=s, pipeline="cartpole") for s in ("prepare", "train", "evaluate")]
    assert [type(operator) for operator in made] == [PodStepOperator, RayStepOperator, PodStepOperator]


def training(**ray: object) -> tuple[PipelineSpec, StepRequest]:
    spec = load_pipeline(ROOT / "dags" / "cartpole.yaml")
    asked = {**spec.to_json(), "orchestration": {"placement": "ray_job", "ray": ray}}
    resolved = Artifact(name="resolved.json", sha256="0" * 64, size=1)
    return PipelineSpec.model_validate(asked), StepRequest("train", RUN, "1-abcdef01", resolved)


def test_a_training_is_the_entrypoint_and_its_pods_are_no_steps_pods() -> None:
    spec, request = training()
    manifest = ray_job_manifest(spec, PodSettings(image="localhost/x:1", cpu=3, gpus=1), request)
    job = manifest["spec"]
    assert job["entrypoint"] == f"python -m drl step s3:runs/{RUN}/train/1-abcdef01/request.json"
    assert manifest["metadata"]["annotations"] == {ATTEMPT: "1-abcdef01"}
    assert job["rayClusterSpec"]["workerGroupSpecs"] == []
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]
    (container,) = head["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "3.0", "memory": "2Gi", "nvidia.com/gpu": "1"}
    assert "command" not in container
    # The reaper looks for this, and would take the pods of Ray for those of tasks that are gone.
    assert (
        not dict(part.split("=") for part in SELECTOR.split(",")).items()
        <= head["metadata"]["labels"].items()
    )
    submitter = job["submitterPodTemplate"]["spec"]
    assert submitter["restartPolicy"] == "Never"
    assert "nvidia.com/gpu" not in submitter["containers"][0]["resources"]["limits"]


def test_workers_and_a_queue_where_they_are_asked_for() -> None:
    spec, request = training(workers=2, queue="training")
    manifest = ray_job_manifest(spec, PodSettings(image="localhost/x:1"), request)
    (group,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 2)
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"


def test_the_version_of_ray_is_the_locked_one() -> None:
    assert f"ray=={RAY_VERSION}" in (ROOT / "requirements.lock").read_text().splitlines()
