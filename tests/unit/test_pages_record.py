"""A record as the pages verify it and hand it out: what may not be handed on is looked at, and stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

import pytest
from record_factory import Builder, InventedLedger, built, write_prices
from stored_records import Bucket, journal

from drl.champions.stored_record import StoredRecord
from drl.data.columns import write_npy
from drl.digest import sha256_file
from drl.errors import StoreError, Undetermined
from drl.pages import run_record
from drl.pages.run_record import record_zip
from drl.record.export import blob_name
from drl.record.files import open_record
from drl.verification.ledger_view import account_until_now
from drl.verification.verify import Means, verify_record


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A pipeline whose data may not be handed on; the sealed bucket has its held-out rows all the same."""
    folder = tmp_path_factory.mktemp("private")
    prices = write_prices(folder / "prices.csv")
    made = built(folder / "record", prices=prices, spec=lambda s: s["data"].update(redistributable=False))
    rows = folder / "test.npy"
    write_npy(made.splits["test"], rows)
    shutil.copyfile(rows, made.folder / blob_name(sha256_file(rows)))
    return made


def stored(builder: Builder, *, held_out: bool = False, bucket: Path | None = None) -> StoredRecord:
    _, run = journal(builder, "battery/run-1")
    entries, head = account_until_now(InventedLedger(builder.entries))
    files = Bucket(bucket or builder.folder / "sha256")
    return StoredRecord.of(run, entries, head, files, held_out=held_out)


def kept(zipped: tuple[BinaryIO, int], path: Path) -> Path:
    stream, size = zipped
    with stream:
        path.write_bytes(stream.read())
    assert path.stat().st_size == size
    return path


@pytest.mark.parametrize(("held_out", "level"), [(True, 3), (False, 2)])
def test_only_with_the_held_out_data_is_the_evaluation_replayed(
    private: Builder, held_out: bool, level: int
) -> None:
    assert verify_record(stored(private, held_out=held_out), Means()).level == level


def test_the_zip_is_a_record_that_verifies_without_what_may_not_be_handed_on(
    private: Builder, tmp_path: Path
) -> None:
    path = kept(record_zip(stored(private)), tmp_path / "record.zip")
    with open_record(path) as record:
        assert record.names() == stored(private).names()
        assert set(stored(private, held_out=True).names()) - set(record.names()) == {
            blob_name(sha256_file(private.folder.parent / "test.npy"))
        }
        result = verify_record(record, Means())
    assert (result.level, result.exit_code) == (2, verify_record(stored(private), Means()).exit_code)
    assert path.read_bytes() == kept(record_zip(stored(private)), tmp_path / "again.zip").read_bytes()


def test_a_file_that_is_gone_gives_no_half_zip_and_the_next_may_try(private: Builder, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not there"):
        record_zip(stored(private, bucket=tmp_path))
    record_zip(stored(private))[0].close()


def test_one_record_is_put_together_at_a_time(private: Builder) -> None:
    with run_record._free, pytest.raises(Undetermined, match="another record"):
        record_zip(stored(private))
