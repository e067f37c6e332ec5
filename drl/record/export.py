"""Which files make a record, and the zip that holds them.

Pure: what the run's documents are and where the bytes of files come from is the caller's. The zip is the same
for the same record, byte for byte: members stored, sorted by name, without times.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from drl.artifact import Artifact
from drl.errors import Falsified, InputError
from drl.record.ledger import Entry

ACCOUNT, ACCOUNT_FORMAT = "account.json", "drl.account/1"
ENVELOPE, NOTE = ".dsse.json", ".note.json"
RELEASE = "release.dsse.json"

_PLAIN = ("resolved.json", "opening.json", "closing.json")
HELD_OUT = "prepare/test.npy"
_DATA = frozenset(
    f"prepare/{name}.parquet" for name in ("train", "validation", "test", "demonstrations", "rejected")
)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """One file of a record.

    Attributes:
        name: in the record.
        size: in bytes.
        open: gives its bytes, once, when they are wanted.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]


def blob_name(sha256: str) -> str:
    """Name in the record of a file that a statement names by digest."""
    return f"sha256/{sha256}"


def key_name(key_id: str) -> str:
    """Name in the record of a public key."""
    return f"keys/{key_id}.pem"


def document_names(journal: Iterable[str], release: Mapping[str, Any]) -> dict[str, str]:
    """The documents that belong to a record: name in the record by name in the run's journal.

    What the release lists, the release, its opening and closing, and every later statement that was noted.
    A statement that was signed and not noted says nothing yet.

    Args:
        journal: names of everything in the run's journal.
        release: predicate of the release statement.

    Raises:
        InputError: the run is not closed, or a statement that the release lists is not there.
    """
    known = set(journal)
    listed = [str(statement["name"]) for statement in release["statements"]]
    wanted = [*_PLAIN, RELEASE, *listed]
    if missing := sorted(set(wanted) - known):
        raise InputError(
            f"the run's journal lacks {', '.join(missing)}",
            remedy="export a run that has ended: its ledger entry is closed as its task close_run ends",
        )
    names = {name: name for name in wanted}
    for note in sorted(name for name in known if name.endswith(NOTE)):
        statement = note.removesuffix(NOTE) + ENVELOPE
        if statement in known and statement not in wanted:
            folder = "" if statement == f"promotion{ENVELOPE}" else "notes/"
            names |= {statement: folder + statement, note: folder + note}
    return names


def travelling_files(
    resolved: Mapping[str, Any], release: Mapping[str, Any], *, with_data: bool
) -> list[Artifact]:
    """Files that go with a record, each digest once, sorted by digest.

    All that the release names and the champion's policy, except data that may not be handed on; held-out data
    go along where they may, the other data only when asked for.

    Args:
        resolved: the frozen run.
        release: predicate of the release statement.
        with_data: whether training data are asked for.

    Raises:
        InputError: training data are asked for and may not be handed on.
    """
    data = resolved["spec"]["data"]
    free = data is None or bool(data.get("redistributable"))
    if with_data and not free:
        raise InputError(
            "--with-data: the pipeline's data are not redistributable",
            remedy="leave it away: whoever verifies fetches the source by its digest; or, if you may hand "
            "them on, say so in the pipeline file (data.redistributable) and run again",
        )
    champion = resolved["champion"]
    files = [*named_files(release), *(Artifact.from_json(a) for a in (champion or {}).get("files", []))]
    left = (frozenset() if with_data else _DATA) if free else _DATA | {HELD_OUT}
    staying = {a.sha256 for a in files if a.name in left}
    by_digest = {a.sha256: a for a in files if a.sha256 not in staying}
    return [by_digest[digest] for digest in sorted(by_digest)]


def named_files(release: Mapping[str, Any]) -> list[Artifact]:
    """Policy and evidence of a release, in the order in which it names them."""
    resources = [*release["policy"]["resources"], *release["evidence"]["resources"]]
    return [Artifact(r["name"], r["digest"]["sha256"], r["annotations"]["size"]) for r in resources]


def account_json(entries: Sequence[Entry], head: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's account of a pipeline as a record carries it: unsigned, and therefore only claimed.

    Args:
        entries: all entries of the writer's pipeline, in the ledger's order.
        head: ``number``, ``hash`` and ``time`` of the newest block when the ledger was asked.
    """
    return {"format": ACCOUNT_FORMAT, "head": dict(head), "entries": [entry.to_json() for entry in entries]}


def write_zip(path: Path, pieces: Iterable[Piece]) -> int:
    """Write a record's zip; it appears whole under its name, or not at all. Returns its size in bytes.

    Args:
        path: of the zip; one that is there is replaced.
        pieces: its files, each name once.

    Raises:
        Falsified: a file has not the size that its piece gives.
        InputError: the folder cannot be written to.
    """
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}", remedy="give --out in a folder that can"
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for piece in sorted(pieces, key=lambda piece: piece.name):
                    _add(archive, piece)
            stream.flush()
            os.fsync(stream.fileno())
            size = stream.tell()
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return size


def _add(archive: zipfile.ZipFile, piece: Piece) -> None:
    member = zipfile.ZipInfo(piece.name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, 0o100644 << 16
    member.file_size = piece.size
    written = 0
    with piece.open() as source, archive.open(member, "w") as target:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            target.write(chunk)
    if written != piece.size:
        raise Falsified(
            f"{piece.name}: {written} bytes instead of {piece.size}",
            remedy="find out who changes this file, then export again",
        )
