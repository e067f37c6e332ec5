"""From an evaluation to one HTML file that can be opened, mailed and printed anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from drl.evaluation.episodes import Episodes
from drl.evaluation.promotion import Decision, Gap
from drl.evaluation.report.charts import Compared, differences, learning, whiskers
from drl.evaluation.report.curves import LearningCurve
from drl.evaluation.report.profile import profiles
from drl.evaluation.report.svg import number
from drl.evaluation.report.trace import acting_column, median_episode, trace_chart
from drl.evaluation.statistics import Interval
from drl.spec import PipelineSpec

_SHAPES = {
    "PROMOTE": "\N{BLACK UP-POINTING TRIANGLE}",
    "HOLD": "\N{BLACK SQUARE}",
    "REJECT": "\N{BLACK DOWN-POINTING TRIANGLE}",
}


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report shows.

    Attributes:
        spec: the pipeline.
        evaluation: what ``evaluation.json`` holds.
        episodes: the paired episodes.
        curves: learning curve of each seed; may be empty.
        trace: columns to draw an episode of, None when the environment offers none.
    """

    spec: PipelineSpec
    evaluation: dict[str, Any]
    episodes: Episodes
    curves: list[LearningCurve]
    trace: dict[str, np.ndarray] | None


def render_report(inputs: ReportInputs) -> str:
    """The report as HTML: no scripts, no outside resources, nothing that changes from call to call."""
    loader = jinja2.PackageLoader("drl.evaluation", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(number=number, signed=_signed, percent=_percent)
    style = resources.files("drl.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(style=style, **_view(inputs))


def _view(inputs: ReportInputs) -> dict[str, Any]:
    spec, evaluation, episodes = inputs.spec, inputs.evaluation, inputs.episodes
    decision, gap = Decision.from_json(evaluation["decision"]), Gap.from_json(evaluation["gap"])
    paired = episodes.returns["policy"] - episodes.returns[decision.other]
    compared = _compared(inputs, decision)
    rule = spec.promotion
    return {
        "spec": spec,
        "evaluation": evaluation,
        "decision": decision,
        "gap": gap,
        "other": "the champion" if decision.other == "champion" else decision.other,
        "shape": _SHAPES[decision.verdict],
        "unit": spec.evaluation.unit,
        "level": f"{100 * (1 - decision.alpha):.4g}",
        "actors": _actors(inputs),
        "blocks": -(-decision.episodes // rule.block),
        "whiskers": whiskers(
            compared,
            unit=spec.evaluation.unit,
            margin=rule.margin,
            focus=[decision.other, gap.baseline],
            decisive=decision.other,
        ),
        "differences": differences(
            episodes.labels,
            paired,
            other=decision.other,
            unit=spec.evaluation.unit,
            interval=_difference(evaluation, decision.other),
        ),
        "ahead": int((paired > 0).sum()),
        "profile": profiles(
            {name: episodes.returns[name] for name in _distinct("policy", decision.other, gap.baseline)},
            unit=spec.evaluation.unit,
        ),
        "learning": _learning(inputs),
        "trace": _trace(inputs),
    }


def _distinct(*names: str) -> list[str]:
    return list(dict.fromkeys(names))


def _difference(evaluation: dict[str, Any], name: str) -> Interval:
    return Interval.from_json(evaluation["comparisons"][name]["difference"])


def _compared(inputs: ReportInputs, decision: Decision) -> list[Compared]:
    """The champion first, then the baselines, the one that is hardest to beat on top."""
    rows = [
        Compared(name, _role(inputs.spec, name, decision.other), _difference(inputs.evaluation, name))
        for name in inputs.evaluation["comparisons"]
    ]
    return sorted(rows, key=lambda row: (row.name != "champion", row.difference.estimate, row.name))


def _role(spec: PipelineSpec, name: str, other: str) -> str:
    if name == spec.evaluation.upper_bound:
        return "upper bound"
    return "decides" if name == other else ""


def _actors(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Rows of the table, best mean first."""
    spec, evaluation = inputs.spec, inputs.evaluation
    rows = []
    for name, values in evaluation["actors"].items():
        comparison = evaluation["comparisons"].get(name)
        rows.append(
            {
                "name": name,
                "role": "" if name == "policy" else _role(spec, name, evaluation["decision"]["other"]),
                "mean": Interval.from_json(values["mean"]),
                "score": None if values["score"] is None else Interval.from_json(values["score"]),
                "improvement": None if comparison is None else comparison["probability_of_improvement"],
                **{key: values[key] for key in ("interquartile_mean", "worst_mean", "total")},
            }
        )
    return sorted(rows, key=lambda row: (-row["mean"].estimate, row["name"]))


def _learning(inputs: ReportInputs) -> str | None:
    if not inputs.curves:
        return None
    reward = inputs.spec.training.reward
    unit = f"{reward} reward" if reward else inputs.spec.evaluation.unit
    released = int(inputs.evaluation["validation"]["released"])
    return learning(inputs.curves, released=released, unit=unit)


def _trace(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.trace is None:
        return None
    excerpt = median_episode(
        inputs.trace,
        labels=inputs.episodes.labels,
        returns=inputs.episodes.returns["policy"],
        lengths=inputs.episodes.lengths["policy"],
    )
    return {"label": excerpt.label, "acting": acting_column(excerpt), "chart": trace_chart(excerpt)}


def _signed(value: float) -> str:
    return number(value, sign=True)


def _percent(value: float) -> str:
    """A share as a percentage with one decimal; never 100 for less than all."""
    tenths = 1000 * value
    return number((math.floor(tenths) if 999 < tenths < 1000 else round(tenths)) / 10)
