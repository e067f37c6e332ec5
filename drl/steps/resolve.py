"""Freeze a run: everything that could change while it runs becomes a digest or a date.

Runs in the Airflow worker (and in ``drl run``). Later steps take only the digest of what this returns, so
that editing a file during a run changes nothing.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from drl.data.sources import SourceStore, resolve_latest
from drl.data.splits import resolve_spans
from drl.envs.identity import environment_identity, test_identity
from drl.errors import InputError
from drl.spec import DataSpec, PipelineSpec, parse_pipeline
from drl.steps.packages import packages_against_lock


def resolve(
    spec: PipelineSpec,
    *,
    run: str,
    run_date: date,
    base: Path,
    champion: dict[str, Any] | None,
    store: SourceStore | None,
    code: dict[str, Any],
) -> dict[str, Any]:
    """The frozen run as JSON.

    Args:
        run: key of the run, ``pipeline/run-id``.
        run_date: the logical date, against which relative windows and ``latest`` are resolved.
        base: folder of the pipeline file; relative paths in it start here.
        champion: registered model, version, model root and policy files to be compared with, if any, and
            the digests of what shows that it was promoted.
        store: the artifact store, for S3 sources.
        code: which source code runs, from :func:`drl.steps.source_code.code_identity`.

    Raises:
        InputError: a source or the suite cannot be resolved.
        DataError: a window is empty, out of order or reaches beyond the run's date.
    """
    value = spec.to_json()
    if spec.data is not None:
        value["data"]["source"] = _exact_source(spec.data, base, store)
        value["data"]["splits"].update(_exact_windows(spec.data, run_date))
    frozen = parse_pipeline(value, path=base / f"{spec.pipeline}.yaml").to_json()
    return {
        "format": "drl.resolved/1",
        "run": run,
        "run_date": run_date.isoformat(),
        "spec": frozen,
        "expectations": _suite(base / spec.data.expectations) if spec.data else None,
        "test_data": test_identity(frozen),
        "champion": champion,
        "code": code,
        "environment": environment_identity(spec.environment.entry_point),
        "packages": packages_against_lock(),
    }


def with_parameters(spec: PipelineSpec, parameters: dict[str, Any]) -> PipelineSpec:
    """The spec with the run's own training parameters; nothing else can be changed by a run.

    Args:
        parameters: ``seeds``, ``time_steps`` and algorithm settings by name; unknown names are refused.
    """
    value = spec.to_json()
    training = value["training"]
    for name, wanted in parameters.items():
        if name in ("seeds", "time_steps"):
            training[name] = wanted
        elif name in training["settings"] and name != "algorithm":
            training["settings"][name] = wanted
        else:
            raise InputError(
                f"run parameter {name!r} = {wanted!r}: not a parameter of {spec.pipeline}",
                remedy=f"use seeds, time_steps or one of {sorted(set(training['settings']) - {'algorithm'})}",
            )
    return parse_pipeline(value, path=Path(f"{spec.pipeline} with run parameters"))


def _exact_source(data: DataSpec, base: Path, store: SourceStore | None) -> dict[str, Any]:
    source = resolve_latest(data.source, base=base, s3=store)
    value: dict[str, Any] = source.model_dump(mode="json")
    if value["kind"] == "file":
        value["path"] = str((base / value["path"]).resolve())
    return value


def _exact_windows(data: DataSpec, run_date: date) -> dict[str, dict[str, str]]:
    spans = resolve_spans(data.splits, run_date)
    return {s.name: {"from": s.start.isoformat(), "to": s.end.isoformat()} for s in spans}


def _suite(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: data.expectations: cannot be read: {error}",
            remedy="keep a Great Expectations suite (JSON) beside the pipeline file",
        ) from error
