"""Nothing that a step started outlives whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SUPERVISE = [sys.executable, "-m", "drl.steps.supervise"]

# A child that leaves a grandchild behind in a session of its own, as Ray's daemons are.
_CHILD = """
import pathlib, subprocess, sys, time
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(left.pid))
time.sleep(float(sys.argv[2]))
"""


def start(pid_file: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [*SUPERVISE, sys.executable, "-c", _CHILD, str(pid_file), str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def grandchild(pid_file: Path) -> psutil.Process:
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return psutil.Process(int(pid_file.read_text()))


def assert_ends(process: psutil.Process) -> None:
    try:
        process.wait(15)
    except psutil.TimeoutExpired:
        process.kill()
        pytest.fail("a process outlived its step")


def test_status_is_passed_on() -> None:
    with subprocess.Popen(
        [*SUPERVISE, sys.executable, "-c", "raise SystemExit(7)"], stdin=subprocess.PIPE
    ) as process:
        assert process.wait(30) == 7


def test_an_orphan_is_ended_when_the_step_ends(tmp_path: Path) -> None:
    supervisor = start(tmp_path / "pid", 0.5)
    left = grandchild(tmp_path / "pid")
    assert supervisor.wait(30) == 0
    assert_ends(left)


def test_everything_ends_when_the_asker_dies(tmp_path: Path) -> None:
    command = [*SUPERVISE, sys.executable, "-c", _CHILD, str(tmp_path / "pid"), "600"]
    asker = (
        f"import subprocess, time\np = subprocess.Popen({command!r}, stdin=subprocess.PIPE)\ntime.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", asker])
    left = grandchild(tmp_path / "pid")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert_ends(left)


def test_terminate_ends_everything(tmp_path: Path) -> None:
    supervisor = start(tmp_path / "pid", 600)
    left = grandchild(tmp_path / "pid")
    supervisor.terminate()
    assert supervisor.wait(30) == 128 + signal.SIGTERM
    assert_ends(left)


def test_without_a_pipe_nobody_is_missed() -> None:
    """In a container the standard input is /dev/null: at its end from the start."""
    command = [*SUPERVISE, sys.executable, "-c", "import time; time.sleep(1); raise SystemExit(5)"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 5
