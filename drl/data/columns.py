"""Tables as equal-length numpy columns, and the two file formats they travel in.

A split is read by training (Parquet) and by a verifier who has only numpy (``.npy``). Both files hold the
same values, and :func:`content_digest` is the same for both.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from drl.digest import canonical_json
from drl.errors import DataError

Columns = dict[str, np.ndarray]
"""Equal-length one-dimensional arrays by name.

Time is int64 seconds since the epoch (UTC) under the name of the splits' time column, other columns are
float64, and the bool column ``context`` is True for leading rows that may be looked back on but are never
acted in or scored.
"""

CONTEXT = "context"
_CONTENT_FORMAT = "drl.columns/1"


def read_columns(path: Path) -> Columns:
    """Read ``.parquet`` (needs pyarrow) or ``.npy`` (numpy alone, nothing pickled).

    Raises:
        DataError: the file is missing, corrupt or no table of plain columns.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file", remedy="run the prepare step, or check the name of the split"
        )
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    raise DataError(f"{path}: unknown format {path.suffix!r}", remedy="give a .parquet or .npy file")


def write_parquet(columns: Columns, path: Path) -> None:
    """Write columns as Parquet; one version of pyarrow writes the same bytes for the same columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(values) for name, values in checked(columns).items()})
    pq.write_table(table, path, compression="zstd", version="2.6", store_schema=False)


def write_npy(columns: Columns, path: Path) -> None:
    """Write columns as one structured array in numpy's ``.npy`` format 1.0, whose bytes never change."""
    table = _structured(checked(columns))
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, table, version=(1, 0), allow_pickle=False)


def content_digest(columns: Columns) -> str:
    """SHA-256 of names, types and values, independent of file format and column order.

    It is taken over the canonical JSON of ``[name, type, rows]`` for each column in order of name, followed
    by the little-endian bytes of each column.
    """
    plain = {name: _little_endian(values) for name, values in sorted(checked(columns).items())}
    digest = hashlib.sha256()
    head = [[name, values.dtype.str, len(values)] for name, values in plain.items()]
    digest.update(canonical_json([_CONTENT_FORMAT, head]))
    for values in plain.values():
        digest.update(values.tobytes())
    return digest.hexdigest()


def checked(columns: Columns) -> Columns:
    """Return ``columns`` if they are a table, else raise DataError."""
    if not columns:
        raise DataError("a table without columns", remedy="name at least one column to keep")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns differ in length: {lengths}", remedy="give columns of equal length")
    for name, values in columns.items():
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise DataError(
                f"column {name!r} is {values.dtype} with shape {values.shape}",
                remedy="give one-dimensional columns of numbers or truth values",
            )
    return columns


def _structured(columns: Columns) -> np.ndarray:
    plain = {name: _little_endian(values) for name, values in columns.items()}
    rows = len(next(iter(plain.values())))
    table = np.empty(rows, dtype=[(name, values.dtype.str) for name, values in plain.items()])
    for name, values in plain.items():
        table[name] = values
    return table


def _little_endian(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))


def _read_npy(path: Path) -> Columns:
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"{path}: not a readable .npy file: {error}", remedy="fetch the file again by its digest"
        ) from error
    names = getattr(table, "dtype", np.dtype("f8")).names
    if names is None:
        raise DataError(f"{path}: an array without column names", remedy="write the file with write_npy")
    return checked({name: np.array(table[name]) for name in names})


def _read_parquet(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file: {error}", remedy="fetch the file again by its digest"
        ) from error
    return checked({name: np.array(table[name].to_numpy()) for name in table.column_names})
