"""What a killed Airflow left behind is ended by the next start, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from drl.errors import ConflictError
from drl.local.home import Home
from drl.local.orphans import end_orphans, only_airflow

# A component whose forked worker waits for work on a pipe whose other end it holds, deaf to SIGTERM.
_COMPONENT = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: None)
read, write = os.pipe()
worker = os.fork()
if not worker:
    while True:
        os.read(read, 1)
pathlib.Path(sys.argv[1]).write_text(str(worker))
time.sleep(600)
"""


@contextmanager
def killed_component(home: Home, name: str) -> Iterator[psutil.Process]:
    """The worker of a component that was killed together with its supervisor."""
    note = home.path / f"{name}.pid"
    command = [sys.executable, "-c", _COMPONENT, str(note)]
    with home.open_log(name) as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "drl.steps.supervise", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 20
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    worker = psutil.Process(int(note.read_text()))
    try:
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait(10)
        psutil.wait_procs([p for p in [worker.parent()] if p and runs(p, command)], timeout=10)
        assert running(worker), "the worker ended with its component: nothing is left to be ended"
        yield worker
    finally:
        if running(worker):
            worker.kill()


def runs(process: psutil.Process, command: list[str]) -> bool:
    with suppress(psutil.NoSuchProcess):  # or a zombie, which has no command any more
        return process.cmdline() == command
    return False


def running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.at(tmp_path / "home")
    made.create()
    return made


def test_the_worker_of_a_killed_scheduler_is_ended(home: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "home-2")
    other.create()
    with (
        killed_component(home, "airflow-scheduler") as worker,
        killed_component(home, "postgres") as server,
        killed_component(other, "airflow-scheduler") as foreign,
        only_airflow(home),
    ):
        home.log("airflow-scheduler").rename(home.path / "log" / "airflow-scheduler.log.1")
        assert end_orphans(home) == [worker.pid]
        assert not running(worker)
        assert running(server)
        assert running(foreign)
        assert end_orphans(home) == []


def test_one_airflow_in_a_home(home: Home) -> None:
    with only_airflow(home), pytest.raises(ConflictError, match=r"runs in .* already"), only_airflow(home):
        raise AssertionError
    with only_airflow(home):
        pass
