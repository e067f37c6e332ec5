"""What a thing was made of and what was made with it, as far as somebody may see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from drl.errors import InputError
from drl.steps.journal import pipeline_of
from drl.stores.graph_queries import Relative
from drl.stores.lineage import Activity, Entity, Relation, RunLineage

DRAWN = 120
"""Most nodes in a drawing; the nearest ones."""
LOOKED_AT = 3 * DRAWN
"""Most nodes that are looked at in each direction: some are of pipelines that the reader may not see."""

Node = Entity | Activity


class Graph(Protocol):
    """What is asked of :class:`drl.stores.graph.LineageGraph`."""

    def ancestry(
        self, sha256: str, depth: int, most: int | None, first: Callable[[str], bool]
    ) -> list[Relative]:
        """What the entity was made from, nearest first; at most ``most``, runs that are ``first`` before."""

    def descendants(
        self, sha256: str, depth: int, most: int | None, first: Callable[[str], bool]
    ) -> list[Relative]:
        """What was made with the entity, nearest first; at most ``most``, runs that are ``first`` before."""

    def among(self, sha256: str, relatives: Sequence[Relative]) -> RunLineage:
        """The entity with these relatives of it, and all relations among them."""


@dataclass(frozen=True)
class Placed:
    """A node and how far it is.

    Attributes:
        node: entity or activity.
        distance: relations between it and the chosen one; negative when it came before, 0 for the chosen one.
    """

    node: Node
    distance: int

    @property
    def id(self) -> str:
        """Digest of an entity, key of an activity."""
        return identifier(self.node)

    @property
    def run(self) -> str | None:
        """Key of the run of an activity."""
        return self.node.run if isinstance(self.node, Activity) else None

    @property
    def name(self) -> str:
        """What people call it; the key of an activity."""
        return self.node.name if isinstance(self.node, Entity) else self.node.key


@dataclass(frozen=True)
class Surroundings:
    """An entity with what is around it.

    Attributes:
        chosen: the entity.
        placed: everything, the chosen entity first, then nearest first.
        relations: among these, agents left out.
        agents: for each kind of relation and role, ids of the agents responsible for the chosen entity.
        hidden: how many nodes belong, or may belong, to pipelines that the reader may not see.
        omitted: how many more were looked at than are drawn.
        cut: whether there is still more, which was not looked at.
    """

    chosen: Entity
    placed: tuple[Placed, ...]
    relations: tuple[Relation, ...]
    agents: tuple[str, ...]
    hidden: int
    omitted: int
    cut: bool

    @property
    def before(self) -> list[Placed]:
        """What the chosen entity was made of."""
        return [p for p in self.placed if p.distance < 0]

    @property
    def after(self) -> list[Placed]:
        """What was made with it: the blast radius."""
        return [p for p in self.placed if p.distance > 0]


def surroundings(graph: Graph, sha256: str, depth: int, may_see: Callable[[str], bool]) -> Surroundings:
    """What is around an entity.

    Args:
        graph: the lineage graph.
        sha256: the entity.
        depth: how many relations to follow in each direction.
        may_see: whether the reader may see a pipeline.

    Raises:
        InputError: the graph does not know the entity, or the reader may not see it.
    """

    def seen_run(run: str) -> bool:
        return may_see(pipeline_of(run))

    back, on = (walk(sha256, depth, LOOKED_AT + 1, seen_run) for walk in (graph.ancestry, graph.descendants))
    cut = max(len(back), len(on)) > LOOKED_AT
    back, on = back[:LOOKED_AT], on[:LOOKED_AT]
    distances = (
        {sha256: 0} | {r.identifier: r.distance for r in on} | {r.identifier: -r.distance for r in back}
    )
    lineage = graph.among(sha256, [*back, *on])
    seen = _seen(lineage, seen_run, whole=not cut)
    chosen = next((e for e in lineage.entities if e.sha256 == sha256), None)
    if chosen is None or sha256 not in seen:
        raise InputError(
            f"{sha256[:16]}… is not in the lineage graph",
            remedy="go back to the run; see drl lineage rebuild",
        )
    everything: list[Node] = [*lineage.entities, *lineage.activities]
    nodes = [node for node in everything if identifier(node) in seen]
    placed = _nearest_first(Placed(node, distances[identifier(node)]) for node in nodes)
    drawn = {p.id for p in placed[:DRAWN]}
    return Surroundings(
        chosen=chosen,
        placed=tuple(placed[:DRAWN]),
        relations=tuple(r for r in lineage.relations if {r.source, r.target} <= drawn),
        agents=tuple(
            sorted(
                {r.target for r in lineage.relations if r.kind == "WAS_ATTRIBUTED_TO" and r.source == sha256}
            )
        ),
        hidden=len(everything) - len(nodes),
        omitted=max(0, len(placed) - DRAWN),
        cut=cut,
    )


def identifier(node: Node) -> str:
    """Digest of an entity, key of an activity."""
    return node.sha256 if isinstance(node, Entity) else node.key


def _nearest_first(nodes: Iterable[Placed]) -> list[Placed]:
    """What came before and what came after in turn, so that neither crowds the other out of a drawing."""
    ordered = sorted(nodes, key=lambda p: (abs(p.distance), p.node.kind, p.name, p.id))
    turns: dict[int, Iterator[int]] = defaultdict(count)
    return sorted(ordered, key=lambda p: (abs(p.distance), next(turns[p.distance])))


def _seen(lineage: RunLineage, seen_run: Callable[[str], bool], *, whole: bool) -> Collection[str]:
    """Activities of pipelines that may be seen, and the entities that touch one of these.

    An entity that touches no activity here may belong to anybody: it is seen where nothing has to be hidden,
    and all was looked at.
    """
    activities = {a.key: seen_run(a.run or "") for a in lineage.activities}
    touching: dict[str, set[bool]] = {}
    for relation in lineage.relations:
        for one, other in ((relation.source, relation.target), (relation.target, relation.source)):
            if one in activities:
                touching.setdefault(other, set()).add(activities[one])
    alone = {whole and all(activities.values())}
    entities = {e.sha256 for e in lineage.entities if True in touching.get(e.sha256, alone)}
    return entities | {key for key, visible in activities.items() if visible}
