"""The one chart that only the pages have; the others are the report's."""

from __future__ import annotations

from collections.abc import Sequence

from drl.evaluation.report.svg import Scale, number, path, tag

_WIDTH, _HEIGHT = 240, 48
_AIR = 5.0


def sparkline(values: Sequence[float], verdicts: Sequence[str | None], *, unit: str) -> str:
    """The policy's mean return run by run, the oldest first; each run a dot in the colour of its verdict.

    Args:
        values: one for each run, at least one.
        verdicts: of the same runs.
        unit: of the values.
    """
    x = Scale(0.0, float(max(len(values) - 1, 1)), _AIR, _WIDTH - _AIR)
    y = Scale.around(list(values), _HEIGHT - _AIR, _AIR)
    points = [(x(index), y(value)) for index, value in enumerate(values)]
    words = f"Mean return in {unit} of the last {len(values)} evaluated runs, the oldest first: " + ", ".join(
        number(value) for value in values
    )
    dots = [
        tag("circle", cx=px, cy=py, r=3.0, class_=f"run {(verdict or 'open').lower()}")
        for (px, py), verdict in zip(points, verdicts, strict=True)
    ]
    return tag(
        "svg",
        "".join([path(points, "line"), *dots]),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_="spark",
        role="img",
        aria_label=words,
    )
