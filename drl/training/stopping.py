"""Asked to stop, a training in a pod goes on to its next checkpoint, so that nothing is trained twice.

It may not keep a checkpoint right where it stands: the environments are reset at each, and a resumed training
could not be the uninterrupted one bit for bit. Who asks (Kubernetes, when a pod is drained or evicted) waits
for a grace period and then ends it by force, which costs what was trained since the last checkpoint.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

from drl.errors import StepError

VARIABLE = "DRL_STOP_AT_CHECKPOINT"
"""Set to 1 where whoever asks by SIGTERM waits; elsewhere SIGTERM ends the training at once."""


class Stopping:
    """Hears SIGTERM while it is entered, if ``DRL_STOP_AT_CHECKPOINT`` is 1."""

    def __init__(self) -> None:
        self._asked = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        """Must be called in the main thread, where signals are handled."""
        if os.environ.get(VARIABLE) == "1":
            self._previous = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def at_checkpoint(self, series: str, iteration: int) -> None:
        """Say that a checkpoint was kept.

        Raises:
            StepError: stopping was asked for; nothing is lost.
        """
        if self._asked:
            raise StepError(
                f"asked to stop; {series} is kept up to iteration {iteration}",
                remedy="the next try goes on from there",
            )

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
