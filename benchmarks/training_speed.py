"""Training steps per second: this project's training room (RLlib) against Stable-Baselines3 PPO.

The same environment, network, batch, minibatch and epochs; one torch thread; the two in turn, each time in a
fresh process; only the training loop is timed, start-up and cloning are not. Run: make benchmark
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = {"cartpole": 102_400, "battery_arbitrage": 107_520}


def rllib(pipeline: str, data: Path | None) -> float:
    from drl.artifact import Artifact
    from drl.progress import Progress
    from drl.spec import load_pipeline
    from drl.steps.exchange import FolderExchange
    from drl.steps.request import StepRequest
    from drl.steps.resolve import with_parameters
    from drl.steps.runner import ExchangeCheckpoints
    from drl.training.train import train

    spec = with_parameters(load_pipeline(ROOT / "dags" / f"{pipeline}.yaml"), {"time_steps": STEPS[pipeline]})
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"warm_start": None})})
    lines: list[dict[str, object]] = []

    class Listener(Progress):
        def _emit(self, line: dict[str, object]) -> None:
            lines.append(line)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = StepRequest("train", f"{pipeline}/bench", "1", Artifact("resolved.json", "0" * 64, 0))
        train(
            spec,
            seeds=[1],
            train_data=data,
            demonstrations=None,
            out=folder,
            checkpoints=ExchangeCheckpoints(FolderExchange(folder / "x"), request, folder / "c"),
            progress=Listener(),
        )
        steps = json.loads((folder / "seed-0" / "metrics.jsonl").read_text().splitlines()[-1])["time_steps"]
    seconds = next(x["seconds"] for x in lines if x.get("name") == "seed-0: train")
    return float(steps) / float(str(seconds))


def stable_baselines(pipeline: str, data: Path | None) -> float:
    import numpy as np
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecEnv

    from drl.spec import load_pipeline

    torch.set_num_threads(1)
    spec = load_pipeline(ROOT / "dags" / f"{pipeline}.yaml")
    s = spec.training.settings
    if data is None:
        env: VecEnv = make_vec_env(
            spec.environment.entry_point, s.environments, env_kwargs={"render_mode": None}
        )
    else:
        from drl.data.columns import read_columns
        from drl.envs.loading import make_vector_environment

        env = _adapter(
            make_vector_environment(
                spec.environment,
                data=read_columns(data),
                mode="train",
                reward="regret",
                num_envs=s.environments,
            )
        )
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=s.fragment,
        batch_size=s.minibatch,
        n_epochs=s.epochs,
        learning_rate=s.learning_rate,
        gamma=s.gamma,
        gae_lambda=s.gae_lambda,
        clip_range=s.clip,
        ent_coef=s.entropy,
        max_grad_norm=s.gradient_clip,
        policy_kwargs={
            "net_arch": {"pi": spec.training.network.hidden, "vf": spec.training.network.hidden},
            "activation_fn": torch.nn.Tanh,
        },
        seed=1,
        device="cpu",
    )
    np.random.seed(1)
    begin = time.perf_counter()
    model.learn(STEPS[pipeline])
    return model.num_timesteps / (time.perf_counter() - begin)


def _adapter(vector):  # type: ignore[no-untyped-def]
    """A gymnasium vector environment as Stable-Baselines3 wants it (terminal steps reset at the next one)."""
    import numpy as np
    from stable_baselines3.common.vec_env import VecEnv

    class Adapter(VecEnv):
        def __init__(self) -> None:
            super().__init__(vector.num_envs, vector.single_observation_space, vector.single_action_space)
            self._seed = None

        def reset(self):
            return vector.reset(seed=1)[0]

        def step_async(self, actions):
            self._actions = actions

        def step_wait(self):
            observations, rewards, terminated, truncated, _ = vector.step(self._actions)
            done = terminated | truncated
            infos = [{} for _ in range(self.num_envs)]
            for index in np.flatnonzero(done):
                infos[index] = {"terminal_observation": observations[index], "TimeLimit.truncated": True}
            return observations, rewards.astype(np.float32), done, infos

        def close(self) -> None: ...
        def get_attr(self, name, indices=None):
            return [None] * self.num_envs

        def set_attr(self, name, value, indices=None) -> None: ...
        def env_method(self, name, *args, indices=None, **kwargs):
            return [None] * self.num_envs

        def env_is_wrapped(self, wrapper_class, indices=None):
            return [False] * self.num_envs

    return Adapter()


def measure(which: str, pipeline: str, data: Path | None) -> float:
    from drl.training.profile import profile_environment

    command = [sys.executable, __file__, "--one", which, "--pipeline", pipeline]
    command += ["--data", str(data)] if data else []
    environment = os.environ | profile_environment("portable") | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="train.parquet of a battery run, for the battery rows")
    parser.add_argument("--one", choices=["rllib", "sb3"])
    parser.add_argument("--pipeline", choices=sorted(STEPS))
    options = parser.parse_args()
    if options.one:
        work = rllib if options.one == "rllib" else stable_baselines
        print(work(options.pipeline, options.data))
        return
    print("| environment | this project, steps/s | Stable-Baselines3, steps/s | ratio, round by round |")
    print("|---|---|---|---|")
    for pipeline, data in (("cartpole", None), ("battery_arbitrage", options.data)):
        if pipeline == "battery_arbitrage" and data is None:
            continue
        pairs = [
            (measure("rllib", pipeline, data), measure("sb3", pipeline, data)) for _ in range(options.rounds)
        ]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = ", ".join(f"{a / b:.2f}" for a, b in pairs)
        print(f"| {pipeline} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} ({ratios}) |", flush=True)


if __name__ == "__main__":
    main()
