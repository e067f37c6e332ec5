"""What the report and the pages in Airflow's interface have in common: words, rows, charts, one style sheet.

Made of two things that every run keeps: its frozen spec, and what ``evaluation.json`` holds.
"""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

import jinja2

from drl.evaluation.promotion import Decision, Gap
from drl.evaluation.report.charts import Compared, learning, whiskers
from drl.evaluation.report.curves import LearningCurve
from drl.evaluation.report.svg import number
from drl.evaluation.statistics import Interval
from drl.spec import PipelineSpec

SHAPES = {
    "PROMOTE": "\N{BLACK UP-POINTING TRIANGLE}",
    "HOLD": "\N{BLACK SQUARE}",
    "REJECT": "\N{BLACK DOWN-POINTING TRIANGLE}",
}


def templates(*packages: tuple[str, str]) -> jinja2.Environment:
    """Templates of this folder and of others (package, folder below it), with the words for numbers.

    Everything that is inserted is escaped, and a name that is not there is an error.
    """
    places = [("drl.evaluation", "report"), *packages]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(*place) for place in places]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, signed=signed, percent=percent)
    return environment


def style() -> str:
    """The style sheet."""
    return resources.files("drl.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")


def comparison(spec: PipelineSpec, evaluation: dict[str, Any]) -> dict[str, Any]:
    """What a template needs to show the decision, the actors' table and the chart of differences."""
    decision, gap = Decision.from_json(evaluation["decision"]), Gap.from_json(evaluation["gap"])
    return {
        "spec": spec,
        "evaluation": evaluation,
        "decision": decision,
        "gap": gap,
        "other": "the champion" if decision.other == "champion" else decision.other,
        "unit": spec.evaluation.unit,
        "level": f"{100 * (1 - decision.alpha):.4g}",
        "actors": _actors(spec, evaluation),
        "whiskers": whiskers(
            _compared(spec, evaluation, decision),
            unit=spec.evaluation.unit,
            margin=spec.promotion.margin,
            focus=[decision.other, gap.baseline],
            decisive=decision.other,
        ),
    }


def learning_chart(spec: PipelineSpec, curves: list[LearningCurve], *, released: int) -> str | None:
    """The seeds' learning curves, the released one strong; None without any."""
    if not curves:
        return None
    reward = spec.training.reward
    unit = f"{reward} reward" if reward else spec.evaluation.unit
    return learning(curves, released=released, unit=unit)


def difference(evaluation: dict[str, Any], name: str) -> Interval:
    """Mean paired difference of the policy to another actor."""
    return Interval.from_json(evaluation["comparisons"][name]["difference"])


def signed(value: float) -> str:
    """A number for people, with its sign."""
    return number(value, sign=True)


def percent(value: float) -> str:
    """A share as a percentage with one decimal; never 100 for less than all."""
    tenths = 1000 * value
    return number((math.floor(tenths) if 999 < tenths < 1000 else round(tenths)) / 10)


def _compared(spec: PipelineSpec, evaluation: dict[str, Any], decision: Decision) -> list[Compared]:
    """The champion first, then the baselines, the one that is hardest to beat on top."""
    rows = [
        Compared(name, _role(spec, name, decision.other), difference(evaluation, name))
        for name in evaluation["comparisons"]
    ]
    return sorted(rows, key=lambda row: (row.name != "champion", row.difference.estimate, row.name))


def _role(spec: PipelineSpec, name: str, other: str) -> str:
    if name == spec.evaluation.upper_bound:
        return "upper bound"
    return "decides" if name == other else ""


def _actors(spec: PipelineSpec, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table, best mean first."""
    rows = []
    for name, values in evaluation["actors"].items():
        compared = evaluation["comparisons"].get(name)
        rows.append(
            {
                "name": name,
                "role": "" if name == "policy" else _role(spec, name, evaluation["decision"]["other"]),
                "mean": Interval.from_json(values["mean"]),
                "score": None if values["score"] is None else Interval.from_json(values["score"]),
                "improvement": None if compared is None else compared["probability_of_improvement"],
                **{key: values[key] for key in ("interquartile_mean", "worst_mean", "total")},
            }
        )
    return sorted(rows, key=lambda row: (-row["mean"].estimate, row["name"]))
