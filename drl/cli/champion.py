"""``drl champion``: which version of a model is the champion and since when, and taking that from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Show the champion of a model, or roll it back.")

Model = Annotated[str, typer.Argument(help="A registered model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command(epilog="Example: `drl champion show battery_arbitrage`")
def show(model: Model, as_json: Json = False) -> None:
    """Show what the alias points to, what the statements on the ledger say, and every change so far."""
    from drl.champions.history import champion

    champions = _champions()
    changes = champions.history(model)
    present, said = champions.registry.champion(model), champion(changes)
    value = {
        "model": model,
        "alias": present and {"version": str(present.version), "root": present.model_root},
        "statements": said and said.to_json(),
        "changes": [change.to_json() for change in changes],
    }
    if as_json:
        typer.echo(json.dumps(value, indent=2))
    else:
        _print(value)


@app.command(epilog="Example: `drl champion rollback battery_arbitrage --reason 'overheats the cells'`")
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option(help="Why; it becomes part of the signed statement.")],
    to: Annotated[int | None, typer.Option(help="An earlier champion's version.")] = None,
    as_json: Json = False,
) -> None:
    """Take the alias from the champion: signed, noted on the ledger, then the alias moves.

    By default the champion before it returns, or none if there was none. Run it again after an interruption.
    """
    from drl.champions.rollback import roll_back
    from drl.cli.key_ring import keys_folder
    from drl.cli.lineage_again import record_again
    from drl.record.keys import load_signer
    from drl.stores.locks import exclusive
    from drl.stores.s3 import ArtifactStore
    from drl.stores.settings import S3Settings

    champions = _champions()
    done = roll_back(
        champions,
        model,
        to=to,
        reason=reason,
        signer=load_signer(keys_folder(), "release"),
        sealing=ArtifactStore(S3Settings.from_environment()),
        exclusive=partial(exclusive, _connect),
    )
    record_again(done["run"])
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    now = f"version {done['restored']}" if done["restored"] else "none"
    typer.echo(f"rolled back  {model} version {done['version']}: {done['reason']}")
    typer.echo(f"champion     {now}")
    typer.echo(f"statement    {done['statement']}")
    typer.echo(f"noted        {done['tx']}")


def _champions() -> Any:
    from drl.champions.rollback import Champions
    from drl.cli.key_ring import open_ledger
    from drl.cli.main import use_stack
    from drl.cli.show import records
    from drl.stores.registry import ModelRegistry
    from drl.stores.settings import RegistrySettings

    use_stack()
    return Champions(ModelRegistry(RegistrySettings.from_environment()), open_ledger(), records())


def _connect() -> Any:
    import psycopg

    from drl.stores.settings import read_variable

    return psycopg.connect(read_variable("DRL_POSTGRES_URI"))


def _print(value: dict[str, Any]) -> None:
    alias, said = value["alias"], value["statements"]
    typer.echo(f"champion  {_name(alias)}")
    if alias != said:
        typer.echo(f"ATTENTION the statements on the ledger say: {_name(said)}")
    for change in value["changes"]:
        when = datetime.fromtimestamp(change["block_time"], UTC).strftime("%Y-%m-%d %H:%M")
        more = f": {change['reason']}" if change["reason"] else ""
        typer.echo(f"{when}  version {change['version']:<4} {change['outcome']}{more}")
        typer.echo(f"{'':18}{change['run']}  {change['tx']}")


def _name(policy: dict[str, str] | None) -> str:
    return f"version {policy['version']}, model root {policy['root']}" if policy else "none"
