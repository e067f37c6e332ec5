"""Decisions kept for later: queued in memory, written to the disk, shipped as Parquet by a child.

Queue and disk are bounded in bytes: a bucket that is away costs the oldest decisions, never an answer.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drl.errors import DrlError
from drl.serving.backlog import Backlog
from drl.serving.child import run_child
from drl.serving.lines import say
from drl.serving.proof import Target

QUEUE_BYTES = 64 << 20
_FILE_BYTES = 8 << 20  # what is dropped at once, and what a child that ships has in memory
_FILES_AT_ONCE = 8
_SHIP_SECONDS = 120.0
_LAST_SECONDS = 10.0  # a pod has 60 to end in, and answers and proofs under way take some of them
_OBJECT_BYTES = 500  # of a decision in memory beside its numbers


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
        """About its bytes in memory."""
        return _OBJECT_BYTES + self.observations.nbytes + self.actions.nbytes

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
    """Keeps decisions without letting anybody wait; of too many the oldest are dropped, and counted.

    Args:
        folder: for what was not shipped yet; what an earlier process left there is shipped too.
        to: ``s3://BUCKET/PREFIX``.
        disk_bytes: most bytes of files in ``folder``.
        queue_bytes: most bytes of decisions in memory.

    Attributes:
        dropped: observations lost for want of room, or because the disk took none.
        shipped: observations that are in the bucket.
        trouble: what went wrong at the last writing or shipment; None when nothing did.
    """

    def __init__(self, folder: Path, to: str, *, disk_bytes: int, queue_bytes: int = QUEUE_BYTES) -> None:
        self.dropped = self.shipped = 0
        self.trouble: str | None = None
        self._backlog, self._to = Backlog(folder, disk_bytes), to
        self._file_bytes, self._queue_bytes = min(_FILE_BYTES, disk_bytes // 4), queue_bytes
        self._queue: deque[Decision] = deque()
        self._queued = 0
        self._lock, self._shipping = threading.Lock(), threading.Lock()

    def add(self, decision: Decision) -> None:
        """Queue a decision."""
        with self._lock:
            self._queue.append(decision)
            self._queued += decision.size
            while self._queued > self._queue_bytes:
                self.dropped += len(self._pop().actions)

    def waiting(self) -> int:
        """Bytes in the queue and on the disk."""
        return self._queued + self._backlog.size()

    def ship(self, *, seconds: float = _SHIP_SECONDS) -> None:
        """Write what is queued, and let children ship every file that is there, each within ``seconds``."""
        with self._shipping:
            wrote, shipped = self._write(), self._ship(seconds)
            self._tell(wrote or shipped)

    def close(self) -> None:
        """Ship for the last time; beside a shipment under way only write, for the next process to ship."""
        if self._shipping.locked():
            self._tell(self._write())
        else:
            self.ship(seconds=_LAST_SECONDS)

    def _tell(self, trouble: str | None) -> None:
        if trouble and self.trouble is None:
            say("decisions not shipped", reason=trouble, waiting=self.waiting(), dropped=self.dropped)
        self.trouble = trouble

    def _write(self) -> str | None:
        """Move the queue to the disk, a file at a time; why that failed."""
        trouble = None
        while lines := self._next_lines():
            try:
                lost = self._backlog.write(lines)
            except OSError as error:
                trouble, lost = f"the disk takes no decisions: {error.strerror}", len(lines)
            with self._lock:
                self.dropped += lost
        return trouble

    def _ship(self, seconds: float) -> str | None:
        """Ship the files that are there, some at a time; why that failed."""
        while files := self._backlog.files()[:_FILES_AT_ONCE]:
            question = {"files": [str(f.absolute()) for f in files], "to": self._to}
            try:
                answer = run_child("drl.serving.ship", question, seconds=seconds)
            except DrlError as error:
                return error.message
            self.shipped += int(answer["rows"])
            for file in files:
                file.unlink(missing_ok=True)
        return None

    def _next_lines(self) -> list[str]:
        """Lines of the oldest decisions, about as many bytes as a file has; none when nothing is queued."""
        lines: list[str] = []
        size = 0
        while size < self._file_bytes:
            with self._lock:
                if not self._queue:
                    break
                decision = self._pop()
            lines += (made := decision.lines())
            size += sum(len(line) + 1 for line in made)
        return lines

    def _pop(self) -> Decision:
        decision = self._queue.popleft()
        self._queued -= decision.size
        return decision
