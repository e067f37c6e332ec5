"""Great Expectations, the real library, on a suite that is kept as JSON beside the pipeline.

Nothing is sent anywhere: the context is ephemeral and its analytics are switched off. The result holds no
times and no random ids, so that the same data and suite give the same bytes.

Importing the library takes seconds (most of it is building classes), so it is imported when first needed.
"""

from __future__ import annotations

import gc
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from drl.data.columns import Columns
from drl.data.rejection import SAMPLE, sample_rows
from drl.errors import InputError

STEP_COLUMN = "step_s"
"""Added for the suite: seconds since the row before; empty in the first row."""

_BULKY = ("unexpected_list", "unexpected_index_list", "unexpected_index_query")


@dataclass(frozen=True)
class Validation:
    """What a suite said about a table.

    Attributes:
        result: Great Expectations' validation result as JSON, without times, ids and endless lists.
        rejected: every row that a failed expectation names, with that expectation in ``failed_expectation``.
        failures: one line for each failed expectation.
    """

    result: dict[str, Any]
    rejected: pd.DataFrame
    failures: list[str]

    @property
    def success(self) -> bool:
        """Whether every expectation held."""
        return not self.failures

    @property
    def counts(self) -> dict[str, int]:
        """How many expectations were ``evaluated`` and how many ``failed``."""
        return {"evaluated": len(self.result["results"]), "failed": len(self.failures)}


def load_suite(path: Path) -> dict[str, Any]:
    """Read a suite file.

    Raises:
        InputError: the file is missing, is not JSON, or holds no expectation.
    """
    try:
        suite = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"data.expectations: {path}: cannot be read: {error}",
            remedy="keep a Great Expectations suite (JSON) beside the pipeline file",
        ) from error
    if not isinstance(suite, dict) or not suite.get("name") or not suite.get("expectations"):
        raise InputError(
            f"data.expectations: {path}: no suite with a name and at least one expectation",
            remedy='write {"name": ..., "expectations": [{"type": ..., "kwargs": {...}}]}',
        )
    return suite


def validate(columns: Columns, suite: dict[str, Any], *, time_column: str) -> Validation:
    """Run the suite on a table.

    Raises:
        InputError: the suite is none that Great Expectations can read.
    """
    frame = pd.DataFrame(columns)
    frame[STEP_COLUMN] = frame[time_column].diff()
    raw = _run(frame, suite)
    rejected, failures = [], []
    for outcome in raw["results"]:
        if outcome["success"]:
            continue
        rows = _in_words(frame.loc[outcome["result"].get("unexpected_index_list") or []], time_column)
        failures.append(_describe_failure(outcome, rows))
        rejected.append(rows.assign(failed_expectation=_title(outcome)))
    return Validation(
        result=_without_chance(raw, suite),
        rejected=pd.concat(rejected) if rejected else frame.iloc[:0],
        failures=failures,
    )


def import_great_expectations() -> Any:
    """The library, imported with its analytics off.

    The garbage collector rests meanwhile: the import makes a million objects and frees few of them.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    collecting = gc.isenabled()
    gc.disable()
    try:
        import great_expectations
    finally:
        if collecting:
            gc.enable()
    return great_expectations


def _run(frame: pd.DataFrame, suite: dict[str, Any]) -> dict[str, Any]:
    gx = import_great_expectations()
    from great_expectations.data_context.types import base

    # The default ephemeral context makes a folder for documents in /tmp and leaves it there.
    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=base.ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("prepared").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    expectations = gx.ExpectationSuite(name=suite["name"], expectations=_expectations(suite))
    form = {"result_format": "COMPLETE", "partial_unexpected_count": SAMPLE}
    raw = batch.validate(expectations, result_format=form).to_json_dict()
    # Numpy's numbers become plain ones, which the page needs as well; NaN has no JSON form.
    plain: dict[str, Any] = json.loads(json.dumps(raw, default=float), parse_constant=lambda _: None)
    return plain


def _expectations(suite: dict[str, Any]) -> list[Any]:
    # One by one: a suite that is given them all logs and leaves out what it does not know, and then succeeds.
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    built = []
    for number, entry in enumerate(suite["expectations"], start=1):
        try:
            built.append(ExpectationConfiguration(**{"kwargs": {}, **entry}).to_domain_obj())
        except (GreatExpectationsError, TypeError, ValueError) as error:
            raise InputError(
                f"data.expectations: suite {suite['name']!r}, expectation {number}: {error}",
                remedy="use types and arguments of Great Expectations 1.x, as its gallery lists them",
            ) from error
    return built


def _without_chance(raw: dict[str, Any], suite: dict[str, Any]) -> dict[str, Any]:
    """The result without times, ids, and lists as long as the table."""
    results = []
    for outcome in raw["results"]:
        config = outcome["expectation_config"]
        kwargs = {k: v for k, v in config["kwargs"].items() if k != "batch_id"}
        details = {k: v for k, v in outcome["result"].items() if k not in _BULKY}
        results.append(
            {
                "success": outcome["success"],
                "expectation_config": {
                    "type": config["type"],
                    "kwargs": kwargs,
                    "meta": config.get("meta", {}),
                },
                "result": details,
                "exception": _exception_message(outcome["exception_info"]),
            }
        )
    return {
        "success": raw["success"],
        "suite_name": suite["name"],
        "results": results,
        "statistics": raw["statistics"],
        "meta": {"great_expectations_version": raw["meta"]["great_expectations_version"]},
    }


def _in_words(rows: pd.DataFrame, time_column: str) -> pd.DataFrame:
    utc = pd.to_datetime(rows[time_column], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return rows.assign(utc=utc).rename_axis("row")


def _title(outcome: dict[str, Any]) -> str:
    config = outcome["expectation_config"]
    kwargs = {k: v for k, v in config["kwargs"].items() if k != "batch_id"}
    return f"{config['type']} {json.dumps(kwargs)}"


def _describe_failure(outcome: dict[str, Any], rows: pd.DataFrame) -> str:
    result, title = outcome["result"], _title(outcome)
    problem = _exception_message(outcome["exception_info"])
    if problem:
        return f"{title}: could not be evaluated: {problem}"
    if "unexpected_count" not in result:
        return f"{title}: observed {result.get('observed_value')!r}"
    shown = "".join(f"\n    {row}" for row in sample_rows(rows))
    return f"{title}: {result['unexpected_count']} of {result['element_count']} rows; first rows:{shown}"


def _exception_message(info: dict[str, Any]) -> str | None:
    # Either one record, or one for each metric that raised, under an id that is different in every run.
    records = [info] if "raised_exception" in info else list(info.values())
    return next((str(r["exception_message"]) for r in records if r.get("raised_exception")), None)
