"""Train, validation and test by time: nothing is learned from, chosen by, or scored on a row out of its turn.

A split is the rows of its window and, before them, ``context`` rows to look back on. Those may lie in the
split before: that is the past, known by then. No row is scored in two splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np

from drl.data.columns import CONTEXT, Columns
from drl.errors import DataError
from drl.spec import Splits

SPLIT_NAMES = ("train", "validation", "test")
_DAY_S = 86_400


@dataclass(frozen=True)
class Span:
    """A half-open span of days in UTC: ``start`` included, ``end`` excluded."""

    name: str
    start: date
    end: date

    @property
    def start_s(self) -> int:
        """First second, since the epoch."""
        return _seconds(self.start)

    @property
    def end_s(self) -> int:
        """First second that is not part of it."""
        return _seconds(self.end)

    def __str__(self) -> str:
        return f"{self.name} from {self.start} to {self.end}"


def resolve_spans(splits: Splits, run_date: date) -> list[Span]:
    """The three spans of a run, checked.

    Raises:
        DataError: a span is empty, begins before the one before it has ended, or is relative to the run's
            date and reaches beyond it (data of that day did not exist when the run was due).
    """
    spans = [Span(name, *getattr(splits, name).resolve(run_date)) for name in SPLIT_NAMES]
    for span in spans:
        if span.start >= span.end:
            raise DataError(
                f"data.splits.{span}: an empty window", remedy="give a `to` after `from`; `to` is excluded"
            )
        if getattr(splits, span.name).relative and span.end > run_date:
            raise DataError(
                f"data.splits.{span}: reaches beyond the run's date {run_date}",
                remedy="end a relative window at `run` or before",
            )
    for earlier, later in pairwise(spans):
        if later.start < earlier.end:
            raise DataError(
                f"data.splits.{later}: begins before {earlier} has ended",
                remedy="put the windows in the order train, validation, test, without overlap",
            )
    return spans


def known_by(columns: Columns, time_column: str, spans: list[Span]) -> Columns:
    """The rows before the end of the last span: what lies behind it is none of this run's business."""
    rows = int(np.searchsorted(columns[time_column], spans[-1].end_s))
    if not rows:
        raise DataError(
            f"no row lies before {spans[-1].end}; {_extent(columns[time_column])}",
            remedy="move the windows of data.splits, or choose a later run date",
        )
    return {name: values[:rows] for name, values in columns.items()}


def split(columns: Columns, splits: Splits, spans: list[Span]) -> dict[str, Columns]:
    """Cut each span with its context rows.

    Args:
        columns: ascending in the time column (int64 seconds since the epoch), without repetition.

    Raises:
        DataError: a split has no row, or none is left beside ``context_rows``. Where the data begin with the
            first span, its own first rows serve as context.
    """
    times = columns[splits.time_column]
    if not (np.diff(times) > 0).all():
        raise DataError(
            f"data.splits.time_column {splits.time_column!r}: times are not strictly ascending",
            remedy="add drop_duplicates and sort_by to data.cleaning",
        )
    parts = {}
    for span in spans:
        start, end = (int(np.searchsorted(times, bound)) for bound in (span.start_s, span.end_s))
        if start == end:
            raise DataError(
                f"data.splits.{span}: no row in this window; {_extent(times)}",
                remedy="move the window, or bring newer data",
            )
        parts[span.name] = _cut(columns, times, span, start, end, splits.context_rows)
    return parts


def _cut(columns: Columns, times: np.ndarray, span: Span, start: int, end: int, context_rows: int) -> Columns:
    first = max(start - context_rows, 0)
    if end - first <= context_rows:
        raise DataError(
            f"data.splits.{span}: {end - start} rows, with {start} before them, are too few for "
            f"{context_rows} context rows and one to act in; {_extent(times)}",
            remedy="widen or move the window, or lower data.splits.context_rows",
        )
    part = {name: values[first:end].copy() for name, values in columns.items()}
    part[CONTEXT] = np.arange(first, end) < first + context_rows
    return part


def _extent(times: np.ndarray) -> str:
    if not len(times):
        return "the data have no rows"
    first, last = (datetime.fromtimestamp(int(t), UTC).isoformat() for t in (times[0], times[-1]))
    return f"the data reach from {first} to {last}"


def _seconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY_S
