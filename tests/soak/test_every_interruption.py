"""The whole matrix of sudden ends: at each call to an outside system alone, and ``kill -9`` in each task."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_runs import AirflowBundle, Records, all_gone, write_pipeline
from operator_runs import Interrupted, Interruptions, OperatorRun, replay_steps, state_of

from drl.steps.request import StepResult

TASKS = [
    *("resolve", "open_run", "train", "evaluate", "publish", "register_model", "seal", "close_run"),
    *("record_lineage", "verdict", "promote", "record_promotion"),
]


@pytest.fixture(scope="module")
def recorded(airflow_here: AirflowBundle) -> dict[str, StepResult]:
    """What the steps of a tiny run answered; their outputs stay in the store by digest."""
    run = OperatorRun(write_pipeline(airflow_here.dags, "soak_calls_recorded"), "recorded")
    run.execute_all()
    return {step: run.run.result(step) for step in ("train", "evaluate")}


def assert_one_of_everything(found: dict[str, Any]) -> None:
    assert found["account"]["opened"] == 1
    assert found["account"]["closed"] == {"PROMOTE": 1, "HOLD": 0, "REJECT": 0}
    assert [entry["entry"] for entry in found["entries"]] == ["opening", "closing", "note"]
    assert (found["versions"], found["champion"], found["mlflow_runs"]) == ([1], 1, 1)


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupted_at_one_call_alone(
    airflow_here: AirflowBundle, recorded: dict[str, StepResult], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    replay_steps(monkeypatch, recorded)
    at, ended = 0, True
    while ended:  # until a run has fewer calls than that
        run = OperatorRun(write_pipeline(airflow_here.dags, f"soak_{when}_{at}"), "alone")
        interruptions = Interruptions(when, at)
        ended = False
        with pytest.MonkeyPatch.context() as patch:
            interruptions.install(patch)
            for task in run.tasks:
                try:
                    run.execute(task)
                except Interrupted:
                    ended = True
                    run.execute(task)
        assert_one_of_everything(state_of(run))
        at += 1
    assert at > 60


@pytest.mark.parametrize("moment", ["starting task_id={}", "end task task_id={}"])
@pytest.mark.parametrize("task", TASKS)
def test_airflow_killed_at_a_task(
    airflow_here: AirflowBundle, records: Records, task: str, moment: str
) -> None:
    """Nothing lives on; the killed run can be ended; and so can a new one."""
    name = f"soak_kill_{task}_{moment[:3]}"
    file = write_pipeline(airflow_here.dags, name)
    killed = airflow_here.start(name)
    killed.wait_for(moment.format(task) + r"\b")
    started = killed.descendants()
    killed.kill()
    assert all_gone(started) == []
    run_id = killed.run_id
    run = OperatorRun(file, run_id)
    run.execute_all()
    assert_one_of_everything(state_of(run))
    again = airflow_here.test(name)
    assert again.succeeded, again.log[-5000:]
    assert len(records.runs(name)) == 2
