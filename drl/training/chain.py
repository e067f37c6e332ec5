"""The chain of checkpoints: JSON lines, each naming the digest of the one before it.

A line is canonical JSON with two kinds of members.

What the training *was*, the same in every faithful repetition, on whatever machine and in however many
attempts: ``seed``, ``iteration``, ``time_steps``, ``weights`` (digest of the learner's tensors) and
``parent``. The *chain digest* of a line is the SHA-256 of the canonical JSON of these five; ``parent`` is the
chain digest of the previous line of the same seed, 64 zeros for the first. Equal chain digests show that two
trainings were the same up to there, and the first that differs shows where they parted.

How it *came about*, which no digest above depends on: ``folder``, the SHA-256 of the canonical JSON list of
the checkpoint's files (name, sha256, size; without ``chain.jsonl`` itself; RLlib's pickles differ from one
process to the next), and who wrote it: ``attempt``, ``node`` (the host's name), ``begun`` (the iteration that
this attempt went on from, 0 for the beginning) and ``refused`` (how many checkpoints it found and did not
believe, or could not go on from exactly). A change of attempt from one line to the next is a splice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from drl.artifact import describe_folder
from drl.digest import canonical_json, sha256_json
from drl.errors import Falsified, InputError

FIRST_PARENT = "0" * 64
CHAIN_FILE = "chain.jsonl"

_CONTENT = ("seed", "iteration", "time_steps", "weights", "parent")
_NUMBERS = ("seed", "iteration", "time_steps", "begun", "refused")
_REMEDY = "delete this checkpoint, so that training starts again or from an earlier one"


@dataclass(frozen=True)
class Writer:
    """Who writes checkpoints.

    Attributes:
        attempt: the attempt at the step, unique in its run.
        node: name of the host.
        begun: iteration that this attempt went on from, 0 for the beginning.
        refused: checkpoints that it found and did not take.
    """

    attempt: str
    node: str
    begun: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Link:
    """One line of the chain."""

    seed: int
    iteration: int
    time_steps: int
    weights: str
    parent: str
    folder: str
    attempt: str
    node: str
    begun: int
    refused: int

    @property
    def digest(self) -> str:
        """The chain digest: of what a faithful repetition must have again."""
        return sha256_json({name: getattr(self, name) for name in _CONTENT})

    @property
    def writer(self) -> Writer:
        """Who wrote it."""
        return Writer(self.attempt, self.node, self.begun, self.refused)

    def line(self) -> bytes:
        """The canonical JSON of the line, without line feed."""
        return canonical_json(asdict(self))


@dataclass(frozen=True)
class Splice:
    """Consecutive checkpoints of a seed that one attempt wrote.

    Attributes:
        seed: which one.
        writer: the attempt, its host, and what it went on from.
        first: iteration of its first checkpoint.
        last: iteration of its last.
    """

    seed: int
    writer: Writer
    first: int
    last: int


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
    return links[-1].digest if links else FIRST_PARENT


def to_bytes(links: Sequence[Link]) -> bytes:
    """The lines, each ended by a line feed."""
    return b"".join(link.line() + b"\n" for link in links)


def from_bytes(data: bytes, *, where: str) -> list[Link]:
    """Read the lines of one seed and check that each names its parent.

    Raises:
        Falsified: a line is malformed, out of order or does not follow the one before it.
    """
    links: list[Link] = []
    for number, line in enumerate(data.splitlines(), start=1):
        link = _link(line, where=f"{where}:{number}")
        follows = link.parent == next_parent(links) and (
            not links or (links[-1].seed == link.seed and links[-1].iteration < link.iteration)
        )
        if not follows:
            raise Falsified(f"{where}:{number}: does not follow the line before it", remedy=_REMEDY)
        links.append(link)
    return links


def by_seed(data: bytes, *, where: str) -> dict[int, list[Link]]:
    """Read the lines of several seeds, one seed after another, as ``checkpoints.jsonl`` holds them.

    Returns:
        seed to its links, in the order of the file.

    Raises:
        Falsified: as :func:`from_bytes`; or a seed comes twice.
    """
    chains: dict[int, list[Link]] = {}
    lines = data.splitlines()
    for seed, own in groupby(lines, key=lambda line: _link(line, where=where).seed):
        if seed in chains:
            raise Falsified(f"{where}: the lines of seed {seed} do not stand together", remedy=_REMEDY)
        chains[seed] = from_bytes(b"\n".join(own), where=f"{where}, seed {seed}")
    return chains


def splices(links: Sequence[Link]) -> list[Splice]:
    """Which attempt wrote which iterations of a seed's chain, in order."""
    found: list[Splice] = []
    for writer, group in groupby(links, key=lambda link: link.writer):
        own = list(group)
        found.append(Splice(own[0].seed, writer, own[0].iteration, own[-1].iteration))
    return found


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


def _link(line: bytes, *, where: str) -> Link:
    try:
        link = Link(**json.loads(line))
        same = link.line() == line
    except (ValueError, TypeError, InputError, RecursionError) as error:
        raise Falsified(f"{where}: no line of a chain: {error}", remedy=_REMEDY) from error
    numbers = [getattr(link, name) for name in _NUMBERS]
    texts = [value for name, value in asdict(link).items() if name not in _NUMBERS]
    good = all(type(n) is int and n >= 0 for n in numbers) and all(isinstance(t, str) for t in texts)
    if not same or not good:
        raise Falsified(f"{where}: no line of a chain in canonical form", remedy=_REMEDY)
    return link
