"""An entry point becomes an environment, or an error that says what to write instead."""

import sys
import types

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from drl.envs.loading import environment_class, make_environment, make_vector_environment
from drl.errors import InputError, StepError
from drl.spec import EnvironmentSpec


class Counter(gym.Env):
    """Counts to `limit`; knows its data and reward."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Discrete(2)
    rewards = ("shaped",)

    def __init__(self, data=None, mode=None, reward=None, *, limit=3):
        if limit < 0:
            raise ZeroDivisionError("limit below zero")
        self.arguments = (data, mode, reward)
        self.limit, self.count = limit, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), 1.0, self.count >= self.limit, False, {}


class Plain(Counter):
    rewards = ()

    def __init__(self):
        super().__init__()


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = types.ModuleType("counting")
    made.Counter, made.Plain, made.number = Counter, Plain, 3
    monkeypatch.setitem(sys.modules, "counting", made)


def spec(entry_point="counting:Counter", **settings):
    return EnvironmentSpec(entry_point=entry_point, settings=settings)


def test_a_registered_id_is_made_with_its_settings():
    environment = make_environment(spec("CartPole-v1", sutton_barto_reward=True), data=None, mode="evaluate")
    assert environment.unwrapped._sutton_barto_reward is True
    assert environment_class("CartPole-v1") is None


def test_a_class_is_given_data_mode_reward_and_settings():
    data = {"x": np.zeros(2)}
    environment = make_environment(spec(limit=5), data=data, mode="train", reward="shaped")
    assert environment.arguments == (data, "train", "shaped")
    assert environment.limit == 5
    assert environment_class("counting:Counter") is Counter


def test_a_class_without_data_is_given_its_settings_alone():
    assert isinstance(make_environment(spec("counting:Plain"), data=None, mode="train"), Plain)


@pytest.mark.parametrize("entry_point", ["CartPole-v1", "counting:Counter"])
def test_vector_environments_reset_at_the_next_step(entry_point):
    vector = make_vector_environment(spec(entry_point), data=None, mode="train", num_envs=3)
    assert vector.num_envs == 3
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(
    ("entry_point", "words"),
    [
        ("CartPole-v9", "CartPole-v1"),
        ("CartPoles-v1", "did you mean 'CartPole-v1'"),
        ("countign:Counter", "spelling"),
        ("counting:Conter", "did you mean 'Counter'"),
        ("counting:number", "environments there: Counter, Plain"),
    ],
)
def test_an_unknown_entry_point_names_the_nearest(entry_point, words):
    with pytest.raises(InputError, match=words):
        environment_class(entry_point)


def test_unknown_settings_and_rewards_are_refused():
    with pytest.raises(InputError, match="did you mean 'limit'"):
        make_environment(spec(limt=3), data=None, mode="train")
    with pytest.raises(InputError, match="did you mean 'shaped'"):
        make_environment(spec(), data=None, mode="train", reward="shapd")
    with pytest.raises(InputError, match="only the scored one"):
        make_vector_environment(spec("CartPole-v1"), data=None, mode="train", num_envs=2, reward="shaped")
    with pytest.raises(InputError, match="in mode evaluate"):
        make_environment(spec(), data=None, mode="evaluate", reward="shaped")


def test_data_for_a_registered_environment_are_refused():
    with pytest.raises(InputError, match="takes no data"):
        make_environment(spec("CartPole-v1"), data={"x": np.zeros(2)}, mode="train")


def test_what_a_constructor_raises_is_named():
    with pytest.raises(StepError, match="ZeroDivisionError: limit below zero"):
        make_environment(spec(limit=-1), data=None, mode="train")
