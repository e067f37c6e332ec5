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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drl.digest import canonical_json
from drl.errors import ConflictError, Falsified
from drl.training import chain, rllib
from drl.training.chain import Link


class CheckpointStore(Protocol):
    """Where checkpoints are kept, by series (``seed-0``) and iteration."""

    def save(self, series: str, iteration: int, folder: Path) -> None:
        """Keep the files of ``folder``; when it returns, all of them are there, else none is seen."""

    def latest(self, series: str) -> tuple[int, Path] | None:
        """The highest iteration kept and a folder with its files, or None."""


class FolderCheckpoints:
    """Checkpoints in a local folder: ``ROOT/SERIES/ITERATION``, handed over by a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, series: str, iteration: int, folder: Path) -> None:
        """Copy beside the target, then rename; a checkpoint of the same iteration is replaced."""
        home = self._root / series
        home.mkdir(parents=True, exist_ok=True)
        target = home / f"{iteration:08d}"
        temporary = Path(tempfile.mkdtemp(prefix=".incoming-", dir=home))
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for other in home.iterdir():
            if other != target:
                shutil.rmtree(other)

    def latest(self, series: str) -> tuple[int, Path] | None:
        """The highest iteration that was handed over."""
        home = self._root / series
        kept = sorted(p for p in home.glob("[0-9]*") if p.is_dir()) if home.is_dir() else []
        return (int(kept[-1].name), kept[-1]) if kept else None


@dataclass
class State:
    """What this room remembers of a seed's training beside RLlib's own state.

    Attributes:
        identity: digest of everything that decides the outcome: spec, data and seed.
        iteration: training iterations done.
        time_steps: environment time steps done.
        window: (episodes, mean return) of the latest iterations, newest last, about 100 episodes.
        metrics: every line of metrics so far.
        links: the chain so far.
    """

    identity: str
    seed: int
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
            folder=chain.folder_digest(folder),
            weights=chain.weights_digest(rllib.learner_weights(algorithm)),
            parent=chain.next_parent(state.links),
        )
        state.links.append(link)
        (folder / chain.CHAIN_FILE).write_bytes(chain.to_bytes(state.links))
        store.save(series, state.iteration, folder)


def read(folder: Path, *, identity: str) -> State:
    """The state of a kept checkpoint, after all its files matched the chain.

    Raises:
        Falsified: the files do not match the chain.
        ConflictError: the checkpoint belongs to another spec, data set or seed.
    """
    links = chain.check_folder(folder)
    value = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if value["identity"] != identity:
        raise ConflictError(
            f"{folder}: a checkpoint of another pipeline, data set or seed (identity {value['identity']})",
            remedy="give this training a checkpoint place of its own, or empty this one",
        )
    if (links[-1].iteration, links[-1].seed) != (value["iteration"], value["seed"]):
        raise Falsified(
            f"{folder}: state and chain name different iterations", remedy="delete this checkpoint"
        )
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return State(
        identity=identity,
        seed=value["seed"],
        iteration=value["iteration"],
        time_steps=value["time_steps"],
        window=[(int(count), float(mean)) for count, mean in value["window"]],
        metrics=[json.loads(line) for line in lines],
        links=links,
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
