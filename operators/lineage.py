"""Write the run's lineage into the graph: what was made of what, by which step, under whose key."""

from __future__ import annotations

from typing import Any

from operators import connections
from operators.base import Run, RunOperator
from operators.links import LineageLink


class RecordLineageOperator(RunOperator):
    """Merge the run's entities, activities and agents; writing twice changes nothing.

    A run's lineage only grows: it is recorded when the run is closed, and again after its promotion.

    Args:
        document: where the journal keeps the counts.
    """

    operator_extra_links = (LineageLink(),)

    def __init__(self, *, document: str = "lineage.json", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.document = document

    def work(self, run: Run) -> dict[str, Any]:
        """Return how many nodes and edges the run has in the graph."""
        from drl.steps.lineage import run_lineage

        lineage = run_lineage(run.journal)
        with connections.lineage_graph() as graph:
            counts = graph.record_run(lineage)
        self.log.info("lineage: %s", counts)
        done = {"nodes": counts.nodes, "edges": counts.relations}
        run.journal.once(self.document, lambda: done)
        return done
