"""From the source's bytes to checked splits: clean, validate, cut, describe, demonstrate.

For the same source, spec and package versions every output is the same, byte for byte. Another version of
pyarrow may write other Parquet bytes for the same values, which then have the same ``content_sha256``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from drl.data.cleaning import RuleReport, clean
from drl.data.columns import Columns, content_digest, write_npy, write_parquet
from drl.data.profile import iso, profile
from drl.data.rejection import RejectedRows
from drl.data.splits import known_by, resolve_spans, split
from drl.data.text_table import read_text_table, to_columns
from drl.digest import canonical_json
from drl.errors import DataError, InputError, StepError
from drl.progress import Progress
from drl.spec import DataSpec, PipelineSpec

REJECTED = "rejected.parquet"


def prepare(
    spec: PipelineSpec,
    *,
    source_file: Path,
    run_date: date,
    suite: Path,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write the splits and the evidence about them into ``out``.

    ``train.parquet``, ``validation.parquet``, ``test.parquet``, ``test.npy`` (the same rows, for readers that
    have only numpy), ``cleaning.json``, ``expectations.json``, ``data_docs.html``, ``profile.json``, and with
    a warm start ``demonstrations.parquet``. A refusal leaves ``rejected.parquet`` and what was found so far.

    Args:
        source_file: the fetched CSV file.
        run_date: what relative windows are relative to.
        suite: file of the expectation suite, wherever the pipeline's own lies.

    Returns:
        Small JSON: ``success``, counts of ``expectations``, ``cleaning`` rules, ``contents`` (digest of each
        split's content), ``splits`` (rows and span) and ``seconds`` of each phase.

    Raises:
        DataError: the table, a cleaning rule, an expectation or a split is not as declared.
        InputError: the suite or the environment cannot be used as the spec says.
    """
    data = spec.data
    if data is None:
        raise StepError(
            f"pipeline {spec.pipeline} has no data to prepare", remedy="leave the prepare step out"
        )
    out.mkdir(parents=True, exist_ok=True)
    phases = _Phases(progress)
    spans = resolve_spans(data.splits, run_date)
    try:
        columns, reports = _clean(data, source_file, out, phases)
        known = known_by(columns, data.splits.time_column, spans)
        counts = _validate(data, known, suite, out, phases)
    except RejectedRows as refusal:
        if len(refusal.rows):
            refusal.keep(out / REJECTED)
        raise
    with phases("split"):
        parts = split(known, data.splits, spans)
        profiles = _write_splits(parts, known, data.splits.time_column, out)
    if spec.training.warm_start is not None:
        with phases("demonstrate"):
            rows = _write_demonstrations(spec, parts["train"], out / "demonstrations.parquet")
        progress.log(f"demonstrations: {rows}")
    for span in spans:
        progress.log(f"{span}: {profiles[span.name]['rows']} rows")
    return {
        "success": True,
        "expectations": counts,
        "cleaning": [{"rule": r.rule, "touched": r.touched} for r in reports],
        "contents": {name: p["content_sha256"] for name, p in profiles.items()},
        "splits": {
            name: {key: p[key] for key in ("rows", "context_rows", "first", "last")}
            for name, p in profiles.items()
        },
        "seconds": phases.seconds,
    }


@dataclass
class _Phases:
    """Times phases for the progress lines and for the summary."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        with self.progress.phase(name):
            yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def _clean(data: DataSpec, source_file: Path, out: Path, phases: _Phases) -> tuple[Columns, list[RuleReport]]:
    with phases("clean"):
        table, reports = clean(read_text_table(source_file), data.cleaning)
        columns = to_columns(table, time_column=data.splits.time_column)
    (out / "cleaning.json").write_bytes(canonical_json([r.to_json() for r in reports]))
    for report in reports:
        phases.progress.log(
            f"{report.rule}: {report.touched} rows touched, {report.rows_after} rows, {report.seconds:.2f} s"
        )
    return columns, reports


def _validate(data: DataSpec, columns: Columns, file: Path, out: Path, phases: _Phases) -> dict[str, int]:
    from drl.data.expectations import import_great_expectations, load_suite, validate

    suite = load_suite(file)
    with phases("import Great Expectations"):
        import_great_expectations()
    with phases("validate"):
        validation = validate(columns, suite, time_column=data.splits.time_column)
        (out / "expectations.json").write_bytes(canonical_json(validation.result))
    with phases("data docs"):
        from drl.data.data_docs import render_data_docs

        (out / "data_docs.html").write_text(render_data_docs(validation.result), encoding="utf-8")
    counts = validation.counts
    phases.progress.log(
        f"expectations: {counts['evaluated'] - counts['failed']} of {counts['evaluated']} hold"
    )
    if not validation.success:
        raise RejectedRows(
            f"{data.expectations}: {counts['failed']} of {counts['evaluated']} expectations failed:\n  "
            + "\n  ".join(validation.failures),
            remedy=f"look at data_docs.html and at {REJECTED}, then mend the source or the suite",
            rows=validation.rejected,
        )
    return counts


def _write_splits(
    parts: dict[str, Columns], known: Columns, time_column: str, out: Path
) -> dict[str, dict[str, Any]]:
    for name, part in parts.items():
        write_parquet(part, out / f"{name}.parquet")
    write_npy(parts["test"], out / "test.npy")
    profiles = {name: profile(part, time_column=time_column) for name, part in parts.items()}
    times = known[time_column]
    known_rows = {
        "rows": len(times),
        "first": iso(times[0]),
        "last": iso(times[-1]),
        "content_sha256": content_digest(known),
    }
    (out / "profile.json").write_bytes(canonical_json({"known": known_rows, "splits": profiles}))
    return profiles


def _write_demonstrations(spec: PipelineSpec, train: Columns, path: Path) -> str:
    """Ask the environment for demonstrations on the train rows; the random numbers follow from the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from drl.envs.loading import environment_class

    environment = environment_class(spec.environment.entry_point)
    if environment is None or not hasattr(environment, "demonstrations"):
        raise InputError(
            f"training.warm_start: {spec.environment.entry_point} has no method `demonstrations`",
            remedy="remove training.warm_start, or give the environment class that method",
        )
    rng = np.random.Generator(np.random.PCG64(int(content_digest(train)[:32], 16)))
    observations, actions = environment.demonstrations(train, rng, **spec.environment.settings)
    if observations.ndim != 2 or len(observations) != len(actions) or not np.isfinite(observations).all():
        raise DataError(
            f"{spec.environment.entry_point}.demonstrations gave observations {observations.shape} and "
            f"actions {actions.shape}, or values that are not finite",
            remedy="return finite observations [N, D] and N actions",
        )
    table = pa.table({"observation": _lists(observations, np.float32), "action": _lists(actions, None)})
    pq.write_table(table, path, compression="zstd", version="2.6", store_schema=False, use_dictionary=False)
    return f"{len(actions)} of {observations.shape[1]} values each"


def _lists(values: np.ndarray, dtype: type[np.generic] | None) -> Any:
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    flat = np.ascontiguousarray(values, dtype=dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])
