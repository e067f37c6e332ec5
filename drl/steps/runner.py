"""``drl step ADDRESS``: fetch a request and its inputs by digest, do the work, store the outputs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from drl.artifact import Artifact
from drl.digest import canonical_json
from drl.errors import DataError, Falsified, InputError, StepError
from drl.progress import Progress
from drl.spec import PipelineSpec, parse_pipeline
from drl.steps.exchange import Exchange, open_exchange
from drl.steps.request import StepRequest, StepResult
from drl.tar_files import unpack
from drl.training.checkpoints import Kept

_REPORTED_PACKAGES = ("numpy", "torch", "ray", "gymnasium", "pandas", "great-expectations", "onnxruntime")


@dataclass(frozen=True)
class StepContext:
    """Everything a step works with.

    Attributes:
        inputs: folder holding each input under its name.
        work: scratch that is removed afterwards; ``out`` is stored.
    """

    request: StepRequest
    resolved: dict[str, Any]
    spec: PipelineSpec
    inputs: Path
    work: Path
    out: Path
    exchange: Exchange
    progress: Progress

    def input(self, name: str) -> Path | None:
        """Path of the input called ``name``, None when the run has none."""
        path = self.inputs / name
        return path if path.exists() else None


def run_step(address: str) -> StepResult:
    """Do the step that ``address`` asks for; the answer is stored beside the request."""
    exchange, key = open_exchange(address)
    request = StepRequest.from_json(json.loads(exchange.read(key)))
    started = _now()
    scratch = Path(tempfile.mkdtemp(prefix=f"drl-{request.step}-"))
    try:
        for name in ("inputs", "work", "out"):
            (scratch / name).mkdir()
        resolved = json.loads(exchange.get(request.resolved, scratch / "work").read_bytes())
        exchange.get_many(request.inputs, scratch / "inputs")
        context = StepContext(
            request=request,
            resolved=resolved,
            spec=parse_pipeline(resolved["spec"], path=Path("resolved.json")),
            inputs=scratch / "inputs",
            work=scratch / "work",
            out=scratch / "out",
            exchange=exchange,
            progress=Progress(),
        )
        summary = _work(context)
        with context.progress.phase("store outputs"):
            outputs = exchange.put_many(context.out)
        result = StepResult(tuple(outputs), summary, started, _now(), _system())
        exchange.write_once(request.result_key, canonical_json(result.to_json()))
        return result
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _work(context: StepContext) -> dict[str, Any]:
    steps: dict[str, Callable[[StepContext], dict[str, Any]]] = {
        "prepare": _prepare,
        "train": _train,
        "evaluate": _evaluate,
    }
    try:
        return steps[context.request.step](context)
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            raise StepError(
                f"step {context.request.step}: no space left in {context.work.parent}",
                remedy="free disk space or set TMPDIR to a larger disk, then clear the task",
            ) from error
        raise
    except DataError:
        _keep_evidence(context)
        raise


def _keep_evidence(context: StepContext) -> None:
    """A failed expectation or rule must not lose the rows that it refused, nor what was found about them."""
    kept = [artifact.to_json() for artifact in context.exchange.put_many(context.out)]
    context.exchange.write_once(f"{context.request.folder}/refused.json", canonical_json(kept))
    for artifact in kept:
        context.progress.log(f"kept for inspection: {artifact['name']}, sha256 {artifact['sha256']}")


def _prepare(context: StepContext) -> dict[str, Any]:
    from drl.data.sources import fetch
    from drl.steps.prepare import prepare

    data = context.spec.data
    if data is None:
        raise StepError("this pipeline has no data to prepare", remedy="leave the prepare step out")
    suite = context.work / "suite.json"
    suite.write_bytes(canonical_json(context.resolved["expectations"]))
    with context.progress.phase("fetch source"):
        fetched = fetch(data.source, context.work, base=context.work, s3=context.exchange)
    context.progress.log(f"source: {fetched.description}, sha256 {fetched.sha256}")
    return prepare(
        context.spec,
        source_file=fetched.path,
        run_date=date.fromisoformat(context.resolved["run_date"]),
        suite=suite,
        out=context.out,
        progress=context.progress,
    )


def _train(context: StepContext) -> dict[str, Any]:
    from drl.steps.train import train

    return train(
        context.spec,
        seeds=[int(seed) for seed in context.request.parameters["seeds"]],
        train_data=context.input("train.parquet"),
        validation_data=context.input("validation.parquet"),
        demonstrations=context.input("demonstrations.parquet"),
        checkpoints=ExchangeCheckpoints(context.exchange, context.request, context.work / "checkpoints"),
        out=context.out,
        progress=context.progress,
        attempt=context.request.attempt,
        until=context.request.parameters.get("until"),
    )


def _evaluate(context: StepContext) -> dict[str, Any]:
    from drl.steps.evaluate import evaluate

    parameters = context.request.parameters
    selection = context.inputs / "selection.json"
    return evaluate(
        context.spec,
        policy=context.inputs / f"seed-{parameters['released']}",
        champion=context.inputs / "champion" if parameters["champion_root"] else None,
        champion_root=parameters["champion_root"],
        test_data=context.input("test.npy"),
        train_data=context.input("train.parquet"),
        out=context.out,
        alpha=float(parameters["alpha"]),
        learning_curves=sorted(context.inputs.glob("seed-*/metrics.jsonl")),
        validation=json.loads(selection.read_bytes()),
        progress=context.progress,
    )


class ExchangeCheckpoints:
    """Checkpoints of a run in the exchange, found again by every later attempt at the same step.

    A checkpoint is one archive by digest; a pointer ``checkpoints/<series>/<iteration>-<attempt>.json`` names
    it. All of them stay, so that a damaged one is stepped over.
    """

    def __init__(self, exchange: Exchange, request: StepRequest, folder: Path) -> None:
        self._exchange = exchange
        self._prefix = f"runs/{request.run}/{request.step}/checkpoints"
        self._attempt = request.attempt
        self._folder = folder

    def save(self, series: str, iteration: int, folder: Path) -> None:
        """Store ``folder`` as the checkpoint of ``series`` after ``iteration``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        archive = shutil.make_archive(str(self._folder / f"{series}-{iteration}"), "tar", folder)
        artifact = self._exchange.put(Path(archive), f"{series}-{iteration}.tar")
        os.unlink(archive)
        self._exchange.write_once(
            f"{self._prefix}/{series}/{iteration:08d}-{self._attempt}.json",
            canonical_json(artifact.to_json()),
        )

    def kept(self, series: str) -> list[Kept]:
        """Every checkpoint of every attempt, the highest iteration first."""
        keys = self._exchange.list(f"{self._prefix}/{series}/")
        return [
            Kept(int(Path(key).stem.partition("-")[0]), key, partial(self._fetch, key))
            for key in reversed(keys)
        ]

    def _fetch(self, key: str) -> Path:
        try:
            artifact = Artifact.from_json(json.loads(self._exchange.read(key)))
        except (ValueError, KeyError, TypeError, InputError) as error:
            raise Falsified(f"{key}: names no checkpoint: {error!r}", remedy="delete it") from error
        archive = self._exchange.get(artifact, self._folder)
        target = self._folder / Path(key).parent.name / Path(key).stem
        unpack(archive, target)
        archive.unlink()
        return target


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _system() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "packages": {name: metadata.version(name) for name in _REPORTED_PACKAGES},
    }
