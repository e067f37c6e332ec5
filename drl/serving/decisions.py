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

_MOST_QUEUED = 64 << 20
_MOST_KEPT = 512 << 20
_OVERHEAD = 500  # of the objects around the arrays
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

    @property
    def size(self) -> int:
        """Bytes in memory, nearly."""
        return self.observations.nbytes + self.actions.nbytes + _OVERHEAD

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
    """Keeps decisions without letting anybody wait: what has no room drops the oldest, and counts it.

    There is room for 64 MiB in memory, as arrays, and for 512 MiB in the folder, as JSON lines.

    Args:
        folder: for what was not shipped yet; what an earlier process left there is shipped too.
        to: ``s3://BUCKET/PREFIX``.

    Attributes:
        dropped: observations lost because memory or folder were full.
        shipped: observations that are in the bucket.
        trouble: why the last shipment failed; None when it did not.
    """

    def __init__(self, folder: Path, to: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dropped = self.shipped = 0
        self.trouble: str | None = None
        self._folder, self._to = folder, to
        self._queue: deque[Decision] = deque()
        self._queued = 0
        self._lock, self._shipping = threading.Lock(), threading.Lock()

    def add(self, decision: Decision) -> None:
        """Queue a decision."""
        with self._lock:
            self._queue.append(decision)
            self._queued += decision.size
            while self._queued > _MOST_QUEUED:
                oldest = self._queue.popleft()
                self._queued -= oldest.size
                self.dropped += len(oldest.observations)

    def ship(self) -> None:
        """Write what is queued, and let a child ship every file that is there."""
        with self._shipping:
            self._write()
            if files := self._bounded(sorted(self._folder.glob("*.jsonl"))):
                self._ship(files)

    def _bounded(self, files: list[Path]) -> list[Path]:
        """The newest files that there is room for; the others are dropped."""
        room, kept = _MOST_KEPT, len(files)
        while kept and (room := room - files[kept - 1].stat().st_size) >= 0:
            kept -= 1
        for file in files[:kept]:
            with file.open("rb") as lines:
                self.dropped += sum(1 for _ in lines)
            file.unlink()
        return files[kept:]

    def _ship(self, files: list[Path]) -> None:
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
            taken, self._queue, self._queued = self._queue, deque(), 0
        if taken:
            name = f"{time.time_ns()}-{secrets.token_hex(4)}"
            draft = self._folder / f"{name}.part"
            draft.write_text("".join(f"{line}\n" for decision in taken for line in decision.lines()))
            os.replace(draft, self._folder / f"{name}.jsonl")
