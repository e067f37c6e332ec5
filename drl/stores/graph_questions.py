"""Questions to the lineage graph that no single record answers, as Cypher that both servers speak.

``docs/lineage.md`` quotes every statement of this module; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import neo4j

CODE = """
MATCH (c:Entity {kind: 'code'}) WHERE c.commit STARTS WITH $commit
RETURN c.sha256 AS id
"""

CHAMPIONS_TRAINED_ON = """
UNWIND $ids AS id
MATCH (:Entity {sha256: id})<-[:WAS_DERIVED_FROM]-(m:Entity {kind: 'model'})
MATCH (m)<-[:WAS_DERIVED_FROM {role: 'champion'}]-(p:Entity {kind: 'promotion statement'})
MATCH (p)<-[:WAS_DERIVED_FROM {role: 'statement'}]-(n:Entity {kind: 'ledger note'})
MATCH (p)-[:WAS_GENERATED_BY]->(a:Activity)
RETURN DISTINCT p.model AS model, p.champion AS version, m.sha256 AS root, a.run AS run,
       p.outcome AS outcome, n.block_time AS time
ORDER BY time
"""

CHAMPION_ON = """
MATCH (p:Entity {model: $model})
WHERE p.kind = 'promotion statement' AND p.outcome <> 'superseded'
MATCH (p)<-[:WAS_DERIVED_FROM {role: 'statement'}]-(n:Entity {kind: 'ledger note'})
WHERE n.block_time <= $time
MATCH (p)-[:WAS_GENERATED_BY]->(a:Activity)
OPTIONAL MATCH (p)-[:WAS_DERIVED_FROM {role: 'champion'}]->(m:Entity)
RETURN p.model AS model, p.champion AS version, m.sha256 AS root, a.run AS run,
       p.outcome AS outcome, n.block_time AS time
ORDER BY time DESC, n.block_number DESC, n.log_index DESC LIMIT 1
"""

VERSION = """
MATCH (v:Entity {model: $model})
WHERE v.kind = 'model version' AND v.version = $version
MATCH (v)-[:WAS_GENERATED_BY]->(r:Activity)
MATCH (v)-[:WAS_DERIVED_FROM {role: 'model'}]->(m:Entity)
RETURN m.sha256 AS root, r.run AS run
"""

MADE_WITH = """
MATCH (a:Activity {run: $run})-[u:USED]->(e:Entity)
WHERE u.role IN $roles
RETURN DISTINCT u.role AS role, e.sha256 AS id, e.name AS name, e.content AS content
ORDER BY role, id
"""

FAILING = """
MATCH (f:Entity {kind: 'audit finding'})
WITH f ORDER BY f.checked DESC
WITH f.model AS model, f.version AS version, head(collect(f)) AS last
WHERE last.outcome <> 'holds'
RETURN model, version, last.root AS root, last.run_key AS run, last.outcome AS outcome,
       last.checked AS checked, last.problems AS problems
ORDER BY model, version
"""

# What a version is made with, by the role in which its steps used it, in the order in which it is told.
FACETS = (
    "source",
    "train",
    "validation",
    "test",
    "code",
    "settings",
    "environment",
    "seeds",
    "packages",
    "image",
)


@dataclass(frozen=True)
class Champion:
    """A version that the alias pointed to, from the moment that the ledger gives.

    Attributes:
        model: registered name.
        version: its version in the registry.
        root: model root.
        run: key of the run whose journal holds the statement that moved the alias.
        outcome: ``promoted``, or ``rolled-back`` when another was rolled back to this one.
        since: time of the block that holds the promotion's note, ISO 8601 in UTC.
    """

    model: str
    version: str
    root: str
    run: str
    outcome: str
    since: str


@dataclass(frozen=True)
class Ingredient:
    """One thing that a version was made with.

    Attributes:
        id: digest.
        name: what people call it.
        content: its canonical JSON where the graph holds it (settings, seeds, packages), else None.
    """

    id: str
    name: str
    content: str | None


@dataclass(frozen=True)
class Version:
    """A registered version and what it was made with, by facet (see :data:`FACETS`)."""

    model: str
    version: str
    root: str
    run: str
    ingredients: dict[str, tuple[Ingredient, ...]]


@dataclass(frozen=True)
class FailingProof:
    """A version whose newest audit did not end well.

    Attributes:
        root: model root.
        run: key of the run that made it.
        outcome: ``false`` or ``undetermined``.
        checked: when the audit began, ISO 8601 in UTC.
        problems: one line each.
    """

    model: str
    version: str
    root: str
    run: str
    outcome: str
    checked: str
    problems: str


def code_ids(tx: neo4j.ManagedTransaction, commit: str) -> list[str]:
    """Entities of the code at a commit, clean or with changes; ``commit`` may be abbreviated."""
    return [row["id"] for row in tx.run(CODE, commit=commit)]


def champions_trained_on(tx: neo4j.ManagedTransaction, ids: Sequence[str]) -> list[Champion]:
    """Every champion whose model was derived from one of the entities, the oldest first."""
    return [_champion(row) for row in tx.run(CHAMPIONS_TRAINED_ON, ids=list(ids))]


def champion_on(tx: neo4j.ManagedTransaction, model: str, time: int) -> Champion | None:
    """The champion at ``time``, seconds since the epoch; None when there was none."""
    row = tx.run(CHAMPION_ON, model=model, time=time).single()
    return None if row is None or row["root"] is None else _champion(row)


def read_version(tx: neo4j.ManagedTransaction, model: str, version: str) -> Version | None:
    """A version with what its run's steps used; None when the graph does not know it."""
    found = tx.run(VERSION, model=model, version=version).single()
    if found is None:
        return None
    ingredients: dict[str, tuple[Ingredient, ...]] = {}
    for row in tx.run(MADE_WITH, run=found["run"], roles=list(FACETS)):
        one = Ingredient(row["id"], row["name"], row["content"])
        ingredients[row["role"]] = (*ingredients.get(row["role"], ()), one)
    return Version(model, version, found["root"], found["run"], ingredients)


def failing(tx: neo4j.ManagedTransaction) -> list[FailingProof]:
    """Versions whose newest finding is not that everything holds."""
    return [FailingProof(**dict(row)) for row in tx.run(FAILING)]


def _champion(row: Any) -> Champion:
    facts = dict(row)
    since = datetime.fromtimestamp(facts.pop("time"), UTC).isoformat()
    return Champion(**facts, since=since)
