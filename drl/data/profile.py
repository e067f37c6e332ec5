"""What is in a table, in numbers that are the same on every machine (sums are exact, by ``math.fsum``)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from drl.data.columns import CONTEXT, Columns, content_digest


def profile(columns: Columns, *, time_column: str) -> dict[str, Any]:
    """Rows, span of time, content digest, and for each value column its statistics.

    ``sd`` is the population's; statistics leave missing values out and are None where nothing is left.
    ``first`` and ``last`` are those of the rows acted in, context rows excluded.
    """
    times = columns[time_column]
    acted = ~columns[CONTEXT] if CONTEXT in columns else np.ones(len(times), dtype=bool)
    inside = times[acted]
    return {
        "rows": len(inside),
        "context_rows": len(times) - len(inside),
        "first": iso(inside[0]) if len(inside) else None,
        "last": iso(inside[-1]) if len(inside) else None,
        "content_sha256": content_digest(columns),
        "columns": {
            name: _statistics(values[acted])
            for name, values in columns.items()
            if name not in (time_column, CONTEXT)
        },
    }


def iso(seconds: int | np.integer[Any]) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _statistics(values: np.ndarray) -> dict[str, float | int | None]:
    present = values[np.isfinite(values)].astype(np.float64)
    missing = len(values) - len(present)
    if not len(present):
        return {"mean": None, "sd": None, "min": None, "max": None, "missing": missing}
    mean = math.fsum(present) / len(present)
    variance = math.fsum((present - mean) ** 2) / len(present)
    return {
        "mean": mean,
        "sd": math.sqrt(variance),
        "min": float(present.min()),
        "max": float(present.max()),
        "missing": missing,
    }
