"""From an evaluation to one HTML file that can be opened, mailed and printed anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from drl.evaluation.episodes import Episodes
from drl.evaluation.report.charts import differences
from drl.evaluation.report.curves import LearningCurve
from drl.evaluation.report.parts import SHAPES, comparison, difference, learning_chart, style, templates
from drl.evaluation.report.profile import profiles
from drl.evaluation.report.trace import acting_column, median_episode, trace_chart
from drl.spec import PipelineSpec


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
    return templates().get_template("report.html.j2").render(style=style(), **_view(inputs))


def _view(inputs: ReportInputs) -> dict[str, Any]:
    spec, evaluation, episodes = inputs.spec, inputs.evaluation, inputs.episodes
    view = comparison(spec, evaluation)
    decision, gap, unit = view["decision"], view["gap"], spec.evaluation.unit
    paired = episodes.returns["policy"] - episodes.returns[decision.other]
    return view | {
        "shape": SHAPES[decision.verdict],
        "blocks": -(-decision.episodes // spec.promotion.block),
        "differences": differences(
            episodes.labels,
            paired,
            other=decision.other,
            unit=unit,
            interval=difference(evaluation, decision.other),
        ),
        "ahead": int((paired > 0).sum()),
        "profile": profiles(
            {name: episodes.returns[name] for name in _distinct("policy", decision.other, gap.baseline)},
            unit=unit,
        ),
        "learning": learning_chart(spec, inputs.curves, released=int(evaluation["validation"]["released"])),
        "trace": _trace(inputs),
    }


def _distinct(*names: str) -> list[str]:
    return list(dict.fromkeys(names))


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
