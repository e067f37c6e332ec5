"""RayJobOperator against a real API server with KubeRay's real custom resource; the controller is scripted.

Everything is done with the rights of the launcher: the manifests' own roles, bound in a namespace of a test.
"""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from cluster.gate import Gate
from cluster.kubernetes_api import Kubectl, eventually
from cluster.scripted_kuberay import (
    COMPLETE,
    RUNNING,
    STARTING,
    Said,
    ScriptedKubeRay,
    rayjob_resource,
)
from k8s_manifests import SOURCE

from drl.artifact import Artifact
from drl.errors import StepError, StoreError
from drl.spec import PipelineSpec, PodSettings, load_pipeline
from drl.steps.exchange import FolderExchange
from drl.steps.journal import RunJournal
from drl.steps.request import StepRequest
from operators.base import Run
from operators.pod_manifest import whose
from operators.pod_reaper import task_is_over
from operators.ray_job import RayJobOperator
from operators.ray_jobs import OWNER, jobs_of_connection, ray_job_name
from operators.ray_manifest import ray_job_manifest
from operators.ray_reaper import reap_ray_jobs
from operators.ray_step import RayStepOperator

CONTAINER = {"name": "ray", "image": "localhost/none:0"}
TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
MANIFEST = {
    "spec": {
        "entrypoint": "python -c 'print(1)'",
        "shutdownAfterJobFinishes": True,
        # An operator that does run in this cluster leaves such jobs to somebody else: here, to the script.
        "managedBy": "kueue.x-k8s.io/multikueue",
        "rayClusterSpec": {"headGroupSpec": {"template": TEMPLATE}},
    }
}
OWNER_OF_ALL = "dag/run/task"
NAME = ray_job_name(OWNER_OF_ALL)


# Any image with a shell that is on the node, or can be had.
IMAGE = next(
    f"{image['newName']}:{image['newTag']}"
    for image in yaml.safe_load((SOURCE / "base/kustomization.yaml").read_text())["images"]
    if image["name"] == "postgres"
)


class Store(dict[str, Any]):
    """What Airflow keeps of a task between its tries."""

    def set(self, name: str, value: Any) -> None:
        self[name] = value


@pytest.fixture(scope="module")
def place(kubectl: Kubectl, namespace: Callable[[str], str]) -> Iterator[str]:
    with rayjob_resource(kubectl):
        yield namespace("rayjob")


@pytest.fixture(scope="module")
def kuberay(place: str) -> Iterator[ScriptedKubeRay]:
    with ScriptedKubeRay(place) as scripted:
        yield scripted
        scripted.remove_everything()


@pytest.fixture(scope="module")
def connections(place: str, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Connections with the rights that deployment/k8s gives the launcher, and with none."""
    here = kubectl.within(place)
    for account in ("launcher", "nobody"):
        here.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    for path in ("base/jobs/role.yaml", "components/kuberay/role.yaml"):
        role = yaml.safe_load((SOURCE / path).read_text())
        role["metadata"]["namespace"] = place
        here.apply(role, _binding(role["metadata"]["name"], place))
    return {
        account: _connection(here, account, tmp_path_factory.mktemp(account))
        for account in ("launcher", "nobody")
    }


@pytest.fixture(autouse=True)
def _start(
    kuberay: ScriptedKubeRay, connections: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kuberay.remove_everything()
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", connections["launcher"])


def _binding(role: str, place: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "launcher", "namespace": place}],
    }


def _connection(here: Kubectl, account: str, folder: Path) -> str:
    config = here.json("config", "view", "--raw", "--minify", "--flatten")
    token = here("create", "token", account, "--duration=1h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    extra = {"kube_config_path": str(path), "namespace": here.namespace}
    return json.dumps({"conn_type": "kubernetes", "extra": extra})


@pytest.fixture
def gate(connections: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """The launcher's way to the API server, that can be closed."""
    connection = json.loads(connections["launcher"])
    config = json.loads(Path(connection["extra"]["kube_config_path"]).read_text())
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    gate = Gate(str(server.hostname), server.port or 443)
    cluster |= {"server": f"https://127.0.0.1:{gate.port}", "tls-server-name": server.hostname}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    connection["extra"]["kube_config_path"] = str(path)
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    yield gate
    gate.close()


def _submitter(script: str) -> dict[str, Any]:
    """A pod within the restricted profile that runs ``script``."""
    nobody = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    container = {
        "name": "ray",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "securityContext": nobody,
        "resources": resources,
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"spec": {"restartPolicy": "Never", "securityContext": security, "containers": [container]}}


def operator(manifest: dict[str, Any] = MANIFEST, **settings: Any) -> RayJobOperator:
    return RayJobOperator(task_id="task", manifest=manifest, poll_s=0.2, **settings)


def context(store: Store | None = None) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1, stats_tags={})
    return {"ti": ti, "task_state_store": Store() if store is None else store}


def execute(
    task: RayJobOperator | None = None, store: Store | None = None, **manifest: Any
) -> dict[str, str]:
    wanted = {"spec": MANIFEST["spec"] | manifest}
    # Unwrapped: Airflow guards `execute` against callers other than its task runner.
    result: dict[str, str] = inspect.unwrap(RayJobOperator.execute)(task or operator(wanted), context(store))
    return result


def test_a_job_that_succeeds_says_what_it_does_and_leaves_nothing(
    kuberay: ScriptedKubeRay, capsys: pytest.CaptureFixture[str]
) -> None:
    kuberay.script = [STARTING, RUNNING, COMPLETE]
    result = execute()
    assert result == {"name": NAME, "job_status": "SUCCEEDED", "deployment_status": "Complete"}
    assert f"RayJob {NAME}: succeeded" in capsys.readouterr().out
    eventually(lambda: not kuberay.jobs, 90)  # the cluster's garbage collector looks for new kinds every 30 s


@pytest.mark.parametrize(
    "end",
    [
        Said("Failed", "FAILED", "AppFailed", "Job entrypoint command failed with exit code 1"),
        Said("Failed", "", "DeadlineExceeded", "The RayJob has passed the activeDeadlineSeconds"),
        Said("Complete", "STOPPED"),
    ],
    ids=lambda said: f"{said.deployment}-{said.job or 'no job'}",
)
def test_an_end_that_is_no_success_fails_the_task(kuberay: ScriptedKubeRay, end: Said) -> None:
    kuberay.script = [STARTING, RUNNING, end]
    with pytest.raises(StepError) as failure:
        execute()
    assert end.deployment in str(failure.value)
    assert end.reason in str(failure.value)
    assert end.message in str(failure.value)
    assert [job["metadata"]["name"] for job in kuberay.jobs] == [NAME], "kept, for whoever looks"


def test_a_spec_that_kuberay_refuses_fails_at_once_and_for_good(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [Said("ValidationFailed", "", "ValidationFailed", "the RayJob spec is invalid: because")]
    with pytest.raises(AirflowFailException, match="the RayJob spec is invalid: because"):
        execute()


def test_a_manifest_that_the_api_server_refuses_fails_for_good(kuberay: ScriptedKubeRay) -> None:
    with pytest.raises(AirflowFailException, match=r"spec.backoffLimit.*integer"):
        execute(backoffLimit="three")
    assert kuberay.jobs == []


def test_a_suspended_job_waits_with_a_word_until_it_is_admitted(
    kuberay: ScriptedKubeRay, capsys: pytest.CaptureFixture[str]
) -> None:
    kuberay.script = [STARTING, RUNNING, COMPLETE]
    admission = threading.Timer(2.0, lambda: kuberay.unsuspend(kuberay.jobs[0]))
    admission.start()
    result = execute(suspend=True)
    assert result["job_status"] == "SUCCEEDED"
    assert capsys.readouterr().out.count("suspended: it waits until its queue (Kueue) admits it") == 1


def test_the_next_try_finds_the_job_at_work(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [STARTING, RUNNING]
    store = Store(ray_job=operator().submit_job(context()))  # the first worker died right after this
    (before,) = kuberay.jobs
    kuberay.script = [STARTING, RUNNING, COMPLETE]
    assert execute(store=store)["job_status"] == "SUCCEEDED"
    assert list(kuberay.seen).count(before["metadata"]["uid"]) == 1


def test_a_worker_that_died_before_it_noted_the_job_makes_no_second_one(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [STARTING, RUNNING]
    operator().submit_job(context())
    (before,) = kuberay.jobs
    assert operator().submit_job(context()) == NAME
    assert [job["metadata"]["uid"] for job in kuberay.jobs] == [before["metadata"]["uid"]]


def test_a_job_that_ended_meanwhile_is_not_run_again(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [COMPLETE]
    store = Store(ray_job=operator().submit_job(context()))
    eventually(lambda: operator().get_job_status(NAME, context()) == "succeeded", 15, every=0.2)
    many = len(kuberay.seen)
    assert execute(store=store)["job_status"] == "SUCCEEDED"
    assert len(kuberay.seen) == many


def test_a_job_that_failed_is_made_anew(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [Said("Failed", "FAILED", "AppFailed", "no")]
    store = Store()
    with pytest.raises(StepError):
        execute(store=store)
    (failed,) = kuberay.jobs
    kuberay.script = [COMPLETE]
    assert execute(store=store)["job_status"] == "SUCCEEDED"
    assert failed["metadata"]["uid"] in kuberay.seen
    assert len(set(kuberay.seen)) >= 2


def test_a_job_of_somebody_else_is_left_alone(kuberay: ScriptedKubeRay, place: str, kubectl: Kubectl) -> None:
    theirs = MANIFEST | {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": NAME, "annotations": {OWNER: "another/run/task"}},
    }
    kubectl.within(place).apply(theirs)
    with pytest.raises(AirflowFailException, match="belongs to another/run/task"):
        execute()
    assert len(kuberay.jobs) == 1


def test_a_killed_task_deletes_its_job(kuberay: ScriptedKubeRay) -> None:
    kuberay.script = [STARTING, RUNNING]
    task = operator()
    follower = threading.Thread(target=_until_it_fails, args=(task,))
    follower.start()
    eventually(lambda: len(kuberay.jobs) == 1, 15, every=0.2)
    task.on_kill()
    eventually(lambda: not kuberay.jobs, 15, every=0.2)
    follower.join(15)
    assert not follower.is_alive()


def _until_it_fails(task: RayJobOperator) -> None:
    with pytest.raises(StepError, match="was deleted while it was at work"):
        execute(task)


def test_what_the_job_prints_is_logged_once_and_in_order(
    kuberay: ScriptedKubeRay, capsys: pytest.CaptureFixture[str]
) -> None:
    kuberay.script, kuberay.submits = [STARTING, RUNNING, COMPLETE], True
    count = "for i in $(seq 1 30); do echo line $i; sleep 0.1; done; printf 'no line break'"
    execute(submitterPodTemplate=_submitter(count))
    printed = re.findall(r"\bline \d+\b|no line break", capsys.readouterr().out)
    assert printed == [*(f"line {i}" for i in range(1, 31)), "no line break"]


def test_a_failure_names_the_pods_and_the_last_lines(kuberay: ScriptedKubeRay) -> None:
    kuberay.script, kuberay.submits = [STARTING, RUNNING, Said("Failed", "FAILED", "AppFailed", "no")], True
    with pytest.raises(StepError, match=r"pod .* on .*: Failed; ray ended with 3 \(Error\)\nthe last words"):
        execute(submitterPodTemplate=_submitter("echo the last words; exit 3"))


def test_an_api_server_that_is_away_for_a_while_is_waited_for(
    kuberay: ScriptedKubeRay, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    kuberay.script = [STARTING, RUNNING]
    for seconds, change in ((2, gate.close), (5, gate.open)):
        threading.Timer(seconds, change).start()
    threading.Timer(6, kuberay.script.append, (COMPLETE,)).start()
    assert execute()["job_status"] == "SUCCEEDED"
    assert "the API server does not answer; asking again" in capsys.readouterr().out


def test_an_api_server_that_stays_away_is_an_error_and_the_job_goes_on(
    kuberay: ScriptedKubeRay, gate: Gate
) -> None:
    kuberay.script = [STARTING, RUNNING]
    threading.Timer(2, gate.close).start()
    with pytest.raises(StoreError, match="has not answered"):
        execute(operator(patience_s=1.0))
    assert len(kuberay.jobs) == 1


def test_a_training_is_valid_for_kuberay_and_its_pods_fit_the_profile(place: str, kubectl: Kubectl) -> None:
    here = kubectl.within(place)
    here.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "step"}})
    pipeline = load_pipeline(SOURCE.parents[1] / "dags" / "cartpole.yaml").to_json()
    pipeline["orchestration"] = {"placement": "ray_job", "ray": {"workers": 1, "queue": "training"}}
    request = StepRequest("train", "cartpole/r", "1-a", Artifact(name="r", sha256="0" * 64, size=1))
    settings = PodSettings(image=IMAGE, gpus=1, runtime_class="nvidia", node_selector={"gpu": "a100"})
    training = ray_job_manifest(PipelineSpec.model_validate(pipeline), settings, request)
    training |= {"apiVersion": "ray.io/v1", "kind": "RayJob"}
    training["metadata"]["name"] = "training"
    cluster = training["spec"]["rayClusterSpec"]
    _try(here, training)
    for template in (
        cluster["headGroupSpec"]["template"],
        cluster["workerGroupSpecs"][0]["template"],
        training["spec"]["submitterPodTemplate"],
    ):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **template["metadata"]}}
        _try(here, pod | {"spec": template["spec"] | {"runtimeClassName": None}})  # the class is a GPU node's


def _try(here: Kubectl, manifest: dict[str, Any]) -> None:
    """Have the API server judge an object, unknown fields too, without keeping it."""
    here("create", "--dry-run=server", "--validate=strict", "--filename", "-", text=json.dumps(manifest))


def test_a_step_of_a_pipeline_is_taken_up_by_the_next_try(
    kuberay: ScriptedKubeRay, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``prepare``, which asks for nothing that other steps made; training asks for more."""
    monkeypatch.setenv("DRL_POD", json.dumps({"image": IMAGE}))
    run = Run("cartpole", "cartpole/r", airflow({"prepare": "running"}))
    journal = RunJournal(FolderExchange(tmp_path), run.key)
    resolved = Artifact(name="resolved.json", sha256="0" * 64, size=1)
    journal.once("resolved.ref.json", resolved.to_json)
    spec = load_pipeline(SOURCE.parents[1] / "dags" / "cartpole.yaml")
    vars(run).update(journal=journal, spec=spec, resolved={"champion": None})
    kuberay.script = [STARTING, RUNNING]
    first, second = (StepRequest("prepare", run.key, attempt, resolved) for attempt in ("1-a", "2-b"))
    manifest = ray_job_manifest(spec, PodSettings(image=IMAGE), first)
    made = jobs_of_connection("kubernetes_default", None).create_or_adopt(manifest, f"{run.key}/prepare")
    kuberay.script = [STARTING, RUNNING, COMPLETE]
    task = RayStepOperator(task_id="prepare", step="prepare", pipeline="cartpole")
    performed = task._perform(run, second)
    assert performed.request == first
    assert performed.observed["ray_job"] == f"{place}/{made['metadata']['name']}"
    assert performed.observed["ray_job_uid"] == made["metadata"]["uid"]
    task.on_kill()
    eventually(lambda: not kuberay.jobs, 30)


def airflow(states: dict[str, str], run: str = "running") -> Any:
    """The context of a task of a run ``r``, in an Airflow that says this of its tasks and of the run."""
    ti = SimpleNamespace(
        dag_id="cartpole",
        run_id="r",
        task_id="train",
        get_task_states=lambda dag_id, run_ids: {"r": states} if run_ids == ["r"] else {},
        get_dagrun_state=lambda dag_id, run_id: run,
    )
    return {"ti": ti}


def left_by(task: str, run: str = "r") -> dict[str, Any]:
    """A RayJob as a training of ``task`` makes it."""
    spec = load_pipeline(SOURCE.parents[1] / "dags" / "cartpole.yaml")
    request = StepRequest("train", f"cartpole/{run}", "1-a", Artifact(name="r", sha256="0" * 64, size=1))
    manifest = ray_job_manifest(spec, PodSettings(image=IMAGE), request)
    context = {"ti": SimpleNamespace(dag_id="cartpole", run_id=run, task_id=task)}
    manifest["metadata"]["annotations"] |= whose(context)
    return manifest


def test_jobs_whose_task_is_over_are_deleted_and_no_others(kuberay: ScriptedKubeRay) -> None:
    jobs = jobs_of_connection("kubernetes_default", None)
    made = {
        (task, run): jobs.create_or_adopt(left_by(task, run), f"{run}/{task}")["metadata"]["name"]
        for task, run in (("train", "r"), ("train_again", "r"), ("train", "anothers"))
    }
    theirs = jobs.create_or_adopt(MANIFEST, "somebody's")["metadata"]["name"]
    context = airflow({"train": "failed", "train_again": "up_for_retry"})
    assert reap_ray_jobs(jobs, task_is_over(context)) == [made["train", "r"]]
    eventually(lambda: len(kuberay.jobs) == 3, 30)
    assert {job["metadata"]["name"] for job in kuberay.jobs} == {*made.values(), theirs} - {
        made["train", "r"]
    }


def test_without_the_component_there_are_no_jobs_to_reap(
    connections: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", connections["nobody"])
    assert reap_ray_jobs(jobs_of_connection("kubernetes_default", None), lambda *_: True) == []


def test_without_the_component_it_says_what_is_missing(
    connections: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", connections["nobody"])
    with pytest.raises(StoreError, match="components/kuberay"):
        execute()


def test_the_launcher_may_do_nothing_more_with_rayjobs(place: str, kubectl: Kubectl) -> None:
    account = f"--as=system:serviceaccount:{place}:launcher"
    may = {
        verb: kubectl.within(place).run("auth", "can-i", verb, "rayjobs.ray.io", account).returncode == 0
        for verb in ("create", "get", "delete", "list", "watch", "patch", "update", "deletecollection")
    }
    assert [verb for verb, allowed in may.items() if allowed] == ["create", "get", "delete", "list"]
