"""Small checkpoints without RLlib's part, and what a training that begins finds of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from drl.artifact import Artifact
from drl.digest import canonical_json
from drl.progress import Progress
from drl.steps.exchange import Exchange
from drl.steps.request import StepRequest
from drl.steps.runner import ExchangeCheckpoints
from drl.training import chain
from drl.training.chain import Link, Writer
from drl.training.checkpoints import CheckpointStore, State, resume

FRESH = State(
    identity="this", seed=7, made_with={"python": "3.11.7", "machine": "x86_64"}, writer=Writer("2", "b")
)


def checkpoint(folder: Path, links: list[Link], **changes: Any) -> list[Link]:
    """Write the checkpoint that follows ``links``, without RLlib's part; returns the chain with it."""
    iteration = 2 * (len(links) + 1)
    folder.mkdir(parents=True)
    state = {
        "identity": "this",
        "made_with": FRESH.made_with,
        "seed": 7,
        "iteration": iteration,
        "time_steps": 100 * iteration,
        "window": [[3, 20.0]],
    }
    (folder / "state.json").write_bytes(canonical_json(state | changes))
    (folder / "metrics.jsonl").write_bytes(canonical_json({"iteration": iteration}) + b"\n")
    link = Link(
        seed=7,
        iteration=iteration,
        time_steps=100 * iteration,
        weights=f"{iteration:064x}",
        parent=chain.next_parent(links),
        folder=chain.folder_digest(folder),
        attempt="1",
        node="a",
        begun=0,
        refused=0,
    )
    (folder / chain.CHAIN_FILE).write_bytes(chain.to_bytes([*links, link]))
    return [*links, link]


def filled(store: CheckpointStore, scratch: Path, *changes: dict[str, Any]) -> None:
    """Save one checkpoint for each of ``changes``."""
    links: list[Link] = []
    for number, change in enumerate(changes):
        links = checkpoint(scratch / str(number), links, **change)
        store.save("seed-0", links[-1].iteration, scratch / str(number))


def resumed(store: CheckpointStore) -> tuple[State, Path | None, str]:
    said = io.StringIO()
    state, folder = resume(store, "seed-0", replace(FRESH), Progress(said))
    return state, folder, said.getvalue()


def exchange_store(
    exchange: Exchange, scratch: Path, attempt: str, *, run: str = "tiny/run"
) -> ExchangeCheckpoints:
    """The checkpoints of a run as one attempt at its training sees them."""
    step = StepRequest("train", run, attempt, Artifact("resolved.json", "0" * 64, 1))
    return ExchangeCheckpoints(exchange, step, scratch / f"work-{attempt}")
