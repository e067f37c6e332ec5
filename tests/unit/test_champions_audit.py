"""What the audit says of a champion when one thing is not as it should be. Stores are stand-ins in memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drl.artifact import Artifact
from drl.champions.audit import Auditor, ChampionAudit, Remark
from drl.champions.rollback import Champions
from drl.digest import canonical_json, sha256_bytes
from drl.errors import InputError, StoreError
from drl.record.dsse import sign
from drl.record.keys import load_signer
from drl.record.ledger import Closing, Entry, Note, Opening, Receipt, pipeline_id
from drl.record.predicates import promotion_statement, release_statement
from drl.record.roots import artifacts_root
from drl.steps.journal import RunJournal
from drl.stores.registry import ChampionInfo
from drl.stores.sealing import Lock

RUN = "cartpole/run-1"
RECEIPT = Receipt(
    chain_id=31337,
    genesis="0x" + "00" * 32,
    contract="0x" + "11" * 20,
    writer="0x" + "22" * 20,
    pipeline=pipeline_id("cartpole"),
    run=1,
    tx="0x" + "33" * 32,
    block_number=5,
    block_hash="0x" + "44" * 32,
    block_time=int(time.time()),
    log_index=0,
)
POLICY = [Artifact(f"policy.{kind}", digest * 32, 7) for kind, digest in (("json", "a1"), ("onnx", "a2"))]
ROOT = artifacts_root(POLICY)


class Documents(dict[str, bytes]):
    def read(self, key: str) -> bytes:
        if key not in self:
            raise InputError(f"{key}: there is none", remedy="look at the bucket")
        return self[key]

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        return self.setdefault(key, data), key not in self

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self if key.startswith(prefix))


@dataclass
class World:
    """One champion that is as it should be; tests change one thing."""

    documents: Documents
    ledger: list[Entry]
    locks: dict[str, Lock]
    alias: ChampionInfo | None = field(
        default_factory=lambda: ChampionInfo("cartpole", 1, ROOT, RUN, tuple(POLICY))
    )
    final_up_to: int = 100

    def champion(self, model: str) -> ChampionInfo | None:
        return self.alias

    def account(self, pipeline: str) -> list[Entry]:
        return self.ledger

    def entries(self) -> list[Entry]:
        return self.ledger

    def final(self, block_number: int) -> bool:
        return block_number <= self.final_up_to

    def lock(self, sha256: str) -> Lock | None:
        return self.locks.get(sha256)

    def audit(self) -> ChampionAudit:
        champions: Any = Champions(self, self, self.documents)
        found = Auditor(champions, self, self, lambda *_: [Remark("holds", "record", "verified")])
        audit = found.audit("cartpole")
        assert audit is not None
        return audit


@pytest.fixture
def world(tmp_path: Path) -> World:
    signer = load_signer(tmp_path / "keys", "release")
    documents = Documents()
    journal = RunJournal(documents, RUN)
    intent = sign({"predicateType": "intent", "predicate": {"run": RUN}}, [signer])
    opening = Opening(sha256_bytes(intent), None, 0, RECEIPT)
    release = sign(
        release_statement(
            intent=opening.intent,
            model="cartpole",
            policy=POLICY,
            evidence=[Artifact("report.html", "a3" * 32, 9)],
            verdict="PROMOTE",
            reason="better",
            statements={"intent.dsse.json": opening.intent},
            opening=opening,
        ),
        [signer],
    )
    promotion = sign(
        promotion_statement(
            release=sha256_bytes(release),
            model="cartpole",
            root=ROOT,
            version="1",
            alias="champion",
            outcome="promoted",
            replaced=None,
            decided="2026-11-24T10:00:00+00:00",
        ),
        [signer],
    )
    closing = Closing(sha256_bytes(release), "PROMOTE", replace(RECEIPT, block_number=6))
    note = Note(sha256_bytes(promotion), replace(RECEIPT, block_number=7))
    for name, data in {
        "intent.dsse.json": intent,
        "release.dsse.json": release,
        "promotion.dsse.json": promotion,
        "opening.json": canonical_json({"entry": opening.to_json()}),
        "closing.json": canonical_json(closing.to_json()),
        "resolved.json": canonical_json({"spec": {"registration": {"retention_days": 30}}}),
    }.items():
        journal.write(name, data)
        documents[f"sha256/{sha256_bytes(data)}"] = data
    until = datetime.now(UTC) + timedelta(days=31)
    sealed = {
        a.sha256: a.size for a in [*POLICY, Artifact("report.html", "a3" * 32, 9), *journal.envelopes()]
    }
    return World(documents, [opening, closing, note], {k: Lock(size, until) for k, size in sealed.items()})


def test_a_champion_as_it_should_be(world: World) -> None:
    audit = world.audit()
    assert audit.outcome == "holds"
    assert [remark.about for remark in audit.remarks] == ["alias", "ledger", "locks", "record"]
    finding = audit.finding()
    assert finding is not None
    assert (finding.version, finding.root, finding.outcome, finding.problems) == ("1", ROOT, "holds", ())


def _other_alias(world: World) -> None:
    assert world.alias is not None
    world.alias = replace(world.alias, version=2)


def _no_alias(world: World) -> None:
    world.alias = None


def _closing_gone(world: World) -> None:
    del world.ledger[1]


def _not_final(world: World) -> None:
    world.final_up_to = 6


def _other_intent(world: World) -> None:
    world.documents[f"journal/{RUN}/intent.dsse.json"] = b"{}"


def _malformed(world: World) -> None:
    world.documents[f"journal/{RUN}/closing.json"] = b"[]"


def _object_gone(world: World) -> None:
    del world.locks[POLICY[0].sha256]


def _lock_gone(world: World) -> None:
    world.locks[POLICY[0].sha256] = Lock(7, None)


def _lock_short(world: World) -> None:
    world.locks[POLICY[1].sha256] = Lock(7, datetime.now(UTC) + timedelta(days=29))


def _written_over(world: World) -> None:
    world.locks[POLICY[0].sha256] = replace(world.locks[POLICY[0].sha256], size=8)


def _chain_down(world: World) -> None:
    def down(*_: str) -> list[Entry]:
        raise StoreError("no usable answer from the chain", remedy="start it")

    world.account = world.entries = down


def _statement_gone(world: World) -> None:
    note = world.ledger[-1]
    assert isinstance(note, Note)
    del world.documents[f"sha256/{note.statement}"]


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        (
            _other_alias,
            "false",
            "alias: it points to version 2 .* the statements on the ledger say version 1",
        ),
        (_no_alias, "false", "alias: it points to none, the statements on the ledger say version 1"),
        (_closing_gone, "false", "ledger: the chain has not the closing"),
        (_not_final, "undetermined", "ledger: block 7 is not final"),
        (_other_intent, "false", r"ledger: intent\.dsse\.json in the journal is not the one"),
        (_malformed, "false", "ledger: a stored document is malformed"),
        (_object_gone, "false", r"locks: policy\.json is gone from the sealed bucket"),
        (_lock_gone, "false", r"locks: policy\.json: locked until never"),
        (_lock_short, "false", r"locks: policy\.onnx: locked until .* promised"),
        (_written_over, "false", r"locks: policy\.json: 8 bytes lie above the sealed 7"),
        (_chain_down, "undetermined", "alias: no usable answer from the chain"),
        (_statement_gone, "undetermined", "alias: who is champion of cartpole: transaction 0x"),
    ],
)
def test_one_thing_that_is_not(
    world: World, change: Callable[[World], None], outcome: str, words: str
) -> None:
    change(world)
    audit = world.audit()
    assert audit.outcome == outcome
    assert re.search(words, "\n".join(audit.to_json()["problems"]))


def test_no_lock_is_asked_for_after_the_retention(world: World) -> None:
    key = f"journal/{RUN}/resolved.json"
    world.documents[key] = canonical_json({"spec": {"registration": {"retention_days": 0}}})
    world.locks.clear()
    assert world.audit().outcome == "holds"


def test_a_model_without_a_champion_is_passed_over(world: World) -> None:
    world.alias = None
    world.ledger.clear()
    champions: Any = Champions(world, world, world.documents)
    assert Auditor(champions, world, world, lambda *_: []).audit("cartpole") is None
