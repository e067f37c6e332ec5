"""Trouble of each kind once: killed processes, dead servers, bad input, tasks run again after the seal.

The whole matrix, every task and every server at every moment, is in ``tests/soak``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import (
    AirflowBundle,
    Records,
    all_gone,
    eventually,
    kill_server,
    public_keys,
    write_pipeline,
)
from operator_runs import (
    Interrupted,
    Interruptions,
    OperatorRun,
    logged,
    replay_steps,
    state_of,
)

from drl.errors import StepError, StoreError
from drl.local.stack import Stack
from drl.steps.lineage import run_lineage
from drl.steps.request import StepResult
from operators import connections
from operators.live_metrics import LiveMetrics

BEFORE_TRAINING = ["resolve", "open_run"]


@pytest.fixture
def replayed(recorded: dict[str, StepResult], monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take no time, for tests of what happens around them."""
    replay_steps(monkeypatch, recorded)


@pytest.fixture
def servers(stack: Stack) -> Iterator[Stack]:
    """The stack, of which a test may kill servers; all run again afterwards."""
    yield stack
    stack.up()


def up_to(run: OperatorRun, task: str) -> OperatorRun:
    """Execute every task before ``task``."""
    for earlier in run.tasks[: run.tasks.index(task)]:
        run.execute(earlier)
    return run


def assert_whole(run: OperatorRun) -> None:
    """One of everything: run, transactions, version, MLflow run; promoted; and in the graph as derived."""
    found = state_of(run)
    assert found["account"]["opened"] == 1
    assert found["account"]["closed"] == {"PROMOTE": 1, "HOLD": 0, "REJECT": 0}
    assert [entry["entry"] for entry in found["entries"]] == ["opening", "closing", "note"]
    assert (found["versions"], found["champion"], found["mlflow_runs"]) == ([1], 1, 1)
    with connections.lineage_graph() as graph:
        counts = graph.record_run(run_lineage(run.journal))
    assert (counts.nodes_created, counts.relations_created) == (0, 0)


# --------------------------------------------------------------------- interrupted anywhere, run again


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.usefixtures("replayed")
def test_a_run_interrupted_at_every_call_ends_as_if_it_never_was(
    airflow_here: AirflowBundle, when: str
) -> None:
    run = OperatorRun(write_pipeline(airflow_here.dags, f"faults_{when}"), "interrupted")
    interruptions = Interruptions(when)
    ended = 0
    with pytest.MonkeyPatch.context() as patch:
        interruptions.install(patch)
        for task in run.tasks:
            while True:
                try:
                    run.execute(task)
                except Interrupted:
                    ended += 1
                else:
                    break
    assert ended == len(interruptions.seen) > 60
    for call in ("Ledger.open", "Ledger.close", "Ledger.note", "LineageGraph.record_run", "set_champion"):
        assert any(call in seen for seen in interruptions.seen), call
    assert_whole(run)
    undisturbed = OperatorRun(write_pipeline(airflow_here.dags, f"faults_{when}_not"), "undisturbed")
    undisturbed.execute_all()
    assert run.journal.names() == undisturbed.journal.names()


@pytest.mark.usefixtures("replayed")
def test_every_task_may_run_again_at_once_and_after_the_end(airflow_here: AirflowBundle) -> None:
    run = OperatorRun(write_pipeline(airflow_here.dags, "faults_twice"), "twice")
    for task in run.tasks:
        assert run.execute(task) == run.execute(task), task
    assert_whole(run)
    before = state_of(run)
    run.execute_all()
    assert state_of(run) == before


# ---------------------------------------------------------------------------------------- dead servers


@pytest.mark.parametrize(
    ("server", "task", "named"),
    [
        ("s3", "resolve", "S3 at http://127.0.0.1"),
        ("mlflow", "resolve", "MLflow at http://127.0.0.1"),
        ("evm", "open_run", "chain"),
        ("postgres", "open_run", "PostgreSQL"),
        ("s3", "seal", "S3 at http://127.0.0.1"),
        ("mlflow", "register_model", "MLflow at http://127.0.0.1"),
        ("evm", "close_run", "chain"),
        ("bolt", "record_lineage", "graph at bolt://127.0.0.1"),
        ("postgres", "promote", "PostgreSQL"),
    ],
)
@pytest.mark.usefixtures("replayed")
def test_a_dead_server_is_named_and_the_retry_ends_right(
    airflow_here: AirflowBundle, servers: Stack, server: str, task: str, named: str
) -> None:
    run = up_to(OperatorRun(write_pipeline(airflow_here.dags, f"faults_{server}_{task}"), "dead"), task)
    kill_server(servers, server)
    start = time.monotonic()
    with pytest.raises(StoreError) as error:
        run.execute(task)
    assert time.monotonic() - start < 45
    assert named in error.value.message
    assert error.value.remedy
    servers.up()
    for later in run.tasks[run.tasks.index(task) :]:
        run.execute(later)
    assert_whole(run)


def test_a_chain_that_is_down_is_waited_for_without_a_worker(
    airflow_here: AirflowBundle, servers: Stack
) -> None:
    write_pipeline(airflow_here.dags, "faults_waiting", training={"seeds": [5]})
    test = airflow_here.start("faults_waiting")
    test.wait_for(r"end task task_id=resolve\b")
    kill_server(servers, "evm")
    test.wait_for("next try in 15 s, the last one before")
    test.wait_for("Pausing task as DEFERRED")
    servers.up()
    assert test.wait().succeeded, test.log[-5000:]
    run = OperatorRun(airflow_here.dags / "faults_waiting.yaml", test.run_id)
    assert_whole(run)


def test_curves_missed_while_mlflow_was_dead_are_completed(
    airflow_here: AirflowBundle, servers: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write_pipeline(airflow_here.dags, "faults_curves", training={"time_steps": 16384, "seeds": [5]})
    run = up_to(OperatorRun(file, "curves"), "train")
    forwarded = 0
    add = LiveMetrics.add

    def kill_at_the_third(self: LiveMetrics, series: str, step: int, values: dict[str, float]) -> None:
        nonlocal forwarded
        forwarded += 1
        if forwarded == 3:
            assert eventually(lambda: self._points.empty())  # two are on their way or there
            kill_server(servers, "mlflow")
        add(self, series, step, values)

    monkeypatch.setattr(LiveMetrics, "add", kill_at_the_third)
    with logged() as messages:
        run.execute("train")
    assert [m for m in messages if "the metrics file completes them later" in m]
    run.execute("evaluate")
    servers.up()
    registry = connections.model_registry()
    (kept,) = registry._client.search_runs([registry.ensure_experiment("faults_curves")])
    seen = len(registry._client.get_metric_history(kept.info.run_id, "seed-0/return_mean_100"))
    assert seen < forwarded
    run.execute_all(run.tasks[run.tasks.index("publish") :])
    history = registry._client.get_metric_history(kept.info.run_id, "seed-0/return_mean_100")
    curve = run.run.result("train").output("seed-0/metrics.jsonl")
    lines = run.run.store.get(curve, tmp_path).read_text().splitlines()
    assert sorted(m.step for m in history) == [json.loads(line)["time_steps"] for line in lines]
    assert len(lines) == forwarded
    assert_whole(run)


# ------------------------------------------------------------------------------------------- bad input


BROKEN = """
import gymnasium, numpy


class Burning(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        self.time += 1
        if self.time > 300:
            raise OverflowError("the battery caught fire")
        return numpy.zeros(2, numpy.float32), 0.0, False, False, {}
"""


def test_an_environment_that_raises_fails_the_task_with_its_traceback(
    airflow_here: AirflowBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (airflow_here.dags / "burning.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(airflow_here.dags)
    file = write_pipeline(airflow_here.dags, "faults_fire", environment={"entry_point": "burning:Burning"})
    run = up_to(OperatorRun(file, "fire"), "train")
    earlier = set(psutil.Process().children(recursive=True))
    with pytest.raises(StepError, match="the battery caught fire") as error:
        run.execute("train")
    assert "burning.py" in error.value.message
    assert "in step" in error.value.message
    assert not run.journal.has("train.json")
    assert connections.ledger().account("faults_fire")[0].receipt.run == 1  # opened: everybody can count it
    python = [
        p for p in psutil.Process().children(recursive=True) if p not in earlier and "step" in p.cmdline()
    ]
    assert not all_gone(python, timeout=10)


def prices(folder: Path, name: str, *, dirty: bool = False, sha256: str = "latest") -> dict[str, Any]:
    """The data section of a pipeline over forty days of hourly prices."""
    rows = [
        f"2024-{1 + day // 28:02}-{1 + day % 28:02} {hour:02}:00:00,{'9999' if dirty and hour == 7 else 40}"
        for day in range(40)
        for hour in range(24)
    ]
    (folder / f"{name}.csv").write_text("\n".join(["timestamp,price", *rows]) + "\n")
    suite = {
        "name": name,
        "expectations": [
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "price", "min_value": -500, "max_value": 4000},
            }
        ],
    }
    (folder / f"{name}.expectations.json").write_text(json.dumps(suite))
    return {
        "source": {"kind": "file", "path": f"{name}.csv", "sha256": sha256},
        "cleaning": [
            {"rule": "parse_timestamps", "column": "timestamp", "formats": ["%Y-%m-%d %H:%M:%S"]},
            {"rule": "parse_numbers", "columns": ["price"]},
        ],
        "expectations": f"{name}.expectations.json",
        "splits": {
            "time_column": "timestamp",
            "train": {"from": "2024-01-01", "to": "2024-01-20"},
            "validation": {"from": "2024-01-20", "to": "2024-01-26"},
            "test": {"from": "2024-01-26", "to": "2024-02-10"},
        },
    }


def test_a_failed_expectation_keeps_the_rows_and_the_attempt_is_seen(
    airflow_here: AirflowBundle, records: Records
) -> None:
    data = prices(airflow_here.dags, "faults_dirty", dirty=True)
    run = OperatorRun(write_pipeline(airflow_here.dags, "faults_dirty", data=data), "dirty")
    run.execute_all(BEFORE_TRAINING)
    with pytest.raises((StepError, AirflowFailException)) as error:
        run.execute("prepare")
    assert "expect_column_values_to_be_between" in str(error.value)
    assert "9999" in str(error.value)
    (key,) = [key for key in records.store.list(f"runs/{run.key}/prepare/") if key.endswith("refused.json")]
    kept = {item["name"]: item for item in records.store.read_json(key) or []}
    assert {"rejected.parquet", "expectations.json", "data_docs.html"} <= set(kept)
    assert not run.journal.has("prepare.json")
    ledger = state_of(run)["account"]
    assert (ledger["opened"], ledger["unclosed"]) == (1, [1])


def test_a_source_with_another_digest_is_refused(airflow_here: AirflowBundle) -> None:
    data = prices(airflow_here.dags, "faults_digest", sha256="0" * 64)
    run = OperatorRun(write_pipeline(airflow_here.dags, "faults_digest", data=data), "digest")
    run.execute_all(BEFORE_TRAINING)
    with pytest.raises((StepError, AirflowFailException), match="0000000") as error:
        run.execute("prepare")
    assert "faults_digest.csv" in str(error.value)


# ----------------------------------------------------------------------------------------- kill -9


@pytest.fixture(scope="module")
def killed(bundle: AirflowBundle) -> dict[str, Any]:
    """A run whose process is killed in the middle of training; the next one loses its step's process."""
    long = {"time_steps": 61_440, "seeds": [3]}
    write_pipeline(bundle.dags, "faults_killed", training=long, orchestration={"retries": 1})
    found: dict[str, Any] = {}

    first = bundle.start("faults_killed")
    first.wait_for(r"seed-0: 4,\d+ of 61,440")
    started = first.descendants()
    found["steps"] = [p for p in started if "step" in p.cmdline()]
    first.kill()
    found["left of first"] = all_gone(started)
    found["states at first"] = states(bundle)

    second = bundle.start("faults_killed")
    second.wait_for(r"seed-0: 4,\d+ of 61,440")
    found["states at second"] = states(bundle)
    found["refused"] = drl(bundle, "airflow", "dags", "test", "faults_killed")
    started = second.descendants()
    (step,) = [p for p in started if p.cmdline()[1:4] == ["-m", "drl", "step"]]
    step.kill()
    found["second"] = second.wait()
    found["left of second"] = all_gone(started)
    found["states at last"] = states(bundle)
    return found


def drl(bundle: AirflowBundle, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DRL_HOME": str(bundle.stack.home.path)}
    command = [sys.executable, "-m", "drl", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def states(bundle: AirflowBundle) -> list[str]:
    """States of the runs of the killed DAG in Airflow's database, in their order."""
    with psycopg.connect(bundle.address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT state FROM dag_run WHERE dag_id = 'faults_killed' ORDER BY id")
        return [state for (state,) in cursor.fetchall()]


def test_a_killed_run_leaves_no_process(killed: dict[str, Any]) -> None:
    assert len(killed["steps"]) == 2  # the supervisor and the step
    assert killed["left of first"] == []


def test_the_next_start_marks_the_killed_run_failed(killed: dict[str, Any]) -> None:
    assert killed["states at first"] == ["running"]
    assert killed["states at second"] == ["failed", "running"]
    assert killed["states at last"] == ["failed", "success"]


def test_two_runs_at_once_are_refused(killed: dict[str, Any]) -> None:
    assert killed["refused"].returncode == 1
    assert "another process is testing the DAG faults_killed right now" in killed["refused"].stderr


def test_a_killed_step_is_tried_again_from_its_checkpoint(
    killed: dict[str, Any], bundle: AirflowBundle, records: Records
) -> None:
    second = killed["second"]
    assert second.succeeded, second.log[-5000:]
    assert "ended with status 137" in second.log
    assert "seed-0: continues from iteration" in second.log
    assert killed["left of second"] == []
    newest, oldest = records.runs("faults_killed")
    assert records.journal(newest).read_json("train.json")["request"]["attempt"].startswith("2-")
    assert not records.journal(oldest).has("train.json")


def test_a_real_run_executed_again_after_its_end_changes_nothing(
    killed: dict[str, Any], airflow_here: AirflowBundle, records: Records
) -> None:
    run_id = killed["second"].run_id
    run = OperatorRun(airflow_here.dags / "faults_killed.yaml", run_id)
    assert run.key == records.runs("faults_killed")[0]
    before = state_of(run)
    run.execute_all()
    assert state_of(run) == before
    steps, release = public_keys(airflow_here.keys)
    assert run.run.steps_signer.public_key.keyid == steps.keyid
    assert run.journal.statement("release", [release])["predicate"]["verdict"] in (
        "PROMOTE",
        "HOLD",
        "REJECT",
    )
    opened = datetime.fromisoformat(run.run.result("train").started).timestamp()
    assert before["entries"][1]["receipt"]["block_time"] <= opened
