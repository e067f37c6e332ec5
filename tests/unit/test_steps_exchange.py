"""The exchange in a folder, and the journal: first writer wins, other bytes are refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drl.artifact import Artifact
from drl.errors import DataError, Falsified, InputError
from drl.record.keyring import Keyring
from drl.record.keys import load_signer, rotate
from drl.record.statement import Subject, predicate_type, statement
from drl.steps.exchange import FolderExchange, open_exchange
from drl.steps.journal import RunJournal, run_key


def test_bytes_come_back_by_digest_and_changed_ones_are_refused(tmp_path: Path) -> None:
    exchange = FolderExchange(tmp_path / "exchange")
    source = tmp_path / "a.txt"
    source.write_text("one")
    artifact = exchange.put(source, "nested/a.txt")
    assert exchange.get(artifact, tmp_path / "in").read_text() == "one"
    (tmp_path / "exchange" / "sha256" / artifact.sha256).write_text("two")
    with pytest.raises(DataError, match="missing or changed"):
        exchange.get(artifact, tmp_path / "in2")


def test_one_of_many_writers_wins_and_all_read_the_same(tmp_path: Path) -> None:
    exchange = FolderExchange(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: exchange.write_once("k", str(i).encode()), range(32)))
    assert sum(created for _, created in answers) == 1
    assert len({stored for stored, _ in answers}) == 1


def test_unknown_addresses_are_refused() -> None:
    with pytest.raises(InputError, match="unknown scheme"):
        open_exchange("ftp://x")


def test_run_keys_are_safe_names() -> None:
    assert run_key("p", "manual__2026-11-23T10:00:00+00:00") == "p/manual__2026-11-23T10-00-00-00-00"


def test_a_statement_is_signed_once_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    signer, other = (load_signer(tmp_path / name, "steps") for name in ("mine", "other"))
    subject = Subject("x", "0" * 64)
    journal = RunJournal(FolderExchange(tmp_path / "documents"), "p/r")
    made = []

    def make() -> dict[str, object]:
        made.append(1)
        return statement([subject], predicate_type("intent"), {"call": len(made)})

    first = journal.sign_once("intent", make, signer)
    assert journal.sign_once("intent", make, signer) == first
    assert len(made) == 1
    assert journal.envelopes() == [first]
    assert isinstance(first, Artifact)
    with pytest.raises(Falsified):
        journal.sign_once("intent", make, other)


def test_a_rotation_in_the_middle_of_a_run_changes_nothing_that_was_signed(tmp_path: Path) -> None:
    folder, journal = tmp_path / "keys", RunJournal(FolderExchange(tmp_path / "documents"), "p/r")
    before = load_signer(folder, "steps")

    def make() -> dict[str, object]:
        return statement([Subject("x", "0" * 64)], predicate_type("intent"), {})

    first = journal.sign_once("intent", make, before)
    rotate(folder, "steps")
    after = load_signer(folder, "steps")
    assert journal.sign_once("intent", make, after) == first
    journal.sign_once("train", make, after)
    assert [journal.key_of(name) for name in ("intent", "train")] == [
        before.public_key.keyid,
        after.public_key.keyid,
    ]
    Keyring(folder).revoke(before.public_key.keyid, "2026-11-24T10:00:00+00:00")
    with pytest.raises(Falsified, match="signatures needed"):
        journal.sign_once("intent", make, load_signer(folder, "steps"))
