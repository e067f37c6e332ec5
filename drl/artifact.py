"""What travels between steps: a name and the digest of bytes, never the bytes themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drl.digest import require_sha256, sha256_file


@dataclass(frozen=True, order=True)
class Artifact:
    """One stored file.

    Round trip: ``Artifact.from_json(a.to_json()) == a``.

    Attributes:
        name: relative POSIX path by which people and steps call the file, e.g. ``seed-0/policy.onnx``.
        sha256: digest of its exact bytes.
        size: length in bytes.
    """

    name: str
    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path, *, name: str | None = None) -> Artifact:
        """Describe the file at ``path``."""
        return cls(name or path.name, sha256_file(path), path.stat().st_size)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifact:
        """Read what :meth:`to_json` wrote; a malformed digest raises InputError."""
        name = str(value["name"])
        return cls(name, require_sha256(str(value["sha256"]), where=f"artifact {name}"), int(value["size"]))

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the three attributes."""
        return {"name": self.name, "sha256": self.sha256, "size": self.size}


def describe_folder(folder: Path) -> list[Artifact]:
    """Every regular file below ``folder``, sorted by relative POSIX path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return [Artifact.of(p, name=p.relative_to(folder).as_posix()) for p in files]
