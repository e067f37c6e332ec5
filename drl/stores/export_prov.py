"""Lineage as PROV-JSON (W3C member submission of 24 April 2013), for tools that speak W3C PROV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from drl.stores.lineage import Relation, RunLineage, Scalar

_PREFIXES = {
    "sha256": "urn:drl:sha256:",
    "drl": "urn:drl:lineage:",
    "key": "urn:drl:agent:",
}
# Our relation: (PROV's, its name for the source, its name for the target, whether PROV gives it a role)
_RELATIONS = {
    "USED": ("used", "prov:activity", "prov:entity", True),
    "WAS_GENERATED_BY": ("wasGeneratedBy", "prov:entity", "prov:activity", True),
    "WAS_DERIVED_FROM": ("wasDerivedFrom", "prov:generatedEntity", "prov:usedEntity", False),
    "WAS_ASSOCIATED_WITH": ("wasAssociatedWith", "prov:activity", "prov:agent", True),
    "WAS_ATTRIBUTED_TO": ("wasAttributedTo", "prov:entity", "prov:agent", False),
}
_LABELS = {
    "USED": ("drl", "sha256"),
    "WAS_GENERATED_BY": ("sha256", "drl"),
    "WAS_DERIVED_FROM": ("sha256", "sha256"),
    "WAS_ASSOCIATED_WITH": ("drl", "key"),
    "WAS_ATTRIBUTED_TO": ("sha256", "key"),
}


def prov_json(lineage: RunLineage) -> dict[str, Any]:
    """A PROV-JSON document with every node and relation; equal lineages give equal documents."""
    document: dict[str, Any] = {"prefix": dict(_PREFIXES), "entity": {}, "activity": {}, "agent": {}}
    for entity in lineage.entities:
        document["entity"][_name("sha256", entity.sha256)] = {
            "prov:label": entity.name,
            **_described(entity.kind, entity.attributes),
        }
    for activity in lineage.activities:
        times = {"prov:startTime": activity.started, "prov:endTime": activity.ended}
        document["activity"][_name("drl", activity.key)] = {
            **{name: time for name, time in times.items() if time is not None},
            **_described(activity.kind, {**activity.attributes, "run": str(activity.run)}),
        }
    for agent in lineage.agents:
        document["agent"][_name("key", agent.key_id)] = _described(agent.kind, agent.attributes)
    for number, relation in enumerate(lineage.relations):
        document.setdefault(_RELATIONS[relation.kind][0], {})[f"_:r{number}"] = _related(relation)
    return document


def _described(kind: str, attributes: Mapping[str, Scalar]) -> dict[str, Any]:
    return {"prov:type": kind, **{f"drl:{name}": _literal(value) for name, value in attributes.items()}}


def _literal(value: Scalar) -> Any:
    """Integers are typed: PROV-JSON's own are 32 bits wide, block times and seeds are not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"$": str(value), "type": "xsd:long"}
    return value


def _related(relation: Relation) -> dict[str, str]:
    _, source, target, has_role = _RELATIONS[relation.kind]
    ends = _LABELS[relation.kind]
    found = {source: _name(ends[0], relation.source), target: _name(ends[1], relation.target)}
    if relation.role:
        found["prov:role" if has_role else "drl:role"] = relation.role
    return found


def _name(prefix: str, identifier: str) -> str:
    return f"{prefix}:{quote(identifier, safe='/-_.~')}"
