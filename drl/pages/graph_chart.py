"""The lineage as a drawing: earlier things on the left, later ones on the right, every node a link."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from html import escape

from drl.evaluation.report.svg import tag, text
from drl.pages.lineage import Placed, Surroundings
from drl.stores.lineage import Activity

_WIDTH, _HEIGHT = 176.0, 40.0
_ACROSS, _DOWN, _EDGE = 236.0, 54.0, 16.0
_LETTERS = 23

Place = tuple[float, float]


def graph_chart(around: Surroundings, link: Callable[[Placed], str]) -> str:
    """The drawing.

    Args:
        around: what to draw.
        link: address that a node leads to.
    """
    places = _places(around)
    edges = [
        _edge(places[relation.target], places[relation.source], relation.source, relation.target)
        for relation in around.relations
    ]
    nodes = [_node(placed, places[placed.id], link(placed)) for placed in around.placed]
    width = max(x for x, _ in places.values()) + _WIDTH + _EDGE
    height = max(y for _, y in places.values()) + _HEIGHT + _EDGE
    words = (
        f"{around.chosen.kind} {around.chosen.name}: {len(around.before)} things it was made of on the left, "
        f"{len(around.after)} made with it on the right. The lists below say the same in words."
    )
    return tag(
        "svg",
        "\n".join([*edges, *nodes]),
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="group",
        aria_label=words,
    )


def _places(around: Surroundings) -> dict[str, Place]:
    """A column for each distance; in a column, things are next to what they are related to."""
    columns: dict[int, list[Placed]] = defaultdict(list)
    for placed in around.placed:
        columns[placed.distance].append(placed)
    related: dict[str, list[str]] = defaultdict(list)
    for relation in around.relations:
        related[relation.source].append(relation.target)
        related[relation.target].append(relation.source)
    tallest = max(len(column) for column in columns.values())
    first = min(columns)
    places: dict[str, Place] = {}
    for distance in sorted(columns, key=abs):
        column = sorted(
            columns[distance], key=lambda p: (_middle(related[p.id], places), p.node.kind, p.name)
        )
        top = _EDGE + (tallest - len(column)) * _DOWN / 2
        for row, placed in enumerate(column):
            places[placed.id] = (_EDGE + (distance - first) * _ACROSS, top + row * _DOWN)
    return places


def _middle(related: list[str], places: dict[str, Place]) -> float:
    heights = [places[one][1] for one in related if one in places]
    return sum(heights) / len(heights) if heights else 0.0


def _edge(start: Place, end: Place, source: str, target: str) -> str:
    """From the earlier thing to the later one."""
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    bend = max(abs(x2 - x1) / 2, 24.0)
    curve = f"M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    near = 0 < x2 - x1 < _ACROSS
    return tag("path", d=curve, class_="edge" if near else "edge far", data_from=source, data_to=target)


def _node(placed: Placed, place: Place, address: str) -> str:
    x, y = place
    kind = "activity" if isinstance(placed.node, Activity) else "entity"
    chosen = " chosen" if placed.distance == 0 else ""
    shapes = [
        tag("title", escape(f"{placed.node.kind}: {placed.name}")),
        tag("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT),
        text(x + 9, y + 16, placed.node.kind, class_="kind"),
        text(x + 9, y + 31, _short(placed)),
    ]
    current = {"aria_current": "true"} if chosen else {}
    return tag(
        "a",
        tag("g", "".join(shapes), class_=f"node {kind}{chosen}"),
        href=address,
        data_id=placed.id,
        **current,
    )


def _short(placed: Placed) -> str:
    """What fits: the time that a run's id ends with, and of a file the end, which tells more."""
    if placed.run:
        return placed.run.rpartition("/")[2].rpartition("__")[2][:_LETTERS]
    return placed.name if len(placed.name) <= _LETTERS else f"…{placed.name[1 - _LETTERS :]}"
