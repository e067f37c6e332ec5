"""A step's pod as it is asked for, and as it is told of when it fails; for a real cluster: tests/cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiClient, V1Pod
from kubernetes.client.exceptions import ApiException

from drl.artifact import Artifact
from drl.errors import DrlError, Falsified, InputError, StepError, StoreError
from drl.spec import PipelineSpec, load_pipeline, parse_pipeline
from drl.steps.exchange import FolderExchange
from drl.steps.journal import RunJournal
from drl.steps.request import StepRequest
from operators import pod_report
from operators.base import Run
from operators.cluster_errors import OutOfReach
from operators.placed_step import PlacedStepOperator
from operators.placement import placement_of, pod_settings, step_patience
from operators.pod import PodStepOperator
from operators.pod_reaper import reap, reaper_dag, task_is_over
from operators.pod_step import StepPod
from operators.ray_step import RayStepOperator
from operators.step_work import Performed

CARTPOLE = Path(__file__).parents[2] / "dags" / "cartpole.yaml"
IMAGE = "localhost/drl-executor:0.1.0"
REQUEST = StepRequest("train", "cartpole/manual__1", "1-ab12cd34", Artifact("resolved.json", "0" * 64, 2))
FULL = {
    "cpu": 0.5,
    "cpu_limit": 2,
    "memory": "3Gi",
    "gpus": 1,
    "gpu_resource": "nvidia.com/gpu.shared",
    "runtime_class": "nvidia",
    "node_selector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priority_class": "training",
    "shared_memory": "1Gi",
    "scratch": "20Gi",
    "grace_seconds": 300,
    "pending_minutes": 60,
}


@pytest.fixture(autouse=True)
def _deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRL_PLACEMENT", "pod")
    monkeypatch.setenv("DRL_POD", json.dumps({"image": IMAGE, "memory": "1Gi"}))
    monkeypatch.setenv(
        "AIRFLOW_CONN_KUBERNETES_DEFAULT",
        json.dumps({"conn_type": "kubernetes", "extra": {"namespace": "drl-jobs"}}),
    )


def spec_with(**orchestration: Any) -> PipelineSpec:
    value = load_pipeline(CARTPOLE).to_json()
    value["orchestration"] |= orchestration
    return parse_pipeline(value, path=CARTPOLE)


def step_pod(spec: PipelineSpec) -> StepPod:
    return StepPod(
        task_id="train",
        settings=pod_settings(spec.orchestration),
        spec=spec,
        request=REQUEST,
        step_log=SimpleNamespace(),
    )


def pod_of(spec: PipelineSpec) -> dict[str, Any]:
    """The pod as JSON, as the API server gets it."""
    pod = step_pod(spec)
    ti = SimpleNamespace(dag_id="cartpole", task_id="train", run_id="manual__1", map_index=-1, try_number=1)
    context = {"ti": ti, "run_id": "manual__1", "dag": SimpleNamespace()}
    return ApiClient().sanitize_for_serialization(pod.build_pod_request_obj(context, dry_run=True))


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]  # no XCom sidecar
    return only


def test_the_same_pipeline_file_is_placed_by_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_pipeline(CARTPOLE)
    assert placement_of(spec.orchestration) == "pod"
    monkeypatch.delenv("DRL_PLACEMENT")
    assert placement_of(spec.orchestration) == "subprocess"
    assert placement_of(spec_with(placement="pod").orchestration) == "pod"


def test_a_placement_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRL_PLACEMENT", "pods")
    with pytest.raises(InputError, match="DRL_PLACEMENT is 'pods'"):
        placement_of(load_pipeline(CARTPOLE).orchestration)


def test_the_pipeline_goes_before_the_deployment_and_that_before_the_defaults() -> None:
    settings = pod_settings(spec_with(pod={"cpu": 3.0}).orchestration)
    assert (settings.cpu, settings.memory, settings.scratch) == (3.0, "1Gi", "5Gi")
    assert pod_settings(spec_with(pod={"memory": "2Gi"}).orchestration).memory == "2Gi"


def test_the_frozen_spec_holds_what_the_pipeline_says_and_no_more() -> None:
    spec = spec_with(pod={"memory": "2Gi"})
    assert spec.to_json()["orchestration"]["pod"] == {"memory": "2Gi"}
    assert parse_pipeline(spec.to_json(), path=CARTPOLE) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no image"),
        ('{"image": "x", "memory": "2 GB"}', "DRL_POD: memory"),
        ('{"image": "x", "gpu": 1}', "DRL_POD: gpu"),
        ("{", "DRL_POD"),
    ],
)
def test_wrong_settings_of_the_deployment_are_named(
    monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    monkeypatch.delenv("DRL_POD") if text is None else monkeypatch.setenv("DRL_POD", text)
    with pytest.raises(InputError, match=message):
        pod_settings(load_pipeline(CARTPOLE).orchestration)


def test_the_task_waits_longer_than_the_step_may_take() -> None:
    orchestration = spec_with(step_timeout_minutes=60, pod={"pending_minutes": 10}).orchestration
    assert step_patience(orchestration, "subprocess") == timedelta(minutes=60)
    assert step_patience(orchestration, "pod") > timedelta(minutes=60 + 2 * 10)


def test_every_setting_reaches_the_pod() -> None:
    pod = pod_of(spec_with(step_timeout_minutes=30, pod={**FULL, "image": "mine/executor@sha256:12"}))
    spec, base = pod["spec"], container(pod)
    assert base["image"] == "mine/executor@sha256:12"
    assert base["resources"] == {
        "requests": {"cpu": "0.5", "memory": "3Gi", "nvidia.com/gpu.shared": "1"},
        "limits": {"cpu": "2.0", "memory": "3Gi", "nvidia.com/gpu.shared": "1"},
    }
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["priorityClassName"] == "training"
    assert spec["terminationGracePeriodSeconds"] == 300
    assert spec["activeDeadlineSeconds"] == 30 * 60
    places = {mount["mountPath"]: mount["name"] for mount in base["volumeMounts"]}
    volumes = {volume["name"]: volume["emptyDir"] for volume in spec["volumes"]}
    assert volumes[places["/dev/shm"]] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert volumes[places["/tmp"]] == {"sizeLimit": "20Gi"}


def test_without_settings_nothing_is_asked_that_a_small_cluster_lacks() -> None:
    pod = pod_of(load_pipeline(CARTPOLE))
    assert container(pod)["image"] == IMAGE
    assert set(container(pod)["resources"]["limits"]) == {"cpu", "memory"}
    assert not {"runtimeClassName", "priorityClassName"} & pod["spec"].keys()


def test_the_pod_has_no_rights_and_no_secret_but_by_reference() -> None:
    pod = pod_of(load_pipeline(CARTPOLE))
    spec, base = pod["spec"], container(pod)
    assert pod["metadata"]["namespace"] == "drl-jobs"
    assert spec["serviceAccountName"] == "step"
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert base["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert base["securityContext"]["readOnlyRootFilesystem"] is True
    assert base["envFrom"] == [
        {"secretRef": {"name": "step-store"}},
        {"secretRef": {"name": "step-environment", "optional": True}},
    ]
    assert not [v["name"] for v in base["env"] if "S3" in v["name"] or "SIGNER" in v["name"]]
    assert base["command"][-1] == f"s3:{REQUEST.key}"


def test_a_pod_says_whose_it_is() -> None:
    metadata = pod_of(load_pipeline(CARTPOLE))["metadata"]
    assert (
        metadata["labels"].items()
        >= {
            "drl.pipeline": "cartpole",
            "drl.model": "cartpole",
            "drl.step": "train",
            "drl.run": "manual__1",
        }.items()
    )
    assert metadata["annotations"] == {
        "drl/attempt": "1-ab12cd34",
        "drl/dag-id": "cartpole",
        "drl/run-id": "manual__1",
        "drl/task-id": "train",
    }


# ------------------------------------------------------------------------------------------ what became of it


def ended(phase: str, *, reason: str | None = None, **container: Any) -> V1Pod:
    """A pod as the API server tells of it."""
    status: dict[str, Any] = {"phase": phase, "reason": reason, "containerStatuses": []}
    if container:
        status["containerStatuses"] = [
            {"name": "base", "image": IMAGE, "imageID": "sha256:" + "5" * 64, "ready": False}
            | {"restartCount": 0, "state": container}
        ]
    value = {
        "metadata": {"name": "cartpole-train-x", "namespace": "drl-jobs", "uid": "u-1"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "base"}]},
        "status": status,
    }
    return ApiClient().deserialize(SimpleNamespace(data=json.dumps(value)), V1Pod)


def event(kind: str, reason: str, message: str, count: int = 1) -> Any:
    return SimpleNamespace(type=kind, reason=reason, message=message, count=count)


TIMES = {"startedAt": "2026-11-24T18:00:00Z", "finishedAt": "2026-11-24T18:05:00Z"}


def test_what_is_signed_of_a_pod_that_ended_well() -> None:
    pod = ended("Succeeded", terminated={"exitCode": 0, "reason": "Completed", **TIMES})
    assert pod_report.observed(pod) == {
        "exit_code": 0,
        "pod": "drl-jobs/cartpole-train-x",
        "pod_uid": "u-1",
        "node": "node-1",
        "image": IMAGE,
        "image_id": "sha256:" + "5" * 64,
    }


def test_a_pod_without_memory_is_told_so() -> None:
    pod = ended("Failed", terminated={"exitCode": 137, "reason": "OOMKilled", **TIMES})
    text = str(pod_report.failure(pod, [event("Normal", "Started", "Started container")], tail="step 4096"))
    for part in ("on node node-1", "OOMKilled", "exit code 137", "18:00:00 to 18:05:00", "Started container"):
        assert part in text
    assert "step 4096" in text
    assert "raise orchestration.pod.memory" in text


def test_an_evicted_pod_tells_why_the_node_gave_it_up() -> None:
    pod = ended("Failed", reason="Evicted")
    pod.status.message = 'Usage of EmptyDir volume "scratch" exceeds the limit "5Gi".'
    text = str(pod_report.failure(pod, [], tail=""))
    assert "Evicted" in text
    assert 'volume "scratch" exceeds' in text
    assert "goes on from the last checkpoint" in text


def test_a_step_that_failed_by_itself_is_to_be_mended() -> None:
    pod = ended("Failed", terminated={"exitCode": 1, "reason": "Error", **TIMES})
    error = pod_report.failure(pod, [], tail="DataError: 3 rows")
    assert isinstance(error, StepError)
    assert "exit code 1" in error.message
    assert "DataError: 3 rows" in error.message
    assert error.remedy.startswith("mend")


def test_a_pod_that_no_node_takes_is_told_with_the_scheduler_words() -> None:
    pod = ended("Pending")
    pod.spec.node_name = None
    found = [event("Warning", "FailedScheduling", "0/1 nodes are available: Insufficient nvidia.com/gpu", 4)]
    text = str(pod_report.never_ran(pod, found, "took too long to be scheduled"))
    assert "FailedScheduling (4 times): 0/1 nodes" in text
    assert "ask for less" in text


def test_an_image_that_is_missing_is_told_with_its_name() -> None:
    pod = ended("Pending", waiting={"reason": "ErrImagePull", "message": f"{IMAGE} not found"})
    text = str(pod_report.never_ran(pod, [], "Image cannot be pulled"))
    assert f"waiting (ErrImagePull: {IMAGE} not found)" in text
    assert "load the image" in text


def test_a_refusal_of_the_api_server_is_told_in_its_words() -> None:
    error = ApiException(status=403, reason="Forbidden")
    error.body = json.dumps({"message": "exceeded quota: jobs, requested: pods=1"})
    assert "403 exceeded quota: jobs" in str(pod_report.refused(error))


@pytest.mark.parametrize(("status", "kind"), [(403, StepError), (429, OutOfReach), (503, OutOfReach)])
def test_an_api_server_that_is_busy_is_no_refusal(
    status: int, kind: type[DrlError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: Any) -> None:
        raise ApiException(status=status, reason="so it is")

    pod = step_pod(load_pipeline(CARTPOLE))
    monkeypatch.setattr(pod, "execute_sync", answer)
    with pytest.raises(kind, match=f"{status} so it is"):
        pod.follow({})


# ------------------------------------------------------------------------------------------------ the reaper


@pytest.fixture
def pods() -> SimpleNamespace:
    """A client of an API server that holds one step's pod."""
    pod = ended("Running")
    pod.metadata.annotations = {"drl/dag-id": "cartpole", "drl/run-id": "r1", "drl/task-id": "train"}
    gone: list[str] = []
    return SimpleNamespace(
        pod=pod,
        gone=gone,
        list_namespaced_pod=lambda namespace, label_selector: SimpleNamespace(items=[pod]),
        delete_namespaced_pod=lambda name, namespace: gone.append(name),
    )


def airflow(states: dict[str, str | None], run: str = "running") -> Any:
    """The context of a task, in an Airflow that says this of the run ``r1``."""
    return {
        "ti": SimpleNamespace(
            get_task_states=lambda dag_id, run_ids: {"r1": states} if states else {},
            get_dagrun_state=lambda dag_id, run_id: run,
        )
    }


@pytest.mark.parametrize(
    ("context", "deleted"),
    [
        (airflow({"train": "failed"}), True),  # marked so by a person, or no try is left
        (airflow({"train": "success"}), True),
        (airflow({"train": "running"}, run="failed"), True),  # its process was killed
        (airflow({"train": "running"}), False),
        (airflow({"train": "up_for_retry"}), False),  # the next try takes it up
        (airflow({"train": None}), False),  # cleared
        (airflow({}), False),  # a run of another Airflow
    ],
)
def test_a_pod_is_deleted_when_its_task_is_over(pods: SimpleNamespace, context: Any, deleted: bool) -> None:
    assert bool(reap(pods, "drl-jobs", task_is_over(context))) is deleted
    assert bool(pods.gone) is deleted


def test_a_pod_that_somebody_else_deleted_meanwhile_is_no_reason_to_look_again(pods: SimpleNamespace) -> None:
    def gone(name: str, namespace: str) -> None:
        raise ApiException(status=404, reason="Not Found")

    pods.delete_namespaced_pod = gone
    assert reap(pods, "drl-jobs", lambda dag, run, task: True) == ["cartpole-train-x"]


def test_a_namespace_that_is_not_there_is_an_error(pods: SimpleNamespace) -> None:
    def unknown(namespace: str, label_selector: str) -> None:
        raise ApiException(status=404, reason="Not Found")

    pods.list_namespaced_pod = unknown
    with pytest.raises(StoreError, match="pods of namespace drl-jobs: the API server answers 404"):
        reap(pods, "drl-jobs", lambda dag, run, task: True)


@pytest.mark.parametrize(
    ("placement", "at_work"), [("pod", True), ("ray_job", True), ("subprocess", False), ("", False)]
)
def test_the_reaper_is_at_work_where_steps_are_in_a_cluster(
    monkeypatch: pytest.MonkeyPatch, placement: str, at_work: bool
) -> None:
    monkeypatch.setenv("DRL_PLACEMENT", placement)
    dag = reaper_dag()
    assert dag.schedule == ("*/10 * * * *" if at_work else None)
    assert dag.is_paused_upon_creation is not at_work
    (task,) = dag.tasks
    assert task.retries * task.retry_delay < dag.dagrun_timeout
    assert task.retries >= 2, "the first run comes while a deployment still starts"


def test_a_pod_that_is_going_is_left(pods: SimpleNamespace) -> None:
    pods.pod.metadata.deletion_timestamp = datetime.now(UTC)
    assert reap(pods, "drl-jobs", lambda dag, run, task: True) == []


# ----------------------------------------------------------------------------------------- what it answered


class Kept:
    """Stands for the pod, or the job, that did a step's work."""

    def __init__(self) -> None:
        self.deleted = 0

    def delete(self, *_: object) -> None:
        self.deleted += 1


def answering(folder: Path, kind: type[PlacedStepOperator], answer: bytes | None) -> tuple[Any, Run, Kept]:
    """A training that ended well and has given this answer: its operator, the run, what did the work."""
    store, request = FolderExchange(folder), REQUEST
    journal = RunJournal(store, request.run)
    journal.once("resolved.ref.json", request.resolved.to_json)
    journal.once("opening.json", lambda: {"seeds": [1]})
    if answer is not None:
        store.write_once(request.result_key, answer)
    run = Run("cartpole", request.run, {"ti": SimpleNamespace(try_number=1)})
    vars(run).update(store=store, records=store, journal=journal)
    vars(run).update(spec=load_pipeline(CARTPOLE), resolved={"champion": None})
    operator, kept = kind(task_id="train", step="train", pipeline="cartpole"), Kept()

    def perform(run: Run, _: StepRequest) -> Performed:
        operator._pod = operator._jobs = kept
        return Performed(request, {"exit_code": 0})

    operator._perform = perform
    return operator, run, kept


NOTHING_MADE = {"outputs": [], "summary": {}, "started": "", "finished": "", "system": {}}


@pytest.mark.parametrize("kind", [PodStepOperator, RayStepOperator])
@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (None, InputError),
        (b"{", Falsified),
        (b'{"outputs": 1}', Falsified),
        (b"[]", Falsified),
        (json.dumps(NOTHING_MADE).encode(), Falsified),
    ],
)
def test_what_gave_an_answer_that_is_refused_is_not_kept_for_the_next_try(
    tmp_path: Path, kind: type[PlacedStepOperator], answer: bytes | None, refusal: type[DrlError]
) -> None:
    operator, run, kept = answering(tmp_path, kind, answer)
    with pytest.raises(refusal):
        operator.work(run)
    assert kept.deleted == 1


@pytest.mark.parametrize("kind", [PodStepOperator, RayStepOperator])
def test_what_gave_an_answer_that_cannot_be_read_now_is_kept(
    tmp_path: Path, kind: type[PlacedStepOperator]
) -> None:
    operator, run, kept = answering(tmp_path, kind, None)

    def away(key: str) -> bytes:
        raise StoreError("no answer", remedy="wait")

    run.store.read = away  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        operator.work(run)
    assert kept.deleted == 0


@pytest.mark.parametrize(("going", "kept"), [(False, True), (True, False)])
def test_a_pod_that_ended_well_is_taken_up_unless_somebody_deletes_it(going: bool, kept: bool) -> None:
    pod, manager = ended("Succeeded", terminated={"exitCode": 0, **TIMES}), Kept()
    pod.metadata.deletion_timestamp = datetime.now(UTC) if going else None
    made = step_pod(load_pipeline(CARTPOLE))
    vars(made)["pod_manager"] = SimpleNamespace(delete_pod=manager.delete)
    assert made.process_pod_deletion(pod) is not kept
    assert manager.deleted == going


def test_an_image_older_than_its_airflow_names_the_field_that_it_does_not_know() -> None:
    value = load_pipeline(CARTPOLE).to_json()
    value["orchestration"]["placed_on"] = {}
    with pytest.raises(InputError, match=r"resolved\.json:1: orchestration\.placed_on: Extra inputs"):
        parse_pipeline(value, path=Path("resolved.json"))
