"""``drl lineage``: what a model was made of, and the other questions that no single record answers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class _ModelFirst(typer.core.TyperGroup):
    """``drl lineage MODEL`` asks what most people ask: the same as ``drl lineage of MODEL``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        return super().parse_args(ctx, args if not args or known & set(args[:1]) else ["of", *args])


class Format(StrEnum):
    """How lineage is exported."""

    prov = "prov"
    openlineage = "openlineage"


app = typer.Typer(
    cls=_ModelFirst,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Ask where models came from; `drl lineage MODEL` shows what a model was made of.",
)

Model = Annotated[str, typer.Argument(help="A registered model.")]
Thing = Annotated[
    str, typer.Argument(help="A registered model (its newest run), or the SHA-256 of anything.")
]
Depth = Annotated[int, typer.Option(min=1, max=20, help="Steps to go.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command(epilog="Example: `drl lineage of battery_arbitrage --depth 4`")
def of(model: Thing, depth: Depth = 10, as_json: Json = False) -> None:
    """Show what a model was made of, back to the source data."""
    _answers().made_of(model, depth, as_json=as_json)


@app.command("from", epilog="Example: `drl lineage from 4f0c…`, with 64 digits")
def from_(thing: Thing, depth: Depth = 10, as_json: Json = False) -> None:
    """Show the blast radius: everything that was made with it."""
    _answers().made_with(thing, depth, as_json=as_json)


@app.command("trained-on", epilog="Example: `drl lineage trained-on 272f0da`")
def trained_on(
    what: Annotated[
        str, typer.Argument(help="SHA-256 of a source, a split's content or a file, or a git commit.")
    ],
    as_json: Json = False,
) -> None:
    """Show every champion trained on a dataset, or with the code at a commit."""
    _answers().trained_on(what, as_json=as_json)


@app.command(epilog="Example: `drl lineage diff battery_arbitrage 3 4`")
def diff(model: Model, one: str, two: str, as_json: Json = False) -> None:
    """Show what differs between two versions: data, code, settings, environment, seeds, packages."""
    _answers().difference(model, one, two, as_json=as_json)


@app.command(epilog="Example: `drl lineage champion battery_arbitrage --on 2026-11-24`")
def champion(
    model: Model,
    on: Annotated[str | None, typer.Option(help="A day (its end, in UTC) or an ISO 8601 time; now.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was champion on a day, by the ledger's time."""
    _answers().champion(model, on, as_json=as_json)


@app.command()
def failing(as_json: Json = False) -> None:
    """Show the versions whose newest audit found something false or could not tell; exit code 1 then."""
    _answers().failing(as_json=as_json)


@app.command(epilog="Example: `drl lineage rebuild --check`")
def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only compare; write nothing.")] = False,
) -> None:
    """Make the whole graph again from what the sealed bucket holds, then compare the two."""
    _answers().rebuild(check=check)


@app.command(
    epilog="Example: `drl lineage export battery_arbitrage --format openlineage --out events.ndjson`"
)
def export(
    thing: Annotated[
        str | None, typer.Argument(help="A registered model, or the SHA-256 of anything.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Key of a run, instead of the ancestry of a thing.")] = None,
    as_: Annotated[Format, typer.Option("--format", help="PROV-JSON, or OpenLineage events.")] = Format.prov,
    out: Annotated[Path | None, typer.Option(help="A file; standard output by default.")] = None,
) -> None:
    """Write the ancestry of a model, or a whole run, for other tools."""
    _answers().export(thing, run, as_.value, out)


def _answers() -> Any:
    """The module that asks, imported when something is asked: help needs no driver."""
    from drl.cli import lineage_answers
    from drl.cli.main import use_stack

    use_stack()
    return lineage_answers
