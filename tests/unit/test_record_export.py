"""Which files make a record, and that the zip of one record is always the same."""

from __future__ import annotations

import hashlib
import io
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drl.artifact import Artifact
from drl.errors import Falsified, InputError
from drl.record.export import (
    Piece,
    account_json,
    blob_name,
    document_names,
    named_files,
    travelling_files,
    write_zip,
)
from drl.record.files import open_record, sha256_of
from drl.record.ledger import Closing, Note, Opening, Receipt, entry_from_json

STATEMENTS = ("intent", "prepare", "validation", "train", "evaluate", "evaluation")
PREPARED = ("train.parquet", "validation.parquet", "test.parquet", "test.npy", "demonstrations.parquet")
JOURNAL = [
    *("resolved.json", "resolved.ref.json", "opening.json", "closing.json", "registration.json"),
    *(f"{name}.dsse.json" for name in (*STATEMENTS, "release")),
    *(f"{name}.json" for name in ("prepare", "train", "evaluate", "times/train")),
]


def artifact(name: str) -> Artifact:
    return Artifact(name, hashlib.sha256(name.encode()).hexdigest(), len(name))


def resource(name: str) -> dict[str, Any]:
    a = artifact(name)
    return {"name": a.name, "digest": {"sha256": a.sha256}, "annotations": {"size": a.size}}


RELEASE = {
    "statements": [{"name": f"{name}.dsse.json", "digest": {"sha256": "aa" * 32}} for name in STATEMENTS],
    "policy": {"resources": [resource(f"policy.{kind}") for kind in ("json", "onnx", "safetensors")]},
    "evidence": {
        "resources": [resource(f"prepare/{name}") for name in (*PREPARED, "cleaning.json")]
        + [resource("evaluate/episodes.jsonl"), resource("source.tar")]
    },
}


def resolved(*, redistributable: bool | None, champion: bool = False) -> dict[str, Any]:
    return {
        "spec": {"data": None if redistributable is None else {"redistributable": redistributable}},
        "champion": {"files": [artifact("champions policy.json").to_json()]} if champion else None,
    }


# ------------------------------------------------------------------------------------------------- documents


def test_a_record_has_what_the_release_lists_and_nothing_of_the_operators_own() -> None:
    names = document_names(JOURNAL, RELEASE)
    assert set(names) == {
        *("resolved.json", "opening.json", "closing.json"),
        *(f"{name}.dsse.json" for name in (*STATEMENTS, "release")),
    }
    assert all(old == new for old, new in names.items())


def test_later_statements_go_along_once_they_are_noted() -> None:
    later = [f"{n}.{end}.json" for n in ("promotion", "rollback-1", "revocation") for end in ("dsse", "note")]
    later.append("rollback-2.dsse.json")
    names = document_names([*JOURNAL, *later], RELEASE)
    assert {old: new for old, new in names.items() if old in later} == {
        "promotion.dsse.json": "promotion.dsse.json",
        "promotion.note.json": "promotion.note.json",
        "rollback-1.dsse.json": "notes/rollback-1.dsse.json",
        "rollback-1.note.json": "notes/rollback-1.note.json",
        "revocation.dsse.json": "notes/revocation.dsse.json",
        "revocation.note.json": "notes/revocation.note.json",
    }


@pytest.mark.parametrize("name", ["closing.json", "train.dsse.json", "resolved.json"])
def test_a_run_that_has_not_ended_is_no_record(name: str) -> None:
    with pytest.raises(InputError, match=f"lacks {name}"):
        document_names([n for n in JOURNAL if n != name], RELEASE)


# ----------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("redistributable", "with_data", "staying"),
    [
        (False, False, PREPARED),
        (True, False, tuple(name for name in PREPARED if name != "test.npy")),
        (True, True, ()),
    ],
)
def test_data_travel_where_they_may_and_are_wanted(
    redistributable: bool, with_data: bool, staying: tuple[str, ...]
) -> None:
    files = travelling_files(resolved(redistributable=redistributable), RELEASE, with_data=with_data)
    names = {a.name for a in named_files(RELEASE)}
    assert {a.name for a in files} == names - {f"prepare/{name}" for name in staying}
    assert [a.sha256 for a in files] == sorted(a.sha256 for a in files)


@pytest.mark.parametrize("with_data", [False, True])
def test_without_data_everything_travels(with_data: bool) -> None:
    release = RELEASE | {"evidence": {"resources": [resource("evaluate/episodes.jsonl")]}}
    files = travelling_files(resolved(redistributable=None), release, with_data=with_data)
    assert {a.name for a in files} == {a.name for a in named_files(release)}


def test_data_that_may_not_be_handed_on_are_not() -> None:
    with pytest.raises(InputError, match="not redistributable"):
        travelling_files(resolved(redistributable=False), RELEASE, with_data=True)


def test_the_champion_that_was_compared_with_goes_along() -> None:
    files = travelling_files(resolved(redistributable=None, champion=True), RELEASE, with_data=False)
    assert artifact("champions policy.json") in files


# --------------------------------------------------------------------------------------------------- account


def test_the_account_holds_entries_that_read_back_equal() -> None:
    receipt = Receipt(
        *(31337, "0x" + "aa" * 32, "0x" + "bb" * 20, "0x" + "cc" * 20, "dd" * 32),
        *(1, "0x" + "ee" * 32, 5, "0x" + "ff" * 32, 1_764_000_000, 0),
    )
    entries = [
        Opening("11" * 32, "22" * 32, 1, receipt),
        Closing("33" * 32, "PROMOTE", receipt),
        Note("44" * 32, receipt),
    ]
    account = account_json(entries, {"number": 9, "hash": "0x" + "99" * 32, "time": 1_764_000_009})
    assert account["format"] == "drl.account/1"
    assert account["head"]["number"] == 9
    assert [entry_from_json(entry) for entry in account["entries"]] == entries


# ------------------------------------------------------------------------------------------------------- zip


def piece(name: str, data: bytes, size: int | None = None) -> Piece:
    return Piece(name, len(data) if size is None else size, partial(io.BytesIO, data))


FILES = {"resolved.json": b"{}", "empty": b"", blob_name("ab" * 32): random.Random(0).randbytes(3_000_000)}


def test_the_zip_reads_back_and_is_always_the_same(tmp_path: Path) -> None:
    pieces = [piece(name, data) for name, data in FILES.items()]
    size = write_zip(tmp_path / "one.zip", pieces)
    write_zip(tmp_path / "two.zip", reversed(pieces))
    data = (tmp_path / "one.zip").read_bytes()
    assert data == (tmp_path / "two.zip").read_bytes()
    assert len(data) == size
    assert hashlib.sha256(data).hexdigest() == (
        "d962b595114a291fee90a9b4d27bc0c14994f89f093dfae8f73130a101774955"
    )
    with open_record(tmp_path / "one.zip") as files:
        assert files.names() == sorted(FILES)
        for name, content in FILES.items():
            assert sha256_of(files, name) == hashlib.sha256(content).hexdigest()


def test_a_zip_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "record.zip"
    path.write_bytes(b"the one before")
    for size in (3, 5):
        with pytest.raises(Falsified, match=f"b: 4 bytes instead of {size}"):
            write_zip(path, [piece("a", b"good"), piece("b", b"four", size)])
    assert [p.name for p in tmp_path.iterdir()] == ["record.zip"]
    assert path.read_bytes() == b"the one before"


def test_a_folder_that_is_not_there_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_zip(tmp_path / "no" / "record.zip", [])
