"""Cleaning by declared rules: each one counts what it touched, and none guesses.

The file is read as text, so nothing is converted before a rule says how. A rule that meets a row it cannot
settle (unreadable, conflicting, or one more than ``at_most`` allows) refuses the table and keeps those rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from drl.data.rejection import refuse, sample_rows
from drl.data.time_axis import fill_missing_steps, parse_timestamps
from drl.errors import DataError
from drl.spec import (
    CleaningRule,
    DropDuplicates,
    DropRowsWithout,
    FillMissingSteps,
    ParseNumbers,
    ParseTimestamps,
    RenameColumns,
    SortBy,
)


@dataclass(frozen=True)
class RuleReport:
    """What one rule did.

    Attributes:
        touched: rows dropped, added, moved, or (times) not read by the first format.
        first: up to five of them, as JSON.
        details: more counts, where a rule has them.
        seconds: how long it took; left out of :meth:`to_json`, which is the same in every run.
    """

    rule: str
    touched: int
    rows_before: int
    rows_after: int
    first: list[dict[str, Any]]
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that is the same for the same data."""
        report = {
            name: getattr(self, name) for name in ("rule", "touched", "rows_before", "rows_after", "first")
        }
        return report | ({"details": self.details} if self.details else {})


Outcome = tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]
"""The new table, the rows touched, and further counts."""


def clean(table: pd.DataFrame, rules: list[CleaningRule]) -> tuple[pd.DataFrame, list[RuleReport]]:
    """Apply the rules in order.

    Raises:
        RejectedRows: a rule could not settle some rows, or touched more of them than ``at_most``.
        DataError: a rule names a column that is not there.
    """
    reports = []
    for number, rule in enumerate(rules, start=1):
        where = f"cleaning rule {number} ({rule.rule})"
        start = time.perf_counter()
        _require_columns(table, rule, where)
        after, touched, details = _APPLY[rule.rule](table, rule, where)
        if after.empty:
            raise refuse(table, f"{where}: no row is left", remedy="mend the rule; these rows went in")
        if rule.at_most is not None and len(touched) > rule.at_most:
            raise refuse(
                touched,
                f"{where}: touched {len(touched)} rows, at_most is {rule.at_most}",
                remedy="look at the rows; mend the source, or raise at_most if they are as they should be",
            )
        seconds = time.perf_counter() - start
        first = sample_rows(touched)
        reports.append(RuleReport(rule.rule, len(touched), len(table), len(after), first, details, seconds))
        table = after
    return table, reports


def _rename_columns(table: pd.DataFrame, rule: RenameColumns, where: str) -> Outcome:
    names = list(rule.columns.values())
    if len(set(names)) != len(names):
        raise DataError(f"{where}: two columns get the same name: {names}", remedy="give each its own name")
    dropped = [name for name in table.columns if name not in rule.columns]
    renamed = table[list(rule.columns)].rename(columns=rule.columns)
    return renamed, table.iloc[:0], {"columns_dropped": dropped}


def _drop_rows_without(table: pd.DataFrame, rule: DropRowsWithout, where: str) -> Outcome:
    columns = table[rule.columns]
    empty = (columns.isna() | columns.eq("")).any(axis=1)
    return table[~empty], table[empty], {}


def _parse_timestamps(table: pd.DataFrame, rule: ParseTimestamps, where: str) -> Outcome:
    times, format_index = parse_timestamps(table, rule, where)
    counts = {text: int((format_index == i).sum()) for i, text in enumerate(rule.formats)}
    return table.assign(**{rule.column: times}), table[format_index > 0], {"rows_by_format": counts}


def _parse_numbers(table: pd.DataFrame, rule: ParseNumbers, where: str) -> Outcome:
    parsed = {}
    for name in rule.columns:
        texts = table[name].astype(str)
        # float() alone would take white space, underscores and `nan` as well.
        written = texts.str.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
        values = texts.where(written, "nan").astype("float64")
        unreadable = ~np.isfinite(values.to_numpy())
        if unreadable.any():
            raise refuse(
                table[unreadable],
                f"{where}: {name}: {int(unreadable.sum())} rows are no finite decimal number",
                remedy="mend the source, or drop the rows by a rule before this one",
            )
        parsed[name] = values
    return table.assign(**parsed), table.iloc[:0], {}


def _drop_duplicates(table: pd.DataFrame, rule: DropDuplicates, where: str) -> Outcome:
    again = table.duplicated(rule.key)
    same = table.duplicated()
    conflicting = table[rule.key].isin(table.loc[again & ~same, rule.key])
    if conflicting.any():
        rows = table[conflicting].sort_values(rule.key, kind="stable")
        raise refuse(
            rows,
            f"{where}: {rows[rule.key].nunique()} values of {rule.key} have rows that contradict each other",
            remedy="find out which of them is right and mend the source",
        )
    return table[~again], table[again], {}


def _sort_by(table: pd.DataFrame, rule: SortBy, where: str) -> Outcome:
    after = table.sort_values(rule.column, kind="stable")
    moved = after.index.to_numpy() != table.index.to_numpy()
    return after, table[moved], {}


def _fill_missing_steps(table: pd.DataFrame, rule: FillMissingSteps, where: str) -> Outcome:
    after, added = fill_missing_steps(table, rule, where)
    return after, added, {}


_APPLY: dict[str, Callable[[pd.DataFrame, Any, str], Outcome]] = {
    "rename_columns": _rename_columns,
    "drop_rows_without": _drop_rows_without,
    "parse_timestamps": _parse_timestamps,
    "parse_numbers": _parse_numbers,
    "drop_duplicates": _drop_duplicates,
    "sort_by": _sort_by,
    "fill_missing_steps": _fill_missing_steps,
}


def _require_columns(table: pd.DataFrame, rule: CleaningRule, where: str) -> None:
    if isinstance(rule, RenameColumns | DropRowsWithout | ParseNumbers):
        wanted = list(rule.columns)
    else:
        wanted = [rule.key if isinstance(rule, DropDuplicates) else rule.column]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise DataError(
            f"{where}: no column {missing[0]!r}; there are {list(table.columns)}",
            remedy="mend the column's name; rename_columns drops what it does not name",
        )
