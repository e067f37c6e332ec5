"""Decisions kept for later: queued in memory, written to the disk, shipped as Parquet by a child."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drl.errors import DrlError
from drl.serving.child import run_child
from drl.serving.lines import say
from drl.serving.proof import Target

_MOST_QUEUED = 100_000
_SHIP_SECONDS = 120.0


@dataclass(frozen=True)
class Decision:
    """One answered request.

    Attributes:
        at: seconds since the epoch.
        request: its id.
        target: of the policy that answered.
        seed: None for deterministic actions.
        observations: [N, D].
        actions: [N] or [N, d].
    """

    at: float
    request: str
    target: Target
    seed: int | None
    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[Any]

    def lines(self) -> list[str]:
        """One JSON line for each observation."""
        common = {
            "at": self.at,
            "request": self.request,
            "model": self.target.model,
            "version": self.target.version,
            "model_root": self.target.root,
            "run": self.target.run,
            "seed": self.seed,
        }
        actions = self.actions.reshape(len(self.actions), -1).astype(np.float64)
        return [
            json.dumps(common | {"row": row, "observation": o.tolist(), "action": a.tolist()})
            for row, (o, a) in enumerate(zip(self.observations, actions, strict=True))
        ]


class DecisionLog:
    """Keeps decisions without letting anybody wait: a full queue drops the oldest, and counts them.

    Args:
        folder: for what was not shipped yet; what an earlier process left there is shipped too.
        to: ``s3://BUCKET/PREFIX``.

    Attributes:
        dropped: decisions lost because the queue was full.
        shipped: observations that are in the bucket.
        trouble: why the last shipment failed; None when it did not.
    """

    def __init__(self, folder: Path, to: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dropped = self.shipped = 0
        self.trouble: str | None = None
        self._folder, self._to = folder, to
        self._queue: deque[Decision] = deque()
        self._lock = threading.Lock()

    def add(self, decision: Decision) -> None:
        """Queue a decision."""
        with self._lock:
            if len(self._queue) >= _MOST_QUEUED:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(decision)

    def ship(self) -> None:
        """Write what is queued, and let a child ship every file that is there. Called by one thread."""
        self._write()
        files = sorted(self._folder.glob("*.jsonl"))
        if not files:
            return
        question = {"files": [str(f.absolute()) for f in files], "to": self._to}
        try:
            answer = run_child("drl.serving.ship", question, seconds=_SHIP_SECONDS)
        except DrlError as error:
            if self.trouble is None:
                say("decisions not shipped", reason=error.message, files=len(files))
            self.trouble = error.message
            return
        self.trouble = None
        self.shipped += int(answer["rows"])
        for file in files:
            file.unlink()

    def _write(self) -> None:
        with self._lock:
            taken, self._queue = self._queue, deque()
        if taken:
            name = f"{time.time_ns()}-{secrets.token_hex(4)}"
            draft = self._folder / f"{name}.part"
            draft.write_text("".join(f"{line}\n" for decision in taken for line in decision.lines()))
            os.replace(draft, self._folder / f"{name}.jsonl")
