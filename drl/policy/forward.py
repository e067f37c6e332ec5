"""A policy that acts: one float64 numpy forward pass, the same for evaluation and for whoever replays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drl.errors import InputError, StepError
from drl.policy.description import Box, Description
from drl.policy.tensors import Tensor, check_tensors, read_tensors

Float64 = npt.NDArray[np.float64]

_ACTIVATIONS: dict[str, Callable[[Float64], Float64]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "identity": lambda x: x,
}


class NumpyPolicy:
    """A deterministic policy read from its folder; an Actor for :func:`drl.evaluation.rollout.rollout`.

    Attributes:
        description: what ``policy.json`` says.
    """

    def __init__(self, description: Description, tensors: Mapping[str, Tensor]) -> None:
        """Take the network apart into float64 arrays; InputError if the tensors do not fit."""
        check_tensors(description, tensors, where="policy")
        self.description = description
        self._layers = [
            (
                np.ascontiguousarray(tensors[layer.weight].T, dtype=np.float64),
                tensors[layer.bias].astype(np.float64),
                _ACTIVATIONS[layer.activation],
            )
            for layer in description.layers
        ]
        space = description.action_space
        if isinstance(space, Box):
            self._low, self._high = np.array(space.low), np.array(space.high)

    @classmethod
    def load(cls, folder: Path) -> NumpyPolicy:
        """Read ``policy.json`` and ``policy.safetensors`` of ``folder``.

        Raises:
            InputError: a file is missing, malformed or does not fit the other.
        """
        description = read_description(folder)
        tensors = read_tensors(folder / "policy.safetensors")
        check_tensors(description, tensors, where=str(folder / "policy.safetensors"))
        return cls(description, tensors)

    def reset(self, environment: Any) -> None:
        """Nothing to forget: the policy has no memory."""

    def act(self, observation: npt.ArrayLike) -> int | Float64:
        """The deterministic action for one observation of shape [D].

        Returns:
            an int for a discrete action space, else float64 of the box's shape.

        Raises:
            InputError: the observation has another shape.
            StepError: the outputs are not finite, which means that the observation is not.
        """
        outputs = self.outputs(np.asarray(observation)[None])
        if not np.isfinite(outputs).all():
            raise StepError(
                f"the policy's outputs are {outputs[0]} for the observation {np.asarray(observation)}",
                remedy="find out why the environment returns observations that are not finite",
            )
        actions = self.actions(outputs)[0]
        return actions if isinstance(self.description.action_space, Box) else int(actions)

    def outputs(self, observations: npt.ArrayLike) -> Float64:
        """Outputs of the last layer, float64 [N, K], for observations [N, D].

        Observations go through float32 first, the precision that the policy was trained on.
        """
        inputs, size = np.asarray(observations, dtype=np.float32), self.description.observation_size
        if inputs.ndim != 2 or inputs.shape[1] != size:
            raise InputError(
                f"observations of shape {inputs.shape}, the policy takes [N, {size}]",
                remedy="evaluate the policy in the environment, and with the settings, it was trained in",
            )
        x = inputs.astype(np.float64)
        for weight, bias, activation in self._layers:
            x = activation(x @ weight + bias)
        return x

    def actions(self, outputs: Float64) -> npt.NDArray[Any]:
        """Deterministic actions of ``outputs`` [N, K]: int64 [N], or float64 [N, d] inside the box."""
        if not isinstance(self.description.action_space, Box):
            best: npt.NDArray[np.int64] = outputs.argmax(axis=1)
            return best
        mean = outputs[:, : len(self._low)]
        if self.description.head == "squashed_gaussian":
            mean = self._low + (np.tanh(mean) + 1.0) * (self._high - self._low) / 2.0
        return np.clip(mean, self._low, self._high)


def read_description(folder: Path) -> Description:
    """Read and check ``policy.json`` of ``folder``; InputError if it is missing or malformed."""
    path = folder / "policy.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable as JSON: {error}", remedy="give the folder of a written policy"
        ) from error
    return Description.from_json(value, where=str(path))
