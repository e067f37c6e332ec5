"""What guards training: the profile, the watchdog, and the hand-over of checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from drl.errors import StepError
from drl.training.profile import profile_environment
from drl.training.watchdog import Watchdog


def test_the_portable_profile_adds_to_the_native_one() -> None:
    native, portable = profile_environment("native"), profile_environment("portable")
    assert native.items() < portable.items()
    assert native["OMP_NUM_THREADS"] == "1"


def require(profile: str, start: dict[str, str], *, late: dict[str, str] | None = None) -> str:
    """Standard error of a process started with ``start`` that sets ``late`` and then requires the profile."""
    program = (
        "import os\n"
        "from drl.training.profile import require_profile\n"
        f"os.environ |= {late or {}}\n"
        f"require_profile({profile!r})\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in profile_environment("portable")}
    environment = clean | {"PYTHONPATH": str(Path(__file__).parents[2])} | start
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    ).stderr


def test_only_a_process_started_with_the_profile_may_train() -> None:
    native, portable = profile_environment("native"), profile_environment("portable")
    assert require("portable", portable) == ""
    assert "'MKL_CBWR': None" in require("portable", native)
    assert "'OMP_NUM_THREADS': '8'" in require("native", native | {"OMP_NUM_THREADS": "8"})
    assert "'MKL_CBWR': None" in require("portable", native, late=portable)


def test_the_watchdog_says_where_the_program_stood() -> None:
    start = time.monotonic()
    with pytest.raises(StepError, match=r"no progress for 0\.3 s") as raised, Watchdog(0.3):
        time.sleep(20)  # the line to be named
    assert "the line to be named" in str(raised.value)
    assert time.monotonic() - start < 5


def test_the_watchdog_lets_work_go_on_while_it_beats() -> None:
    with Watchdog(0.4) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.beat()
    assert not [thread for thread in threading.enumerate() if thread.name == "drl-watchdog"]


def test_the_watchdog_needs_the_main_thread() -> None:
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            Watchdog(1).__enter__()
        except StepError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(errors) == 1
