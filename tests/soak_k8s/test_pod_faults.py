"""Every way in which a step's pod is lost, or cannot be had, on a real cluster: each run ends right.

What each showed, with date and machine, is in docs/operations.md under "Steps in pods".
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from airflow_fixtures import bundle, recorded, records
from airflow_runs import DagTest, Records, write_pipeline
from airflow_server import AirflowServer
from cluster.forwarder import Forwarder, forwarded
from cluster.kubernetes_api import Kubectl, eventually
from cluster.step_namespace import IMAGE, SMALL, PodBundle, explained, pod_bundle

from drl.local.stack import Stack
from drl.steps.journal import run_key
from drl.steps.request import AcceptedStep

__all__ = ["bundle", "recorded", "records"]  # fixtures

pytestmark = [pytest.mark.usefixtures("images"), pytest.mark.timeout(1200)]

LONG: dict[str, Any] = {"time_steps": 245_760, "seeds": [3]}
UNDER_WAY = r"seed-0: 8,\d+ of 245,760"

# Let the kernel choose the training when memory runs out: it is the largest of what has the highest score.
_HOG = """
import os, time
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) not in (1, os.getpid()):
        try:
            open(f"/proc/{pid}/oom_score_adj", "w").write("1000")
        except OSError:
            pass
for _ in range(80):
    if not os.fork():
        kept = os.urandom(1 << 20) * 32
        time.sleep(60)
        os._exit(0)
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl, namespace: Callable[[str], str], stack: Stack) -> Iterator[PodBundle]:
    """A bundle whose steps are pods of a throw-away namespace."""
    within = kubectl.within(namespace("faults"))
    with (
        tempfile.TemporaryDirectory(prefix="drl-pods-") as folder,
        pod_bundle(stack, Path(folder), within) as made,
    ):
        yield made


def training_pod(pods: PodBundle) -> str:
    (pod,) = pods.pods("drl.step=train")
    name: str = pod["metadata"]["name"]
    return name


def lose_and_finish(pods: PodBundle, name: str, lose: Callable[[str], None]) -> DagTest:
    """Start a training, do something to its pod in the middle, and wait for the end."""
    run = pods.begin(name, **LONG)
    run.wait_for(UNDER_WAY, timeout=300)
    lose(training_pod(pods))
    return run.wait(600)


def assert_resumed(run: DagTest, records: Records, name: str) -> None:
    """The run succeeded in its second try, which went on from a checkpoint of the first."""
    assert run.succeeded, explained(run)
    assert "seed-0: continues from iteration" in run.log, explained(run)
    accepted = AcceptedStep.from_json(records.journal(records.runs(name)[0]).read_json("train.json"))
    assert accepted.request.attempt.startswith("2-")


def test_a_pod_whose_training_ran_out_of_memory(pods: PodBundle, records: Records) -> None:
    def lose(pod: str) -> None:
        done = pods.kubectl.run("exec", pod, "--", "python", "-c", _HOG, timeout=120)
        print(f"the hog ended with {done.returncode}: {done.stderr[-500:]}")

    run = lose_and_finish(pods, "faults_memory", lose)
    assert_resumed(run, records, "faults_memory")
    assert "failed: OOMKilled" in run.log
    assert "raise orchestration.pod.memory" in run.log


def test_a_pod_that_the_node_evicts_for_its_scratch(pods: PodBundle, records: Records) -> None:
    def lose(pod: str) -> None:
        fill = ["dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=2500"]
        pods.kubectl("exec", pod, "--", *fill, timeout=120)

    run = lose_and_finish(pods, "faults_evicted", lose)
    assert_resumed(run, records, "faults_evicted")
    assert "failed: Evicted" in run.log
    assert 'emptyDir volume "scratch"' in run.log or 'EmptyDir volume "scratch"' in run.log


def test_a_pod_that_is_drained(pods: PodBundle, records: Records) -> None:
    """What `kubectl drain --pod-selector` does to a pod, without cordoning everybody's node."""

    def lose(pod: str) -> None:
        place = f"/api/v1/namespaces/{pods.kubectl.namespace}/pods/{pod}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        pods.kubectl("create", "--raw", place, "--filename", "-", text=json.dumps(eviction))

    run = lose_and_finish(pods, "faults_drained", lose)
    assert_resumed(run, records, "faults_drained")
    assert "was deleted while it worked" in run.log
    assert "asked to stop; seed-0 is kept up to iteration" in run.log


def test_an_image_that_is_nowhere_fails_within_a_minute_a_try(pods: PodBundle) -> None:
    begin = time.monotonic()
    run = pods.begin("faults_image", pod={"image": "localhost/nobody-made-this:1"}, **LONG).wait(300)
    assert not run.succeeded
    assert run.log.count("did not start: Image cannot be pulled") >= 2  # both tries
    assert "load the image on the node" in run.log
    assert time.monotonic() - begin < 180
    assert pods.pods() == []


def test_a_pod_that_no_node_can_take_fails_after_the_time_that_is_set(pods: PodBundle) -> None:
    run = pods.begin("faults_place", pod={"gpus": 64, "pending_minutes": 1}, **LONG).wait(400)
    assert not run.succeeded
    assert "Insufficient nvidia.com/gpu" in run.log
    assert "ask for less in orchestration.pod" in run.log
    assert pods.pods() == []


def test_a_cluster_whose_api_server_is_away_for_half_a_minute(
    pods: PodBundle, records: Records, tmp_path: Path
) -> None:
    """The pod works on; this try or the next follows the same pod to its end."""
    with cuttable_cluster(tmp_path) as (kubeconfig, cable):
        pods.reach_cluster_by(kubeconfig)
        try:
            run = pods.begin("faults_api", **LONG)
            run.wait_for(UNDER_WAY, timeout=300)
            (before,) = pods.pods("drl.step=train")
            cable.cut()
            time.sleep(30)
            cable.mend()
            run.wait(600)
        finally:
            pods.reach_cluster_by(Path(os.environ["KUBECONFIG"]))
    assert run.succeeded, explained(run)
    accepted = AcceptedStep.from_json(records.journal(records.runs("faults_api")[0]).read_json("train.json"))
    assert accepted.observed["pod_uid"] == before["metadata"]["uid"]
    assert "continues from iteration" not in run.log


@contextmanager
def cuttable_cluster(folder: Path) -> Iterator[tuple[Path, Forwarder]]:
    """The cluster behind a cable of the test's own: its kubeconfig, and the cable."""
    value = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    (cluster,) = [each["cluster"] for each in value["clusters"]]
    server = urlsplit(cluster["server"])
    with forwarded("127.0.0.1", server.port or 443, to_host=str(server.hostname)) as cable:
        cluster |= {"server": f"https://{cable.address}", "tls-server-name": server.hostname}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(value))
        yield path, cable


# ------------------------------------------------------------------------------------ the scheduler is killed


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowServer]:
    """Airflow's components, for real, in a home of their own."""
    monkeypatch.setenv("DRL_PLACEMENT", "pod")
    monkeypatch.setenv("DRL_POD", json.dumps({"image": IMAGE, **SMALL}))
    with tempfile.TemporaryDirectory(prefix="drl-ui-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        server = AirflowServer(Path(folder) / "home", Path(folder) / "more")
        try:
            server.drl("stack", "up")
            yield server
        finally:
            server.stop()
            Stack.at(server.home).reset()


def test_a_scheduler_that_is_killed_finds_the_same_pod_again(
    server: AirflowServer, kubectl: Kubectl, namespace: Callable[[str], str]
) -> None:
    within = kubectl.within(namespace("scheduler"))
    folder = server.home.parent / "more"
    with pod_bundle(Stack.at(server.home), folder, within) as pods:
        write_pipeline(pods.dags, "faults_scheduler", training=LONG)
        connection = json.loads(pods.environment["AIRFLOW_CONN_KUBERNETES_DEFAULT"])
        extra = ["--conn-type", "kubernetes", "--conn-extra", json.dumps(connection["extra"])]
        server.drl("airflow", "connections", "add", "kubernetes_default", *extra)
        server.start()
        server.log_in()
        server.pause("faults_scheduler", False)
        run = server.trigger("faults_scheduler")
        eventually(lambda: "8,1" in _train_log(within), 300)
        (before,) = pods.pods("drl.step=train")
        for process in [*server.processes, server.process]:
            if process is not None:
                process.send_signal(signal.SIGKILL)
        server.start()
        server.log_in()
        server.wait("faults_scheduler", run, 600)
        accepted = _accepted(Stack.at(server.home), run_key("faults_scheduler", run))
    assert accepted.observed["pod_uid"] == before["metadata"]["uid"]


def _train_log(kubectl: Kubectl) -> str:
    return kubectl.run("logs", "--selector", "drl.step=train", "--tail", "-1").stdout


def _accepted(stack: Stack, key: str) -> AcceptedStep:
    return AcceptedStep.from_json(Records(stack).journal(key).read_json("train.json"))
