"""``drl trust``: tell the other side whom and what a deployment would have them believe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Write the trust policy with which somebody else checks this deployment's records.",
)


@app.callback()
def _group() -> None:
    """Keep `init` a command of its own."""


@app.command(epilog="Example: `drl trust init --out trust.yaml`, then `drl verify RECORD --trust trust.yaml`")
def init(
    out: Annotated[Path | None, typer.Option(help="A new file; standard output by default.")] = None,
) -> None:
    """Describe the live deployment: keys by role, ledger, writer, pipelines."""
    from drl.cli.main import use_stack
    from drl.cli.trust_init import live_policy
    from drl.errors import InputError

    use_stack()
    text = live_policy()
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}", remedy="name a new file that can be written") from error
    typer.echo(f"wrote {out}; whoever pins it should compare the key ids with you by another way first")
