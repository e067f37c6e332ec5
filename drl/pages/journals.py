"""The runs' journals for somebody who reads the same documents again and again.

A document of a journal, and a file under its digest, never changes once it is there. So it is fetched once
and remembered; what is not there yet is asked for again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Protocol

from drl.artifact import Artifact
from drl.errors import InputError
from drl.steps.journal import Documents, RunJournal

_THREADS = 8
_REMEMBERED = 64 << 20
_LARGEST = 4 << 20


class Bucket(Documents, Protocol):
    """What is asked of :class:`drl.stores.s3.ArtifactStore`."""

    def list(self, prefix: str, *, limit: int | None = None) -> list[str]:
        """Keys below a prefix, sorted; at most ``limit``, the first ones."""


class Journals:
    """Reads journals and the files of runs. Safe to use from several threads.

    Args:
        documents: the bucket that holds the journals, and what was published under lock.
        staged: the bucket that holds what was not published yet.
    """

    def __init__(self, documents: Bucket, staged: Bucket) -> None:
        self.documents = documents
        self._staged = staged
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def journal(self, run: str) -> RunJournal:
        """The journal itself."""
        return RunJournal(self.documents, run)

    def names(self, run: str) -> set[str]:
        """Names of everything that the run wrote down so far."""
        return set(self.journal(run).names())

    def recent(self, limit: int) -> Sequence[str]:
        """Keys of the newest runs, the newest first."""
        index = self.documents.list("index/", limit=limit)
        return [data.decode() for data in self._read(index).values()]

    def some(self, run: str, names: Iterable[str]) -> dict[str, Any]:
        """Those of the JSON documents ``names`` that the run has."""
        return self.several([run], names)[run]

    def raw(self, run: str, names: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those of the documents ``names`` that the run has."""
        prefix = f"journal/{run}/"
        found = self._read([f"{prefix}{name}" for name in names])
        return {key.removeprefix(prefix): data for key, data in found.items()}

    def several(self, runs: Sequence[str], names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """For each run, those of the JSON documents ``names`` that it has."""
        keys = {(run, name): f"journal/{run}/{name}" for run in runs for name in names}
        found = self._read(list(keys.values()))
        read: dict[str, dict[str, Any]] = {run: {} for run in runs}
        for (run, name), key in keys.items():
            if key in found:
                read[run][name] = json.loads(found[key])
        return read

    def below(self, prefix: str, newest: int) -> Sequence[Any]:
        """The JSON documents below a prefix whose keys come last when sorted by what follows ``__``."""
        keys = sorted(self.documents.list(prefix), key=lambda key: key.rpartition("__")[2])[-newest:]
        return [json.loads(data) for data in self._read(keys).values()]

    def file(self, artifact: Artifact) -> bytes:
        """The bytes of a file of a run, checked against its digest, wherever they lie."""
        key = f"sha256/{artifact.sha256}"
        if (kept := self._recall(key)) is not None:
            return kept
        try:
            data = RunJournal(self.documents, "").file(artifact)
        except InputError:
            data = RunJournal(self._staged, "").file(artifact)
        return self._remember(key, data)

    def _read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there of these, in their order; what is not remembered is fetched, a few at a time."""
        found = {key: self._recall(key) for key in keys}
        missing = [key for key, data in found.items() if data is None]
        if missing:
            with ThreadPoolExecutor(_THREADS) as pool:
                found |= zip(missing, pool.map(self._fetch, missing), strict=True)
        return {key: data for key, data in found.items() if data is not None}

    def _fetch(self, key: str) -> bytes | None:
        try:
            return self._remember(key, self.documents.read(key))
        except InputError:  # not there, or not there yet
            return None

    def _recall(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _remember(self, key: str, data: bytes) -> bytes:
        if len(data) <= _LARGEST:
            with self._lock:
                self._size += len(data) - len(self._kept.pop(key, b""))
                self._kept[key] = data
                while self._size > _REMEMBERED:
                    self._size -= len(self._kept.popitem(last=False)[1])
        return data
