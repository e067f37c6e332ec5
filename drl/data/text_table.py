"""The two ends of cleaning: a CSV file as untouched text, and the cleaned table as columns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from drl.data.columns import CONTEXT, Columns
from drl.errors import DataError

ORIGIN = "line"
"""Name of the index: the line of the file, 1 being the header; 0 for rows that a rule added."""


RESERVED = (CONTEXT, "step_s")
"""Names that later parts add themselves."""


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a CSV file (UTF-8, with a header) as text; no value is interpreted, an empty field is ``""``.

    Lines with nothing on them are no rows. The index is the line of the file that a row ends on.

    Raises:
        DataError: the file is not UTF-8, not a table, empty, or has a column name twice.
    """
    remedy = "give a CSV file in UTF-8 with one header line and as many fields in every row"
    rows, lines = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path.name}: line {reader.line_num}: {len(row)} fields, header {len(header)}",
                        remedy=remedy,
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name}: not a readable CSV table: {error}", remedy=remedy) from error
    if not rows or len(set(header)) != len(header):
        raise DataError(f"{path.name}: {len(rows)} rows below the header {header}", remedy=remedy)
    return pd.DataFrame(rows, columns=header, index=pd.Index(lines, name=ORIGIN), dtype=object)


def to_columns(table: pd.DataFrame, *, time_column: str) -> Columns:
    """The cleaned table as columns: time in int64 seconds since the epoch, everything else float64.

    Raises:
        DataError: the time column is missing, no time, or finer than a second; or a column is still text.
    """
    if time_column not in table.columns or table[time_column].dtype.kind != "M":
        raise DataError(
            f"data.splits.time_column {time_column!r}: no time in the cleaned columns {list(table.columns)}",
            remedy="rename the column and put parse_timestamps into data.cleaning",
        )
    columns: Columns = {}
    for name in table.columns:
        values = table[name].to_numpy()
        if name == time_column:
            seconds = values.astype("datetime64[s]")
            if (seconds != values).any():
                raise DataError(
                    f"{name}: times are finer than a second", remedy="give times in whole seconds"
                )
            columns[name] = seconds.astype(np.int64)
        elif values.dtype.kind in "biuf" and name not in RESERVED:
            columns[name] = values.astype(np.float64)
        else:
            raise DataError(
                f"column {name!r} holds {values.dtype} or its name is one of {RESERVED}",
                remedy="put parse_numbers and rename_columns into data.cleaning",
            )
    return columns
