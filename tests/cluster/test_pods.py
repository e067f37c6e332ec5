"""Steps as pods on a real cluster: the same policy as in subprocesses, and no run lost with a pod."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow_fixtures import bundle, recorded, records
from airflow_runs import DagTest, Records, public_keys
from cluster.images import BUILD_SECONDS
from cluster.kubernetes_api import Kubectl
from cluster.step_namespace import IMAGE, PodBundle, explained, pod_bundle

from drl.local.stack import Stack
from drl.steps.request import AcceptedStep, StepResult

__all__ = ["bundle", "recorded", "records"]  # fixtures

pytestmark = [pytest.mark.usefixtures("images"), pytest.mark.timeout(BUILD_SECONDS)]


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl, namespace: Callable[[str], str], stack: Stack) -> Iterator[PodBundle]:
    """A bundle whose steps are pods of a throw-away namespace."""
    within = kubectl.within(namespace("pods"))
    with (
        tempfile.TemporaryDirectory(prefix="drl-pods-") as folder,
        pod_bundle(stack, Path(folder), within) as bundle,
    ):
        yield bundle


@pytest.fixture(scope="module")
def finished(pods: PodBundle) -> DagTest:
    """A whole run, its training and evaluation in pods, with the seeds of ``recorded``."""
    return pods.begin("pods_parity").wait()


def accepted(records: Records, pipeline: str, step: str) -> AcceptedStep:
    return AcceptedStep.from_json(records.journal(records.runs(pipeline)[0]).read_json(f"{step}.json"))


def test_a_run_in_pods_gives_the_policies_of_a_run_in_subprocesses(
    finished: DagTest, records: Records, recorded: dict[str, StepResult]
) -> None:
    assert finished.succeeded, explained(finished)
    in_pod = accepted(records, "pods_parity", "train").result.summary
    assert in_pod["model_roots"] == recorded["train"].summary["model_roots"]
    assert in_pod["model_root"] == recorded["train"].summary["model_root"]


def test_the_evaluation_in_a_pod_decides_the_same(
    finished: DagTest, records: Records, recorded: dict[str, StepResult]
) -> None:
    decisions = [
        result.summary["decision"]
        for result in (accepted(records, "pods_parity", "evaluate").result, recorded["evaluate"])
    ]
    assert decisions[0] == decisions[1]


def test_the_signed_statement_says_which_pod_and_which_image(
    finished: DagTest, records: Records, pods: PodBundle
) -> None:
    journal = records.journal(records.runs("pods_parity")[0])
    statement = journal.statement("train", public_keys(pods.keys))
    details = statement["predicate"]["runDetails"]
    assert details["builder"]["id"] == "urn:drl:builder:pod:v1"
    (observed,) = [b["annotations"] for b in details["byproducts"] if b["name"] == "observed"]
    assert observed["exit_code"] == 0
    assert observed["image"] == IMAGE
    assert len(observed["image_id"].partition("sha256:")[2]) == 64
    assert observed["pod"].startswith(f"{pods.kubectl.namespace}/pods-parity-train-")


def test_the_pods_lines_are_the_task_log_and_its_numbers_the_curves(finished: DagTest) -> None:
    assert re.search(r"seed-1: 6,\d+ of 6,144 time steps", finished.log)
    assert '{"event"' not in finished.log
    assert "no live curves" not in finished.log


def test_nothing_is_left_of_a_run_that_ended_well(finished: DagTest, pods: PodBundle) -> None:
    assert pods.pods("drl.pipeline=pods_parity") == []


def seconds_beside_the_work(records: Records, pipeline: str, step: str) -> float:
    """What a step's task took beyond the step's own work: start, imports, checks, signing."""
    result = accepted(records, pipeline, step).result
    work = datetime.fromisoformat(result.finished) - datetime.fromisoformat(result.started)
    journal = records.journal(records.runs(pipeline)[0])
    return float(journal.read_json(f"times/{step}.json")["seconds"]) - work.total_seconds()


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_a_pod_costs_seconds_not_minutes(
    step: str, finished: DagTest, records: Records, recorded: dict[str, StepResult]
) -> None:
    pod = seconds_beside_the_work(records, "pods_parity", step)
    subprocess = seconds_beside_the_work(records, "recorded", step)
    print(f"{step}, beside its own work: {pod:.1f} s as a pod, {subprocess:.1f} s as a subprocess")
    assert pod - subprocess < 60


@pytest.fixture(scope="module")
def interrupted(pods: PodBundle) -> dict[str, Any]:
    """A run whose Airflow is killed in training; the next one loses its pod, as `kubectl drain` takes it."""
    first = pods.begin("pods_lost", time_steps=61_440, seeds=[3])
    first.wait_for(r"seed-0: 4,\d+ of 61,440", timeout=300)
    first.kill()
    (left,) = pods.pods("drl.step=train")

    second = pods.start("pods_lost")
    second.wait_for(r"seed-0: 8,\d+ of 61,440", timeout=300)
    (taken,) = pods.pods("drl.step=train")
    pods.kubectl("delete", "pod", taken["metadata"]["name"], "--wait=false")
    return {"left": left, "taken": taken, "run": second.wait(600)}


def test_a_pod_works_on_without_its_airflow_and_the_next_run_deletes_it(interrupted: dict[str, Any]) -> None:
    left, taken = interrupted["left"], interrupted["taken"]
    assert left["status"]["phase"] == "Running"
    assert left["metadata"]["uid"] != taken["metadata"]["uid"]
    assert f"deleting pod {left['metadata']['name']}: its task is over" in interrupted["run"].log


def test_a_deleted_pod_is_told_of_and_the_next_goes_on_from_its_checkpoint(
    interrupted: dict[str, Any], records: Records
) -> None:
    run: DagTest = interrupted["run"]
    assert run.succeeded, explained(run)
    assert "was deleted while it worked" in run.log
    assert "asked to stop; seed-0 is kept up to iteration" in run.log
    assert "seed-0: continues from iteration" in run.log
    assert accepted(records, "pods_lost", "train").request.attempt.startswith("2-")
