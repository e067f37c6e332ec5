"""Journals with everything that the pages show, in memory: real specs, real statistics, real statements."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from lineage_runs import WRITER, JournalRun, artifact, signer

from drl.digest import canonical_json, sha256_bytes
from drl.errors import InputError
from drl.evaluation.comparison import compare
from drl.pages.journals import Journals
from drl.record.dsse import sign
from drl.record.ledger import Closing, Opening
from drl.spec import PipelineSpec

SPEC = """
pipeline: {pipeline}
description: Hold up a pole.
environment: {{entry_point: CartPole-v1}}
training: {{settings: {{algorithm: PPO}}, time_steps: 1024, seeds: [11, 12]}}
evaluation:
  unit: time steps
  episodes: 20
  baselines: [{{name: random, kind: random}}]
promotion: {{gate: random, resamples: 200, require_approval: true}}
registration: {{model: {pipeline}}}
"""
CURVE = '{"iteration":1,"time_steps":512,"values":{"return_mean_100":20.5}}\n' * 2


class Memory(dict[str, bytes]):
    """A bucket, which counts how often it is read."""

    reads: int = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        if key not in self:
            raise InputError(f"{key}: no such document", remedy="none")
        return self[key]

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        taken = key in self
        return self.setdefault(key, data), not taken

    def list(self, prefix: str, *, limit: int | None = None) -> list[str]:
        return sorted(key for key in self if key.startswith(prefix))[:limit]


@dataclass(frozen=True)
class Shown:
    """A run to be written; ``until`` names the document after which it has not come further."""

    pipeline: str = "pole"
    number: int = 1
    verdict: str = "PROMOTE"
    reason: str = "All of it lies above the margin."
    comment: str = "fine"
    until: str = "closing.json"
    policy: float = 100.0
    run: JournalRun = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", JournalRun(self.pipeline, self.number))

    @property
    def key(self) -> str:
        return self.run.key

    def write(self, documents: Memory) -> str:
        """Write the journal and the run's place in the list; returns its key."""
        names = list(self._documents())
        for name, data in list(self._documents().items())[: names.index(self.until) + 1]:
            documents[f"journal/{self.key}/{name}"] = data
        metrics = artifact("seed-0/metrics.jsonl", CURVE.encode())
        documents[f"sha256/{metrics.sha256}"] = CURVE.encode()
        documents[f"index/{2**42 - self.number:013d}"] = self.key.encode()
        return self.key

    def evaluation(self) -> dict[str, Any]:
        """What ``evaluation.json`` holds."""
        spec, noise = self.spec(), np.linspace(-5, 5, 20)
        returns = {"policy": self.policy + noise, "random": 20 + noise[::-1]}
        made = compare(spec.evaluation, spec.promotion, returns, alpha=0.05, identical=False)
        made["decision"] |= {"verdict": self.verdict, "reason": self.reason}
        validation = {"released": 0, "rule": "highest mean"}
        protocol = {"rollouts": 20, "seed": 1, "episodes": 20, "first": "1", "last": "20", "test_data": None}
        return {"unit": "time steps", "alpha": 0.05, "validation": validation, "protocol": protocol, **made}

    def spec(self) -> PipelineSpec:
        return PipelineSpec.model_validate(yaml.safe_load(SPEC.format(pipeline=self.pipeline)))

    def _documents(self) -> dict[str, bytes]:
        """In the order in which they are written."""
        resolved = self.run.resolved() | {"spec": json.loads(self.spec().model_dump_json())}
        opening = Opening("a" * 64, None, 0, self.run.receipt(1, 1))
        approval = {"answer": "approved", "approver": "admin", "answered": "now", "comment": self.comment}
        release = sign({"predicate": {"verdict": self.verdict, "reason": self.reason}}, [signer("release")])
        files = [artifact("seed-0/metrics.jsonl", CURVE.encode()), artifact("odd <name>.bin", b"x")]
        trained = {
            "model_root": self.run.root,
            "released": 0,
            "selection": {"rule": "highest mean"},
        }
        closing = Closing(sha256_bytes(release), self.verdict, self.run.receipt(2, 9))  # type: ignore[arg-type]
        return {
            "started.json": canonical_json({"ms": 1_795_544_723_545 + self.number}),
            "resolved.json": canonical_json(resolved),
            "resolved.ref.json": canonical_json(artifact("resolved.json", b"r").to_json()),
            "opening.json": canonical_json({"entry": opening.to_json(), "seeds": ["1", "2"]}),
            "train.json": _step(files, trained),
            "times/train.json": canonical_json({"seconds": 58.57}),
            "evaluate.json": _step([artifact("report.html", b"<p>report</p>")], self.evaluation()),
            "approval.dsse.json": sign({"predicate": approval}, [signer("approval")]),
            "registration.json": canonical_json({"model": self.pipeline, "version": self.number}),
            "release.dsse.json": release,
            "closing.json": canonical_json(closing.to_json()),
        }


def journals_of(*runs: Shown) -> tuple[Journals, Memory]:
    """Journals with these runs, and the bucket that holds them."""
    documents = Memory()
    for run in runs:
        run.write(documents)
    return Journals(documents, Memory()), documents


def _step(files: list[Any], summary: dict[str, Any]) -> bytes:
    return canonical_json({"result": {"outputs": [f.to_json() for f in files], "summary": summary}})


__all__ = ["WRITER", "Memory", "Shown", "journals_of"]
