"""``drl-api``: serve policies over HTTP, and make API keys."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from drl.errors import DrlError, InputError, Undetermined
from drl.local.home import Home

if TYPE_CHECKING:
    from drl.serving.settings import ApiSettings

app = typer.Typer(
    name="drl-api",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Serve champions over HTTP, each only after its proof held. docs/serving.md has the settings.",
)
# What the embedded stack says and a server of policies needs; it gets no key of the chain, no database.
_FROM_STACK = (
    "DRL_S3_ENDPOINT",
    "DRL_S3_ACCESS_KEY",
    "DRL_S3_SECRET_KEY",
    "DRL_EVM_RPC_URL",
    "DRL_MLFLOW_URI",
)


@app.command(epilog="Example: drl-api serve battery_arbitrage --trust trust.yaml")
def serve(
    policies: Annotated[list[str] | None, typer.Argument(help="Registered models.")] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust policy: drl trust init.")] = None,
    port: Annotated[int | None, typer.Option(help="To listen on; 8770 by default.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, instead of DRL_API_*.")] = None,
) -> None:
    """Serve until SIGTERM. On the embedded stack when no DRL_* variables name other servers."""
    try:
        _serve(tuple(policies or ()), trust, port, config)
    except DrlError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


@app.command(epilog="Example: drl-api key trading --role act --role read")
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[list[str], typer.Option(help="act, read or metrics.")] = ["act"],  # noqa: B006
) -> None:
    """Draw a key: shown once on standard error, and its entry for the keys' file on standard output."""
    from drl.serving.access import ApiKey, digest_of, new_key

    drawn = new_key()
    entry = {"name": name, "roles": role, "sha256": digest_of(drawn)}
    try:
        ApiKey.from_json(entry, where="this key")
    except DrlError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    typer.echo(f"key of {name}, shown once: {drawn}", err=True)
    typer.echo(yaml.safe_dump({"keys": [entry]}, sort_keys=False), nl=False)


def _serve(policies: tuple[str, ...], trust: Path | None, port: int | None, config: Path | None) -> None:
    import uvicorn

    from drl.serving.app import create_app
    from drl.serving.lines import say
    from drl.serving.service import Service
    from drl.serving.settings import ApiSettings

    if "DRL_S3_ENDPOINT" not in os.environ:
        _use_stack()
    given = {"policies": policies, "trust": trust, "port": port}
    settings = ApiSettings.from_file(config, **given) if config else ApiSettings.from_environment(**given)
    _require_usable(settings)
    with _listen(settings.host, settings.port) as bound:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(Service(settings)),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=10,
            )
        )
        host, number = bound.getsockname()[:2]
        say("serving", address=f"http://{host}:{number}", policies=list(settings.policies))
        server.run(sockets=[bound])
    if not server.started:
        raise Undetermined("the server did not start", remedy="see the lines above")


def _require_usable(settings: ApiSettings) -> None:
    """What no child should have to find out: the trust policy can be read, the state folder written."""
    try:
        settings.trust.read_bytes()
    except OSError as error:
        raise InputError(
            f"the trust policy {settings.trust} cannot be read: {error.strerror}",
            remedy="give the path of one: drl trust init --out trust.yaml",
        ) from error
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.state):
            pass
    except OSError as error:
        raise InputError(
            f"the folder {settings.state} takes no files: {error.strerror}",
            remedy="set DRL_API_STATE to a folder that drl-api may write to",
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"port {port} of {host} cannot be listened on: {str(error.strerror).partition(' (')[0]}",
            remedy="end what listens there, or give another --port",
        ) from error


def _use_stack() -> None:
    """Ask the embedded stack, in a child: what finds it is larger than all that serves."""
    done = subprocess.run(
        [sys.executable, "-m", "drl", "stack", "env", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Undetermined(
            f"no DRL_S3_ENDPOINT is set, and the embedded stack is not there: {done.stderr.strip()}",
            remedy="drl stack up, or set the DRL_* variables of your servers",
        )
    found = json.loads(done.stdout)
    for name in _FROM_STACK:
        os.environ.setdefault(name, found[name])
    os.environ.setdefault("DRL_API_STATE", str(Home.at().path / "serving"))
