"""The whole evaluate step on CartPole with a hand-made policy: everything it writes, and that it repeats."""

import io
import json

import gymnasium as gym
import numpy as np
import pytest

from drl.artifact import describe_folder
from drl.errors import InputError, StepError
from drl.evaluation.baselines import construct_baselines
from drl.evaluation.comparison import compare
from drl.evaluation.episodes import Episodes
from drl.evaluation.rollout import Rollout, rollout
from drl.evaluation.selection import select_seed, validation_seed
from drl.policy.forward import NumpyPolicy
from drl.policy.root import model_root
from drl.policy.writing import write_policy
from drl.progress import Progress
from drl.spec import PipelineSpec
from drl.steps.evaluate import evaluate

SPEC = PipelineSpec.model_validate(
    {
        "pipeline": "cartpole",
        "description": "Balance a pole.",
        "environment": {"entry_point": "CartPole-v1"},
        "training": {"settings": {"algorithm": "PPO"}, "time_steps": 2048, "seeds": 2},
        "evaluation": {
            "episodes": 10,
            "seed": 1000,
            "unit": "time steps",
            "baselines": [
                {"name": "lean", "kind": "constant", "settings": {"action": 1}},
                {"name": "random", "kind": "random"},
            ],
        },
        "promotion": {"gate": "random", "resamples": 200},
        "registration": {"model": "cartpole"},
    }
)


def linear_policy(folder, direction=1.0):
    """Push towards where the pole falls; a direction of -1 is as bad as can be."""
    weight = direction * np.array([[0, 0, -1, -0.5], [0, 0, 1, 0.5]], np.float32)
    description = {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [4]},
        "action_space": {"kind": "discrete", "n": 2},
        "layers": [{"weight": "w", "bias": "b", "activation": "identity"}],
        "head": "categorical",
    }
    write_policy(folder, description, {"w": weight, "b": np.zeros(2, np.float32)})
    return folder


def run(out, policy, champion=None, champion_root=None):
    out.mkdir()
    curves = out.parent / "seed-0" / "metrics.jsonl"
    curves.parent.mkdir(exist_ok=True)
    lines = [
        {"iteration": i, "time_steps": 1024 * i, "values": {"return_mean_100": 20.0 * i}} for i in (1, 2, 3)
    ]
    curves.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return evaluate(
        SPEC,
        policy=policy,
        champion=champion,
        champion_root=champion_root,
        test_data=None,
        train_data=None,
        out=out,
        alpha=0.05,
        learning_curves=[curves],
        validation={"rule": "highest mean", "released": 0, "means": [500.0]},
        progress=Progress(io.StringIO()),
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    policy = linear_policy(folder / "policy")
    return folder / "out", policy, run(folder / "out", policy)


def test_a_good_policy_is_promoted_and_everything_is_kept(evaluated):
    out, policy, result = evaluated
    assert {a.name for a in describe_folder(out)} == {
        "actions/lean.npy",
        "actions/policy.npy",
        "actions/random.npy",
        "baselines.json",
        "episodes.jsonl",
        "evaluation.json",
        "report.html",
    }
    assert result["decision"]["verdict"] == "PROMOTE"
    assert result["actors"]["policy"]["mean"]["estimate"] == 500.0
    assert result["model_root"] == model_root(policy)
    assert result["onnx"]["equal_actions"] == 1.0
    assert result["onnx"]["observations"] == 5000
    assert 0 <= result["onnx"]["max_abs_difference"] < 1e-5
    assert json.loads((out / "evaluation.json").read_bytes()) == json.loads(json.dumps(result))


def test_the_same_inputs_give_the_same_bytes_of_every_file(evaluated, tmp_path):
    out, policy, _ = evaluated
    run(tmp_path / "again", policy)
    assert describe_folder(tmp_path / "again") == describe_folder(out)


def test_the_verdict_follows_from_the_kept_returns(evaluated):
    out, _, result = evaluated
    returns = Episodes.read(out / "episodes.jsonl").returns
    derived = compare(SPEC.evaluation, SPEC.promotion, returns, alpha=0.05, identical=False)
    assert {key: result[key] for key in derived} == derived


def test_a_changed_return_changes_what_is_derived(evaluated, tmp_path):
    out, _, result = evaluated
    lines = (out / "episodes.jsonl").read_text().splitlines(keepends=True)
    lines[0] = lines[0].replace('"return":500', '"return":499')
    (tmp_path / "episodes.jsonl").write_text("".join(lines))
    returns = Episodes.read(tmp_path / "episodes.jsonl").returns
    derived = compare(SPEC.evaluation, SPEC.promotion, returns, alpha=0.05, identical=False)
    assert derived["decision"] != result["decision"]


def test_policy_and_baselines_replay_from_what_is_kept(evaluated):
    out, policy, _ = evaluated
    fitted = json.loads((out / "baselines.json").read_bytes())
    kept = Episodes.read(out / "episodes.jsonl")
    actors = {"policy": NumpyPolicy.load(policy), **construct_baselines(fitted, None)}
    with gym.make("CartPole-v1") as environment:
        for name, actor in actors.items():
            played = rollout(actor, environment, episodes=10, seed=1000)
            assert np.array_equal(played.actions, np.load(out / f"actions/{name}.npy", allow_pickle=False))
            assert np.array_equal(played.returns, kept.returns[name])


def test_the_same_model_as_the_champion_is_held(evaluated, tmp_path):
    _, policy, _ = evaluated
    result = run(tmp_path / "out", policy, champion=policy, champion_root=model_root(policy))
    assert result["decision"]["verdict"] == "HOLD"
    assert "same model as the champion" in result["decision"]["reason"]


def test_a_policy_that_is_worse_than_the_champion_is_rejected(evaluated, tmp_path):
    _, champion, _ = evaluated
    bad = linear_policy(tmp_path / "bad", direction=-1.0)
    result = run(tmp_path / "out", bad, champion=champion, champion_root=model_root(champion))
    assert result["decision"]["verdict"] == "REJECT"
    assert result["gap"]["estimate"]["upper"] < 0
    assert "REJECT" in (tmp_path / "out" / "report.html").read_text()


def test_other_champion_files_than_the_resolved_ones_are_refused(evaluated, tmp_path):
    _, policy, _ = evaluated
    with pytest.raises(InputError, match="resolved as 000"):
        run(tmp_path / "out", policy, champion=policy, champion_root="0" * 64)


def test_the_best_seed_on_validation_is_released(tmp_path):
    folders = [linear_policy(tmp_path / f"seed-{i}", d) for i, d in enumerate((-1.0, 1.0, 1.0))]
    with gym.make("CartPole-v1") as environment:
        selection = select_seed(SPEC, policies=folders, environment=environment, out=tmp_path)
    assert selection["released"] == 1  # seed 2 is as good, and later
    assert selection["means"][1:] == [500.0, 500.0]
    assert selection["means"][0] < 100
    assert json.loads((tmp_path / "selection.json").read_bytes()) == selection


def test_validation_and_test_share_no_reset_seed():
    test = range(SPEC.evaluation.seed, SPEC.evaluation.seed + SPEC.evaluation.episodes)
    assert validation_seed(SPEC.evaluation) not in test


def test_returns_of_other_actors_than_the_declared_ones_are_refused():
    returns = {"policy": np.ones(3), "lean": np.ones(3)}
    with pytest.raises(InputError, match=r"declares \['lean', 'policy', 'random'\]"):
        compare(SPEC.evaluation, SPEC.promotion, returns, alpha=0.05, identical=False)


def played(labels, returns):
    count = len(labels)
    return Rollout(np.array(returns), np.ones(count, np.int64), labels, np.zeros(count, np.int64))


def test_actors_that_played_different_episodes_are_no_pairs():
    with pytest.raises(StepError, match=r"clock played the episodes b to b \(1\), policy played a to a"):
        Episodes.of({"policy": played(["a"], [1.0]), "clock": played(["b"], [1.0])})


def test_episodes_survive_their_file_exactly(tmp_path):
    values = [0.1 + 0.2, -0.0, 1e-300, 1e22, 123456789.123456789]
    episodes = Episodes.of({"policy": played(list("abcde"), values)})
    episodes.write(tmp_path / "episodes.jsonl")
    again = Episodes.read(tmp_path / "episodes.jsonl")
    assert again.returns["policy"].tolist() == values
    assert again.labels == list("abcde")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"actor":"a","episode":"1","length":1}\n', "line 1: not an episode"),
        ("nonsense\n", "line 1: not an episode"),
        (
            '{"actor":"a","episode":"1","length":1,"return":2}\n'
            '{"actor":"b","episode":"2","length":1,"return":2}\n',
            "do not have the same episodes",
        ),
        ('{"actor":"a","episode":"1","length":1,"return":2}\n' * 2, "each once"),
        ("", "no line feed at its end"),
        ('{"actor":"a","episode":"1","length":1,"return":2}', "no line feed at its end"),
        ('{"actor": "a","episode":"1","length":1,"return":2}\n', "not the canonical JSON"),
        ('{"actor":"a","episode":"1","extra":1,"length":1,"return":2}\n', "not the canonical JSON"),
        ('{"actor":"a","episode":"1","length":9.5,"return":2}\n', "length 9.5"),
        ('{"actor":"a","episode":"1","length":0,"return":2}\n', "length 0"),
    ],
)
def test_malformed_episode_files_are_refused(tmp_path, text, says):
    (tmp_path / "episodes.jsonl").write_text(text)
    with pytest.raises(InputError, match=says):
        Episodes.read(tmp_path / "episodes.jsonl")
