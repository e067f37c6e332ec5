"""Journals of runs as the operators write them, without servers: for tests of what is derived from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from securesystemslib.signer import CryptoSigner

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_bytes, sha256_json
from drl.record.dsse import sign
from drl.record.ledger import Closing, Note, Opening, Receipt, pipeline_id
from drl.record.predicates import (
    Execution,
    evaluation_statement,
    intent_statement,
    promotion_statement,
    provenance_statement,
    release_statement,
    rollback_statement,
    validation_statement,
)
from drl.record.roots import artifacts_root
from drl.record.seeds import SCHEME
from drl.steps.inputs import POLICY_FILES, renamed
from drl.steps.journal import Documents, RunJournal
from drl.steps.request import AcceptedStep, StepName, StepRequest, StepResult

START = datetime(2026, 11, 1, tzinfo=UTC)
WRITER = f"0x{'77' * 20}"


@cache
def signer(role: str) -> CryptoSigner:
    """The key of a role; the same during a test session."""
    return CryptoSigner.generate_ed25519()


@dataclass(frozen=True)
class JournalRun:
    """A run to be written: its number decides times, ledger entries and what the files hold.

    Attributes:
        source: names the raw data.
        commit: git commit.
        time_steps: a setting.
        champion: model version and root that it was compared with.
    """

    pipeline: str
    number: int
    verdict: str = "PROMOTE"
    source: str = "prices"
    commit: str = "c" * 40
    time_steps: int = 1000
    champion: tuple[int, str] | None = None

    @property
    def key(self) -> str:
        return f"{self.pipeline}/run-{self.number}"

    @property
    def root(self) -> str:
        return artifacts_root([renamed(a, a.name.split("/")[1]) for a in self.policy(1)])

    def policy(self, seed: int) -> list[Artifact]:
        return [self.file(f"seed-{seed}/{name}") for name in POLICY_FILES]

    def content(self, split: str) -> str:
        return sha256_json({"content": [self.source, split]})

    def file(self, name: str) -> Artifact:
        return artifact(name, f"{self.key} {name}".encode())

    def at(self, minutes: int) -> datetime:
        return START + timedelta(days=self.number, minutes=minutes)

    def resolved(self) -> dict[str, Any]:
        """As :func:`drl.steps.resolve.resolve` writes it."""
        source = {"kind": "file", "path": f"/data/{self.source}.csv", "sha256": sha256_json(self.source)}
        return {
            "format": "drl.resolved/1",
            "run": self.key,
            "run_date": self.at(0).date().isoformat(),
            "spec": {
                "pipeline": self.pipeline,
                "description": "a test",
                "data": {"source": source, "splits": {"test": {"from": "2024-01-01", "to": "2025-01-01"}}},
                "environment": {"entry_point": "CartPole-v1"},
                "training": {"seeds": 2, "time_steps": self.time_steps},
                "registration": {"model": self.pipeline},
            },
            "test_data": sha256_json([self.source, "test"]),
            "champion": {
                "version": self.champion[0],
                "model_root": self.champion[1],
                "files": [],
            }
            if self.champion
            else None,
            "code": {"commit": self.commit, "tree": "d" * 40, "dirty": False, "from": "git"},
            "environment": {
                "entry_point": "CartPole-v1",
                "package": "gymnasium",
                "sha256": sha256_json("gymnasium"),
                "version": "1.2.2",
            },
            "packages": {"lock_sha256": sha256_json("lock"), "differences": {}},
        }

    def receipt(self, entry: int, minutes: int) -> Receipt:
        return Receipt(
            chain_id=31337,
            genesis=f"0x{'11' * 32}",
            contract=f"0x{'22' * 20}",
            writer=WRITER,
            pipeline=pipeline_id(self.pipeline),
            run=self.number,
            tx=f"0x{sha256_json([self.key, entry])}",
            block_number=10 * self.number + entry,
            block_hash=f"0x{sha256_json([self.key, entry, 'block'])}",
            block_time=int(self.at(minutes).timestamp()),
            log_index=0,
        )


def artifact(name: str, data: bytes) -> Artifact:
    return Artifact(name, sha256_bytes(data), len(data))


def write_run(documents: Documents, run: JournalRun, *, promote: bool = True) -> RunJournal:
    """Write the journal up to the closing, and with ``promote`` the promotion after a PROMOTE."""
    journal = RunJournal(documents, run.key)
    if not journal.has("closing.json"):
        _write_until_closed(documents, journal, run)
    if promote and run.verdict == "PROMOTE" and not journal.has("promotion.note.json"):
        _write_promotion(journal, run)
    return journal


def write_rollback(journal: RunJournal, run: JournalRun, restored: JournalRun) -> None:
    """Take the alias from ``run`` and give it back to ``restored``."""
    statement = rollback_statement(
        release=sha256_bytes(journal.read("release.dsse.json")),
        model=run.pipeline,
        root=run.root,
        version=str(run.number),
        alias="champion",
        restored={"version": str(restored.number), "root": restored.root},
        reason="it lost money",
        decided=run.at(600).isoformat(),
    )
    envelope = sign(statement, [signer("release")])
    journal.write("notes/rollback-1.dsse.json", envelope)
    note = Note(sha256_bytes(envelope), run.receipt(4, 601))
    journal.write("notes/rollback-1.note.json", canonical_json(note.to_json()))


def _write_until_closed(documents: Documents, journal: RunJournal, run: JournalRun) -> None:
    resolved = run.resolved()
    reference = artifact("resolved.json", canonical_json(resolved))
    journal.write("resolved.json", canonical_json(resolved))
    journal.write("resolved.ref.json", canonical_json(reference.to_json()))
    journal.write("started.json", canonical_json({"ms": int(run.at(0).timestamp() * 1000)}))
    digests: dict[str, str] = {}

    def write_statement(name: str, statement: dict[str, Any], role: str) -> None:
        stored = journal.write(f"{name}.dsse.json", sign(statement, [signer(role)]))
        digests[f"{name}.dsse.json"] = sha256_bytes(stored)

    write_statement("intent", intent_statement(resolved), "steps")
    intent = digests["intent.dsse.json"]
    opening = Opening(intent, resolved["test_data"], run.number, run.receipt(1, 1))
    seeds = [str(1000 * run.number + i) for i in range(2)]
    journal.write(
        "opening.json",
        canonical_json(
            {"entry": opening.to_json(), "seeds": seeds, "seeds_from": SCHEME, "alpha": 0.05},
        ),
    )
    steps = _steps(documents, run, reference, seeds)
    for minutes, (name, accepted) in enumerate(steps.items(), start=2):
        journal.write(f"{name}.json", canonical_json(accepted.to_json()))
        execution = Execution(
            "subprocess",
            accepted.request.attempt,
            run.at(minutes).isoformat(),
            run.at(minutes).isoformat(),
            {},
        )
        statement = provenance_statement(
            name,
            intent=intent,
            parameters=accepted.request.parameters,
            inputs=accepted.request.inputs,
            outputs=accepted.result.outputs,
            code=resolved["code"],
            execution=execution,
        )
        write_statement(name, statement, "steps")
    prepared, evaluated = steps["prepare"].result, steps["evaluate"].result
    validation = validation_statement(
        intent=intent,
        splits=[prepared.output(f"{name}.parquet") for name in ("train", "validation", "test")],
        result=prepared.output("expectations.json"),
        success=True,
        expectations={"evaluated": 5, "failed": 0},
        cleaning=[],
        contents=prepared.summary["contents"],
    )
    write_statement("validation", validation, "steps")
    evaluation = evaluation_statement(
        intent=intent,
        model=run.pipeline,
        root=run.root,
        test_data=resolved["test_data"],
        participants=[],
        decision={"verdict": run.verdict, "reason": "because"},
        evidence=evaluated.outputs,
    )
    write_statement("evaluation", evaluation, "steps")
    release = release_statement(
        intent=intent,
        model=run.pipeline,
        policy=[renamed(a, a.name.split("/")[1]) for a in run.policy(1)],
        evidence=evaluated.outputs,
        verdict=run.verdict,  # type: ignore[arg-type]
        reason="because",
        statements=dict(digests),
        opening=opening,
    )
    write_statement("release", release, "release")
    registration = {"model": run.pipeline, "version": run.number, "mlflow_run": sha256_json(run.key)[:32]}
    journal.write("registration.json", canonical_json(registration))
    closing = Closing(digests["release.dsse.json"], run.verdict, run.receipt(2, 9))  # type: ignore[arg-type]
    journal.write("closing.json", canonical_json(closing.to_json()))


def _write_promotion(journal: RunJournal, run: JournalRun) -> None:
    statement = promotion_statement(
        release=sha256_bytes(journal.read("release.dsse.json")),
        model=run.pipeline,
        root=run.root,
        version=str(run.number),
        alias="champion",
        outcome="promoted",
        replaced=None,
        decided=run.at(10).isoformat(),
    )
    envelope = sign(statement, [signer("release")])
    journal.write("promotion.dsse.json", envelope)
    note = Note(sha256_bytes(envelope), run.receipt(3, 11))
    journal.write("promotion.note.json", canonical_json(note.to_json()))


def _steps(
    documents: Documents, run: JournalRun, resolved: Artifact, seeds: list[str]
) -> dict[StepName, AcceptedStep]:
    splits = [
        replace(run.file(f"{name}.parquet"), sha256=sha256_json({"file": [run.source, name]}))
        for name in ("train", "validation", "test")
    ]
    chain = b"".join(_chain(seed) for seed in seeds)
    checkpoints = artifact("checkpoints.jsonl", chain)
    documents.write_once(f"sha256/{checkpoints.sha256}", chain)
    policies = [a for seed in (0, 1) for a in run.policy(seed)]
    contents = {name: run.content(name) for name in ("train", "validation", "test")}
    root = run.root

    def step(
        name: StepName, minute: int, inputs: list[Artifact], outputs: list[Artifact], summary: dict[str, Any]
    ) -> AcceptedStep:
        request = StepRequest(name, run.key, "1-abcd", resolved, tuple(inputs), {})
        moments = (run.at(minute).isoformat(), run.at(minute + 1).isoformat())
        result = StepResult(tuple(outputs), summary, *moments, {})
        return AcceptedStep(request, result, "subprocess", {"exit_code": 0})

    expectations = run.file("expectations.json")
    released = run.policy(1)
    train = {"released": 1, "model_root": root}
    return {
        "prepare": step("prepare", 2, [], [*splits, expectations], {"contents": contents}),
        "train": step("train", 3, splits[:2], [*policies, checkpoints], train),
        "evaluate": step(
            "evaluate", 5, [splits[2], *released], [run.file("evaluation.json"), run.file("report.html")], {}
        ),
    }


def _chain(seed: str) -> bytes:
    """Three checkpoints of a seed, as lines."""
    lines, parent = b"", "0" * 64
    for iteration in (1, 2, 3):
        link = {
            "seed": int(seed),
            "iteration": iteration,
            "time_steps": 100 * iteration,
            "folder": sha256_json([seed, iteration, "folder"]),
            "weights": sha256_json([seed, iteration, "weights"]),
            "parent": parent,
        }
        line = canonical_json(link)
        parent = sha256_bytes(line)
        lines += line + b"\n"
    return lines
