"""Rows that a check refused: named in the message, and kept whole for whoever has to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from drl.errors import DataError

SAMPLE = 5


class RejectedRows(DataError):
    """Data were refused because of certain rows, which are in :attr:`rows`.

    Attributes:
        rows: the refused rows as they were when the check met them; empty in a copy that crossed to another
            process, for which they are kept in a file.
    """

    def __init__(self, message: str, *, remedy: str, rows: pd.DataFrame | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.rows = pd.DataFrame() if rows is None else rows

    def keep(self, path: Path) -> None:
        """Write the rows as Parquet, times as text so that anything can show them."""
        rows = self.rows.reset_index()
        for name in rows.columns:
            if rows[name].dtype.kind in "MO":
                rows[name] = rows[name].astype(str)
        rows.to_parquet(path, index=False)


def refuse(rows: pd.DataFrame, message: str, *, remedy: str) -> RejectedRows:
    """An error whose message shows the first five of the rows."""
    lines = "".join(f"\n    {row}" for row in sample_rows(rows))
    return RejectedRows(f"{message}; first rows:{lines}", remedy=remedy, rows=rows)


def sample_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The first five rows as JSON objects, times as ISO 8601 text."""
    return [
        {str(name): _plain_value(value) for name, value in row.items()}
        for row in rows.head(SAMPLE).reset_index().to_dict("records")
    ]


def _plain_value(value: Any) -> Any:
    if value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
