"""Training with the real RLlib, small: equal seeds, equal bits; a resumed run is the uninterrupted one.

Every process is started with the portable profile, as a step is. Several scenarios share a process, because
importing RLlib takes longer than training them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drl.digest import canonical_json
from drl.policy.forward import NumpyPolicy
from drl.policy.onnx import check_onnx
from drl.policy.root import model_root
from drl.training import chain
from drl.training.profile import profile_environment

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("training_program.py")

PPO = {
    "algorithm": "PPO",
    "environments": 8,
    "fragment": 32,
    "minibatch": 64,
    "epochs": 2,
    "learning_rate": 0.001,
    "final_learning_rate": 0.0001,
    "entropy": 0.01,
}
DQN = {"algorithm": "DQN", "batch": 16, "learning_starts": 100, "epsilon_steps": 300, "target_update": 50}
SAC = {"algorithm": "SAC", "batch": 16, "learning_starts": 100}

BROKEN = '''
import time
import gymnasium as gym
import numpy as np

class Counter(gym.Env):
    """Well-behaved for `good` time steps in training, then not."""
    good = 10**9

    def __init__(self, **settings):
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        self.t += 1
        observation, reward = np.zeros(2, np.float32), 1.0
        if self.steps > 40:
            observation, reward = self.misbehave(observation, reward)
        return observation, reward, self.ends(), False, {}

    def ends(self):
        return self.t >= 10

    def misbehave(self, observation, reward):
        return observation, reward

class Raises(Counter):
    def misbehave(self, observation, reward):
        raise ZeroDivisionError("the battery caught fire")

class RaisesAtOnce(Counter):
    def step(self, action):
        raise ZeroDivisionError("the battery was never there")

class NanObservation(Counter):
    def misbehave(self, observation, reward):
        return np.array([0, np.nan], np.float32), reward

class InfiniteReward(Counter):
    def misbehave(self, observation, reward):
        return observation, float("inf")

class Hangs(Counter):
    def misbehave(self, observation, reward):
        while True:
            time.sleep(0.1)

class NeverEnds(Counter):
    def ends(self):
        return False

class Pictures(Counter):
    def __init__(self, **settings):
        super().__init__()
        self.observation_space = gym.spaces.Box(-1, 1, (2, 2), np.float32)
'''


def specification(
    settings: dict[str, Any], *, entry_point: str = "CartPole-v1", time_steps: int, **training: Any
) -> dict[str, Any]:
    return {
        "pipeline": "tiny",
        "description": "For tests.",
        "environment": {"entry_point": entry_point},
        "training": {
            "settings": settings,
            "network": {"hidden": [16, 16]},
            "time_steps": time_steps,
            "checkpoint_every": 2,
            **training,
        },
        "evaluation": {"baselines": [{"name": "random", "kind": "random"}]},
        "promotion": {"gate": "random"},
        "registration": {"model": "tiny"},
    }


SPECS = {
    "ppo": specification(PPO, time_steps=6 * 256),
    "ppo_box": specification(PPO, entry_point="Pendulum-v1", time_steps=2 * 256),
    "ppo_cloned": specification(PPO, time_steps=2 * 256, warm_start={"passes": 30, "batch": 64}),
    "dqn": specification(DQN, time_steps=400),
    "sac": specification(SAC, entry_point="Pendulum-v1", time_steps=400),
}


def start(folder: Path, name: str, scenarios: dict[str, Any]) -> subprocess.Popen[bytes]:
    (folder / f"{name}.json").write_text(json.dumps(scenarios))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", PROGRAM, folder / f"{name}.json", folder / f"{name}.results.json"],
        env=os.environ | profile_environment("portable") | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        stderr=(folder / f"{name}.stderr").open("wb"),
    )


def finish(folder: Path, name: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    code = process.wait(timeout=400)
    assert code == 0, (folder / f"{name}.stderr").read_text()[-4000:]
    results: dict[str, Any] = json.loads((folder / f"{name}.results.json").read_text())
    return results


def scenario(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    kind = name.split("-")[0]
    return {
        "spec": SPECS[kind],
        "seeds": [7, 8] if kind == "ppo" else [7],
        "checkpoints": str(folder / f"{name}.checkpoints"),
        "out": str(folder / name),
        "demonstrations": str(demonstrations(folder)) if kind == "ppo_cloned" else None,
        **more,
    }


def demonstrations(folder: Path) -> Path:
    """Push the cart to where the pole leans."""
    path = folder / "demonstrations.parquet"
    if not path.exists():
        observations = np.random.default_rng(0).normal(size=(512, 4)).astype(np.float32)
        actions = (observations[:, 2] > 0).astype(np.int64)
        pq.write_table(pa.table({"observation": list(observations), "action": actions}), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    """One process trains everything; two more are interrupted and go on, one of them after SIGKILL."""
    whole = start(folder, "whole", {name: scenario(folder, name) for name in SPECS})
    killed = scenario(folder, "ppo-resumed", after=4, kill=True)
    assert start(folder, "killed", {"ppo-resumed": killed}).wait(timeout=400) == -signal.SIGKILL
    moment = killed_at_a_random_moment(folder)
    pieces = {
        "ppo-random": scenario(folder, "ppo-random", attempt="2"),
        "ppo-resumed": scenario(folder, "ppo-resumed", attempt="2"),
        "ppo-stopped": scenario(folder, "ppo-damaged", after=4),
        "ppo-damaged": scenario(folder, "ppo-damaged", damage=True, attempt="2"),
        "ppo-until": scenario(folder, "ppo-until", until=4),
        "dqn-stopped": scenario(folder, "dqn-resumed", after=2),
        "dqn-resumed": scenario(folder, "dqn-resumed"),
        "sac-stopped": scenario(folder, "sac-resumed", after=2),
        "sac-resumed": scenario(folder, "sac-resumed"),
        "dqn-finished": scenario(folder, "dqn-resumed"),
        "ppo-rllib": scenario(folder, "ppo-rllib", rllibs_own_runner=True),
        "ppo_box-rllib": scenario(folder, "ppo_box-rllib", rllibs_own_runner=True),
        "other-spec": scenario(
            folder, "dqn-resumed", spec=specification(DQN | {"gamma": 0.5}, time_steps=400)
        ),
    }
    results = finish(folder, "pieces", start(folder, "pieces", pieces))
    results["ppo-random"]["moment"] = moment
    return results | finish(folder, "whole", whole)


def killed_at_a_random_moment(folder: Path) -> float:
    """Start a training and kill it some time after its first checkpoint; returns how many seconds after."""
    process = start(folder, "random", {"ppo-random": scenario(folder, "ppo-random")})
    end = time.monotonic() + 120
    while not list((folder / "ppo-random.checkpoints").glob("seed-0/[0-9]*")):
        assert time.monotonic() < end, (folder / "random.stderr").read_text()[-4000:]
        time.sleep(0.01)
    moment = random.uniform(0, 2)
    time.sleep(moment)
    process.kill()
    process.wait(timeout=60)
    return moment


def test_killed_at_a_random_moment(results: dict[str, Any], folder: Path) -> None:
    """`make soak` does it at many."""
    assert results["ppo-random"]["roots"] == results["ppo"]["roots"], results["ppo-random"]["moment"]


def test_a_resumed_run_has_the_model_roots_of_the_uninterrupted_one(results: dict[str, Any]) -> None:
    for kind in ("ppo", "dqn", "sac"):
        assert results[f"{kind}-resumed"]["roots"] == results[kind]["roots"], kind
    assert results["dqn-stopped"]["error"] == "Interrupted"
    messages = [line.get("message", "") for line in results["ppo-resumed"]["progress"]]
    assert "seed-0: continues from iteration 4" in messages
    assert len(set(results["ppo"]["roots"])) == 2


def test_sampling_in_arrays_gives_the_policies_of_rllibs_own_runner(results: dict[str, Any]) -> None:
    for kind in ("ppo", "ppo_box"):
        assert results[f"{kind}-rllib"]["roots"] == results[kind]["roots"], kind
        assert results[f"{kind}-rllib"]["time_steps"] == results[kind]["time_steps"]


def test_a_finished_seed_is_exported_again_without_training(results: dict[str, Any]) -> None:
    assert results["dqn-finished"]["roots"] == results["dqn"]["roots"]
    assert not [line for line in results["dqn-finished"]["progress"] if line["event"] == "metrics"]


def messages(result: dict[str, Any]) -> list[str]:
    return [line["message"] for line in result["progress"] if line["event"] == "log"]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_taken(
    results: dict[str, Any], folder: Path
) -> None:
    said = messages(results["ppo-damaged"])
    assert any(line.startswith("seed-0: checkpoint 4 refused: ") for line in said)
    assert "seed-0: continues from iteration 2" in said
    assert results["ppo-damaged"]["roots"] == results["ppo"]["roots"]
    own = chain.by_seed((folder / "ppo-damaged" / "checkpoints.jsonl").read_bytes(), where="chain")[7]
    told = [(s.writer.attempt, s.writer.begun, s.writer.refused, s.first, s.last) for s in chain.splices(own)]
    assert told == [("1", 0, 0, 2, 2), ("2", 2, 1, 4, 6)]


def test_a_checkpoint_of_another_spec_is_refused(results: dict[str, Any], folder: Path) -> None:
    said = messages(results["other-spec"])
    assert any("a checkpoint of another pipeline" in line for line in said)
    assert "seed-0: not resumable exactly from any checkpoint: starts again from the beginning" in said
    assert results["other-spec"]["roots"] != results["dqn"]["roots"]
    links = chain.by_seed((folder / "dqn-resumed" / "checkpoints.jsonl").read_bytes(), where="chain")[7]
    assert {(link.begun, link.refused > 0) for link in links} == {(0, True)}


def test_a_training_stopped_early_has_the_chain_so_far(results: dict[str, Any], folder: Path) -> None:
    chains = [
        chain.by_seed((folder / name / "checkpoints.jsonl").read_bytes(), where=name)
        for name in ("ppo", "ppo-until")
    ]
    for seed in (7, 8):
        whole, part = ([link.digest for link in links[seed]] for links in chains)
        assert part == whole[:2]


def test_no_ray_process_was_needed(results: dict[str, Any]) -> None:
    assert not any(result["ray_started"] for result in results.values())


@pytest.mark.parametrize(
    ("kind", "algorithm", "head", "environment"),
    [
        ("ppo", "PPO", "categorical", "CartPole-v1"),
        ("ppo_cloned", "PPO", "categorical", "CartPole-v1"),
        ("ppo_box", "PPO", "gaussian", "Pendulum-v1"),
        ("dqn", "DQN", "q_values", "CartPole-v1"),
        ("sac", "SAC", "squashed_gaussian", "Pendulum-v1"),
    ],
)
def test_policies_are_handed_on_and_act(
    results: dict[str, Any], folder: Path, kind: str, algorithm: str, head: str, environment: str
) -> None:
    policy_folder = folder / kind / "seed-0"
    assert model_root(policy_folder) == results[kind]["roots"][0]
    check_onnx(policy_folder)
    policy = NumpyPolicy.load(policy_folder)
    assert (policy.description.algorithm, policy.description.head) == (algorithm, head)
    env = gym.make(environment)
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        action = policy.act(observation)
        assert env.action_space.contains(np.asarray(action, dtype=env.action_space.dtype))
        observation, *_ = env.step(action)
    assert not list(policy_folder.glob("**/*.p*kl*"))


def test_cloning_learns_the_demonstrations(results: dict[str, Any], folder: Path) -> None:
    policy = NumpyPolicy.load(folder / "ppo_cloned" / "seed-0")
    observations = np.random.default_rng(1).normal(size=(500, 4))
    agreement = policy.outputs(observations).argmax(1) == (observations[:, 2] > 0)
    assert agreement.mean() > 0.9


def test_the_chain_covers_every_seed(results: dict[str, Any], folder: Path) -> None:
    whole, again = (
        chain.by_seed((folder / name / "checkpoints.jsonl").read_bytes(), where=name)
        for name in ("ppo", "ppo-resumed")
    )
    for seed in (7, 8):
        links, resumed = whole[seed], again[seed]
        assert [link.iteration for link in links] == [2, 4, 6]
        assert [link.digest for link in links] == [link.digest for link in resumed]
        assert [s.last for s in chain.splices(links)] == [6]
    assert [(s.writer.attempt, s.last) for s in chain.splices(again[7])] == [("1", 4), ("2", 6)]


def test_metrics_are_live_and_kept(results: dict[str, Any], folder: Path) -> None:
    live = [line for line in results["ppo"]["progress"] if line["event"] == "metrics"]
    kept = [json.loads(line) for line in (folder / "ppo" / "seed-0" / "metrics.jsonl").open()]
    assert [line["step"] for line in live if line["series"] == "seed-0"] == [k["time_steps"] for k in kept]
    assert {"steps_per_second", "return_mean_100", "policy_loss", "entropy"} <= set(kept[-1]["values"])
    resumed = [json.loads(line) for line in (folder / "ppo-resumed" / "seed-0" / "metrics.jsonl").open()]
    assert [line["values"]["policy_loss"] for line in kept] == [
        line["values"]["policy_loss"] for line in resumed
    ]


def test_damaged_checkpoints_are_refused_before_anything_is_unpickled(
    results: dict[str, Any], folder: Path
) -> None:
    checkpoint = max((folder / "dqn-resumed.checkpoints" / "seed-0").iterdir())
    chain.check_folder(checkpoint)
    replay = checkpoint / "replay.pickle"
    original = replay.read_bytes()
    replay.write_bytes(original[:-1] + b"!")
    with pytest.raises(chain.Falsified, match="not those that its chain names"):
        chain.check_folder(checkpoint)
    replay.write_bytes(original)
    state = json.loads((checkpoint / "state.json").read_bytes())
    (checkpoint / "state.json").write_bytes(canonical_json(state | {"time_steps": 1}))
    with pytest.raises(chain.Falsified):
        chain.check_folder(checkpoint)


BROKEN_ENVIRONMENTS = {
    "Raises": ["the battery caught fire", "in misbehave"],
    "RaisesAtOnce": ["the battery was never there", "in step"],
    "NanObservation": ["returned the observation nan"],
    "InfiniteReward": ["returned the reward inf"],
    "Hangs": ["no progress for 4 s", "time.sleep(0.1)"],
    "NeverEnds": ["has not ended after"],
    "Pictures": ["is not a vector of numbers"],
}


@pytest.fixture(scope="module")
def broken(folder: Path) -> dict[str, Any]:
    (folder / "broken_environments.py").write_text(BROKEN)
    scenarios = {
        name: {
            "spec": specification(
                PPO | {"environments": 2, "fragment": 32},
                entry_point=f"broken_environments:{name}",
                time_steps=512,
                stall_timeout_s=4,
            ),
            "seeds": [1],
            "checkpoints": str(folder / f"{name}.checkpoints"),
            "out": str(folder / name),
        }
        for name in BROKEN_ENVIRONMENTS
    }
    return finish(folder, "broken", start(folder, "broken", scenarios))


@pytest.mark.parametrize("name", BROKEN_ENVIRONMENTS)
def test_a_broken_environment_is_an_error_within_seconds(broken: dict[str, Any], name: str) -> None:
    result = broken[name]
    assert result["error"] == ("InputError" if name == "Pictures" else "StepError"), result
    for words in BROKEN_ENVIRONMENTS[name]:
        assert words in result["message"]
    assert result["seconds"] < 30
