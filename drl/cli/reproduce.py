"""``drl reproduce``: what would be run, the run, the answer, its signature and its note on the ledger."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from drl.data.sources import SourceStore
from drl.digest import canonical_json, sha256_bytes
from drl.errors import InputError, Undetermined
from drl.record.dsse import sign
from drl.record.files import open_record
from drl.record.keys import open_signer
from drl.reproduction.place import (
    LOCK_NAME,
    Difference,
    Place,
    differences,
    installed_tree,
    make_environment,
    this_python,
    unpack_code,
    write_requirements,
)
from drl.reproduction.recorded import RecordedTraining, open_training
from drl.reproduction.reproduce import Replay, Reproduction, checkpoint_at, replay, reproduce
from drl.reproduction.work import DataMeans, Workshop
from drl.steps.folder_run import message
from drl.training.profile import Profile
from drl.verification.trust import load_trust

_SHOWN = 12


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        target: a record (zip or folder), or a model of the live deployment.
        version: of the model; None for its champion.
        trusted: whether the record's code may run.
        until: last iteration to repeat, None for all.
        profile: instruction set to train with; None for the recorded one.
        trust: trust policy.
        source: file of the data source.
        environment: folder for a fresh virtual environment, None for the packages installed here.
        keep: folder to work in, None for a new one below ``.drl/reproductions``.
        sign: URI of the key that signs the statement.
        note: whether to note it on the ledger of the live deployment.
        as_json: print the statement and nothing else on standard output.
    """

    target: str
    version: int | None
    trusted: bool
    until: int | None
    profile: Profile | None
    trust: Path | None
    source: Path | None
    environment: Path | None
    keep: Path | None
    sign: str | None
    note: bool
    as_json: bool


def run(request: Request) -> bool:
    """Reproduce; returns whether the outcome is what the record lets expect (identical or equivalent).

    Raises:
        InputError: options that do not go together, or a target that is no record and no model.
        Undetermined: the flag that lets the record's code run is missing; what would run was printed.
    """
    if request.until is not None and (request.sign or request.note):
        raise InputError(
            "--until repeats a part of the training, which no statement is made of",
            remedy="leave away --sign and --note, or --until",
        )
    if request.note and not request.sign:
        raise InputError("--note without --sign", remedy="give the key that signs, e.g. --sign file:me.pem")
    console = Console(highlight=False, soft_wrap=True, stderr=request.as_json)
    with _record(request) as path, open_record(path) as files, tempfile.TemporaryDirectory() as scratch:
        trust = load_trust(request.trust) if request.trust else None
        training = open_training(files, Path(scratch), trust)
        return _run(request, training, console)


def _run(request: Request, training: RecordedTraining, console: Console) -> bool:
    until = None if request.until is None else checkpoint_at(training, request.until)
    for line in plan(training, until=until, trusted=request.trust is not None):
        console.print(line, markup=False)
    if not request.trusted:
        raise Undetermined(
            "nothing was run: a reproduction runs the code that the record names, as you",
            remedy="read that code, or use a machine that you can throw away, and add --i-trust-this-code",
        )
    folder = _folder(request, training)
    console.print(f"working in {folder}", markup=False)
    place, differing = _place(request, training, folder)
    for line in _shown(differing):
        console.print(line, markup=False)

    def say(line: str) -> None:
        console.print(line, markup=False)

    def show(line: str) -> None:
        said = message(line)
        if said is not None:
            say(f"  {said}")

    means = DataMeans(request.source, _source_store(training))
    workshop = Workshop(training, place, folder / "work", show)
    if until is not None:
        replayed = replay(training, workshop, means, until, say)
        _write(request, folder, replayed.to_json())
        return _print_replay(replayed, console)
    done = reproduce(training, workshop, means, place, differing, say)
    _write(request, folder, done.statement)
    _print(training, done, console)
    if request.sign:
        _sign(request, training, done, folder, console)
    return done.comparison.outcome != "different"


def plan(training: RecordedTraining, *, until: int | None, trusted: bool) -> list[str]:
    """What would be run, and the margin that a difference will be judged by, before anything runs."""
    spec, resolved = training.spec, training.resolved
    code, environment, packages = (resolved[name] for name in ("code", "environment", "packages"))
    data = "none"
    if resolved["spec"]["data"] is not None:
        source = resolved["spec"]["data"]["source"]
        data = f"{source['kind']} source, sha256 {source['sha256']}"
    signer = "which your trust policy trusts" if trusted else "whoever that is: give --trust to be told"
    signers = ", ".join(key[:12] for key in training.keys)
    steps = f"up to iteration {until}" if until else f"{spec.training.time_steps:,} time steps each"
    return [
        f"reproduce  {training.model}, run {resolved['run']}",
        f"model root {training.root}",
        f"signed by  {signers}, {signer}",
        "verified   up to the decision: nothing is false (the ledger was not asked)",
        f"code       {_code(training)}",
        f"commit     {code['commit']}" + ("" if code["dirty"] is False else ", with uncommitted changes"),
        f"packages   lock {str(packages['lock_sha256'])[:12]}, "
        f"{_counted(len(packages['differences']), 'package')} differed from it when recorded",
        f"world      {environment['entry_point']}, package {environment['package']} {environment['version']}",
        f"data       {data}",
        f"training   {spec.training.settings.algorithm}, profile {spec.training.profile}, "
        f"seeds {', '.join(map(str, training.seeds))}, {steps}",
        f"margin     {_margin(training)}",
    ]


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _margin(training: RecordedTraining) -> str:
    if training.margin is None:
        return "none: the record shows no spread between seeds, so only identical counts"
    return (
        f"{training.margin:.6g} {training.spec.evaluation.unit}, the standard deviation of the "
        f"{len(training.seeds)} seeds' validation means: a mean difference within it counts as none"
    )


def _code(training: RecordedTraining) -> str:
    here = installed_tree()
    tree = training.resolved["code"]["tree"]
    if training.archive is None:
        return f"the code installed here (the record has no source archive; it names the tree {tree})"
    same = "the tree that is installed here" if here == tree else "not the code that is installed here"
    return f"source.tar of the record, tree {tree}: {same}"


def _place(request: Request, training: RecordedTraining, folder: Path) -> tuple[Place, list[Difference]]:
    code = unpack_code(training, folder / "source")
    python, fresh = this_python(), request.environment is not None
    if request.environment is not None:
        if code is None:
            raise InputError(
                "--environment needs the lock, and this record has no source archive that holds it",
                remedy="leave --environment away",
            )
        requirements = write_requirements(training, code / LOCK_NAME, folder / "requirements.txt")
        python = make_environment(requirements, request.environment.resolve())
    place = Place(python, code, fresh, request.profile or training.spec.training.profile)
    return place, differences(training, place)


def _source_store(training: RecordedTraining) -> SourceStore | None:
    """The artifact store for a source that lies in S3; what it gives is checked by digest."""
    data = training.spec.data
    if data is None or data.source.kind != "s3":
        return None
    from drl.cli.main import use_stack
    from drl.stores.s3 import ArtifactStore
    from drl.stores.settings import S3Settings

    use_stack()
    return ArtifactStore(S3Settings.from_environment())


def _shown(differing: list[Difference]) -> list[str]:
    if not differing:
        return ["here       code, environment and packages are the recorded ones"]
    lines = [f"differs    {difference}" for difference in differing[:_SHOWN]]
    left = len(differing) - _SHOWN
    return lines if left <= 0 else [*lines, f"differs    and {left} more"]


def _folder(request: Request, training: RecordedTraining) -> Path:
    name = f"{training.model}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    folder = (request.keep or Path(".drl/reproductions") / name).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty", remedy="give --keep a folder that is not there yet")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(request: Request, folder: Path, value: dict[str, Any]) -> None:
    (folder / "reproduction.json").write_bytes(canonical_json(value))
    if request.as_json:
        print(json.dumps(value, indent=2))


def _print(training: RecordedTraining, done: Reproduction, console: Console) -> None:
    comparison = done.comparison
    console.print(f"[bold]{comparison.outcome}[/bold]: {comparison.why}")
    console.print(f"recorded   {training.root}")
    console.print(f"here       {comparison.root}")
    if comparison.parting is not None:
        seed, iteration = comparison.parting.seed, comparison.parting.iteration
        console.print(f"parted     at the checkpoint after iteration {iteration} of seed {seed}")


def _print_replay(done: Replay, console: Console) -> bool:
    for seed, (recorded, again) in done.digests.items():
        same = "identical" if recorded == again else "different"
        console.print(f"seed {seed}, iteration {done.iteration}: {same}, recorded {recorded}, here {again}")
    if done.parting is not None:
        console.print(f"parted     at the checkpoint after iteration {done.parting.iteration}")
    return done.parting is None


def _sign(
    request: Request, training: RecordedTraining, done: Reproduction, folder: Path, console: Console
) -> None:
    signer = open_signer(str(request.sign), "reproduction")
    envelope = sign(done.statement, [signer])
    path = folder / "reproduction.dsse.json"
    path.write_bytes(envelope)
    console.print(f"signed     {path}, by key {signer.public_key.keyid}")
    if request.note:
        from drl.cli.reproduction_note import note

        opened = training.record.statement("release").predicate["opening"]["receipt"]
        run, pipeline = str(training.resolved["run"]), training.spec.pipeline
        receipt = note(run, pipeline, opened, envelope, signer.public_key)
        console.print(f"noted      {sha256_bytes(envelope)} on run {receipt['run']}: {receipt['tx']}")


@contextmanager
def _record(request: Request) -> Iterator[Path]:
    """The record's zip or folder; of a model of the live deployment it is exported first."""
    path = Path(request.target)
    if path.exists():
        yield path
        return
    if path.suffix == ".zip":
        raise InputError(f"{path}: no such file", remedy="give a record, or the name of a model")
    from drl.cli.main import use_stack
    from drl.cli.record_export import export_record

    use_stack()
    with tempfile.TemporaryDirectory(prefix="drl-record-") as folder:
        yield export_record(
            request.target, request.version, Path(folder) / "record.zip", with_data=False
        ).path
