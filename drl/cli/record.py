"""``drl record``: hand a run's record to somebody, and see what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Write the record of a released policy as one file, and see what such a file holds.",
)


@app.command(epilog="Example: `drl record export battery_arbitrage`, then `drl verify` what it wrote")
def export(
    target: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A registered model, or a run's key.")],
    version: Annotated[int | None, typer.Option(min=1, help="Of the model; its champion by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="The zip; MODEL-vN.record.zip by default.")] = None,
    with_data: Annotated[bool, typer.Option("--with-data", help="Let training data travel too.")] = False,
) -> None:
    """Write everything that somebody needs to check a run into one zip."""
    from drl.cli.main import use_stack
    from drl.cli.record_export import export_record

    use_stack()
    done = export_record(target, version, out, with_data=with_data)
    typer.echo(f"wrote {done.path}: {done.files} files, {done.size / 1e6:.1f} MB, of run {done.run}")
    if done.staying:
        typer.echo(f"not in it  {', '.join(done.staying)}")
    typer.echo(f"next       drl verify {done.path}; the other side needs a trust policy too: drl trust init")


@app.command(epilog="Example: `drl record show battery_arbitrage-v3.record.zip`")
def show(
    record: Annotated[Path, typer.Argument(help="A record: a zip or a folder.")],
) -> None:
    """List what a record says it is. Nothing is checked here: that is `drl verify`."""
    from drl.cli.record_show import contents
    from drl.record.files import open_record

    with open_record(record) as files:
        for line in contents(files):
            typer.echo(line)
