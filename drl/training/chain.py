"""The chain of checkpoints: JSON lines, each naming the digest of the line before it.

A line is canonical JSON ``{"folder", "iteration", "parent", "seed", "time_steps", "weights"}``. ``parent``
is the SHA-256 of the previous line of the same seed without its line feed, 64 zeros for the first.
``folder`` is the SHA-256 of the canonical JSON list of the checkpoint's files (name, sha256, size; without
``chain.jsonl`` itself). ``weights`` is the digest of the learner's tensors: equal weights digests show that
two runs were the same up to there, and the first that differs shows where they parted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from drl.artifact import describe_folder
from drl.digest import canonical_json, sha256_bytes, sha256_json
from drl.errors import Falsified

FIRST_PARENT = "0" * 64
CHAIN_FILE = "chain.jsonl"

_REMEDY = "delete this checkpoint, so that training starts again or from an earlier one"


@dataclass(frozen=True)
class Link:
    """One line of the chain."""

    seed: int
    iteration: int
    time_steps: int
    folder: str
    weights: str
    parent: str

    def line(self) -> bytes:
        """The canonical JSON of the line, without line feed."""
        return canonical_json(asdict(self))


def folder_digest(folder: Path) -> str:
    """Digest of all files of a checkpoint but its chain."""
    return sha256_json([a.to_json() for a in describe_folder(folder) if a.name != CHAIN_FILE])


def weights_digest(weights: Mapping[str, np.ndarray]) -> str:
    """Digest of tensors: name, dtype, shape and bytes of each, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(array.tobytes())
    return digest.hexdigest()


def next_parent(links: Sequence[Link]) -> str:
    """What the next line has to name as its parent."""
    return sha256_bytes(links[-1].line()) if links else FIRST_PARENT


def to_bytes(links: Sequence[Link]) -> bytes:
    """The lines, each ended by a line feed."""
    return b"".join(link.line() + b"\n" for link in links)


def from_bytes(data: bytes, *, where: str) -> list[Link]:
    """Read lines and check that each names its parent.

    Raises:
        Falsified: a line is malformed, out of order or does not follow the one before it.
    """
    links: list[Link] = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            link = Link(**json.loads(line))
            same = link.line() == line
        except (ValueError, TypeError) as error:
            raise Falsified(f"{where}:{number}: no line of a chain: {error}", remedy=_REMEDY) from error
        if not same or link.parent != next_parent(links) or (links and link.iteration <= links[-1].iteration):
            raise Falsified(f"{where}:{number}: does not follow the line before it", remedy=_REMEDY)
        links.append(link)
    return links


def check_folder(folder: Path) -> list[Link]:
    """The chain of a checkpoint whose files are those that its last line names.

    Raises:
        Falsified: the chain is missing or broken, or the files are others.
    """
    path = folder / CHAIN_FILE
    if not path.is_file():
        raise Falsified(f"{path}: missing", remedy=_REMEDY)
    links = from_bytes(path.read_bytes(), where=str(path))
    if not links or links[-1].folder != folder_digest(folder):
        raise Falsified(f"{folder}: its files are not those that its chain names", remedy=_REMEDY)
    return links
