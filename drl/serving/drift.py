"""Are observations those that the policy is used to? Their statistics against the training environment's."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from drl.serving.proof import Expected

WINDOW = 4096


class DriftWatch:
    """The last 4096 observations of one policy; a ring that costs some microseconds a request.

    Args:
        expected: of the policy that answers.
    """

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        size = len(expected.mean)
        self._mean, self._deviation = np.array(expected.mean), np.array(expected.deviation)
        self._low, self._high = np.array(expected.low), np.array(expected.high)
        self._ring = np.zeros((WINDOW, size), np.float32)
        self._seen = 0
        self._lock = threading.Lock()

    def add(self, observations: npt.NDArray[np.float32]) -> None:
        """Observations [N, D] that were answered."""
        rows = observations[-WINDOW:]
        with self._lock:
            at = np.arange(self._seen, self._seen + len(rows)) % WINDOW
            self._ring[at] = rows
            self._seen += len(rows)

    @property
    def rows(self) -> int:
        """How many observations the window has."""
        return min(self._seen, WINDOW)

    def shift(self) -> npt.NDArray[np.float64]:
        """Mean minus the expected one, in expected standard deviations, [D]; a constant in its own unit."""
        window = self._window()
        scale = np.where(self._deviation > 0, self._deviation, 1.0)
        moved: npt.NDArray[np.float64] = (window.mean(axis=0) - self._mean) / scale
        return moved

    def outside(self) -> float:
        """Share of values below the smallest or above the largest that were met in training."""
        window = self._window()
        return float(((window < self._low) | (window > self._high)).mean())

    def _window(self) -> npt.NDArray[np.float64]:
        with self._lock:
            rows = self._ring[: self.rows] if self._seen else self._mean[None]
            return np.array(rows, dtype=np.float64)
