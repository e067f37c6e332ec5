"""Generic baselines, kinds of the environment, and settings that do not fit."""

import gymnasium as gym
import numpy as np
import pytest

from drl.errors import InputError
from drl.evaluation.baselines import Constant, Random, construct_baselines, fit_baselines
from drl.evaluation.rollout import rollout
from drl.spec import BaselineSpec, EvaluationSpec


class Profile(Constant):
    """Learns the most frequent action; stands for a kind that an environment brings along."""

    def __init__(self, fitted, *, bins=2):
        super().__init__(fitted, action=fitted["action"])

    @classmethod
    def fit(cls, train, *, bins=2):
        return {"action": int(np.bincount(train["action"], minlength=bins).argmax())}


class Warehouse:
    baselines = {"profile": Profile}


def evaluation(*baselines):
    return EvaluationSpec(baselines=[BaselineSpec(**b) for b in baselines])


def test_fitted_baselines_act_again_from_their_json():
    spec = evaluation(
        {"name": "one", "kind": "constant", "settings": {"action": 1}},
        {"name": "chance", "kind": "random", "settings": {"seed": 3}},
        {"name": "usual", "kind": "profile", "settings": {"bins": 3}},
    )
    fitted = fit_baselines(spec, Warehouse, {"action": np.array([0, 1, 1])})
    assert fitted["usual"] == {"kind": "profile", "settings": {"bins": 3}, "fitted": {"action": 1}}
    with gym.make("CartPole-v1") as environment:
        actions = [
            [rollout(actor, environment, episodes=2, seed=0).actions.tolist() for actor in actors.values()]
            for actors in (construct_baselines(fitted, Warehouse) for _ in range(2))
        ]
    assert actions[0] == actions[1]
    assert set(actions[0][1]) == {0, 1}
    assert set(actions[0][0]) == set(actions[0][2]) == {1}


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(3, start=-1),
        gym.spaces.Box(-2.0, 3.0, (2,), np.float32),
        gym.spaces.Box(np.array([0.0, 5.0]), np.array([1.0, 6.0]), dtype=np.float64),
    ],
)
def test_random_actions_belong_to_the_space_and_fill_it(space):
    actor, environment = Random({}), gym.Env()
    environment.action_space = space
    actor.reset(environment)
    drawn = [actor.act(np.zeros(1)) for _ in range(300)]
    assert all(space.contains(action) for action in drawn)
    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    if isinstance(space, gym.spaces.Discrete):
        assert set(drawn) == {-1, 0, 1}
    else:
        assert np.all(high - low > 0.95 * (space.high - space.low))


def test_random_refuses_a_space_without_bounds():
    environment = gym.Env()
    environment.action_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    with pytest.raises(InputError, match="cannot draw uniformly"):
        Random({}).reset(environment)


def test_seeds_name_different_streams():
    environment = gym.Env()
    environment.action_space = gym.spaces.Discrete(1000)
    streams = []
    for seed in (0, 0, 1):
        actor = Random({}, seed=seed)
        actor.reset(environment)
        streams.append([actor.act(np.zeros(1)) for _ in range(5)])
    assert streams[0] == streams[1] != streams[2]


def test_a_constant_outside_the_action_space_is_refused_at_reset():
    with gym.make("CartPole-v1") as environment, pytest.raises(InputError, match="action 2 is not in"):
        rollout(Constant({}, action=2), environment, episodes=1, seed=0)


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ({"name": "naive", "kind": "profil"}, "did you mean 'profile'"),
        ({"name": "naive", "kind": "zzz"}, "Kinds here: constant, profile, random"),
        ({"name": "naive", "kind": "constant"}, "missing a required argument: 'action'"),
        ({"name": "naive", "kind": "random", "settings": {"sed": 1}}, "unexpected keyword argument 'sed'"),
    ],
)
def test_a_kind_or_setting_that_does_not_fit_is_explained(baseline, says):
    with pytest.raises(InputError, match="baseline naive") as caught:
        fit_baselines(evaluation(baseline), Warehouse, None)
    assert says in str(caught.value)
