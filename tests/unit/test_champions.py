"""Who is champion, as promotion statements on the ledger say, and to whom a rollback goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drl.champions.history import Policy, champion, history, rollbacks, standing
from drl.champions.rollback import target
from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError, Undetermined
from drl.record.dsse import sign
from drl.record.keys import load_signer
from drl.record.ledger import Closing, Entry, Note, Opening, Receipt, Verdict, pipeline_id
from drl.record.predicates import promotion_statement, rollback_statement
from drl.steps.journal import RunJournal
from drl.stores.registry import ChampionInfo

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
    block_time=1_700_000_000,
    log_index=0,
)
AT = "2026-11-24T10:00:00+00:00"


class Documents(dict[str, bytes]):
    """First-writer-wins documents in memory, a stand-in for the store."""

    reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        if key not in self:
            raise InputError(f"{key}: there is none", remedy="look at the bucket")
        return self[key]

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        return self.setdefault(key, data), key not in self

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self if key.startswith(prefix))


class World:
    """Runs 1, 2, 3, … whose policies have versions of the same number, and the entries of their ledger."""

    def __init__(self, keys: Path) -> None:
        self.signer = load_signer(keys, "release")
        self.documents = Documents()
        self.entries: list[Entry] = []

    def journal(self, number: int) -> RunJournal:
        return RunJournal(self.documents, f"cartpole/run-{number}")

    def run(self, number: int, model: str = "m", verdict: Verdict = "PROMOTE") -> None:
        """Open and close a run, unless that was done."""
        if any(entry.receipt.run == number for entry in self.entries):
            return
        intent = {"predicateType": "intent", "predicate": {"run": f"cartpole/run-{number}"}}
        release = {"predicateType": "release", "subject": [{"name": model}], "predicate": {"of": number}}
        self.entries.append(Opening(self._seal(intent), None, 0, self._receipt(number)))
        self.entries.append(Closing(self._seal(release), verdict, self._receipt(number)))

    def policy(self, number: int | None) -> dict[str, str] | None:
        return None if number is None else {"version": str(number), "root": f"{number:064x}"}

    def promote(self, number: int, replaced: int | None, outcome: str = "promoted", model: str = "m") -> None:
        self.run(number, model)
        statement = promotion_statement(
            release="dd" * 32,
            model=model,
            root=f"{number:064x}",
            version=str(number),
            alias="champion",
            outcome=outcome,
            replaced=self.policy(replaced),
            decided=AT,
        )
        self.entries.append(Note(self._seal(statement), self._receipt(number)))

    def fall(self, number: int, restored: int | None) -> None:
        statement = rollback_statement(
            release="dd" * 32,
            model="m",
            root=f"{number:064x}",
            version=str(number),
            alias="champion",
            restored=self.policy(restored),
            reason="it overheats",
            decided=AT,
        )
        self.entries.append(Note(self._seal(statement), self._receipt(number)))

    def lose(self, entry: Entry) -> None:
        assert isinstance(entry, Note)
        del self.documents[f"sha256/{entry.statement}"]

    def changes(self) -> list:
        found = history("m", self.entries[::-1], self.documents)  # the order on the chain counts
        assert standing("m", self.entries[::-1], self.documents) == champion(found)
        return found

    def _seal(self, statement: dict) -> str:
        envelope = sign(statement, [self.signer])
        digest = sha256_bytes(envelope)
        self.documents[f"sha256/{digest}"] = envelope
        return digest

    def _receipt(self, number: int) -> Receipt:
        place = len(self.entries)
        return replace(RECEIPT, run=number, block_number=10 + place // 2, log_index=place % 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "keys")


def version(policy: Policy | None) -> int | None:
    return policy.version if policy else None


def test_the_newest_promotion_or_rollback_on_the_ledger_names_the_champion(world: World) -> None:
    assert champion(world.changes()) is None
    world.promote(1, None)
    world.promote(2, 1)
    world.promote(3, 1, outcome="superseded")
    assert champion(world.changes()) == Policy(2, f"{2:064x}")
    world.fall(2, 1)
    assert version(champion(world.changes())) == 1
    world.fall(1, None)
    assert champion(world.changes()) is None
    assert [(c.outcome, c.policy.version) for c in world.changes()] == [
        ("promoted", 1),
        ("promoted", 2),
        ("superseded", 3),
        ("rolled-back", 2),
        ("rolled-back", 1),
    ]
    assert world.changes()[3].reason == "it overheats"


def test_what_is_not_on_the_ledger_counts_for_nothing(world: World) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    world.entries.pop()
    assert version(champion(world.changes())) == 1


def test_a_note_on_a_run_that_was_not_closed_with_promote_makes_no_champion(world: World) -> None:
    world.promote(1, None)
    world.run(2, verdict="HOLD")
    world.promote(2, 1)
    assert version(champion(world.changes())) == 1


def test_other_models_have_champions_of_their_own(world: World) -> None:
    world.promote(1, None)
    world.promote(2, None, model="other")
    world.lose(world.entries[-1])
    assert version(champion(world.changes())) == 1


def test_a_note_without_its_statement_leaves_it_open_who_is_champion(world: World) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    world.lose(world.entries[-1])
    with pytest.raises(Undetermined, match=r"of m: transaction 0x33.* about run 2 of") as told:
        world.changes()
    with pytest.raises(Undetermined, match=r"of m: transaction 0x33.* about run 2 of"):
        standing("m", world.entries, world.documents)
    assert f"put sha256/{world.entries[-1].statement} back" in told.value.remedy
    world.promote(3, 2)
    assert version(champion(world.changes())) == 3, "whatever it said, version 3 came later"
    with pytest.raises(Undetermined, match="about run 2 of"):
        history("m", world.entries, world.documents, whole=True)
    world.fall(3, 2)
    world.documents[f"sha256/{world.entries[-1].statement}"] = b"{}"
    with pytest.raises(Falsified, match="other bytes"):
        world.changes()


@pytest.mark.parametrize("runs", [10, 300])
def test_who_is_champion_costs_the_same_after_many_promotions(world: World, runs: int) -> None:
    for number in range(1, runs + 1):
        world.promote(number, number - 1 or None)
    world.promote(runs + 1, runs - 1, outcome="superseded")
    assert version(standing("m", world.entries, world.documents)) == runs
    assert world.documents.reads <= 16, "eight notes at once, and the intents of their runs"


def test_rollbacks_are_counted_in_their_order(world: World) -> None:
    for name in ("rollback-2", "rollback-10", "rollback-1", "rollback-x", "promotion"):
        world.journal(4).write(f"{name}.dsse.json", b"{}")
    world.journal(4).write("rollback-1.note.json", b"{}")
    assert rollbacks(world.journal(4)) == ["rollback-1", "rollback-2", "rollback-10"]


def info(number: int) -> ChampionInfo:
    return ChampionInfo("m", number, f"{number:064x}", f"cartpole/run-{number}", ())


def test_a_rollback_goes_to_the_last_champion_that_still_stands(world: World) -> None:
    for number in (1, 2, 3, 4):
        world.promote(number, number - 1 or None)
    assert version(target("m", info(4), world.changes(), None)) == 3
    world.fall(4, 3)
    world.fall(3, 1)  # somebody named version 1
    world.promote(5, 1)
    world.fall(1, None)
    assert target("m", info(5), world.changes(), None) is None
    assert version(target("m", info(5), world.changes(), 2)) == 2


@pytest.mark.parametrize("to", [1, 3, 4, 9])
def test_a_rollback_to_no_earlier_champion_is_refused(world: World, to: int) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    world.fall(2, 1)
    world.fall(1, None)
    world.promote(3, None)
    world.promote(4, 3, outcome="superseded")
    with pytest.raises(InputError, match=f"version {to} is no earlier champion"):
        target("m", info(3), world.changes(), to)
