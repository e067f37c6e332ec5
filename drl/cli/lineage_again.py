"""Tell the lineage graph what was noted about a run after its end."""

from __future__ import annotations

import typer

from drl.cli.show import records
from drl.errors import StoreError
from drl.steps.journal import RunJournal
from drl.steps.lineage import run_lineage
from drl.stores.graph import LineageGraph
from drl.stores.settings import GraphSettings


def record_again(run: str) -> None:
    """A recorded run's lineage grows with what was signed about it, which stands without the graph too."""
    journal = RunJournal(records(), run)
    if not journal.has("lineage.json"):
        return
    lineage = run_lineage(journal)
    try:
        with LineageGraph(GraphSettings.from_environment()) as graph:
            graph.record_run(lineage)
    except StoreError as error:
        typer.echo(f"done, and the lineage graph does not know it yet: {error}", err=True)
        typer.echo("when it is there again: drl lineage rebuild", err=True)
