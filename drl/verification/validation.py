"""Check 32: the validation statement is about the splits of this run and says what the data step's files say.

That the expectations were evaluated on these rows stays a claim; check 26 derives again what cleaning did.
"""

from __future__ import annotations

from typing import Any

from drl.verification.findings import Findings
from drl.verification.record import Record, named_digests, same_json

_SPLITS = ("test.parquet", "train.parquet", "validation.parquet")


def check_validation(record: Record, findings: Findings) -> None:
    """Check 32."""
    with findings.guard(32):
        if record.spec.data is None:
            findings.recomputed(32, "the environment takes no data")
            return
        statement = record.statement("validation")
        said, kept = statement.predicate, record.json("prepare/expectations.json")
        outcomes = [bool(result["success"]) for result in kept["results"]]
        counts = {"evaluated": len(outcomes), "failed": outcomes.count(False)}
        cleaning = _touched(record.json_list("prepare/cleaning.json"))
        splits = {name: record.made(f"prepare/{name}").sha256 for name in _SPLITS}
        file = record.made("prepare/expectations.json")
        described = named_digests([said["result"]], where=statement.name)
        facts = (
            (statement.subjects == splits, "the validation is about other files than the run's splits"),
            (described == {file.name.removeprefix("prepare/"): file.sha256}, "it names another result"),
            (said["expectations"] == counts, f"it counts {said['expectations']}, its result {counts}"),
            (all(outcomes) and kept["success"] is True, "an expectation failed"),
            (said["success"] is True, "it says that the data failed"),
            (same_json(said["cleaning"], cleaning), "it says that cleaning did something else"),
        )
        if all([findings.require(32, holds, sentence) for holds, sentence in facts]):
            findings.recomputed(32, "the validation is about the run's splits, as the data step's files say")
            findings.claimed(32, f"that all {len(outcomes)} expectations hold", key=statement.key)


def _touched(reports: Any) -> list[dict[str, Any]]:
    return [{"rule": report["rule"], "touched": report["touched"]} for report in reports]
