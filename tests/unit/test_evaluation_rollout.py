"""Rollouts on CartPole, and on environments that misbehave in each way that is told apart."""

import gymnasium as gym
import numpy as np
import pytest

from drl.errors import InputError, StepError
from drl.evaluation.rollout import rollout


class Balance:
    """A hand-made CartPole policy that never falls."""

    def reset(self, environment):
        self.environment = environment

    def act(self, observation):
        return int(observation[2] + 0.5 * observation[3] > 0)


class Always:
    """Always 1."""

    def reset(self, environment):
        pass

    def act(self, observation):
        return 1


class Counter(gym.Env):
    """Ends after ``length`` steps with reward 0.5 each; its episodes are three steps of one week."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=8, labels=True, observe=0.0, reward=0.5, raises=None):
        self.length, self.labels, self.observe, self.reward, self.raises = (
            length,
            labels,
            observe,
            reward,
            raises,
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if self.raises and self.t == 4:
            raise self.raises
        info = {"episode_label": f"2024-W{self.t // 3 + 1:02d}"} if self.labels else {}
        self.t += 1
        observation = np.array([self.observe if self.t == 5 else 0.0], np.float32)
        return observation, self.reward, self.t == self.length, False, info


def test_cartpole_episodes_are_played_to_their_end_and_labelled_by_seed():
    actor = Balance()
    with gym.make("CartPole-v1") as environment:
        played = rollout(actor, environment, episodes=3, seed=40, keep_observations=True)
        assert actor.environment is environment.unwrapped
    assert played.returns.tolist() == [500.0] * 3
    assert played.lengths.tolist() == [500] * 3
    assert played.labels == ["40", "41", "42"]
    assert played.actions.shape == (1500,)
    assert played.observations.shape == (1500, 4)


def test_observations_are_kept_as_the_actor_saw_them():
    with gym.make("CartPole-v1") as environment:
        first, _ = environment.reset(seed=40)
        played = rollout(Balance(), environment, episodes=1, seed=40, keep_observations=True)
    assert np.array_equal(played.observations[0], first)
    assert [Balance().act(o) for o in played.observations] == played.actions.tolist()


def test_the_same_seeds_give_the_same_rollout():
    with gym.make("CartPole-v1") as environment:
        one, two = (rollout(Balance(), environment, episodes=2, seed=7) for _ in range(2))
    assert np.array_equal(one.actions, two.actions)
    assert np.array_equal(one.returns, two.returns)


def test_labels_cut_one_rollout_into_scored_episodes():
    played = rollout(Always(), Counter(), episodes=1, seed=0)
    assert played.labels == ["2024-W01", "2024-W02", "2024-W03"]
    assert played.returns.tolist() == [1.5, 1.5, 1.0]
    assert played.lengths.tolist() == [3, 3, 2]
    assert played.observations is None


def test_labels_of_several_rollouts_stay_apart():
    played = rollout(Always(), Counter(length=4), episodes=2, seed=5)
    assert played.labels == ["5 2024-W01", "5 2024-W02", "6 2024-W01", "6 2024-W02"]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (Counter(observe=np.nan), "reset seed 3, time step 4: the environment returned an observation"),
        (Counter(reward=np.inf), "time step 0: the environment returned a reward"),
        (Counter(raises=ValueError("flat battery")), "raised ValueError: flat battery"),
        (Counter(length=10**9, labels=False), "did not end within 50 time steps"),
    ],
)
def test_a_misbehaving_environment_ends_the_step(environment, says):
    with pytest.raises(StepError, match=says):
        rollout(Always(), environment, episodes=1, seed=3, max_steps=50)


def test_errors_with_a_remedy_of_their_own_pass_through():
    with pytest.raises(InputError, match="own words"):
        rollout(
            Always(), Counter(raises=InputError("own words", remedy="none")), episodes=1, seed=0, max_steps=9
        )


def test_the_bound_is_the_registered_one():
    stuck = Counter(length=10**9)
    stuck.spec = gym.envs.registration.EnvSpec("Stuck-v0", max_episode_steps=30)
    with pytest.raises(StepError, match="within 30 time steps"):
        rollout(Always(), stuck, episodes=1, seed=0)
