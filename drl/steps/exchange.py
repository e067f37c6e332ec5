"""The one place a step may touch: artifacts by digest, and small JSON under its run's keys.

Two homes: the artifact store's ``staging`` bucket, or a folder for ``drl run``. A step is told which by the
address of its request.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from drl.artifact import Artifact, describe_folder
from drl.digest import sha256_file
from drl.errors import DataError, InputError


class Exchange(Protocol):
    """Content-addressed files and first-writer-wins documents."""

    def get(self, artifact: Artifact, into: Path) -> Path:
        """Fetch the artifact to ``into / artifact.name`` and refuse other bytes."""

    def get_many(self, artifacts: Iterable[Artifact], into: Path) -> list[Path]:
        """Fetch several."""

    def put(self, path: Path, name: str) -> Artifact:
        """Store one file."""

    def put_many(self, folder: Path) -> list[Artifact]:
        """Store every file of a folder under its relative name."""

    def read(self, key: str) -> bytes:
        """A document; InputError when there is none."""

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        """Store a document unless the key is taken; returns what is stored, and whether it is ours."""

    def list(self, prefix: str) -> list[str]:
        """Keys of documents below a prefix, sorted."""


class FolderExchange:
    """An exchange in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, artifact: Artifact, into: Path) -> Path:
        """Link or copy the artifact; the digest is checked."""
        source, target = self._blob(artifact.sha256), into / artifact.name
        if not source.exists() or sha256_file(source) != artifact.sha256:
            raise DataError(
                f"{source}: the bytes of {artifact.name} are missing or changed",
                remedy="run the pipeline again in a new folder",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target

    def get_many(self, artifacts: Iterable[Artifact], into: Path) -> list[Path]:
        """Fetch several, in order."""
        return [self.get(artifact, into) for artifact in artifacts]

    def put(self, path: Path, name: str) -> Artifact:
        """Copy one file in, unless its bytes are there."""
        artifact = Artifact.of(path, name=name)
        blob = self._blob(artifact.sha256)
        if not blob.exists():
            _write_atomically(blob, path.read_bytes())
        return artifact

    def put_many(self, folder: Path) -> list[Artifact]:
        """Copy every file of ``folder`` in."""
        return [self.put(folder / a.name, a.name) for a in describe_folder(folder)]

    def read(self, key: str) -> bytes:
        """The document at ``key``."""
        path = self._root / key
        if not path.exists():
            raise InputError(f"{path}: no such document", remedy="give the address that the run printed")
        return path.read_bytes()

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        """Hard-link a finished file into place, which fails when the name is taken."""
        path = self._root / key
        created = _write_atomically(path, data)
        return path.read_bytes(), created

    def list(self, prefix: str) -> list[str]:
        """Keys that begin with ``prefix``."""
        folder = (self._root / f"{prefix}-").parent
        keys = (p.relative_to(self._root).as_posix() for p in folder.rglob("*") if p.is_file())
        return sorted(key for key in keys if key.startswith(prefix))

    def _blob(self, sha256: str) -> Path:
        return self._root / "sha256" / sha256


def _write_atomically(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def open_exchange(address: str) -> tuple[Exchange, str]:
    """The exchange and the key that ``address`` names.

    Args:
        address: ``file:///root#key`` for a folder, or ``s3:key`` for the store that the DRL_S3_* variables
            name.
    """
    if address.startswith("file://"):
        root, _, key = address.removeprefix("file://").partition("#")
        return FolderExchange(Path(root)), key
    if address.startswith("s3:"):
        from drl.stores.s3 import ArtifactStore
        from drl.stores.settings import S3Settings

        return ArtifactStore(S3Settings.from_environment()), address.removeprefix("s3:")
    raise InputError(
        f"request address {address!r}: unknown scheme", remedy="give `s3:KEY` or `file:///FOLDER#KEY`"
    )
