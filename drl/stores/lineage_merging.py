"""Several lineages as one: what the graph holds once all of them are recorded, in whatever order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drl.digest import canonical_json
from drl.stores.lineage import Activity, Agent, Entity, Relation, RunLineage


def merged(lineages: Iterable[RunLineage], *, run: str = "everything") -> RunLineage:
    """The union; names of entities are settled as the graph settles them.

    Laws: the order does not matter, and a lineage given twice adds nothing.
    """
    entities: dict[str, Entity] = {}
    activities: dict[str, Activity] = {}
    agents: dict[str, Agent] = {}
    relations: set[Relation] = set()
    for lineage in lineages:
        for entity in lineage.entities:
            known = entities.get(entity.sha256)
            entities[entity.sha256] = entity if known is None else known.merged(entity)
        for activity in lineage.activities:
            activities.setdefault(activity.key, activity)
        for agent in lineage.agents:
            agents.setdefault(agent.key_id, agent)
        relations.update(lineage.relations)
    return RunLineage(
        run=run,
        entities=tuple(entities.values()),
        activities=tuple(activities.values()),
        agents=tuple(agents.values()),
        relations=tuple(relations),
    )


def canonical(lineage: RunLineage) -> bytes:
    """The canonical JSON of its nodes and relations: equal graphs give equal bytes."""
    value = lineage.to_json()
    del value["run"]
    return canonical_json(value)


@dataclass(frozen=True)
class Comparison:
    """Where two graphs differ, a line for each node or relation.

    Attributes:
        missing: wanted and not found.
        superfluous: found and not wanted.
        different: found under the same key with other properties.
        unreadable: what could not be compared, because what it would be made from is damaged.
    """

    missing: tuple[str, ...]
    superfluous: tuple[str, ...]
    different: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.missing or self.superfluous or self.different or self.unreadable)

    @classmethod
    def of(cls, *, wanted: RunLineage, found: RunLineage, unreadable: tuple[str, ...] = ()) -> Comparison:
        """Compare all nodes and relations."""
        left, right = _by_key(wanted), _by_key(found)
        return cls(
            missing=tuple(sorted(left.keys() - right.keys())),
            superfluous=tuple(sorted(right.keys() - left.keys())),
            different=tuple(sorted(k for k in left.keys() & right.keys() if left[k] != right[k])),
            unreadable=unreadable,
        )


def _by_key(lineage: RunLineage) -> dict[str, object]:
    nodes: dict[str, object] = {f"entity {e.sha256}": e for e in lineage.entities}
    nodes |= {f"activity {a.key}": a for a in lineage.activities}
    nodes |= {f"agent {a.key_id}": a for a in lineage.agents}
    return nodes | {
        f"relation {r.source} {r.kind} {r.target} {r.role}".rstrip(): r for r in lineage.relations
    }
