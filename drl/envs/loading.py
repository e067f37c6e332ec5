"""How an ``entry_point`` becomes an environment: a registered Gymnasium id, or ``module:Class``.

With data, the class is constructed as ``Class(data, mode, reward, **settings)``; without data with the
settings alone. An environment class may also offer

- ``vector_class``: the same environment many times, ``(num_envs, data, mode, reward, **settings)``,
- ``rewards``: names of its training rewards, without which no ``reward`` is accepted,
- ``baselines``: kind to Baseline class, and ``demonstrations``: what a warm start learns from.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from drl.data.columns import Columns
from drl.errors import DrlError, InputError, StepError
from drl.spec import EnvironmentSpec

Mode = Literal["train", "evaluate"]
Made = TypeVar("Made")


def environment_class(entry_point: str) -> type[gym.Env[Any, Any]] | None:
    """The class that ``module:Class`` names, None for an id of Gymnasium's registry.

    Raises:
        InputError: there is no such module, class or id; with the nearest name.
    """
    if ":" not in entry_point:
        _require_registered(entry_point)
        return None
    module_name, class_name = entry_point.split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"environment.entry_point {entry_point!r}: {error}",
            remedy="check the spelling, and that the package is installed where this runs",
        ) from error
    classes = {n: v for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, gym.Env)}
    if class_name not in classes:
        raise InputError(
            f"environment.entry_point {entry_point!r}: {module_name} has no environment {class_name!r}",
            remedy=_nearest(
                class_name, classes, f"environments there: {', '.join(sorted(classes)) or 'none'}"
            ),
        )
    return classes[class_name]


def make_environment(
    spec: EnvironmentSpec, *, data: Columns | None, mode: Mode, reward: str | None = None
) -> gym.Env[Any, Any]:
    """One environment.

    Args:
        spec: entry point and settings.
        data: the columns of one split, None for an environment without data.
        mode: ``train`` or ``evaluate``; an environment without data does not distinguish them.
        reward: a training reward that the class declares in ``rewards``, None for the scored one.

    Raises:
        InputError: the entry point, a setting or the reward is unknown, or data do not fit.
        StepError: the environment's own constructor raised something else.
    """
    kind = environment_class(spec.entry_point)
    _require_reward(spec, kind, mode, reward)
    if kind is None:
        _refuse_data(spec, data)
        registered: dict[str, Any] = dict(spec.settings)
        return _construct(spec, lambda: gym.make(spec.entry_point, **registered))
    arguments = _arguments(data, mode, reward) | spec.settings
    _require_signature(spec, kind, arguments)
    return _construct(spec, lambda: kind(**arguments))


def make_vector_environment(
    spec: EnvironmentSpec, *, data: Columns | None, mode: Mode, num_envs: int, reward: str | None = None
) -> VectorEnv[Any, Any, Any]:
    """``num_envs`` environments stepped together, reset at the step after an episode's last.

    The environment's own vector form is taken where there is one, else its single form is stepped in turn.

    Raises:
        InputError: as :func:`make_environment`; or the vector form does not reset at the next step.
        StepError: the environment's own constructor raised something else.
    """
    kind = environment_class(spec.entry_point)
    _require_reward(spec, kind, mode, reward)
    vector_class = getattr(kind, "vector_class", None)
    if kind is None:
        _refuse_data(spec, data)
        registered: dict[str, Any] = {"num_envs": num_envs, **spec.settings}
        vector = _construct(spec, lambda: gym.make_vec(spec.entry_point, **registered))
    elif vector_class is None:
        single = [lambda: make_environment(spec, data=data, mode=mode, reward=reward)] * num_envs
        vector = SyncVectorEnv(single, autoreset_mode=AutoresetMode.NEXT_STEP)
    else:
        arguments = {"num_envs": num_envs} | _arguments(data, mode, reward) | spec.settings
        _require_signature(spec, vector_class, arguments)
        vector = _construct(spec, lambda: vector_class(**arguments))
    if vector.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        raise InputError(
            f"{spec.entry_point}: its vector form has the autoreset mode "
            f"{vector.metadata.get('autoreset_mode')!r}",
            remedy="let it reset at the step after an episode's last (AutoresetMode.NEXT_STEP)",
        )
    return vector


def _arguments(data: Columns | None, mode: Mode, reward: str | None) -> dict[str, Any]:
    if data is not None:
        return {"data": data, "mode": mode, "reward": reward}
    return {} if reward is None else {"reward": reward}


def _require_registered(entry_point: str) -> None:
    try:
        gym.spec(entry_point)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise InputError(
            f"environment.entry_point {entry_point!r}: {str(error).splitlines()[0]}",
            remedy=_nearest(
                entry_point,
                gym.registry,
                "name an id of Gymnasium's registry, or `module:Class` for a class of your own",
            ),
        ) from error


def _require_reward(spec: EnvironmentSpec, kind: type | None, mode: Mode, reward: str | None) -> None:
    offered: tuple[str, ...] = tuple(getattr(kind, "rewards", ()))
    if reward is not None and reward not in offered:
        raise InputError(
            f"{spec.entry_point}: unknown training reward {reward!r}",
            remedy=_nearest(
                reward, offered, f"rewards offered: {', '.join(offered) or 'only the scored one'}"
            ),
        )
    if reward is not None and mode != "train":
        raise InputError(
            f"{spec.entry_point}: the training reward {reward!r} was asked for in mode {mode}",
            remedy="evaluate with the scored reward: leave `reward` out",
        )


def _refuse_data(spec: EnvironmentSpec, data: Columns | None) -> None:
    if data is not None:
        raise InputError(
            f"{spec.entry_point}: an environment of Gymnasium's registry takes no data",
            remedy="leave `data` out of the pipeline, or name a class that takes data as `module:Class`",
        )


def _require_signature(spec: EnvironmentSpec, kind: type, arguments: dict[str, Any]) -> None:
    signature = inspect.signature(kind)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        unknown = next((name for name in arguments if name not in signature.parameters), "")
        raise InputError(
            f"{spec.entry_point}: {error}; given {', '.join(arguments)}",
            remedy=_nearest(unknown, signature.parameters, f"its constructor is {kind.__name__}{signature}"),
        ) from error


def _construct(spec: EnvironmentSpec, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except DrlError:
        raise
    except gym.error.Error as error:
        raise InputError(
            f"{spec.entry_point} with settings {spec.settings}: {error}",
            remedy="install what the environment needs, or correct the settings",
        ) from error
    except Exception as error:  # somebody else's code: whatever it raises ends the step
        raise StepError(
            f"{spec.entry_point} with settings {spec.settings}: its constructor raised "
            f"{type(error).__name__}: {error}",
            remedy="correct the settings, or mend the environment",
        ) from error


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? Otherwise: {otherwise}" if near else otherwise
