"""Test year 2024 with many training seeds: share of perfect foresight, and the difference to each baseline.

A benchmark may look at every seed on the test split; a pipeline looks at the released one only. Trains with
`drl run` (no Airflow, nothing signed), evaluates every seed's policy. Run:
python benchmarks/flagship_seeds.py --seeds 10
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from drl.data.columns import read_columns
from drl.envs.loading import environment_class, make_environment
from drl.evaluation.baselines import construct_baselines
from drl.evaluation.rollout import rollout
from drl.evaluation.statistics import mean_interval
from drl.policy.forward import NumpyPolicy
from drl.spec import load_pipeline

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, help="folder of an earlier drl run, instead of training")
    options = parser.parse_args()
    spec = load_pipeline(ROOT / "dags" / "battery_arbitrage.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.results or Path(scratch) / "run"
        if options.results is None:
            seeds = json.dumps(list(range(options.seeds)))
            command = ["run", "battery_arbitrage", "--set", f"seeds={seeds}", "--keep", str(folder)]
            subprocess.run([sys.executable, "-m", "drl", *command], check=True, cwd=ROOT)
        outputs = folder / "outputs"
        test = read_columns(outputs / "prepare" / "test.npy")
        kind = environment_class(spec.environment.entry_point)
        fitted = json.loads((outputs / "evaluate" / "baselines.json").read_bytes())
        actors = dict(construct_baselines(fitted, kind))
        policies = sorted((outputs / "train").glob("seed-*"), key=lambda p: int(p.name[5:]))
        actors |= {path.name: NumpyPolicy.load(path) for path in policies}
        returns = {}
        for name, actor in actors.items():
            environment = make_environment(spec.environment, data=test, mode="evaluate")
            returns[name] = rollout(actor, environment, episodes=1, seed=0).returns
    bound = returns["foresight"].sum()
    shares = {name: 100 * values.sum() / bound for name, values in returns.items()}
    own = [name for name in returns if name.startswith("seed-")]
    print("\n| seed | % of foresight, 2024 |\n|---|---|")
    for name in own:
        print(f"| {name.removeprefix('seed-')} | {shares[name]:.1f} |")
    scores = np.array([shares[name] for name in own])
    ci = mean_interval(scores, alpha=0.05, block=1, resamples=10_000, seed="benchmark")
    print(
        f"| **mean of {len(own)}, 95 % interval over seeds** | **{ci.estimate:.1f}** [{ci.lower:.1f}, {ci.upper:.1f}] |"
    )
    print(f"| lowest, highest | {scores.min():.1f}, {scores.max():.1f} |")
    print(
        "\n| baseline | % of foresight | seeds' mean minus it, EUR a week, 95 % block interval (4 weeks) |\n|---|---|---|"
    )
    average = np.mean([returns[name] for name in own], axis=0)
    for name in ("nothing", "threshold", "clock", "mpc_mean7", "mpc_mix"):
        d = mean_interval(average - returns[name], alpha=0.05, block=4, resamples=10_000, seed="benchmark")
        print(f"| {name} | {shares[name]:.1f} | {d.estimate:+.1f} [{d.lower:+.1f}, {d.upper:+.1f}] |")


if __name__ == "__main__":
    main()
