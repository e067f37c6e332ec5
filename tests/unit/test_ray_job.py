"""RayJobs without a cluster: names, statuses, and the manifest of a training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import ProtocolError

from drl.artifact import Artifact
from drl.errors import StoreError
from drl.spec import PipelineSpec, PodSettings, load_pipeline
from drl.steps.request import StepRequest
from operators.cluster_errors import OutOfReach
from operators.placement import step_operator
from operators.pod import PodStepOperator
from operators.pod_manifest import ATTEMPT, SELECTOR
from operators.ray_follow import Follower
from operators.ray_jobs import RayJobs, ray_job_name
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


def answering(*answers: Any) -> RayJobs:
    """RayJobs of an API server that gives these answers, one after the other, to whoever asks for one."""
    left = list(answers)

    def answer(**_: Any) -> Any:
        value = left.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    objects = SimpleNamespace(get_namespaced_custom_object=answer, delete_namespaced_custom_object=answer)
    return RayJobs(objects, SimpleNamespace(), "drl-jobs")


DONE = {
    "metadata": {"name": "r-x"},
    "spec": {"submissionMode": "HTTPMode"},
    "status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"},
}
BUSY, ILL, AWAY = ApiException(429, "Too Many Requests"), ApiException(503, "Ill"), ProtocolError("cut")


def test_an_api_server_that_asks_for_patience_is_asked_again() -> None:
    said: list[str] = []
    jobs = answering(BUSY, ILL, AWAY, DONE)
    assert Follower(jobs, "r-x", said.append, said.append, poll_s=0.01).to_the_end() == DONE
    assert said == [
        "RayJob r-x: the API server does not answer; asking again",
        "RayJob r-x: succeeded",
    ]


@pytest.mark.parametrize("error", [BUSY, ILL, AWAY])
def test_an_api_server_that_stays_so_is_an_error_of_ours(error: Exception) -> None:
    follower = Follower(answering(*[error] * 9), "r-x", print, print, poll_s=0.02, patience_s=0.05)
    with pytest.raises(OutOfReach, match=r"has not answered for 0 s \(RayJob r-x in drl-jobs: ") as found:
        follower.to_the_end()
    assert found.value.remedy == "mend it and clear this task, which finds RayJob r-x again"


@pytest.mark.parametrize("ask", [RayJobs.get, RayJobs.delete])
def test_a_refusal_says_what_to_apply(ask: Callable[[RayJobs, str], Any]) -> None:
    refusing = answering(ApiException(403, "Forbidden"))
    with pytest.raises(StoreError, match="RayJob r-x in drl-jobs: the API server answers 403") as found:
        ask(refusing, "r-x")
    assert not isinstance(found.value, OutOfReach)
    assert "components/kuberay" in found.value.remedy


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
