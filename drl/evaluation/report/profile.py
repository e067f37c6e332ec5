"""Performance profiles: how often each actor does better than any given return."""

from __future__ import annotations

import numpy as np

from drl.evaluation.report.svg import WIDTH, Scale, drawing, line, number, path, text, vertical_axis
from drl.evaluation.statistics import performance_profile, quantile

_POINTS = 300
_STYLES = ("released", "second", "third")


def profiles(returns: dict[str, np.ndarray], *, unit: str) -> str:
    """Share of episodes above each return, a line for each of up to three actors, the first one strong."""
    left, right, top, bottom = 56.0, WIDTH - 136.0, 34.0, 230.0
    x = Scale.around(np.concatenate(list(returns.values())).tolist(), left, right)
    y = Scale(0.0, 1.0, bottom, top)
    thresholds = np.linspace(x.low, x.high, _POINTS)
    parts = vertical_axis(y, left, right, "share of episodes above")
    for tick in x.ticks():
        parts.append(text(x(tick), bottom + 16, number(tick), class_="tick", anchor="middle"))
    parts.append(text(right, bottom + 34, f"return of an episode, {unit}", class_="label", anchor="end"))
    for index, (name, style) in enumerate(zip(returns, _STYLES, strict=False)):
        shares = performance_profile(returns[name], thresholds)
        points = [(x(t), y(s)) for t, s in zip(thresholds.tolist(), shares.tolist(), strict=True)]
        place = top + 10 + 20 * index
        parts.append(path(points, f"curve {style}"))
        parts.append(line(right + 10, place - 4, right + 34, place - 4, f"curve {style}"))
        parts.append(text(right + 42, place, name, class_="name" if index == 0 else "tick"))
    medians = "; ".join(f"{name} {number(quantile(values, 0.5))}" for name, values in returns.items())
    return drawing("Performance profile", f"Median return in {unit}: {medians}", bottom + 44, parts)
