"""A step's standard output, line by line, as the task log and live MLflow curves, wherever it runs."""

from __future__ import annotations

import json
import logging
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from operators.live_metrics import LiveMetrics

if TYPE_CHECKING:
    from drl.steps.request import StepName
    from operators.base import Run

_LAST_LINES = 40
_log = logging.getLogger(__name__)


class StepLog:
    """A context that takes a step's lines: progress events (drl/progress.py) and whatever else it printed."""

    def __init__(self, run: Run, step: StepName) -> None:
        self._metrics = LiveMetrics(run, enabled=step == "train")
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def __enter__(self) -> StepLog:
        self._metrics.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.__exit__(kind, error, trace)

    @property
    def tail(self) -> str:
        """The last lines for people, for the message of an error."""
        return "\n".join(self._last)

    def show(self, line: str) -> None:
        """Log one line, without its line break, or forward the numbers that it holds."""
        event = _event(line)
        if event is None:
            self._say(line)
        elif event["event"] == "log":
            self._say(event["message"])
        elif event["event"] == "phase":
            _log.info("%s: %.1f s", event["name"], event["seconds"])
        elif event["event"] == "metrics":
            self._metrics.add(event["series"], event["step"], event["values"])

    def _say(self, message: str) -> None:
        self._last.append(message)
        _log.info("%s", message)


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"event"'):
        return None
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return value
