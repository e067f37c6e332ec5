"""A run's record as the stores hold it now: to be verified, or handed out as the zip of an export."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import BinaryIO

from drl.champions.stored_record import StoredRecord
from drl.errors import Undetermined
from drl.record.export import write_zip
from drl.record.ledger import entry_from_json
from drl.steps.journal import RunJournal, pipeline_of
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings
from drl.verification.ledger_view import LedgerAddress, OpenLedger, account_until_now

_free = BoundedSemaphore(1)


def stored_record(
    run: str, settings: S3Settings, open_ledger: OpenLedger, finality: str, *, held_out: bool = False
) -> StoredRecord:
    """The record of a run, with the account that the ledger of its opening gives now.

    Args:
        run: its key.
        settings: where the record lies.
        open_ledger: asks the chain.
        finality: when an entry counts as written.
        held_out: also held-out data that may not be handed on.

    Raises:
        InputError: the run is not closed.
        StoreError: the store or the chain is out of reach.
    """
    journal = RunJournal(ArtifactStore(replace(settings, staging=settings.sealed)), run)
    receipt = entry_from_json(journal.read_json("opening.json")["entry"]).receipt
    own = open_ledger(LedgerAddress(receipt.contract, receipt.writer, pipeline_of(run), finality))
    entries, head = account_until_now(own)
    return StoredRecord.of(journal, entries, head, ArtifactStore(settings), held_out=held_out)


def record_zip(record: StoredRecord) -> tuple[BinaryIO, int]:
    """The record's zip, open, and its size in bytes; it is gone from the disk when it is closed.

    Raises:
        Undetermined: another one is being made, or a file could not be fetched.
        Falsified: a file is not what the release says.
    """
    if not _free.acquire(blocking=False):
        raise Undetermined("another record is being put together", remedy="try again in a minute")
    try:
        with tempfile.TemporaryDirectory(prefix="drl-record-") as folder:
            path = Path(folder) / "record.zip"
            size = write_zip(path, record.pieces())
            return path.open("rb"), size
    finally:
        _free.release()
