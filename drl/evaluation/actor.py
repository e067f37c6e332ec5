"""Who chooses the actions: a policy, or a baseline to compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from drl.data.columns import Columns


class Actor(Protocol):
    """Chooses an action for each observation, deterministically given what came before."""

    def reset(self, environment: gym.Env[Any, Any]) -> None:
        """Begin a rollout; called after the environment's own ``reset``.

        Args:
            environment: the unwrapped environment. A baseline may read its public past, never its future
                (perfect foresight excepted, which says so by its name).
        """

    def act(self, observation: np.ndarray) -> Any:
        """The action for ``observation`` [D]: an int for discrete spaces, else an array [A]."""


class Baseline(Actor, Protocol):
    """An actor made of a kind, what was fitted on the training split, and settings of the pipeline file.

    Constructor: ``Baseline(fitted, **settings)``. The same ``fitted`` and ``settings`` act the same anywhere,
    so that a verifier can replay a baseline from the record.
    """

    def __init__(self, fitted: dict[str, Any], **settings: Any) -> None:
        """Keep ``fitted`` and check ``settings``; a value that cannot be used is an InputError."""

    @classmethod
    def fit(cls, train: Columns | None, **settings: Any) -> dict[str, Any]:
        """What must be learned from the training split, as JSON; ``{}`` when there is nothing."""

    def parameters(self) -> dict[str, Any]:
        """The JSON that :meth:`fit` returned."""
