"""Who is champion, as promotion statements on the ledger say, and to whom a rollback goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drl.champions.history import Policy, champion, history, rollbacks
from drl.champions.rollback import target
from drl.digest import canonical_json, sha256_bytes
from drl.errors import InputError
from drl.record.dsse import sign
from drl.record.keys import load_signer
from drl.record.ledger import Note, Opening, Receipt, pipeline_id
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

    def read(self, key: str) -> bytes:
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
        self.entries: list[Note] = []

    def journal(self, number: int) -> RunJournal:
        journal = RunJournal(self.documents, f"cartpole/run-{number}")
        opening = Opening(f"{number:064x}", None, 0, replace(RECEIPT, run=number))
        journal.write("opening.json", canonical_json({"entry": opening.to_json()}))
        return journal

    def policy(self, number: int | None) -> dict[str, str] | None:
        return None if number is None else {"version": str(number), "root": f"{number:064x}"}

    def promote(self, number: int, replaced: int | None, outcome: str = "promoted") -> None:
        self._keep(
            number,
            "promotion",
            promotion_statement(
                release="dd" * 32,
                model="m",
                root=f"{number:064x}",
                version=str(number),
                alias="champion",
                outcome=outcome,
                replaced=self.policy(replaced),
                decided=AT,
            ),
        )

    def fall(self, number: int, restored: int | None, name: str = "rollback-1") -> None:
        self._keep(
            number,
            name,
            rollback_statement(
                release="dd" * 32,
                model="m",
                root=f"{number:064x}",
                version=str(number),
                alias="champion",
                restored=self.policy(restored),
                reason="it overheats",
                decided=AT,
            ),
        )

    def _keep(self, number: int, name: str, statement: dict) -> None:
        envelope = sign(statement, [self.signer])
        self.journal(number).write(f"{name}.dsse.json", envelope)
        place = len(self.entries)
        receipt = replace(RECEIPT, run=number, block_number=10 + place // 2, log_index=place % 2)
        self.entries.append(Note(sha256_bytes(envelope), receipt))

    def changes(self) -> list:
        # Journals in the wrong order: the ledger's order counts.
        return history([self.journal(n) for n in range(9, 0, -1)], self.entries)


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


def test_what_is_not_on_the_ledger_under_its_run_counts_for_nothing(world: World) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    kept = world.entries.pop()
    assert version(champion(world.changes())) == 1
    world.entries.append(replace(kept, receipt=replace(kept.receipt, run=7)))
    assert version(champion(world.changes())) == 1
    world.entries[-1] = replace(kept, statement="ab" * 32)
    assert version(champion(world.changes())) == 1


def test_rollbacks_are_counted_in_their_order(world: World) -> None:
    for number in (2, 10, 1):
        world.fall(4, None, f"rollback-{number}")
    world.journal(4).write("rollback-1.note.json", b"{}")
    world.journal(4).write("rollback-x.dsse.json", b"{}")
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
