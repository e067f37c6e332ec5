"""Records of real, short trainings, made in a folder without servers: real steps, statements and signatures.

The ledger entries are invented, as in ``record_factory``. ``train_here`` does the work once; ``write_record``
makes a record of it, also one that tells something else than what was done.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from clean_code import WORKING_TREE, clean_code
from record_factory import DATA_SPEC, receipt, write_prices

from drl.artifact import Artifact
from drl.cli.local_run import run_locally
from drl.digest import canonical_json, sha256_file
from drl.record.export import (
    RELEASE,
    Piece,
    account_json,
    blob_name,
    document_names,
    key_name,
    travelling_files,
    write_zip,
)
from drl.record.keys import load_signer, public_pem
from drl.record.ledger import Closing, Opening, pipeline_id
from drl.record.outcome import release_outcome
from drl.record.predicates import intent_statement, model_statement, release_statement
from drl.steps.accept import sign_statements
from drl.steps.exchange import FolderExchange
from drl.steps.inputs import released_policy, renamed
from drl.steps.journal import RunJournal
from drl.steps.request import AcceptedStep, StepName, StepRequest, StepResult

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainedRun:
    """What a run in a folder left behind."""

    folder: Path

    @property
    def exchange(self) -> FolderExchange:
        return FolderExchange(self.folder)

    @property
    def resolved(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "resolved.json").read_bytes())
        return value

    @property
    def steps(self) -> list[StepName]:
        names: tuple[StepName, ...] = ("prepare", "train", "evaluate")
        return [name for name in names if (self._at(name) / "result.json").exists()]

    def accepted(self, step: StepName) -> AcceptedStep:
        request = StepRequest.from_json(json.loads((self._at(step) / "request.json").read_bytes()))
        result = StepResult.from_json(json.loads((self._at(step) / "result.json").read_bytes()))
        return AcceptedStep(request, result, "subprocess", {"exit_code": 0})

    def _at(self, step: str) -> Path:
        return self.folder / "runs" / self.resolved["run"] / step / "1"


def tiny_pipeline(folder: Path, **training: Any) -> Path:
    """CartPole with two seeds and a few seconds of training."""
    value = yaml.safe_load((WORKING_TREE / "dags" / "cartpole.yaml").read_text())
    value |= {"pipeline": "tiny", "registration": {"model": "tiny"}}
    value["training"] |= {"time_steps": 6144, "seeds": [11, 12], "checkpoint_every": 2, **training}
    value["evaluation"]["episodes"] = 20
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def tiny_battery(folder: Path) -> Path:
    """A battery on invented prices, with a data step, and a few seconds of training."""
    value = json.loads(json.dumps(DATA_SPEC))
    folder.mkdir(parents=True, exist_ok=True)
    value["data"]["source"]["sha256"] = sha256_file(write_prices(folder / "prices.csv"))
    suite = {
        "name": "invented_prices",
        "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "price"}}],
    }
    (folder / value["data"]["expectations"]).write_text(json.dumps(suite))
    settings = {"algorithm": "PPO", "environments": 8, "fragment": 64, "minibatch": 128, "epochs": 2}
    value["training"] = {"settings": settings, "time_steps": 2048, "seeds": [11, 12], "checkpoint_every": 2}
    value["promotion"]["fixed_test"] = False  # there is no ledger here that counts looks
    path = folder / "battery.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def train_here(folder: Path, pipeline: Path) -> TrainedRun:
    """Prepare, train and evaluate."""
    return TrainedRun(run_locally(pipeline, {}, folder))


def write_record(
    run: TrainedRun,
    path: Path,
    *,
    change: Change = lambda resolved: None,
    archive: bool = False,
    with_data: bool = False,
) -> Path:
    """The zip of a record of ``run``.

    Args:
        change: made to the frozen run before it is signed, as if something else had been asked for.
        archive: put the working tree as a source archive into it.
        with_data: let the prepared data travel.
    """
    resolved = run.resolved
    evidence = [
        renamed(a, f"{step}/{a.name}") for step in run.steps for a in run.accepted(step).result.outputs
    ]
    if archive:
        resolved["code"], source = _source_archive(run)
        evidence.append(source)
    change(resolved)
    named = pipeline_id(resolved["spec"]["pipeline"])
    journal = RunJournal(run.exchange, f"{resolved['run']}-{path.stem}")
    signers = {role: load_signer(run.folder / "keys", role) for role in ("steps", "release")}  # type: ignore[arg-type]
    journal.write("resolved.json", canonical_json(resolved))
    intent = journal.sign_once("intent", lambda: intent_statement(resolved), signers["steps"]).sha256
    opening = Opening(intent, resolved["test_data"], 1, receipt(1, 10, pipeline=named))
    parameters = run.accepted("train").request.parameters
    journal.once(
        "opening.json",
        lambda: {
            "entry": opening.to_json(),
            "seeds": parameters["seeds"],
            "seeds_from": "owner-chosen",
            "alpha": resolved["spec"]["promotion"]["alpha"],
        },
    )
    frozen = run.exchange.put(_written(run.folder / "frozen.json", resolved), "resolved.json")
    for step in run.steps:
        accepted = run.accepted(step)
        accepted = replace(accepted, request=replace(accepted.request, resolved=frozen))
        journal.once(f"{step}.json", accepted.to_json)
        sign_statements(journal, step, signers["steps"])
    model, policy = resolved["spec"]["registration"]["model"], released_policy(run.accepted("train").result)
    journal.sign_once("model", lambda: model_statement(model=model, policy=policy), signers["release"])
    decision = run.accepted("evaluate").result.summary["decision"]
    outcome = release_outcome(decision, code=resolved["code"], approval=None)
    release = journal.sign_once(
        "release",
        lambda: release_statement(
            intent=intent,
            model=model,
            policy=policy,
            evidence=evidence,
            verdict=outcome.verdict,
            reason=outcome.reason,
            statements={a.name: a.sha256 for a in journal.envelopes() if a.name != RELEASE},
            opening=opening,
        ),
        signers["release"],
    )
    closing = Closing(release.sha256, outcome.verdict, receipt(1, 20, pipeline=named))
    journal.once("closing.json", closing.to_json)
    predicate = journal.statement("release", [signers["release"].public_key])["predicate"]
    documents = {n: journal.read(o) for o, n in document_names(journal.names(), predicate).items()}
    documents |= {key_name(s.public_key.keyid): public_pem(s.public_key) for s in signers.values()}
    head = {"number": 30, "hash": f"0x{'3' * 64}", "time": 1_790_002_000}
    documents["account.json"] = canonical_json(account_json([opening, closing], head))
    pieces = [Piece(name, len(data), partial(_bytes, data)) for name, data in documents.items()]
    for artifact in travelling_files(resolved, predicate, with_data=with_data):
        blob = run.folder / "sha256" / artifact.sha256
        pieces.append(Piece(blob_name(artifact.sha256), artifact.size, partial(blob.open, "rb")))
    write_zip(path, pieces)
    return path


def reproduction_of(folder: Path) -> dict[str, Any]:
    """What ``drl reproduce --keep FOLDER`` wrote down."""
    value: dict[str, Any] = json.loads((folder / "reproduction.json").read_bytes())
    return value


def _written(path: Path, value: Any) -> Path:
    path.write_bytes(canonical_json(value))
    return path


@contextmanager
def _bytes(data: bytes) -> Iterator[BinaryIO]:
    yield io.BytesIO(data)


def _source_archive(run: TrainedRun) -> tuple[dict[str, Any], Artifact]:
    code, path = clean_code(), run.folder / "source.tar"
    _git(code, "-c", "tar.umask=0022", "archive", "--format=tar", f"--output={path}", "HEAD")
    source = run.exchange.put(path, "source.tar")
    identity = {
        "commit": _git(code, "rev-parse", "HEAD"),
        "tree": _git(code, "rev-parse", "HEAD^{tree}"),
        "dirty": False,
        "from": "git",
        "archive": source.to_json(),
    }
    return identity, source


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
