"""What the operators wrote down about one run, in the order in which it was decided.

Small documents under ``journal/PIPELINE/RUN/`` in the bucket that no step may touch. The first writer wins,
so that a retry, or a second scheduler, finds what was decided before and never decides again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from securesystemslib.signer import Key, SSlibKey

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_bytes
from drl.errors import Falsified
from drl.record.dsse import sign, verify
from drl.record.keys import RoleSigner, public_pem

ENVELOPE = ".dsse.json"
KEYS = "keys/"


class Documents(Protocol):
    """First-writer-wins documents by key."""

    def read(self, key: str) -> bytes:
        """A document; InputError when there is none."""

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        """Store unless the key is taken; returns what is stored and whether it is ours."""

    def list(self, prefix: str) -> list[str]:
        """Keys below a prefix, sorted."""


def run_key(pipeline: str, run_id: str) -> str:
    """``pipeline/run-id`` with everything but letters, digits, dot, dash and underscore made a dash."""
    return f"{pipeline}/{re.sub(r'[^A-Za-z0-9._-]+', '-', run_id)}"


def sealed_bytes(documents: Documents, sha256: str, *, what: str) -> bytes:
    """What lies under lock beside the journals, by its digest.

    Raises:
        InputError: nothing does.
        Falsified: other bytes do; the message names ``what``.
    """
    data = documents.read(f"sha256/{sha256}")
    if sha256_bytes(data) != sha256:
        raise Falsified(
            f"{what}: other bytes lie under {sha256}",
            remedy="do not trust this store: drl store doctor tells whether its locks hold",
        )
    return data


def pipeline_of(run: str) -> str:
    """The pipeline of a run's key."""
    return run.partition("/")[0]


class RunJournal:
    """The journal of one run."""

    def __init__(self, documents: Documents, run: str) -> None:
        self._documents = documents
        self.run = run
        self.prefix = f"journal/{run}/"

    def beside(self, run: str) -> RunJournal:
        """The journal of another run, in the same documents."""
        return RunJournal(self._documents, run)

    def runs(self) -> list[str]:
        """Keys of all runs of this run's pipeline, sorted."""
        folder = f"{self.prefix.removesuffix('/').rpartition('/')[0]}/"
        keys = (key.removeprefix(folder).partition("/")[0] for key in self._documents.list(folder))
        return sorted({f"{folder.removeprefix('journal/')}{run}" for run in keys})

    def names(self) -> list[str]:
        """Names of everything written so far, sorted."""
        return [key.removeprefix(self.prefix) for key in self._documents.list(self.prefix)]

    def has(self, name: str) -> bool:
        """Whether ``name`` was written."""
        return f"{self.prefix}{name}" in self._documents.list(f"{self.prefix}{name}")

    def read(self, name: str) -> bytes:
        """The document called ``name``."""
        return self._documents.read(f"{self.prefix}{name}")

    def read_json(self, name: str) -> Any:
        """The JSON document called ``name``."""
        return json.loads(self.read(name))

    def file(self, artifact: Artifact) -> bytes:
        """The bytes of a published file of the run, which lie under lock beside the journals.

        Raises:
            Falsified: other bytes lie under its digest.
        """
        return sealed_bytes(self._documents, artifact.sha256, what=f"{artifact.name} of {self.run}")

    def write(self, name: str, data: bytes) -> bytes:
        """Write unless it was written before; returns what is stored."""
        stored, _ = self._documents.write_once(f"{self.prefix}{name}", data)
        return stored

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON document called ``name``, made now when nobody made it before."""
        if self.has(name):
            return self.read_json(name)
        return json.loads(self.write(name, canonical_json(make())))

    def sign_once(self, name: str, make: Callable[[], dict[str, Any]], signer: RoleSigner) -> Artifact:
        """The signed statement called ``name``: signed and stored now, or verified as stored before.

        What was stored before may be signed by an earlier key of the role: keys are rotated in the middle of
        runs too.

        Raises:
            Falsified: what is stored is not signed by a key of ``signer``'s role, or that key was revoked.
        """
        file = f"{name}{ENVELOPE}"
        if self.has(file):
            stored = self.read(file)
        else:
            self.keep_key(signer.public_key)
            stored = self.write(file, sign(make(), [signer]))
        verify(stored, signer.accepted)
        return Artifact(file, sha256_bytes(stored), len(stored))

    def keep_key(self, key: SSlibKey) -> None:
        """Keep a public key beside what it signs, so that the record can carry it."""
        name = f"{KEYS}{key.keyid}.pem"
        if not self.has(name):
            self.write(name, public_pem(key))

    def statement(self, name: str, keys: list[Key]) -> dict[str, Any]:
        """The statement called ``name`` after its signature held."""
        return verify(self.read(f"{name}{ENVELOPE}"), keys).statement

    def key_of(self, name: str) -> str:
        """Id of the key that the stored envelope of ``name`` says it was signed with."""
        return self.keys_of(name)[0]

    def keys_of(self, name: str) -> list[str]:
        """Ids of all keys that the stored envelope of ``name`` says it was signed with."""
        signatures = self.read_json(f"{name}{ENVELOPE}")["signatures"]
        return [str(signature["keyid"]) for signature in signatures]

    def retain_days(self) -> int:
        """For how long what the run releases is kept under lock, in days."""
        return int(self.read_json("resolved.json")["spec"]["registration"]["retention_days"])

    def envelopes(self) -> list[Artifact]:
        """Every signed statement so far, by digest."""
        found = []
        for name in self.names():
            if name.endswith(ENVELOPE):
                data = self.read(name)
                found.append(Artifact(name, sha256_bytes(data), len(data)))
        return found
