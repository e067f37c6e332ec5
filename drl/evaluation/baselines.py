"""Something honest to be compared with: baselines by name, fitted on the training split only."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from drl.errors import InputError
from drl.evaluation.actor import Actor, Baseline
from drl.evaluation.words import Words
from drl.spec import BaselineSpec, EvaluationSpec

if TYPE_CHECKING:
    from drl.data.columns import Columns


class Constant(Baseline):
    """The same action at every time step.

    Args:
        fitted: ``{}``.
        action: an integer for discrete spaces, else a list of numbers.
    """

    def __init__(self, fitted: dict[str, Any], *, action: int | float | list[float]) -> None:
        """Keep the action; it is checked against the action space at reset."""
        discrete = isinstance(action, int) and not isinstance(action, bool)
        self._action: Any = action if discrete else np.atleast_1d(np.asarray(action, dtype=np.float32))

    @classmethod
    def fit(cls, train: Columns | None, **settings: Any) -> dict[str, Any]:
        """Nothing is learned."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """Nothing was learned."""
        return {}

    def reset(self, environment: gym.Env[Any, Any]) -> None:
        """Refuse an action that the environment does not have, with an InputError."""
        if not environment.action_space.contains(self._action):
            raise InputError(
                f"baseline of kind constant: action {self._action!r} is not in {environment.action_space}",
                remedy="choose an action of the environment's action space",
            )

    def act(self, observation: np.ndarray) -> Any:
        """The action."""
        return self._action


class Random(Baseline):
    """Uniformly random actions, the same ones for the same seed in every replay.

    Discrete spaces draw ``start + index`` and boxes ``low + uniform * (high - low)`` by the mappings of
    :mod:`drl.evaluation.words`, from the seed text ``drl.random/1 SEED``; the stream runs on over rollouts.

    Args:
        fitted: ``{}``.
        seed: names the stream.
    """

    def __init__(self, fitted: dict[str, Any], *, seed: int = 0) -> None:
        """Begin the stream."""
        self._words = Words(f"drl.random/1 {seed}")
        self._space: gym.Space[Any] | None = None

    @classmethod
    def fit(cls, train: Columns | None, **settings: Any) -> dict[str, Any]:
        """Nothing is learned."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """Nothing was learned."""
        return {}

    def reset(self, environment: gym.Env[Any, Any]) -> None:
        """Take the action space; one that is neither discrete nor a bounded box is an InputError."""
        space = environment.action_space
        if not (
            isinstance(space, gym.spaces.Discrete)
            or (isinstance(space, gym.spaces.Box) and space.is_bounded())
        ):
            raise InputError(
                f"baseline of kind random: cannot draw uniformly from {space}",
                remedy="use another baseline for this environment",
            )
        self._space = space

    def act(self, observation: np.ndarray) -> Any:
        """The next draw."""
        if isinstance(self._space, gym.spaces.Box):
            low, high = self._space.low.astype(np.float64), self._space.high.astype(np.float64)
            return (low + self._words.uniforms(low.shape) * (high - low)).astype(self._space.dtype)
        if isinstance(self._space, gym.spaces.Discrete):
            return int(self._space.start + self._words.indices(int(self._space.n), (1,))[0])
        raise InputError("a random baseline acted before its reset", remedy="call reset first")


GENERIC: dict[str, type[Baseline]] = {"constant": Constant, "random": Random}
"""Kinds that every environment has."""


def baseline_kind(spec: BaselineSpec, environment_class: type | None) -> type[Baseline]:
    """The class of a baseline's kind, of the environment's ``baselines`` first and then the generic ones.

    Raises:
        InputError: there is no such kind, or its settings do not fit; with the nearest name.
    """
    kinds: dict[str, type[Baseline]] = {**GENERIC, **getattr(environment_class, "baselines", {})}
    if spec.kind not in kinds:
        near = difflib.get_close_matches(spec.kind, kinds, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"baseline {spec.name}: kind {spec.kind!r} is not offered by the environment",
            remedy=f"{hint}Kinds here: {', '.join(sorted(kinds))}",
        )
    kind = kinds[spec.kind]
    try:
        inspect.signature(kind).bind({}, **spec.settings)
    except TypeError as error:
        raise InputError(
            f"baseline {spec.name} of kind {spec.kind}: settings {spec.settings}: {error}",
            remedy=f"give the settings of {kind.__name__}{inspect.signature(kind)}",
        ) from error
    return kind


def fit_baselines(
    spec: EvaluationSpec, environment_class: type | None, train: Columns | None
) -> dict[str, dict[str, Any]]:
    """Fit every baseline of the pipeline on the training split.

    Returns:
        name to ``{"kind", "settings", "fitted"}``: all that :func:`construct_baselines` needs.
    """
    fitted = {}
    for baseline in spec.baselines:
        kind = baseline_kind(baseline, environment_class)
        fitted[baseline.name] = {
            "kind": baseline.kind,
            "settings": dict(baseline.settings),
            "fitted": kind.fit(train, **baseline.settings),
        }
    return fitted


def construct_baselines(
    parameters: dict[str, dict[str, Any]], environment_class: type | None
) -> dict[str, Actor]:
    """Make the actors that :func:`fit_baselines` described, in its order, fresh for one evaluation."""
    actors: dict[str, Actor] = {}
    for name, value in parameters.items():
        spec = BaselineSpec(name=name, kind=value["kind"], settings=value["settings"])
        actors[name] = baseline_kind(spec, environment_class)(value["fitted"], **spec.settings)
    return actors
