"""What a run adds to the lineage graph, as plain data in the words of W3C PROV.

An *entity* is bytes with a digest, an *activity* is a run or a step that used and generated entities, an
*agent* is a signing key or a person who is responsible. ``docs/lineage.md`` describes the model.

The graph must not depend on who wrote first, so everything said about an entity follows from its bytes, but
for what people call it: of several (kind, name) the smallest stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from drl.digest import require_sha256
from drl.errors import InputError

Scalar = str | int | float | bool

# kind: (label of the source, label of the target)
RELATIONS = {
    "USED": ("Activity", "Entity"),
    "WAS_GENERATED_BY": ("Entity", "Activity"),
    "WAS_DERIVED_FROM": ("Entity", "Entity"),
    "WAS_ASSOCIATED_WITH": ("Activity", "Agent"),
    "WAS_ATTRIBUTED_TO": ("Entity", "Agent"),
}
RESERVED = frozenset({"sha256", "key", "key_id", "run", "kind", "name", "started", "ended", "role"})


@dataclass(frozen=True)
class Entity:
    """Bytes: a dataset, a policy (by its model root), a report, a statement; or a fact by its canonical JSON.

    ``attributes`` are facts worth asking for in a query. They follow from the bytes, so that whoever names
    the entity gives the same ones.
    """

    sha256: str
    kind: str
    name: str
    attributes: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_sha256(self.sha256, where=f"entity {self.name}")
        _check(f"entity {self.name}", self.attributes)

    def merged(self, other: Entity) -> Entity:
        """The entity when ``other`` names the same bytes; ``a.merged(b) == b.merged(a)``."""
        first, second = sorted((self, other), key=lambda e: (_java_order(e.kind), _java_order(e.name)))
        return Entity(self.sha256, first.kind, first.name, {**second.attributes, **first.attributes})


@dataclass(frozen=True)
class Activity:
    """A run, one of its steps, or what was done about it later; nobody but its run writes it.

    Attributes:
        started: and ``ended``, ISO 8601 with an offset, kept in UTC.
        run: the run it belongs to; that of the :class:`RunLineage` that lists it when None.
    """

    key: str
    kind: str
    started: str | None = None
    ended: str | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    run: str | None = None

    def __post_init__(self) -> None:
        _check(f"activity {self.key}", self.attributes)
        for name in ("started", "ended"):
            object.__setattr__(self, name, _utc(getattr(self, name), where=f"activity {self.key}: {name}"))


@dataclass(frozen=True)
class Agent:
    """A signing key, by its identifier, or a person by a name of their own."""

    key_id: str
    kind: str
    attributes: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(f"agent {self.key_id}", self.attributes)


@dataclass(frozen=True, order=True)
class Relation:
    """An edge. The same two ends may be related twice in different roles (a policy, and the champion).

    Attributes:
        kind: one of :data:`RELATIONS`.
        source: digest, key or key id of the later thing.
        target: digest, key or key id of the earlier thing.
        role: what the one was to the other, e.g. ``train``; may be empty.
    """

    kind: str
    source: str
    target: str
    role: str = ""


@dataclass(frozen=True)
class RunLineage:
    """Everything one run says about where things came from; sorted, so that equal content is equal.

    Round trip: ``RunLineage.from_json(lineage.to_json()) == lineage``.

    Raises:
        InputError: two nodes with one identifier, a relation of unknown kind or with an end that is not among
            the nodes.
    """

    run: str
    entities: tuple[Entity, ...]
    activities: tuple[Activity, ...]
    agents: tuple[Agent, ...]
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entities", tuple(sorted(self.entities, key=lambda e: e.sha256)))
        activities = [replace(a, run=self.run) if a.run is None else a for a in self.activities]
        object.__setattr__(self, "activities", tuple(sorted(activities, key=lambda a: a.key)))
        object.__setattr__(self, "agents", tuple(sorted(self.agents, key=lambda a: a.key_id)))
        object.__setattr__(self, "relations", tuple(sorted(set(self.relations))))
        known = {
            "Entity": _unique("entity", [e.sha256 for e in self.entities]),
            "Activity": _unique("activity", [a.key for a in self.activities]),
            "Agent": _unique("agent", [a.key_id for a in self.agents]),
        }
        for relation in self.relations:
            labels = RELATIONS.get(relation.kind)
            if labels is None:
                raise InputError(
                    f"relation kind {relation.kind!r}", remedy=f"use one of {', '.join(RELATIONS)}"
                )
            for label, end in zip(labels, (relation.source, relation.target), strict=True):
                if end not in known[label]:
                    raise InputError(
                        f"relation {relation.kind}: {end} is not among the run's nodes ({label})",
                        remedy="list every node that a relation names, also those of earlier runs",
                    )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunLineage:
        """Read what :meth:`to_json` wrote."""
        return cls(
            run=str(value["run"]),
            entities=tuple(Entity(**item) for item in value["entities"]),
            activities=tuple(Activity(**item) for item in value["activities"]),
            agents=tuple(Agent(**item) for item in value["agents"]),
            relations=tuple(Relation(**item) for item in value["relations"]),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; attributes stay nested."""
        return {
            "run": self.run,
            "entities": [{**vars(e), "attributes": dict(e.attributes)} for e in self.entities],
            "activities": [{**vars(a), "attributes": dict(a.attributes)} for a in self.activities],
            "agents": [{**vars(a), "attributes": dict(a.attributes)} for a in self.agents],
            "relations": [dict(vars(r)) for r in self.relations],
        }


def _java_order(text: str) -> bytes:
    """Sorts as both servers do: by UTF-16 code units."""
    return text.encode("utf-16-be", "surrogatepass")


def _unique(what: str, identifiers: list[str]) -> set[str]:
    known = set(identifiers)
    if len(known) != len(identifiers):
        twice = next(i for i in identifiers if identifiers.count(i) > 1)
        raise InputError(f"{what} {twice} is listed twice", remedy="merge the two and keep one name")
    return known


def _check(where: str, attributes: Mapping[str, Scalar]) -> None:
    for name, value in attributes.items():
        if name in RESERVED or not name.isidentifier() or not isinstance(value, str | int | float | bool):
            raise InputError(
                f"{where}: attribute {name!r} = {value!r}",
                remedy=f"give text, numbers or booleans under names other than {', '.join(sorted(RESERVED))}",
            )


def _utc(text: str | None, *, where: str) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{where}: {text!r} is no ISO 8601 time", remedy="give a time with offset"
        ) from error
    if moment.tzinfo is None:
        raise InputError(f"{where}: {text!r} has no offset", remedy="append Z or an offset such as +01:00")
    return moment.astimezone(UTC).isoformat()
