"""A training that is asked to stop goes on to its next checkpoint, where whoever asks waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from drl.errors import StepError
from drl.training.stopping import VARIABLE, Stopping


def test_it_ends_at_the_next_checkpoint_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    with Stopping() as stopping:
        stopping.at_checkpoint("seed-0", 2)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StepError, match="asked to stop; seed-0 is kept up to iteration 4"):
            stopping.at_checkpoint("seed-0", 4)


def test_the_signal_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_nobody_waits_it_ends_at_once() -> None:
    program = """
import os, signal
from drl.training.stopping import Stopping
with Stopping():
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == ""
