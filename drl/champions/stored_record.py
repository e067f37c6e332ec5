"""A run's record as the stores hold it now, for a verifier; nothing is exported."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from drl.artifact import Artifact
from drl.champions.compared import champion_documents
from drl.digest import canonical_json
from drl.errors import Falsified, StoreError
from drl.record.dsse import read_unverified
from drl.record.export import (
    ACCOUNT,
    ENVELOPE,
    HELD_OUT,
    RELEASE,
    Piece,
    account_json,
    blob_name,
    document_names,
    key_name,
    named_files,
    travelling_files,
)
from drl.record.ledger import Entry
from drl.steps.journal import KEYS, RunJournal


class Sealed(Protocol):
    """What is asked of :class:`drl.stores.s3.ArtifactStore`."""

    def get(self, artifact: Artifact, into: Path, *, sealed: bool = False) -> Path:
        """Fetch an artifact, checked against its digest."""


class StoredRecord:
    """Read-only files of a record by name (:class:`drl.record.files.RecordFiles`).

    Args:
        documents: statements, ledger entries and public keys, by name in the record.
        files: what the statements name, by name in the record; fetched each time they are opened.
        store: has the files under lock.

    Attributes:
        unread: one message for each time that a file could not be fetched. A verifier takes a file that is
            not there for one that did not travel; here all of them should be.
    """

    def __init__(self, documents: Mapping[str, bytes], files: Mapping[str, Artifact], store: Sealed) -> None:
        self._documents = documents
        self._files = files
        self._store = store
        self.unread: list[str] = []

    @classmethod
    def of(
        cls,
        journal: RunJournal,
        entries: Sequence[Entry],
        head: Mapping[str, Any],
        store: Sealed,
        *,
        held_out: bool = False,
    ) -> StoredRecord:
        """The record of a run.

        Args:
            journal: of the run.
            entries: the ledger's account of its pipeline.
            head: ``number``, ``hash`` and ``time`` of the newest block.
            store: has the files under lock.
            held_out: also the held-out data, where they may not be handed on: for a verifier of the
                deployment's own, who hands nothing on.

        Raises:
            InputError: a document of the journal is gone.
        """
        names = journal.names()
        release = read_unverified(journal.read(RELEASE))["predicate"]
        documents = {new: journal.read(old) for old, new in document_names(names, release).items()}
        signed = [Path(name).name.removesuffix(ENVELOPE) for name in documents if name.endswith(ENVELOPE)]
        for key in {key for name in signed for key in journal.keys_of(name)}:
            documents[key_name(key)] = journal.read(f"{KEYS}{key}.pem")
        documents |= champion_documents(journal, entries)
        documents[ACCOUNT] = canonical_json(account_json(entries, head))
        files = travelling_files(journal.read_json("resolved.json"), release, with_data=False)
        if held_out:
            files += [file for file in named_files(release) if file.name == HELD_OUT]
        return cls(documents, {blob_name(a.sha256): a for a in files}, store)

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted([*self._documents, *self._files])

    def pieces(self) -> list[Piece]:
        """Every file, for a zip: :func:`drl.record.export.write_zip`."""
        return [Piece(name, self.size(name), partial(self.open, name)) for name in self.names()]

    def size(self, name: str) -> int:
        """Size in bytes."""
        if name in self._documents:
            return len(self._documents[name])
        return self._file(name).size

    def read(self, name: str, *, limit: int = 16 << 20) -> bytes:
        """A whole file of at most ``limit`` bytes."""
        if self.size(name) > limit:
            raise Falsified(f"{name}: {self.size(name)} bytes, more than {limit}", remedy="look at the run")
        with self.open(name) as stream:
            return stream.read()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file as a stream."""
        if name in self._documents:
            yield io.BytesIO(self._documents[name])
            return
        artifact = self._file(name)
        with (
            tempfile.TemporaryDirectory() as folder,
            self._fetch(artifact, Path(folder)).open("rb") as stream,
        ):
            yield stream

    def _fetch(self, artifact: Artifact, folder: Path) -> Path:
        try:
            return self._store.get(replace(artifact, name=artifact.sha256), folder, sealed=True)
        except StoreError as error:
            self.unread.append(f"{artifact.name}: {error.message}")
            raise

    def _file(self, name: str) -> Artifact:
        if name not in self._files:
            raise Falsified(f"{name}: not in the record", remedy="compare the journal with the release")
        return self._files[name]
