"""``make ui``: Airflow's components for real. By trigger, by schedule, by backfill, after a kill, to Ctrl-C.

All runs are under way at the same time, as they would be; the tests below look at one way of use each.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import yaml
from airflow_runs import Records, all_gone, eventually
from airflow_server import AirflowServer

from drl.data.columns import read_columns
from drl.digest import sha256_bytes
from drl.local.airflow_home import admin_login, password_file
from drl.local.stack import Stack
from drl.record.dsse import read_unverified
from drl.record.key_files import make_key_file, read_key_file
from drl.steps.journal import RunJournal, run_key
from drl.steps.request import AcceptedStep

HEALTHY_WITHIN = 60.0
APPROVER = "approver.pem"
WALKFORWARD, MONTHS = "battery_walkforward", ("2024-04-01", "2024-05-01", "2024-06-01")
EVERY_MINUTE, KILLED = "every_minute", "killed"
ASKED, SIGNED, SILENT = APPROVALS = ("asked", "signed", "silent")
DAGS = {"battery_arbitrage", WALKFORWARD, "cartpole", "audit", "reap_pods", EVERY_MINUTE, KILLED, *APPROVALS}


@pytest.fixture(scope="module")
def server() -> Iterator[AirflowServer]:
    """Airflow in a home of its own: a scheduler takes up every run that it finds in its database."""
    with tempfile.TemporaryDirectory(prefix="drl-ui-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        bundle = Path(folder) / "more"
        server = AirflowServer(Path(folder) / "home", bundle)
        try:
            server.drl("stack", "up")
            new_pipeline(server, bundle / "dags", EVERY_MINUTE, schedule="* * * * *")
            new_pipeline(server, bundle / "dags", KILLED)
            make_key_file(Path(folder) / APPROVER)
            held = read_key_file(Path(folder) / APPROVER).public_key.keyid
            asking_pipeline(server, bundle / "dags", ASKED, approvers=["admin"])
            asking_pipeline(server, bundle / "dags", SIGNED, approver_keys=[held])
            asking_pipeline(server, bundle / "dags", SILENT, approval_timeout_minutes=1)
            server.start()
            server.log_in()
            yield server
        finally:
            server.stop()
            Stack.at(server.home).reset()


def new_pipeline(server: AirflowServer, folder: Path, name: str, schedule: str | None = None) -> None:
    """What a person does: ``drl init``, make it small, ``drl validate``."""
    server.drl("init", name, "--folder", str(folder))
    file = folder / f"{name}.yaml"
    value = yaml.safe_load(file.read_text())
    value["training"] |= {"time_steps": 4096, "seeds": 1, "checkpoint_every": 2}
    value["evaluation"]["episodes"] = 20
    value["orchestration"] = {"schedule": schedule}
    file.write_text(yaml.safe_dump(value, sort_keys=False))
    assert "good" in server.drl("validate", str(file))


def asking_pipeline(server: AirflowServer, folder: Path, name: str, **promotion: Any) -> None:
    """A small pipeline whose policy is good enough and needs a person's consent."""
    new_pipeline(server, folder, name)
    file = folder / f"{name}.yaml"
    value = yaml.safe_load(file.read_text())
    value["training"] |= {"time_steps": 6144, "seeds": [11]}
    value["promotion"] |= {"require_approval": True, **promotion}
    file.write_text(yaml.safe_dump(value, sort_keys=False))


@dataclass(frozen=True)
class Runs:
    """What was asked of Airflow."""

    asked: datetime
    triggered: str
    scheduled: str
    beside_scheduled: str
    killed: str
    killed_processes: list[psutil.Process]
    survivors: list[psutil.Process]


@pytest.fixture(scope="module")
def runs(server: AirflowServer, records: Records) -> Runs:
    """Ask for everything, and kill one worker while it trains."""
    asked = datetime.now(UTC)
    for dag in (WALKFORWARD, "cartpole", EVERY_MINUTE, KILLED):
        server.pause(dag, False)
    killed = server.trigger(KILLED, time_steps=61_440)
    triggered = server.trigger("cartpole", time_steps=12_288, seeds=1)
    until(lambda: records.store.list(checkpoints(killed)), f"no checkpoint of {killed}")
    # At once: a quick training is over while the command line of a backfill starts.
    worker = psutil.Process(server.tasks(KILLED, killed)["train"]["pid"]).parent()
    assert worker is not None
    below = worker.children(recursive=True)
    worker.kill()
    survivors = all_gone([worker, *below], timeout=5)
    backfill = ("--dag-id", WALKFORWARD, "--from-date", MONTHS[0], "--to-date", "2024-06-30")
    small = ("--max-active-runs", "1", "--dag-run-conf", '{"time_steps": 10752}')
    server.drl("airflow", "backfill", "create", *backfill, *small)
    scheduled = first_run(server, EVERY_MINUTE)
    beside = server.trigger(EVERY_MINUTE)
    return Runs(asked, triggered, scheduled, beside, killed, [worker, *below], survivors)


def first_run(server: AirflowServer, dag: str) -> str:
    """The first scheduled run of a DAG, once there is one."""
    until(lambda: server.runs(dag), f"no scheduled run of {dag}")
    return str(server.runs(dag)[0]["dag_run_id"])


def checkpoints(run: str) -> str:
    """Where a training of the pipeline that is interrupted keeps its checkpoints."""
    return f"runs/{run_key(KILLED, run)}/train/checkpoints/"


def until(condition: Callable[[], Any], otherwise: str, timeout: float = 150) -> None:
    """Wait until ``condition`` holds."""
    assert eventually(lambda: bool(condition()), timeout=timeout), otherwise


@pytest.fixture(scope="module")
def records(server: AirflowServer) -> Records:
    return Records(Stack.at(server.home))


# ------------------------------------------------------------------------------------------ the interface


def test_it_is_healthy_within_a_minute(server: AirflowServer) -> None:
    assert server.started_within < HEALTHY_WITHIN
    assert {value["status"] for value in server.get("monitor/health").values()} == {"healthy"}


def test_its_health_is_told_to_prometheus(server: AirflowServer) -> None:
    told = server.drl("metrics", "--once", "--airflow", server.address)
    for component in ("dag_processor", "metadatabase", "scheduler", "triggerer"):
        assert f'drl_airflow_healthy{{component="{component}"}} 1.0' in told
    assert 'drl_source_up{source="airflow"} 1.0' in told


def test_it_says_where_to_look_and_keeps_the_password_out_of_logs(server: AirflowServer) -> None:
    user, password = admin_login(server.home)
    for said in (f"http://127.0.0.1:{server.port}", user, str(password_file(server.home))):
        assert said in server.said
    assert password_file(server.home).stat().st_mode & 0o077 == 0
    logs = [server.screen, *(server.home / "log").glob("airflow-*.log")]
    assert len(logs) == 5
    assert not [log for log in logs if password in log.read_text()]


def test_only_the_right_password_opens_it(server: AirflowServer) -> None:
    assert server.log_in("wrong").status_code == 401
    assert server.log_in().status_code == 201


def test_nobody_else_on_the_network_can_reach_it(server: AirflowServer) -> None:
    listening = set()
    for process in server.processes:
        with suppress(psutil.NoSuchProcess):  # those that parse a file live for a second
            listening |= {
                (connection.laddr.ip, connection.laddr.port)
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    assert ("127.0.0.1", server.port) in listening
    assert {address for address, _ in listening} == {"127.0.0.1"}


def test_every_pipeline_is_there_without_import_errors(server: AirflowServer) -> None:
    until(lambda: {dag["dag_id"] for dag in server.get("dags")["dags"]} == DAGS, "not all are parsed")
    assert server.get("importErrors")["import_errors"] == []
    assert server.get("plugins/importErrors")["import_errors"] == []


def test_the_form_of_a_manual_run_checks_what_is_entered(server: AirflowServer) -> None:
    form = server.get("dags/cartpole/details")["params"]
    assert form["time_steps"]["value"] == 40_960
    assert form["time_steps"]["schema"]["type"] == "integer"
    assert form["time_steps"]["schema"]["minimum"] == 1
    assert form["learning_rate"]["schema"]["section"] == "PPO"
    answer = server.ask("POST", "dags/cartpole/dagRuns", json={"logical_date": None, "conf": {"seeds": 0}})
    assert answer.status_code == 400
    assert "seeds" in answer.text


# ---------------------------------------------------------------------------------------------- by trigger


def test_a_triggered_run_ends_well_in_worker_processes(server: AirflowServer, runs: Runs) -> None:
    run = server.wait("cartpole", runs.triggered)
    tasks = server.tasks("cartpole", runs.triggered)
    worked = [task for task in tasks.values() if task["state"] == "success"]
    assert run["triggering_user_name"] == "admin"
    assert {"train", "evaluate", "seal", "promote"} <= {task["task_id"] for task in worked}
    assert len({task["pid"] for task in worked}) == len(worked)


def test_tasks_follow_each_other_at_once(server: AirflowServer, runs: Runs) -> None:
    server.wait("cartpole", runs.triggered)
    tasks = [t for t in server.tasks("cartpole", runs.triggered).values() if t["pid"]]
    tasks.sort(key=lambda task: task["start_date"])
    gaps = [
        (at(after["start_date"]) - at(before["end_date"])).total_seconds()
        for before, after in pairwise(tasks)
    ]
    assert statistics.median(gaps) < 3  # 0.2 to 1.5 s on two cores without other work


def test_its_log_shows_progress(server: AirflowServer, runs: Runs) -> None:
    server.wait("cartpole", runs.triggered)
    log = server.log("cartpole", runs.triggered, "train")
    assert "of 12,288 time steps" in log
    assert "released seed 0 of 1: model root" in log


def test_it_leaves_its_journal_and_its_report(server: AirflowServer, runs: Runs, records: Records) -> None:
    server.wait("cartpole", runs.triggered)
    journal = records.journal(run_key("cartpole", runs.triggered))
    assert {"intent.dsse.json", "opening.json", "release.dsse.json", "closing.json"} <= set(journal.names())
    assert journal.read_json("resolved.json")["spec"]["training"]["time_steps"] == 12_288
    page = f"drl/report/cartpole/{quote(runs.triggered, safe='')}"
    assert "<html" in server.page(page).text[:200]
    assert server.page(page, headers={"Authorization": ""}).status_code == 401


def test_assets_tell_of_a_new_dataset_and_a_new_policy(server: AirflowServer, runs: Runs) -> None:
    server.wait("cartpole", runs.triggered)
    first = server.wait(WALKFORWARD, backfilled(MONTHS[0]))["dag_run_id"]
    events = {event["name"]: event for event in server.get("assets/events")["asset_events"][::-1]}
    policy, dataset = events["cartpole.policy"], events[f"{WALKFORWARD}.dataset"]
    assert policy["source_run_id"] == runs.triggered
    assert policy["extra"]["outcome"] == "promoted"
    assert policy["extra"]["version"] == 1
    assert dataset["source_task_id"] == "prepare"
    assert dataset["extra"] == {"run": run_key(WALKFORWARD, first), "step": "prepare"}


# --------------------------------------------------------------------------------------------- by schedule


def test_the_schedule_starts_runs(server: AirflowServer, runs: Runs) -> None:
    run = server.wait(EVERY_MINUTE, runs.scheduled)
    assert run["run_type"] == "scheduled"
    assert run["triggered_by"] == "timetable"
    # The first one is of the minute before it was allowed; then the clock has its way.
    until(lambda: [r for r in server.runs(EVERY_MINUTE) if after_clock(r, runs.asked)], "no later run")


def after_clock(run: dict[str, Any], moment: datetime) -> bool:
    started = run["run_type"] == "scheduled" and run["start_date"] is not None
    return started and at(run["run_after"]) > moment


def test_two_runs_of_a_pipeline_never_overlap(server: AirflowServer, runs: Runs) -> None:
    server.wait(EVERY_MINUTE, runs.beside_scheduled)
    server.pause(EVERY_MINUTE, True)
    started = [run for run in server.runs(EVERY_MINUTE) if run["start_date"]]
    assert len(started) > 2
    for before, after in pairwise(started):
        assert at(before["end_date"]) <= at(after["start_date"])


# ----------------------------------------------------------------------------------------- after a kill -9


def test_a_killed_worker_leaves_nothing_behind(runs: Runs) -> None:
    assert len(runs.killed_processes) >= 4  # worker, task, the step's supervisor, the step
    assert runs.survivors == []  # within 5 s, long before the training would have ended by itself


def test_its_training_goes_on_from_the_last_checkpoint(
    server: AirflowServer, runs: Runs, records: Records
) -> None:
    server.wait(KILLED, runs.killed)
    assert server.tasks(KILLED, runs.killed)["train"]["try_number"] == 2
    log = server.log(KILLED, runs.killed, "train", attempt=2)
    found = re.search(r"continues from iteration (\d+)", log)
    assert found, log
    assert int(found.group(1)) >= 2
    accepted = AcceptedStep.from_json(records.journal(run_key(KILLED, runs.killed)).read_json("train.json"))
    assert accepted.request.attempt.startswith("2-")


# --------------------------------------------------------------------------------------------- by backfill


def backfilled(month: str) -> str:
    return f"backfill__{month}T06:00:00+00:00"


@pytest.fixture(scope="module")
def walk(server: AirflowServer, runs: Runs, asking: dict[str, str]) -> list[dict[str, Any]]:
    """The three months' runs, ended."""
    return [server.wait(WALKFORWARD, backfilled(month), timeout=600) for month in MONTHS]


def test_a_backfill_runs_month_after_month(server: AirflowServer, walk: list[dict[str, Any]]) -> None:
    assert [run["run_type"] for run in server.runs(WALKFORWARD)] == ["backfill"] * len(MONTHS)
    for before, after in pairwise(walk):
        assert at(before["end_date"]) <= at(after["start_date"])


@pytest.mark.parametrize("month", MONTHS)
def test_no_run_sees_the_future(
    month: str, walk: list[dict[str, Any]], records: Records, tmp_path: Path
) -> None:
    journal = records.journal(run_key(WALKFORWARD, backfilled(month)))
    resolved = journal.read_json("resolved.json")
    splits, today = resolved["spec"]["data"]["splits"], date.fromisoformat(month)
    assert resolved["run_date"] == month
    assert [splits[name]["to"] for name in ("train", "validation", "test")] == [
        before(today, 6).isoformat(),
        before(today, 3).isoformat(),
        month,
    ]
    assert splits["train"]["from"] == before(today, 39).isoformat()
    prepared = AcceptedStep.from_json(journal.read_json("prepare.json")).result
    for name in ("train.parquet", "validation.parquet", "test.npy"):
        path = records.store.get(prepared.output(name), tmp_path)
        times = read_columns(path)["timestamp"]
        split = splits[name.partition(".")[0]]
        assert np.datetime64(int(times.max()), "s") < np.datetime64(split["to"])


def test_each_is_compared_with_the_champion_of_its_time(walk: list[dict[str, Any]], records: Records) -> None:
    champion = None
    for month in MONTHS:
        journal = records.journal(run_key(WALKFORWARD, backfilled(month)))
        seen = journal.read_json("resolved.json")["champion"]
        assert (seen["version"] if seen else None) == champion
        if journal.has("promotion.json"):
            assert journal.read_json("promotion.json")["outcome"] == "promoted"
            champion = journal.read_json("registration.json")["version"]


def before(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# --------------------------------------------------------------------------------------------- by approval


@pytest.fixture(scope="module")
def asking(server: AirflowServer) -> dict[str, str]:
    """A run of each pipeline that asks for approval."""
    for dag in APPROVALS:
        server.pause(dag, False)
    return {dag: server.trigger(dag) for dag in APPROVALS}


def ended(server: AirflowServer, records: Records, dag: str, run: str) -> tuple[RunJournal, dict[str, Any]]:
    """The journal of a run after its end, and what its release says."""
    server.wait(dag, run)
    journal = records.journal(run_key(dag, run))
    predicate: dict[str, Any] = read_unverified(journal.read("release.dsse.json"))["predicate"]
    listed = {s["name"]: s["digest"]["sha256"] for s in predicate["statements"]}
    assert listed["approval.dsse.json"] == sha256_bytes(journal.read("approval.dsse.json"))
    return journal, predicate


def test_a_person_approves_what_they_are_shown(
    server: AirflowServer, asking: dict[str, str], records: Records
) -> None:
    run = asking[ASKED]
    until(lambda: server.waits_for_a_person(ASKED, run), "nobody was asked", timeout=400)
    shown = server.get(f"dags/{ASKED}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails")
    journal = records.journal(run_key(ASKED, run))
    root = journal.read_json("evaluate.json")["result"]["summary"]["model_root"]
    evaluation = sha256_bytes(journal.read("evaluation.dsse.json"))
    for text in ("**PROMOTE.**", root, evaluation, "strongest baseline", f"/drl/report/{ASKED}/"):
        assert text in shown["body"]
    assert [user["id"] for user in shown["assigned_users"]] == ["admin"]
    assert not journal.has("registration.json")
    time.sleep(2)  # Airflow 3.3 loses an answer that comes within a second of the asking, and asks again
    assert server.answer(ASKED, run, "Approve", "looks sound").ok
    journal, release = ended(server, records, ASKED, run)
    said = read_unverified(journal.read("approval.dsse.json"))
    assert said["subject"] == [{"name": ASKED, "digest": {"sha256": root}}]
    facts = {name: said["predicate"][name] for name in ("answer", "approver", "comment", "evaluation")}
    assert facts == {
        "answer": "approved",
        "approver": "admin",
        "comment": "looks sound",
        "evaluation": evaluation,
    }
    assert release["verdict"] == "PROMOTE"
    assert journal.read_json("promotion.json")["outcome"] == "promoted"


def test_an_approver_refuses_with_a_key_of_their_own(
    server: AirflowServer, asking: dict[str, str], records: Records
) -> None:
    run = asking[SIGNED]
    until(lambda: server.waits_for_a_person(SIGNED, run), "nobody was asked", timeout=400)
    key = str(server.home.parent / APPROVER)
    said = server.drl("approve", run_key(SIGNED, run), "--key", key, "--reject", "--comment", "too early")
    journal, release = ended(server, records, SIGNED, run)
    held = read_key_file(Path(key)).public_key.keyid
    assert journal.key_of("approval") == held
    assert held in said
    assert (release["verdict"], release["reason"]) == (
        "HOLD",
        f"The approver rejected the promotion: key {held[:16]}: too early.",
    )
    assert journal.read_json("closing.json")["verdict"] == "HOLD"
    assert server.tasks(SIGNED, run)["promote"]["state"] == "skipped"
    assert server.tasks(SIGNED, run)["hold"]["state"] == "success"


def test_silence_ends_in_hold(server: AirflowServer, asking: dict[str, str], records: Records) -> None:
    journal, release = ended(server, records, SILENT, asking[SILENT])
    assert (release["verdict"], release["reason"]) == (
        "HOLD",
        "Nobody answered the request for approval, so nothing is promoted: no answer within 1 minute.",
    )
    assert not journal.has("promotion.json")


# ------------------------------------------------------------------------------------------------- Ctrl-C


@pytest.fixture(scope="module")
def interrupted(server: AirflowServer, records: Records, walk: list[dict[str, Any]]) -> str:
    """A run whose training has a checkpoint by now, the only one at work."""
    run = server.trigger(KILLED, time_steps=163_840)  # half a minute, longer than a polite end takes
    until(lambda: records.store.list(checkpoints(run)), f"no checkpoint of {run}")
    return run


def test_ctrl_c_leaves_no_process_behind(server: AirflowServer, interrupted: str) -> None:
    assert server.steps
    processes = server.processes
    assert server.stop(signal.SIGINT) == 0
    assert not all_gone(processes, timeout=5)
    assert "stopped" in server.said


def test_the_next_start_takes_up_what_was_at_work(server: AirflowServer, interrupted: str) -> None:
    server.start()
    server.log_in()
    server.wait(KILLED, interrupted)
    # A second try, or the first one queued again: it depends on whether the worker could still say its end.
    attempt = server.tasks(KILLED, interrupted)["train"]["try_number"]
    assert "continues from iteration" in server.log(KILLED, interrupted, "train", attempt=attempt)
