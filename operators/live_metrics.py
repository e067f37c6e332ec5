"""Live training curves in MLflow, on a thread of their own.

MLflow is not needed for a run to go on: while it cannot be reached, curves wait in memory, and the metrics
file among the step's outputs completes what was missed when the model is registered. The client is imported
on that thread, so its seconds pass while the step is already working.
"""

from __future__ import annotations

import logging
import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from drl.errors import StoreError
from operators import connections

if TYPE_CHECKING:
    from operators.base import Run

_log = logging.getLogger(__name__)


class _Point(NamedTuple):
    series: str
    step: int
    values: dict[str, float]


class LiveMetrics:
    """A context that forwards points until it ends; it never fails the step."""

    def __init__(self, run: Run, *, enabled: bool) -> None:
        self._run = run
        self._enabled = enabled
        self._points: queue.SimpleQueue[_Point | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._forward, name="live-metrics", daemon=True)

    def __enter__(self) -> LiveMetrics:
        if self._enabled:
            self._run.spec  # noqa: B018 - read on this thread, where Airflow's context belongs
            self._registry_settings = connections.registry_settings()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            self._points.put(None)
            self._thread.join(timeout=30)

    def add(self, series: str, step: int, values: dict[str, float]) -> None:
        """Forward ``values`` of ``series`` at ``step`` (environment time steps)."""
        self._points.put(_Point(series, step, values))

    def _forward(self) -> None:
        from drl.stores.registry import ModelRegistry

        try:
            registry = ModelRegistry(self._registry_settings)
            registry.ensure_experiment(self._run.pipeline)
            run_id = registry.start_run(self._run.pipeline, self._run.key, self._run.tags)
            while (point := self._points.get()) is not None:
                registry.log_metrics(run_id, point.series, point.step, point.values)
        except StoreError as error:
            _log.warning("no live curves in MLflow, the metrics file completes them later: %s", error)
