"""The two cleaning rules about time: reading it from text, and making it regular."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

from drl.data.rejection import refuse
from drl.errors import DataError
from drl.spec import FillMissingSteps, ParseTimestamps


def parse_timestamps(
    table: pd.DataFrame, rule: ParseTimestamps, where: str
) -> tuple[pd.Series, npt.NDArray[np.int64]]:
    """Times in UTC, and for each row the index of the format that read it.

    A format must fit the whole text, and no format is ever guessed: with guessing, 2 January written as
    ``02/01/2023`` turns into 1 February wherever the day is below 13, and nothing complains.
    """
    zone = _zone(rule.timezone, where)
    texts = table[rule.column].astype(str)
    times = pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns]")
    format_index = np.full(len(table), -1, dtype=np.int64)
    for index, text_format in enumerate(rule.formats):
        open_rows = np.flatnonzero(format_index < 0)
        has_offset = "%z" in text_format
        parsed = pd.to_datetime(
            texts.iloc[open_rows], format=text_format, errors="coerce", exact=True, utc=has_offset
        )
        read = parsed.notna().to_numpy()
        in_utc = parsed[read].dt.tz_localize(None) if has_offset else _in_utc(parsed[read], zone)
        outside = in_utc.isna().to_numpy()
        if outside.any():
            raise refuse(
                table.iloc[open_rows[read]][outside],
                f"{where}: {outside.sum()} rows lie in an hour that is twice or never in {rule.timezone}",
                remedy="use a column that is written in UTC",
            )
        times.iloc[open_rows[read]] = in_utc.to_numpy()
        format_index[open_rows[read]] = index
    unread = format_index < 0
    if unread.any():
        raise refuse(
            table[unread],
            f"{where}: {rule.column}: {int(unread.sum())} rows fit none of {rule.formats}",
            remedy="add the format that these rows are written in, or drop them by a rule before this one",
        )
    return times, format_index


def _in_utc(times: pd.Series, zone: ZoneInfo) -> pd.Series:
    if zone.key == "UTC":
        return times
    return (
        times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        .dt.tz_convert("UTC")
        .dt.tz_localize(None)
    )


def _zone(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(
            f"{where}: timezone {name!r}: unknown", remedy="write an IANA name such as Europe/Amsterdam"
        ) from error


def fill_missing_steps(
    table: pd.DataFrame, rule: FillMissingSteps, where: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with a row for every step, and the rows that were added (index 0: they are in no file).

    ``previous`` carries values forward, so that no row knows a later one; ``linear`` interpolates.
    """
    times, step = table[rule.column], pd.Timedelta(rule.every)
    _require_regular(table, rule, step, where)
    grid = pd.date_range(times.iloc[0], times.iloc[-1], freq=step)
    present = grid.isin(times)
    origin = np.zeros(len(grid), dtype=np.int64)
    origin[present] = table.index.to_numpy()
    wide = table.set_index(rule.column).reindex(grid)
    filled = wide.ffill() if rule.method == "previous" else wide.interpolate("time")
    filled.insert(table.columns.get_loc(rule.column), rule.column, grid)
    filled.index = pd.Index(origin, name=table.index.name)
    return filled, filled[~present]


def _require_regular(table: pd.DataFrame, rule: FillMissingSteps, step: pd.Timedelta, where: str) -> None:
    times = table[rule.column]
    if times.dtype.kind != "M":
        raise DataError(
            f"{where}: {rule.column} is no time yet", remedy="put parse_timestamps before this rule"
        )
    if not times.is_monotonic_increasing or times.duplicated().any():
        raise DataError(
            f"{where}: {rule.column} is not strictly ascending",
            remedy="put drop_duplicates and sort_by before this rule",
        )
    texts = [name for name in table.columns if table[name].dtype == object]
    if texts and rule.method == "linear":
        raise DataError(
            f"{where}: {texts} are texts", remedy="put parse_numbers before, or use method: previous"
        )
    off_grid = ((times - times.iloc[0]) % step != pd.Timedelta(0)).to_numpy()
    if off_grid.any():
        raise refuse(
            table[off_grid],
            f"{where}: {int(off_grid.sum())} rows lie between two steps of {rule.every}",
            remedy="mend the rows, or give the distance that the data have",
        )
    missing = (times.iloc[-1] - times.iloc[0]) // step + 1 - len(times)
    limit = len(times) if rule.at_most is None else rule.at_most
    if missing > limit:  # Before any row is made: one wrong year would ask for millions.
        gaps = table[(times.diff() > step).to_numpy()]
        raise refuse(
            gaps,
            f"{where}: {missing} rows are missing, at most {limit} may be added; {len(gaps)} gaps",
            remedy="mend the source, or raise at_most if the gaps are known",
        )
