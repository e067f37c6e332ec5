"""``drl store``: what the S3 store promises, tried for real."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look after the S3 store that keeps the records: that of `DRL_S3_*`, or the embedded one.",
)


@app.callback()
def _group() -> None:
    """Keep `doctor` a command of its own."""


@app.command(epilog="Example: `drl store doctor`")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Lock a canary in the sealed bucket and try to delete, overwrite, shorten and weaken it."""
    from drl.cli.main import use_stack
    from drl.errors import Falsified
    from drl.stores.settings import S3Settings
    from drl.stores.write_once import prove_write_once

    use_stack()
    settings = S3Settings.from_environment()
    checks = prove_write_once(settings)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        typer.echo(f"bucket {settings.sealed} at {settings.endpoint}, a canary locked for a minute:")
        for check in checks:
            typer.echo(f"  {'held' if check.ok else 'FALSE':<6} {check.name}: {check.detail}")
    broken = [check.name for check in checks if not check.ok]
    if broken:
        raise Falsified(
            f"the store at {settings.endpoint} took a lock and does not keep it: {'; '.join(broken)}",
            remedy="keep no records there: what it says is locked can be changed. Use a store with S3 object "
            "lock in compliance mode and a bucket made with it",
        )
