"""The Cypher of the lineage graph, as functions of a managed transaction.

Portable between Neo4j Community and ArcadeDB: uniqueness constraints only, ``MERGE`` on keys only, nodes
before relations, and no unbounded paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import neo4j
import neo4j.time

from drl.stores.lineage import RELATIONS, RESERVED, Activity, Agent, Entity, Relation, RunLineage

BATCH = 1000

KEYS = {"Entity": "sha256", "Activity": "key", "Agent": "key_id"}
SCHEMA = [
    *(
        f"CREATE CONSTRAINT {label.lower()}_{key} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE"
        for label, key in KEYS.items()
    ),
    *(
        f"CREATE INDEX {label.lower()}_{name} IF NOT EXISTS FOR (n:{label}) ON (n.{name})"
        for label, name in (
            ("Activity", "run"),
            ("Activity", "kind"),
            ("Entity", "kind"),
            ("Entity", "model"),
        )
    ),
]
_MERGE_NODE = {
    label: f"UNWIND $rows AS row MERGE (n:{label} {{{key}: row.{key}}}) ON CREATE SET n += row.properties"
    for label, key in KEYS.items()
}
_MERGE_NODE["Activity"] += ", n.started = datetime(row.started), n.ended = datetime(row.ended)"
# What people call the same bytes may differ; the smallest name stays, whoever writes first.
_SETTLE_NAMES = (
    "UNWIND $rows AS row MATCH (n:Entity {sha256: row.sha256}) "
    "WHERE row.properties.kind < n.kind OR (row.properties.kind = n.kind AND row.properties.name < n.name) "
    "SET n.kind = row.properties.kind, n.name = row.properties.name"
)
_MERGE_RELATION = {
    kind: (
        f"UNWIND $rows AS row MATCH (a:{source} {{{KEYS[source]}: row.source}}) "
        f"MATCH (b:{target} {{{KEYS[target]}: row.target}}) MERGE (a)-[:{kind} {{role: row.role}}]->(b)"
    )
    for kind, (source, target) in RELATIONS.items()
}
UPSTREAM = {
    "Entity": "MATCH (:Entity {sha256: id})-[:WAS_GENERATED_BY|WAS_DERIVED_FROM]->(x)",
    "Activity": "MATCH (:Activity {key: id})-[:USED]->(x)",
}
DOWNSTREAM = {
    "Entity": "MATCH (:Entity {sha256: id})<-[:USED|WAS_DERIVED_FROM]-(x)",
    "Activity": "MATCH (:Activity {key: id})<-[:WAS_GENERATED_BY]-(x)",
}


# Sorting many more rows takes ArcadeDB seconds.
_NEAR_RUNS = f" ORDER BY label = 'Activity' AND NOT coalesce(run, '') IN $runs, id LIMIT {BATCH}"


@dataclass(frozen=True)
class LineageCounts:
    """What a run's lineage holds, and how much of it was new to the graph."""

    nodes: int
    relations: int
    nodes_created: int
    relations_created: int


@dataclass(frozen=True)
class Relative:
    """A node met on the way through the graph.

    Attributes:
        label: ``Entity`` or ``Activity``.
        identifier: its digest or key.
        kind: e.g. ``policy`` or ``train``.
        name: what people call it; the key of an activity.
        distance: relations between it and the start, at least 1.
    """

    label: str
    identifier: str
    kind: str
    name: str
    distance: int


def run_statement(tx: neo4j.ManagedTransaction, statement: str) -> None:
    """Run a statement for its effect."""
    tx.run(statement).consume()


def count(tx: neo4j.ManagedTransaction) -> dict[str, int]:
    """Nodes by label and relations by kind in the whole graph."""
    found = {label: _only(tx.run(f"MATCH (n:{label}) RETURN count(n) AS n")) for label in KEYS}
    for kind in RELATIONS:
        found[kind] = _only(tx.run(f"MATCH ()-[r:{kind}]->() RETURN count(r) AS n"))
    return found


def exists(tx: neo4j.ManagedTransaction, condition: str, what: str) -> bool:
    """Whether an entity ``n`` meets the condition, in which ``$what`` stands for a value."""
    return tx.run(f"MATCH (n:Entity) WHERE {condition} RETURN n.sha256 LIMIT 1", what=what).peek() is not None


def _only(result: neo4j.Result) -> int:
    return int(result.single(strict=True)[0])


def merge(tx: neo4j.ManagedTransaction, lineage: RunLineage) -> LineageCounts:
    """Add a run: nodes first and relations second, each sorted."""
    nodes = relations = 0
    for label, rows in (
        ("Entity", [_entity_row(e) for e in lineage.entities]),
        ("Activity", [_activity_row(a) for a in lineage.activities]),
        ("Agent", [_agent_row(a) for a in lineage.agents]),
    ):
        for batch in _batches(rows):
            created = tx.run(_MERGE_NODE[label], rows=batch).consume().counters.nodes_created
            nodes += created
            if label == "Entity" and created < len(batch):
                tx.run(_SETTLE_NAMES, rows=batch).consume()
    for kind, statement in _MERGE_RELATION.items():
        for batch in _batches([dict(vars(r)) for r in lineage.relations if r.kind == kind]):
            relations += tx.run(statement, rows=batch).consume().counters.relationships_created
    total = len(lineage.entities) + len(lineage.activities) + len(lineage.agents)
    return LineageCounts(total, len(lineage.relations), nodes, relations)


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _entity_row(entity: Entity) -> dict[str, Any]:
    properties = {**entity.attributes, "kind": entity.kind, "name": entity.name}
    return {"sha256": entity.sha256, "properties": properties}


def _activity_row(activity: Activity) -> dict[str, Any]:
    properties = {**activity.attributes, "kind": activity.kind, "run": activity.run}
    return {
        "key": activity.key,
        "properties": properties,
        "started": activity.started,
        "ended": activity.ended,
    }


def _agent_row(agent: Agent) -> dict[str, Any]:
    return {"key_id": agent.key_id, "properties": {**agent.attributes, "kind": agent.kind}}


def walk(
    tx: neo4j.ManagedTransaction,
    directions: Mapping[str, str],
    sha256: str,
    depth: int,
    most: int | None = None,
    first: Callable[[str], bool] = bool,
) -> list[Relative]:
    """Breadth first, a query for each label and layer: paths in a graph of runs grow exponentially.

    Several runs may have made the same bytes, say a split of the same data. The way back goes on with those
    of them that it has met, where there are any. With ``most`` it ends at so many nodes, in each layer
    activities of the runs that are ``first``, then entities, then the rest; and no query answers more than
    some thousand rows; on the way back, activities of runs that it has not met are the last of these.
    """
    found: dict[tuple[str, str], Relative] = {}
    runs: set[str] = set()
    layer = {"Entity": [sha256], "Activity": list[str]()}
    for distance in range(1, depth + 1):
        if most is not None and len(found) >= most:
            break
        fresh: list[dict[str, Any]] = []
        for label, identifiers in layer.items():
            if not identifiers:
                continue
            query = (
                f"UNWIND $ids AS id {directions[label]} RETURN DISTINCT id AS start, labels(x)[0] AS label, "
                "coalesce(x.sha256, x.key) AS id, x.kind AS kind, coalesce(x.name, x.key) AS name, "
                "x.run AS run"
            )
            if most is not None:
                query += _NEAR_RUNS if directions is UPSTREAM else f" LIMIT {10 * BATCH}"
            rows = [dict(row) for row in tx.run(query, ids=identifiers, runs=sorted(runs))]
            fresh += _own(rows, runs) if directions is UPSTREAM else rows
        layer = {"Entity": [], "Activity": []}
        for row in sorted(fresh, key=lambda r: (most is not None and _late(r, first), r["label"], r["id"])):
            node = Relative(row["label"], row["id"], row["kind"], row["name"], distance)
            if node.identifier != sha256 and (node.label, node.identifier) not in found:
                found[node.label, node.identifier] = node
                layer[node.label].append(node.identifier)
        runs |= {row["run"] for row in fresh if row["label"] == "Activity"}
    return list(found.values())[:most]


def _late(row: dict[str, Any], first: Callable[[str], bool]) -> bool:
    return row["label"] == "Activity" and not first(row["run"] or "")


def _own(rows: list[dict[str, Any]], runs: set[str]) -> list[dict[str, Any]]:
    """Without the activities of other runs where one of ``runs`` made the same entity."""
    made_by_these = {r["start"] for r in rows if r["label"] == "Activity" and r["run"] in runs}
    return [
        r for r in rows if r["label"] != "Activity" or r["start"] not in made_by_these or r["run"] in runs
    ]


def read_run(tx: neo4j.ManagedTransaction, run: str) -> RunLineage:
    """The run's activities and what they touch; without activities when the graph does not know the run."""
    found = Collected()
    for row in tx.run("MATCH (a:Activity {run: $run}) RETURN properties(a) AS a", run=run):
        found.nodes["Activity"][row["a"]["key"]] = row["a"]
    collect(tx, found, "USED", "a.run = $run", run=run)
    collect(tx, found, "WAS_ASSOCIATED_WITH", "a.run = $run", run=run)
    collect(tx, found, "WAS_GENERATED_BY", "b.run = $run", run=run)
    ids = sorted(found.nodes["Entity"])
    collect(tx, found, "WAS_DERIVED_FROM", "a.sha256 IN $ids AND b.sha256 IN $ids", ids=ids)
    collect(tx, found, "WAS_ATTRIBUTED_TO", "a.sha256 IN $ids", ids=ids)
    return found.lineage(run)


def read_among(
    tx: neo4j.ManagedTransaction, name: str, entities: Sequence[str], activities: Sequence[str]
) -> RunLineage:
    """The given nodes, every relation between two of them, and the agents that are responsible for them."""
    found = Collected()
    for label, identifiers in (("Entity", entities), ("Activity", activities)):
        rows = tx.run(
            f"UNWIND $ids AS id MATCH (n:{label} {{{KEYS[label]}: id}}) RETURN properties(n) AS n",
            ids=list(identifiers),
        )
        for row in rows:
            found.nodes[label][row["n"][KEYS[label]]] = row["n"]
    ends = {"Entity": sorted(found.nodes["Entity"]), "Activity": sorted(found.nodes["Activity"])}
    for kind, (source, target) in RELATIONS.items():
        inside = "" if target == "Agent" else f" AND b.{KEYS[target]} IN $targets"
        condition = f"a.{KEYS[source]} IN $sources{inside}"
        collect(tx, found, kind, condition, sources=ends[source], targets=ends.get(target, []))
    return found.lineage(name)


def read_page(tx: neo4j.ManagedTransaction, label: str, after: str) -> list[dict[str, Any]]:
    """Properties of the next nodes of a label after a key, in the order of keys; none at the end."""
    key = KEYS[label]
    page = (
        f"MATCH (n:{label}) WHERE n.{key} > $after RETURN properties(n) AS n ORDER BY n.{key} LIMIT {BATCH}"
    )
    return [row["n"] for row in tx.run(page, after=after)]


class Collected:
    """Nodes by label and key, and relations, as they are read."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, dict[str, Any]]] = {label: {} for label in KEYS}
        self.relations: list[Relation] = []

    def lineage(self, run: str) -> RunLineage:
        """Everything collected, under a name."""
        nodes = {label: list(by_key.values()) for label, by_key in self.nodes.items()}
        return RunLineage(
            run=run,
            entities=tuple(Entity(p["sha256"], p["kind"], p["name"], _rest(p)) for p in nodes["Entity"]),
            activities=tuple(
                Activity(
                    p["key"], p["kind"], _iso(p.get("started")), _iso(p.get("ended")), _rest(p), p["run"]
                )
                for p in nodes["Activity"]
            ),
            agents=tuple(Agent(p["key_id"], p["kind"], _rest(p)) for p in nodes["Agent"]),
            relations=tuple(self.relations),
        )


def collect(
    tx: neo4j.ManagedTransaction, found: Collected, kind: str, condition: str, **parameters: Any
) -> None:
    """Add the relations of a kind between ``a`` and ``b`` that meet the condition, with their ends."""
    source, target = RELATIONS[kind]
    query = (
        f"MATCH (a:{source})-[r:{kind}]->(b:{target}) WHERE {condition} "
        "RETURN properties(a) AS a, properties(b) AS b, r.role AS role"
    )
    for row in tx.run(query, **parameters):
        keys = []
        for label, properties in zip((source, target), (row["a"], row["b"]), strict=True):
            keys.append(properties[KEYS[label]])
            found.nodes[label][keys[-1]] = properties
        found.relations.append(Relation(kind, keys[0], keys[1], row["role"]))


def _rest(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in RESERVED}


def _iso(moment: neo4j.time.DateTime | None) -> str | None:
    return None if moment is None else str(moment.to_native().isoformat())
