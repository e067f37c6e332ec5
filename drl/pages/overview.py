"""The runs of a deployment at a glance: each pipeline with its returns, and the newest runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drl.evaluation.statistics import Interval
from drl.pages.journals import Journals
from drl.pages.run import KeyedRun, started
from drl.steps.journal import pipeline_of

SEEN = 200
"""So many of the newest runs are looked at."""
_DOCUMENTS = ("started.json", "evaluate.json", "closing.json", "registration.json", "opening.json")


@dataclass(frozen=True)
class RunLine(KeyedRun):
    """A run in a list.

    Attributes:
        started: when it was resolved.
        verdict: as the ledger has it; None while the run is not closed.
        state: the same in words, ``under way`` and ``evaluated`` included.
        mean: the policy's mean return, None before the evaluation.
        difference: mean paired difference that decides, None before the evaluation.
        other: whom it is a difference to.
        unit: of both.
        model: registered name and version, None before the registration.
    """

    started: datetime | None
    verdict: str | None
    state: str
    mean: float | None
    difference: Interval | None
    other: str
    unit: str
    model: str | None


def recent_runs(journals: Journals, readable: Collection[str]) -> list[RunLine]:
    """The newest runs of the pipelines ``readable``, the newest first."""
    keys = [key for key in journals.recent(SEEN) if pipeline_of(key) in readable]
    found = journals.several(keys, _DOCUMENTS)
    return [_line(key, found[key]) for key in keys]


def by_pipeline(runs: Sequence[RunLine]) -> dict[str, list[RunLine]]:
    """The runs of each pipeline, pipelines by name, the oldest run first."""
    return {
        pipeline: [run for run in reversed(runs) if run.pipeline == pipeline]
        for pipeline in sorted({run.pipeline for run in runs})
    }


def _line(key: str, documents: Mapping[str, Any]) -> RunLine:
    evaluated = documents.get("evaluate.json")
    summary = evaluated["result"]["summary"] if evaluated else None
    closing, registered = documents.get("closing.json"), documents.get("registration.json")
    verdict = closing["verdict"] if closing else None
    return RunLine(
        key=key,
        started=started(documents),
        verdict=verdict,
        state=verdict or ("evaluated, not closed" if summary else "not evaluated"),
        mean=summary["actors"]["policy"]["mean"]["estimate"] if summary else None,
        difference=Interval.from_json(summary["decision"]["estimate"]) if summary else None,
        other=summary["decision"]["other"] if summary else "",
        unit=summary["unit"] if summary else "",
        model=f"{registered['model']} {registered['version']}" if registered else None,
    )


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago ``moment`` was, in the largest whole unit."""
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
