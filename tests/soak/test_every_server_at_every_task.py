"""The whole matrix: each server dead before each task. `make soak`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from airflow_runs import AirflowBundle, kill_server, write_pipeline
from operator_runs import OperatorRun, replay_steps, state_of

from drl.errors import StoreError
from drl.local.stack import Stack
from drl.steps.request import StepResult

SERVERS = ["s3", "postgres", "bolt", "evm", "mlflow"]
TASKS = [
    "resolve",
    "open_run",
    "train",
    "evaluate",
    "publish",
    "register_model",
    "seal",
    "close_run",
    "record_lineage",
    "promote",
    "record_promotion",
]


@pytest.fixture(scope="module")
def recorded(airflow_here: AirflowBundle) -> dict[str, StepResult]:
    """What the steps of a tiny run answered; their outputs stay in the store by digest."""
    run = OperatorRun(write_pipeline(airflow_here.dags, "soak_recorded"), "recorded")
    run.execute_all()
    return {step: run.run.result(step) for step in ("train", "evaluate")}


@pytest.fixture
def servers(stack: Stack) -> Iterator[Stack]:
    """The stack, of which a test may kill servers; all run again afterwards."""
    yield stack
    stack.up()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("server", SERVERS)
def test_dead_at_the_start_of_a_task(
    airflow_here: AirflowBundle,
    servers: Stack,
    recorded: dict[str, StepResult],
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    task: str,
) -> None:
    replay_steps(monkeypatch, recorded)
    run = OperatorRun(write_pipeline(airflow_here.dags, f"soak_{server}_{task}"), "dead")
    at = run.tasks.index(task)
    for earlier in run.tasks[:at]:
        run.execute(earlier)
    kill_server(servers, server)
    with suppress(StoreError):  # a task that does not need this server goes on
        run.execute(task)
    servers.up()
    for later in run.tasks[at:]:
        run.execute(later)
    found = state_of(run)
    assert found["account"]["opened"] == 1
    assert found["account"]["closed"] == {"PROMOTE": 1, "HOLD": 0, "REJECT": 0}
    assert (found["versions"], found["champion"], found["mlflow_runs"]) == ([1], 1, 1)
