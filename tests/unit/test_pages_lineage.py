"""The lineage page: what was made of what, drawn and in words, without what the reader may not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree import ElementTree

import pytest
from lineage_runs import JournalRun, write_run
from page_runs import Memory

from drl.errors import InputError
from drl.pages import lineage
from drl.pages.graph_chart import graph_chart
from drl.pages.lineage import Placed, Surroundings, surroundings
from drl.steps.lineage import run_lineage
from drl.stores.graph_queries import Relative
from drl.stores.lineage import RunLineage
from drl.stores.lineage_merging import merged

OWN, OTHER = JournalRun("own", 1), JournalRun("other", 2)  # both are trained on the same prices
BACK = {"WAS_GENERATED_BY", "WAS_DERIVED_FROM", "USED"}


class Graph:
    """A lineage graph in memory that answers as the real one does."""

    def __init__(self, *runs: JournalRun) -> None:
        documents = Memory()
        self._whole = merged(run_lineage(write_run(documents, run)) for run in runs)
        self._nodes = {e.sha256: e for e in self._whole.entities} | {a.key: a for a in self._whole.activities}

    def ancestry(
        self, sha256: str, depth: int, most: int | None, first: Callable[[str], bool]
    ) -> list[Relative]:
        found = self._walk(sha256, depth, [(r.source, r.target) for r in self._edges()])
        return self._nearest(found, first)[:most]

    def descendants(
        self, sha256: str, depth: int, most: int | None, first: Callable[[str], bool]
    ) -> list[Relative]:
        found = self._walk(sha256, depth, [(r.target, r.source) for r in self._edges()])
        return self._nearest(found, first)[:most]

    def _nearest(self, found: list[Relative], first: Callable[[str], bool]) -> list[Relative]:
        def late(relative: Relative) -> bool:
            return relative.label == "Activity" and not first(relative.identifier)

        return sorted(found, key=lambda r: (r.distance, late(r), r.label, r.identifier))

    def among(self, sha256: str, relatives: Sequence[Relative]) -> RunLineage:
        ids = {sha256, *(r.identifier for r in relatives)}
        return RunLineage(
            run=sha256,
            entities=tuple(e for e in self._whole.entities if e.sha256 in ids),
            activities=tuple(a for a in self._whole.activities if a.key in ids),
            agents=(),
            relations=tuple(r for r in self._edges() if {r.source, r.target} <= ids),
        )

    def _edges(self) -> list[lineage.Relation]:
        return [r for r in self._whole.relations if r.kind in BACK]

    def _walk(self, start: str, depth: int, edges: list[tuple[str, str]]) -> list[Relative]:
        found, layer = dict[str, int](), {start}
        for distance in range(1, depth + 1):
            layer = {b for a, b in edges if a in layer} - found.keys() - {start}
            found |= dict.fromkeys(layer, distance)
        return [self._relative(identifier, distance) for identifier, distance in found.items()]

    def _relative(self, identifier: str, distance: int) -> Relative:
        node = self._nodes[identifier]
        label = type(node).__name__
        return Relative(label, identifier, node.kind, getattr(node, "name", identifier), distance)


def pipelines(around: Surroundings) -> set[str]:
    return {placed.run.partition("/")[0] for placed in around.placed if placed.run}


def everything(_: str) -> bool:
    return True


def only_own(pipeline: str) -> bool:
    return pipeline == "own"


def test_a_model_has_what_it_was_made_of_before_it_and_what_was_made_with_it_after_it() -> None:
    around = surroundings(Graph(OWN), OWN.root, 2, everything)
    assert around.chosen.kind == "model"
    assert {"train", "code", "source", "dataset"} <= {placed.node.kind for placed in around.before}
    assert {"evaluate", "model version", "release statement"} <= {p.node.kind for p in around.after}
    assert (around.hidden, around.omitted, around.cut) == (0, 0, False)
    assert [p.distance for p in around.placed if p.id == OWN.root] == [0]


def test_other_pipelines_are_hidden_from_those_who_may_not_see_them() -> None:
    graph, prices = Graph(OWN, OTHER), OWN.content("train")
    whole = surroundings(graph, prices, 3, everything)
    assert pipelines(whole) == {"own", "other"}
    part = surroundings(graph, prices, 3, only_own)
    assert pipelines(part) == {"own"}
    assert OTHER.root in {p.id for p in whole.placed}
    assert OTHER.root not in {p.id for p in part.placed}
    assert part.hidden == len(whole.placed) - len(part.placed) > 0
    seen = {placed.id for placed in part.placed}
    assert all({r.source, r.target} <= seen for r in part.relations)


@pytest.mark.parametrize("chosen", [OTHER.root, "ff" * 32])
def test_what_is_not_there_and_what_may_not_be_seen_look_alike(chosen: str) -> None:
    with pytest.raises(InputError, match="is not in the lineage graph"):
        surroundings(Graph(OWN, OTHER), chosen, 2, only_own)


def test_every_node_is_a_link_with_a_name_and_every_relation_a_line() -> None:
    around = surroundings(Graph(OWN), OWN.root, 2, everything)
    svg = ElementTree.fromstring(graph_chart(around, lambda placed: f"/to/{placed.id}"))
    links = svg.findall("a")
    assert {link.get("href") for link in links} == {f"/to/{placed.id}" for placed in around.placed}
    assert [link.get("data-id") for link in links if link.get("aria-current")] == [OWN.root]
    lines = [line for line in svg.findall("path") if "edge" in str(line.get("class"))]
    assert len(lines) == len(around.relations)
    places = {link.get("data-id"): box(link) for link in links}
    assert len(set(places.values())) == len(places)  # nothing covers anything
    for placed in around.before:
        assert places[placed.id][0] < places[OWN.root][0]
    for placed in around.after:
        assert places[placed.id][0] > places[OWN.root][0]


def box(link: ElementTree.Element) -> tuple[float, float]:
    rectangle = link.find("g/rect")
    assert rectangle is not None
    return float(str(rectangle.get("x"))), float(str(rectangle.get("y")))


def test_a_large_graph_is_drawn_in_part_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = surroundings(Graph(OWN), OWN.root, 4, everything)
    monkeypatch.setattr(lineage, "DRAWN", 10)
    part = surroundings(Graph(OWN), OWN.root, 4, everything)
    assert (len(part.placed), part.omitted) == (10, len(whole.placed) - 10)
    nearest = sorted(abs(p.distance) for p in whole.placed)[:10]
    assert [abs(p.distance) for p in part.placed] == nearest
    assert min(len(part.before), len(part.after)) >= 4  # neither side crowds the other out
    graph_chart(part, lambda _: "/")


def test_no_more_is_looked_at_than_can_be_and_the_nearest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = surroundings(Graph(OWN), OWN.root, 4, everything)
    monkeypatch.setattr(lineage, "LOOKED_AT", 6)
    part = surroundings(Graph(OWN), OWN.root, 4, everything)
    assert part.cut
    for few, all_of_them in ((part.before, whole.before), (part.after, whole.after)):
        assert 0 < len(few) <= 6 < len(all_of_them)
        assert max(abs(p.distance) for p in few) <= sorted(abs(p.distance) for p in all_of_them)[5]


def test_what_was_cut_off_gives_nothing_of_other_pipelines_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their models are as near as the own one, and the trainings that would show whose they are, cut off."""
    monkeypatch.setattr(lineage, "LOOKED_AT", 3)
    part = surroundings(Graph(OWN, OTHER), OWN.content("train"), 3, only_own)
    assert part.cut
    assert pipelines(part) == {"own"}
    assert OTHER.root not in {placed.id for placed in part.placed}


def test_a_placed_activity_leads_to_its_run() -> None:
    around = surroundings(Graph(OWN), OWN.root, 1, everything)
    [train] = [p for p in around.placed if p.node.kind == "train"]
    assert isinstance(train, Placed)
    assert (train.run, train.name) == (OWN.key, f"{OWN.key}/train")
