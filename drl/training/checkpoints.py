"""Checkpoints: what a seed needs to go on, written whole or not at all.

RLlib's own checkpoint is made of pickles. It stays in this room, serves resuming only, and is unpickled
only after every file matched the chain beside it. The chain guards against damage and mix-ups; who can
write to the checkpoint store can also write a chain, so the store is as trusted as the step itself.
"""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drl.digest import canonical_json
from drl.errors import ConflictError, DataError, Falsified, Missing
from drl.progress import Progress
from drl.training import chain, rllib
from drl.training.chain import Link, Writer
from drl.training.surroundings import differences

KEPT = 3
"""Checkpoints of a series that a folder keeps, so that a damaged one does not cost the whole training."""


@dataclass(frozen=True)
class Kept:
    """A checkpoint that a store offers; nothing about it has been checked.

    Attributes:
        iteration: the iteration it says it was made after.
        name: what people call it.
        fetch: gives a folder with its files; raises Falsified or DataError when the bytes are not those that
            were stored, Missing when they are gone, any other StoreError when the store cannot be reached.
    """

    iteration: int
    name: str
    fetch: Callable[[], Path]


class CheckpointStore(Protocol):
    """Where checkpoints are kept, by series (``seed-0``) and iteration."""

    def save(self, series: str, iteration: int, folder: Path) -> None:
        """Keep the files of ``folder``; when it returns, all of them are there, else none is seen."""

    def kept(self, series: str) -> list[Kept]:
        """What is there, the highest iteration first."""


class FolderCheckpoints:
    """Checkpoints in a local folder: ``ROOT/SERIES/ITERATION``, handed over by a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, series: str, iteration: int, folder: Path) -> None:
        """Copy beside the target, then rename; a checkpoint of the same iteration is replaced.

        Later iterations are removed: whoever saves this one has refused them.
        """
        home = self._root / series
        home.mkdir(parents=True, exist_ok=True)
        target = home / f"{iteration:08d}"
        temporary = Path(tempfile.mkdtemp(prefix=".incoming-", dir=home))
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        staying = sorted(p for p in home.glob("[0-9]*") if p.name <= target.name)[-KEPT:]
        for other in home.iterdir():
            if other not in staying:
                shutil.rmtree(other)

    def kept(self, series: str) -> list[Kept]:
        """What was handed over."""
        found = sorted((self._root / series).glob("[0-9]*"), reverse=True)
        return [Kept(int(p.name), str(p), lambda p=p: p) for p in found]  # type: ignore[misc]


@dataclass
class State:
    """What this room remembers of a seed's training beside RLlib's own state.

    Attributes:
        identity: digest of everything that decides the outcome: spec, data and seed.
        made_with: what :func:`drl.training.surroundings.surroundings` says here.
        writer: who writes the next checkpoints.
        iteration: training iterations done.
        time_steps: environment time steps done.
        window: (episodes, mean return) of the latest iterations, newest last, about 100 episodes.
        metrics: every line of metrics so far.
        links: the chain so far.
    """

    identity: str
    seed: int
    made_with: dict[str, Any]
    writer: Writer
    iteration: int = 0
    time_steps: int = 0
    window: list[tuple[int, float]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


def save(store: CheckpointStore, series: str, algorithm: Any, state: State) -> None:
    """Write a checkpoint, extend the chain in ``state`` and hand the folder to the store."""
    with tempfile.TemporaryDirectory(prefix="drl-checkpoint-") as scratch:
        folder = Path(scratch)
        algorithm.save_to_path(str(folder / "rllib"))
        buffer = getattr(algorithm, "local_replay_buffer", None)
        if buffer is not None:
            (folder / "replay.pickle").write_bytes(pickle.dumps(buffer.get_state()))
        (folder / "metrics.jsonl").write_bytes(metrics_bytes(state.metrics))
        (folder / "state.json").write_bytes(
            canonical_json(
                {
                    "identity": state.identity,
                    "made_with": state.made_with,
                    "seed": state.seed,
                    "iteration": state.iteration,
                    "time_steps": state.time_steps,
                    "window": [list(entry) for entry in state.window],
                    "uncheckpointed": rllib.uncheckpointed(algorithm),
                }
            )
        )
        link = Link(
            seed=state.seed,
            iteration=state.iteration,
            time_steps=state.time_steps,
            weights=chain.weights_digest(rllib.learner_weights(algorithm)),
            parent=chain.next_parent(state.links),
            folder=chain.folder_digest(folder),
            attempt=state.writer.attempt,
            node=state.writer.node,
            begun=state.writer.begun,
            refused=state.writer.refused,
        )
        state.links.append(link)
        (folder / chain.CHAIN_FILE).write_bytes(chain.to_bytes(state.links))
        store.save(series, state.iteration, folder)


def resume(
    store: CheckpointStore, series: str, fresh: State, progress: Progress
) -> tuple[State, Path | None]:
    """The newest checkpoint from which training goes on as if it had never stopped.

    Checkpoints that are damaged, belong to another training or were made with something else are refused,
    with a line that says why, and the one before is tried.

    Args:
        store: where to look.
        series: of which seed.
        fresh: the state of a training that begins, with the identity that a checkpoint must have.
        progress: told what was refused.

    Returns:
        the state to go on with and the checkpoint's folder; when none will do, the fresh state and None.
    """
    refused = 0
    for kept in store.kept(series):
        try:
            folder = kept.fetch()
            state = read(folder, fresh=fresh)
        except (Falsified, DataError, ConflictError, Missing) as error:
            refused += 1
            progress.log(f"{series}: checkpoint {kept.iteration} refused: {error.message}")
            continue
        state.writer = Writer(fresh.writer.attempt, fresh.writer.node, state.iteration, refused)
        return state, folder
    if refused:
        progress.log(f"{series}: not resumable exactly from any checkpoint: starts again from the beginning")
    fresh.writer = Writer(fresh.writer.attempt, fresh.writer.node, 0, refused)
    return fresh, None


def read(folder: Path, *, fresh: State) -> State:
    """The state of a kept checkpoint, after all its files matched the chain.

    Raises:
        Falsified: the files do not match the chain, or are not what a checkpoint is made of.
        ConflictError: the checkpoint belongs to another spec, data set or seed, or was made with other
            packages or on another processor, so that it cannot be gone on from exactly.
    """
    links = chain.check_folder(folder)
    try:
        value = json.loads((folder / "state.json").read_bytes())
        _require_same(folder, value, fresh)
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        state = State(
            identity=value["identity"],
            seed=int(value["seed"]),
            made_with=value["made_with"],
            writer=fresh.writer,
            iteration=int(value["iteration"]),
            time_steps=int(value["time_steps"]),
            window=[(int(count), float(mean)) for count, mean in value["window"]],
            metrics=[json.loads(line) for line in lines],
            links=links,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Falsified(f"{folder}: not a checkpoint: {error!r}", remedy="delete this checkpoint") from error
    if (links[-1].iteration, links[-1].seed) != (state.iteration, state.seed):
        raise Falsified(
            f"{folder}: state and chain name different iterations", remedy="delete this checkpoint"
        )
    return state


def _require_same(folder: Path, value: dict[str, Any], fresh: State) -> None:
    if value["identity"] != fresh.identity:
        raise ConflictError(
            f"{folder}: a checkpoint of another pipeline, data set or seed (identity {value['identity']})",
            remedy="give this training a checkpoint place of its own, or empty this one",
        )
    changed = differences(value["made_with"], fresh.made_with)
    if changed:
        raise ConflictError(
            f"{folder}: not resumable exactly here: {'; '.join(changed)}",
            remedy="go on where it was made, or start again",
        )


def restore(folder: Path, algorithm: Any) -> None:
    """Bring a freshly built algorithm to the state of a checkpoint that :func:`read` has checked.

    What RLlib leaves out of its own checkpoints is added, the replay buffer first of all.
    """
    value = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    algorithm.restore_from_path(str(folder / "rllib"))
    buffer = getattr(algorithm, "local_replay_buffer", None)
    if buffer is not None:
        buffer.set_state(pickle.loads((folder / "replay.pickle").read_bytes()))  # noqa: S301 - checked
    rllib.set_uncheckpointed(algorithm, value["uncheckpointed"], value["time_steps"])
    rllib.synchronise(algorithm)


def metrics_bytes(metrics: list[dict[str, Any]]) -> bytes:
    """JSON lines."""
    return b"".join(canonical_json(line) + b"\n" for line in metrics)
