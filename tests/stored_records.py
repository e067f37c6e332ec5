"""A record of ``record_factory`` as a deployment has it: a journal and a sealed bucket, both stand-ins."""

from __future__ import annotations

import shutil
from pathlib import Path

from record_factory import Builder

from drl.artifact import Artifact
from drl.errors import StoreError
from drl.steps.journal import RunJournal


class Documents(dict[str, bytes]):
    """The journal's bucket, in memory."""

    def read(self, key: str) -> bytes:
        return self[key]

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self if key.startswith(prefix))


class Bucket:
    """The sealed bucket: a record's folder of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, artifact: Artifact, into: Path, *, sealed: bool = False) -> Path:
        source = self._folder / artifact.sha256
        if not sealed or not source.exists():
            raise StoreError(f"{artifact.sha256[:12]} is not there", remedy="look for it")
        return Path(shutil.copyfile(source, into / artifact.name))


def journal(builder: Builder, run: str) -> tuple[Documents, RunJournal]:
    """The journal of the record's run, under the key ``run``."""
    documents = Documents()
    for path in builder.folder.rglob("*"):
        name = path.relative_to(builder.folder).as_posix().removeprefix("notes/")
        if path.is_file() and not name.startswith("sha256/") and name != "account.json":
            documents[f"journal/{run}/{name}"] = path.read_bytes()
    return documents, RunJournal(documents, run)
