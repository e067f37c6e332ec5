"""``drl``: one command for the daily loop, the embedded servers, and looking at what a run left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from drl.cli import champion as champion_commands
from drl.cli import keys as key_commands
from drl.cli import lineage as lineage_commands
from drl.cli import record as record_commands
from drl.cli import stack as stack_commands
from drl.cli import store as store_commands
from drl.cli import trust as trust_commands
from drl.errors import DrlError
from drl.training.profile import Profile

app = typer.Typer(
    name="drl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Deep reinforcement learning pipelines whose results an outsider can check.",
)
app.add_typer(stack_commands.app, name="stack")
app.add_typer(key_commands.app, name="keys")
app.add_typer(record_commands.app, name="record")
app.add_typer(trust_commands.app, name="trust")
app.add_typer(store_commands.app, name="store")
app.add_typer(champion_commands.app, name="champion")
app.add_typer(lineage_commands.app, name="lineage")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class _Guarded(typer.core.TyperGroup):
    """Prints a DrlError as two lines instead of a traceback, with the exit code of its kind."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DrlError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


app.info.cls = _Guarded


@app.command(epilog="Example: `drl run cartpole --set time_steps=8192 --set seeds=1`")
def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline's name, or the path of its file.")],
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE of a training parameter.")] = [],  # noqa: B006
    keep: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
) -> None:
    """Prepare, train and evaluate without Airflow. Nothing is signed, nothing is registered."""
    from drl.cli.local_run import run_locally

    run_locally(_pipeline_file(pipeline), _parameters(set_), keep)


@app.command(epilog="Example: `drl validate dags/*.yaml`")
def validate(files: Annotated[list[Path], typer.Argument(help="Pipeline files.")]) -> None:
    """Check pipeline files: schema, environment, baselines, expectation suite."""
    from drl.cli.validate import check_pipeline

    for file in files:
        check_pipeline(file)
        typer.echo(f"{file}: good")


@app.command(epilog="Example: `drl init pendulum --environment Pendulum-v1`")
def init(
    name: Annotated[str, typer.Argument(help="Name of the new pipeline.")],
    environment: Annotated[str, typer.Option(help="Gymnasium id or module:Class.")] = "CartPole-v1",
    folder: Annotated[Path, typer.Option(help="Where pipelines are.")] = Path("dags"),
) -> None:
    """Write a working pipeline for an environment: NAME.yaml and its two-line NAME.py."""
    from drl.cli.init import write_pipeline

    for path in write_pipeline(name, environment, folder):
        typer.echo(f"wrote {path}")
    typer.echo(f"next: drl validate {folder / name}.yaml, then drl run {name}")


@app.command(epilog="Example: `drl reproduce cartpole-v1.record.zip`, then again with --i-trust-this-code")
def reproduce(
    target: Annotated[str, typer.Argument(metavar="RECORD|MODEL", help="A zip, a folder, or a live model.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Of a live model; its champion by default.")
    ] = None,
    trusted: Annotated[bool, typer.Option("--i-trust-this-code", help="Let the record's code run.")] = False,
    until: Annotated[int | None, typer.Option(min=1, help="Only up to this iteration's checkpoint.")] = None,
    profile: Annotated[
        Profile | None, typer.Option(help="Train with this instruction set instead of the recorded one.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust policy: who must have signed.")] = None,
    source: Annotated[Path | None, typer.Option(help="File of the data source, if you have it.")] = None,
    environment: Annotated[
        Path | None, typer.Option(help="Make a virtual environment of the record's lock here.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder to work in.")] = None,
    sign: Annotated[str | None, typer.Option(help="URI of the key that signs the result.")] = None,
    note: Annotated[bool, typer.Option("--note", help="Note the result on the live ledger.")] = False,
    as_json: Json = False,
) -> None:
    """Train a released policy again from its record: identical, equivalent or different."""
    from drl.cli.reproduce import Request, run

    request = Request(
        target=target,
        version=version,
        trusted=trusted,
        until=until,
        profile=profile,
        trust=trust,
        source=source,
        environment=environment,
        keep=keep,
        sign=sign,
        note=note,
        as_json=as_json,
    )
    if not run(request):
        raise typer.Exit(1)


@app.command(epilog="Example: `drl metrics --once`, or without it for Prometheus to scrape")
def metrics(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 9464,
    airflow: Annotated[
        str | None, typer.Option(envvar="DRL_AIRFLOW_URL", help="Address of Airflow's api-server.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the numbers and end.")] = False,
) -> None:
    """Numbers for Prometheus: runs by verdict, looks, failing proofs, the outbox, Airflow's health."""
    use_stack()
    from drl.monitoring.exporter import exporter

    if once:
        typer.echo(exporter(airflow).text(), nl=False)
    else:
        exporter(airflow).serve(host, port)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a pipeline file."""
    from drl.spec import pipeline_schema

    typer.echo(json.dumps(pipeline_schema(), indent=2, ensure_ascii=False))


@app.command(epilog="Example: `drl show`, `drl show cartpole/manual__2026-11-23T10-00-00`")
def show(
    run: Annotated[str | None, typer.Argument(help="Key of a run; the last one by default.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a run did: verdict and why, scores, model, ledger entries, lineage, times."""
    from drl.cli.show import last_run, render, summary

    use_stack()
    found = summary(run or last_run())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        render(found)


@app.command(epilog="Example: `drl approve battery/manual__2026-11-23T10-00-00 --key ~/approver.pem`")
def approve(
    run: Annotated[str, typer.Argument(help="Key of a run that waits for an approval.")],
    key: Annotated[Path, typer.Option(help="PEM file of your own Ed25519 key.")],
    reject: Annotated[bool, typer.Option("--reject", help="Refuse the promotion.")] = False,
    comment: Annotated[str, typer.Option(help="Why; signed with the answer.")] = "",
) -> None:
    """Answer a run that asks for approval, signed with a key that you hold."""
    from drl.cli.approve import approve_run

    use_stack()
    approve_run(run, key, reject=reject, comment=comment)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog="Example: `drl airflow dags test cartpole`, `drl airflow standalone`",
)
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command on the embedded stack."""
    from drl.cli.airflow import run_airflow

    run_airflow(context.args)


@app.command(epilog="Example: `drl verify battery_arbitrage-v3.record.zip --trust trust.yaml --rpc URL`")
def verify(
    record: Annotated[str, typer.Argument(help="A record: a zip, a folder or s3://BUCKET/PREFIX.")],
    trust: Annotated[Path | None, typer.Option(help="Your trust policy (YAML).")] = None,
    rpc: Annotated[str | None, typer.Option(help="JSON-RPC address of a node that you trust.")] = None,
    offline: Annotated[bool, typer.Option(help="Do without the ledger, and say so.")] = False,
    level: Annotated[int | None, typer.Option(min=1, max=4, help="Level of proof to reach.")] = None,
    source: Annotated[Path | None, typer.Option(help="The data source, to redo the data step.")] = None,
    fetch: Annotated[bool, typer.Option(help="Download the data source by its digest.")] = False,
    as_json: Json = False,
) -> None:
    """Check a record from outside: what is recomputed, only claimed, not checked, or false.

    Exit codes: 0 good; 1 something is false, or the policy's minimum is missed; 2 could not tell.
    """
    from drl.cli.verify import verify as verify_and_print

    raise typer.Exit(
        verify_and_print(
            record,
            trust=trust,
            rpc=rpc,
            offline=offline,
            level=level,
            source=source,
            fetch=fetch,
            as_json=as_json,
        )
    )


@app.command(hidden=True)
def step(address: str) -> None:
    """Do the step whose request lies at ADDRESS."""
    from drl.steps.runner import run_step

    run_step(address)


def use_stack() -> None:
    """Read the embedded stack's addresses and credentials, unless DRL_* variables name other servers."""
    import os

    if "DRL_S3_ENDPOINT" in os.environ:
        return
    from drl.local.stack import Stack

    os.environ.update(Stack.at().environment())


def _pipeline_file(name: str) -> Path:
    from drl.errors import InputError

    for path in (Path(name), Path("dags") / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(p.stem for p in Path("dags").glob("*.yaml"))
    raise InputError(f"no pipeline {name!r}", remedy=f"give the path of its file, or one of {known}")


def _parameters(pairs: list[str]) -> dict[str, Any]:
    from drl.errors import InputError

    values: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        try:
            values[name] = json.loads(text)
        except ValueError as error:
            raise InputError(f"--set {pair}", remedy="write NAME=VALUE with a JSON value") from error
        if not sign:
            raise InputError(f"--set {pair}", remedy="write NAME=VALUE")
    return values


if __name__ == "__main__":
    sys.exit(app())
