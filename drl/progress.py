"""Progress as JSON lines on standard output: the only thing that a running step tells its operator.

The operator turns the lines into the task log and into live MLflow metrics, so that a step needs no
credentials for either. A person who runs a step by hand sees the same lines, rendered.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Progress:
    """Writes one JSON object a line; every line has ``event``.

    Events: ``log`` (``message``), ``phase`` (``name``, ``seconds``: a phase that ended) and ``metrics``
    (``series``, ``step``, ``values``: numbers for live curves).
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def log(self, message: str) -> None:
        """Say one line to a person."""
        self._emit({"event": "log", "message": message})

    def metrics(self, series: str, step: int, values: dict[str, float]) -> None:
        """Report numbers of one ``series`` (say ``seed-0``) at ``step`` (environment time steps)."""
        self._emit({"event": "metrics", "series": series, "step": step, "values": values})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; the line is written when it ended well."""
        start = time.perf_counter()
        yield
        self._emit({"event": "phase", "name": name, "seconds": round(time.perf_counter() - start, 3)})

    def _emit(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
