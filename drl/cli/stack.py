"""``drl stack``: start, look at and stop the embedded servers."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from drl.errors import DrlError

if TYPE_CHECKING:
    from drl.local.stack import Stack

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Start and stop the real servers that pipelines use: PostgreSQL, S3, Bolt graph, EVM chain, MLflow.",
    epilog='Examples: **drl stack up** · **drl stack status --json** · **eval "$(drl stack env)"**',
)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the stack; by default $DRL_HOME, else .drl in the repository."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

# Progress goes to standard error, so that standard output holds results only.
_progress = Console(stderr=True, highlight=False)
_out = Console(highlight=False)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DrlError as error:
        _progress.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None


def _say(quiet: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not quiet:
            _progress.print(line, markup=False)

    return say


@app.command(epilog="Examples: **drl stack up** · **DRL_HOME=/data/drl drl stack up**")
def up(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring every server to health: the healthy stay as they are, the dead come back with their data."""
    begin = time.monotonic()
    with _errors():
        stack = _stack(home)
        stack.up(_say(as_json))
        if as_json:
            _print_json([asdict(server) for server in stack.status()])
        else:
            _progress.print(
                f"stack ready after {time.monotonic() - begin:.1f} s in {stack.home.path}", markup=False
            )


@app.command(epilog="Examples: **drl stack status** · **drl stack status --json**")
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show health, port, process and memory of every server; exit code 2 if one is not healthy."""
    with _errors():
        servers = _stack(home).status()
    if as_json:
        _print_json([asdict(server) for server in servers])
    else:
        table = Table("server", "state", "port", "pid", "memory", "log", box=None, pad_edge=False)
        for column in (2, 3, 4):
            table.columns[column].justify = "right"
        for server in servers:
            style = {"healthy": "green", "unhealthy": "red"}.get(server.state, "yellow")
            memory = f"{server.memory / 1024**2:.0f} MiB" if server.pid else "-"
            row = (str(server.port or "-"), str(server.pid or "-"), memory, str(server.log))
            table.add_row(server.name, f"[{style}]{server.state}[/]", *row)
        _out.print(table, soft_wrap=True)
    if any(server.state != "healthy" for server in servers):
        raise typer.Exit(2)


@app.command(epilog="Example: **drl stack down**")
def down(home: HomeOption = None) -> None:
    """Stop every server of this home, and nothing else; the data are kept."""
    with _errors():
        _stack(home).down(_say(False))


@app.command(epilog="Examples: **drl stack reset** · **drl stack reset --yes**")
def reset(
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop every server and delete all its data, logs and credentials. There is no way back."""
    stack = _stack(home)
    if not yes:
        typer.confirm(f"Delete all data of the stack in {stack.home.path}?", abort=True, err=True)
    with _errors():
        stack.reset(_say(False))


@app.command(epilog="Examples: **drl stack doctor** · **drl stack doctor --json**")
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check all that the stack needs and promises; exit code 1 if something is wrong, with what to do."""
    from drl.local.doctor import examine

    findings = []
    with _errors():
        for finding in examine(_stack(home)):
            findings.append(finding)
            if not as_json:
                word, style = {
                    True: ("ok", "green"),
                    False: ("WRONG", "red"),
                    None: ("not checked", "yellow"),
                }[finding.good]
                _out.print(f"[{style}]{word:<12}[/]", end="")
                _out.print(f"{finding.name}: {finding.detail}", markup=False, soft_wrap=True)
                if finding.remedy and not finding.good:
                    _out.print(f"{'':12}what to do: {finding.remedy}", markup=False, soft_wrap=True)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    if any(finding.good is False for finding in findings):
        raise typer.Exit(1)


@app.command(epilog='Example: **eval "$(drl stack env)"**')
def env(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print all clients' settings as export lines. THEY HOLD SECRETS: never show, log or commit them."""
    with _errors():
        variables = _stack(home).environment()
    if as_json:
        _print_json(variables)
    else:
        sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, default=str, indent=2) + "\n")


def _stack(home: Path | None) -> Stack:
    from drl.local.stack import Stack  # whoever only verifies records has none of what it needs

    return Stack.at(home)
