"""The verifier's word about a champion's record as the stores hold it. Ledger and bucket are stand-ins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from record_factory import Builder, InventedLedger, built, receipt, signer
from stored_records import Bucket, journal

from drl.champions.audit import Remark
from drl.champions.record_check import RecordCheck
from drl.record.key_files import public_pem
from drl.record.keyring import KeyEntry
from drl.record.ledger import Note
from drl.steps.journal import RunJournal
from drl.verification.ledger_view import account_until_now

RUN = "cartpole/run-1"
KEYS = [
    KeyEntry(role, key.keyid, f"file:/{role}.pem", public_pem(key).decode(), "2026-11-01T00:00:00+00:00")
    for role, key in ((role, signer(role).public_key) for role in ("steps", "release", "approval"))
]


class Ledgers:
    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def view(self, pipeline: str) -> InventedLedger:
        assert pipeline == "cartpole"
        return InventedLedger(self._builder.entries)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return built(tmp_path_factory.mktemp("records") / "record")


def check(builder: Builder, run: RunJournal, keys: list[KeyEntry] = KEYS) -> list[Remark]:
    bucket = Bucket(builder.folder / "sha256")
    return RecordCheck(Ledgers(builder), bucket, keys)(run)


def test_a_good_record_holds_in_one_remark(builder: Builder) -> None:
    _, run = journal(builder, RUN)
    [remark] = check(builder, run)
    assert (remark.kind, remark.about) == ("holds", "record")
    assert "Level 2" in remark.sentence


def test_a_changed_statement_is_false_and_named(builder: Builder) -> None:
    documents, run = journal(builder, RUN)
    key = f"journal/{RUN}/evaluation.dsse.json"
    documents[key] = documents[key].replace(b'"sig":"', b'"sig":"AAAA')
    remarks = check(builder, run)
    assert {remark.kind for remark in remarks} == {"false"}
    assert any("evaluation.dsse.json" in remark.sentence for remark in remarks)


def test_a_key_that_is_not_in_the_key_ring_is_not_believed(builder: Builder) -> None:
    _, run = journal(builder, RUN)
    remarks = check(builder, run, [entry for entry in KEYS if entry.role != "release"])
    assert remarks
    assert "holds" not in {remark.kind for remark in remarks}


def test_a_file_gone_from_the_bucket_is_not_passed_over(builder: Builder, tmp_path: Path) -> None:
    _, run = journal(builder, RUN)
    partly = tmp_path / "sha256"
    shutil.copytree(builder.folder / "sha256", partly)
    largest = max(partly.iterdir(), key=lambda path: path.stat().st_size)
    largest.unlink()
    remarks = RecordCheck(Ledgers(builder), Bucket(partly), KEYS)(run)
    assert "undetermined" in {remark.kind for remark in remarks}
    assert any(f"{largest.name[:12]} is not there" in remark.sentence for remark in remarks)


def test_an_entry_that_is_written_meanwhile_makes_no_account_false() -> None:
    """The head is asked for first; what is not behind it is left out, and is not missing."""

    class Growing:
        def __init__(self) -> None:
            self.number = 5

        def head(self) -> tuple[int, str, int]:
            return self.number, "0x" + "aa" * 32, 100 + self.number

        def entries(self) -> list[Note]:
            found = [Note(f"{n:064x}", receipt(1, n)) for n in range(1, self.number + 1)]
            self.number += 1
            return [*found, Note(f"{self.number:064x}", receipt(1, self.number))]

    entries, head = account_until_now(Growing())  # type: ignore[arg-type]
    assert [entry.receipt.block_number for entry in entries] == [1, 2, 3, 4, 5]
    assert head == {"number": 5, "hash": "0x" + "aa" * 32, "time": 105}
