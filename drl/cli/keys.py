"""``drl keys``: which keys sign, since when; a new one; one that is not to be trusted any more."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The keys that sign: list them, rotate one, revoke one. Keys are named by id and never shown.",
)


@app.command("list", epilog="Example: `drl keys list`, `drl keys list --json`")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show every key: role, id, where it is, from when until when."""
    from drl.cli.key_ring import show_keys

    show_keys(as_json=as_json)


@app.command("rotate", epilog="Example: `drl keys rotate steps`")
def rotate_key(role: Annotated[str, typer.Argument(help="steps, release or approval.")]) -> None:
    """Let a new key sign in a role from now on; what the old one signed still verifies."""
    from drl.cli.key_ring import rotate_role

    rotate_role(role)


@app.command("revoke", epilog="Example: `drl keys revoke 3f1c2a9b --reason 'laptop lost'`")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEYID", help="Its id, or the beginning of it.")],
    reason: Annotated[str, typer.Option(help="Why; signed and public.")],
) -> None:
    """Sign that an earlier key is not to be trusted, and note it on the ledger for every run it signed in."""
    from drl.cli.key_ring import revoke
    from drl.cli.main import use_stack

    use_stack()
    revoke(key_id, reason)
