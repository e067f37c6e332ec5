"""How the runs in the lineage graph ended, for counting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import neo4j

ENTRIES = """
MATCH (e:Entity)-[:WAS_GENERATED_BY]->(a:Activity)
WHERE e.kind IN ['ledger opening', 'ledger closing']
RETURN a.run AS run, e.verdict AS verdict, e.look AS look
"""


NEWEST_AUDIT = """
MATCH (a:Activity {kind: 'audit'})
RETURN a.started AS started ORDER BY started DESC LIMIT 1
"""


@dataclass(frozen=True)
class PipelineOutcomes:
    """How often a pipeline's runs ended how.

    Attributes:
        verdicts: number of closed runs by verdict.
        look: the highest look at its held-out data; 0 when it opened none.
    """

    pipeline: str
    verdicts: dict[str, int]
    look: int


def outcomes(tx: neo4j.ManagedTransaction) -> list[PipelineOutcomes]:
    """One for each pipeline, by name."""
    return count((row["run"], row["verdict"], row["look"]) for row in tx.run(ENTRIES))


def newest_audit(tx: neo4j.ManagedTransaction) -> datetime | None:
    """When the newest audit began, None when there was none."""
    row = tx.run(NEWEST_AUDIT).single()
    return cast(datetime, row["started"].to_native()) if row else None


def count(entries: Iterable[tuple[str, str | None, int | None]]) -> list[PipelineOutcomes]:
    """Count entries given as (run's key, verdict of a closing, look of an opening)."""
    verdicts: dict[str, dict[str, int]] = {}
    looks: dict[str, int] = {}
    for run, verdict, look in entries:
        pipeline = run.partition("/")[0]
        of_pipeline = verdicts.setdefault(pipeline, {})
        if verdict is not None:
            of_pipeline[verdict] = of_pipeline.get(verdict, 0) + 1
        looks[pipeline] = max(looks.get(pipeline, 0), look or 0)
    return [PipelineOutcomes(name, verdicts[name], looks[name]) for name in sorted(verdicts)]
