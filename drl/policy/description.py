"""The format of ``policy.json``: spaces, layers and head of a feed-forward policy, as closed JSON.

Format ``drl.policy/1``::

    {"format": "drl.policy/1", "algorithm": "PPO",
     "observation_space": {"kind": "box", "shape": [4]},
     "action_space": {"kind": "discrete", "n": 2},
     "layers": [{"weight": "layer0.weight", "bias": "layer0.bias", "activation": "tanh"}, ...],
     "head": "categorical"}

A weight has the shape [outputs, inputs]; layer i computes ``activation(x @ weight.T + bias)``.

Heads and the deterministic action made of the last layer's outputs ``y``:

=================  ==============  =====  =====================================================
head               action space    K      action
=================  ==============  =====  =====================================================
categorical        discrete(n)     n      argmax of the logits y
q_values           discrete(n)     n      argmax of the action values y
gaussian           box of d        2 d    the mean y[:d], clipped to the box
squashed_gaussian  box of d        2 d    tanh of the mean y[:d], stretched from [-1, 1] to the box
=================  ==============  =====  =====================================================

The second half of a Gaussian head's outputs are the logarithms of the standard deviations, which a
deterministic action does not use. A discrete action is counted from zero; the first of equal maxima wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from drl.errors import InputError

FORMAT = "drl.policy/1"
ACTIVATIONS = ("tanh", "relu", "identity")
DISCRETE_HEADS = ("categorical", "q_values")
BOX_HEADS = ("gaussian", "squashed_gaussian")

_REMEDY = "use a policy folder written by drl.policy.writing.write_policy"


@dataclass(frozen=True)
class Layer:
    """One dense layer: names of its two tensors and its activation."""

    weight: str
    bias: str
    activation: str


@dataclass(frozen=True)
class Discrete:
    """Actions 0 … n-1."""

    n: int

    @property
    def outputs(self) -> int:
        """Length of the last layer's output."""
        return self.n


@dataclass(frozen=True)
class Box:
    """Vectors with finite bounds for each component."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def outputs(self) -> int:
        """Length of the last layer's output: means, then logarithms of standard deviations."""
        return 2 * len(self.low)


@dataclass(frozen=True)
class Description:
    """The content of ``policy.json``.

    Round trip: ``Description.from_json(d.to_json()) == d``.
    """

    algorithm: str
    observation_size: int
    action_space: Discrete | Box
    layers: tuple[Layer, ...]
    head: str

    @classmethod
    def from_json(cls, value: Any, *, where: str = "policy.json") -> Description:
        """Read and check ``policy.json``.

        Raises:
            InputError: unknown or missing field, wrong type, or a head that does not fit the action space.
        """
        fields = _mapping(
            value, {"format", "algorithm", "observation_space", "action_space", "layers", "head"}, where
        )
        if fields["format"] != FORMAT:
            raise _error(f"{where}: format {fields['format']!r}, expected {FORMAT!r}")
        space = _action_space(fields["action_space"], f"{where}: action_space")
        heads = DISCRETE_HEADS if isinstance(space, Discrete) else BOX_HEADS
        if fields["head"] not in heads:
            raise _error(f"{where}: head {fields['head']!r}, expected one of {heads} for this action space")
        layers = fields["layers"]
        if not isinstance(layers, list) or not layers:
            raise _error(f"{where}: layers must be a list with at least one layer")
        return cls(
            algorithm=_text(fields["algorithm"], f"{where}: algorithm"),
            observation_size=_observation_size(fields["observation_space"], f"{where}: observation_space"),
            action_space=space,
            layers=tuple(_layer(layer, f"{where}: layers[{i}]") for i, layer in enumerate(layers)),
            head=fields["head"],
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object of ``policy.json``."""
        space = self.action_space
        return {
            "format": FORMAT,
            "algorithm": self.algorithm,
            "observation_space": {"kind": "box", "shape": [self.observation_size]},
            "action_space": {"kind": "discrete", "n": space.n}
            if isinstance(space, Discrete)
            else {"kind": "box", "low": list(space.low), "high": list(space.high)},
            "layers": [
                {"weight": layer.weight, "bias": layer.bias, "activation": layer.activation}
                for layer in self.layers
            ],
            "head": self.head,
        }


def _action_space(value: Any, where: str) -> Discrete | Box:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "discrete":
        return Discrete(_positive(_mapping(value, {"kind", "n"}, where)["n"], f"{where}.n"))
    if kind != "box":
        raise _error(f"{where}: kind {kind!r}, expected 'discrete' or 'box'")
    fields = _mapping(value, {"kind", "low", "high"}, where)
    low, high = (_numbers(fields[name], f"{where}.{name}") for name in ("low", "high"))
    if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
        raise _error(f"{where}: low {low} must be below high {high} in every component")
    return Box(low, high)


def _observation_size(value: Any, where: str) -> int:
    fields = _mapping(value, {"kind", "shape"}, where)
    shape = fields["shape"]
    if fields["kind"] != "box" or not isinstance(shape, list) or len(shape) != 1:
        raise _error(f"{where}: {value!r}, expected a box of one dimension")
    return _positive(shape[0], f"{where}.shape[0]")


def _layer(value: Any, where: str) -> Layer:
    fields = _mapping(value, {"weight", "bias", "activation"}, where)
    if fields["activation"] not in ACTIVATIONS:
        raise _error(f"{where}.activation: {fields['activation']!r}, expected one of {ACTIVATIONS}")
    return Layer(
        _text(fields["weight"], f"{where}.weight"),
        _text(fields["bias"], f"{where}.bias"),
        fields["activation"],
    )


def _mapping(value: Any, fields: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _error(f"{where}: {value!r} is not a mapping")
    if set(value) != fields:
        missing, unknown = sorted(fields - set(value)), sorted(set(value) - fields)
        raise _error(f"{where}: missing fields {missing}, unknown fields {unknown}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _error(f"{where}: {value!r} is not a text")
    return value


def _positive(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _error(f"{where}: {value!r} is not a positive integer")
    return value


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise _error(f"{where}: {value!r} is not a list of numbers")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise _error(f"{where}: {number!r} is not a finite number")
    return tuple(float(number) for number in value)


def _error(message: str) -> InputError:
    return InputError(message, remedy=_REMEDY)
