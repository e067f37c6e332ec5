"""The evaluate step on the battery environment: fitted baselines, and weeks cut from one rollout."""

import io

import numpy as np
import pytest

from drl.artifact import describe_folder
from drl.data.columns import write_npy, write_parquet
from drl.evaluation.episodes import Episodes
from drl.evaluation.words import Words
from drl.policy.writing import write_policy
from drl.progress import Progress
from drl.spec import PipelineSpec
from drl.steps.evaluate import evaluate

CONTEXT, WEEKS = 672, 8
MONDAY = 1_704_063_600  # 2024-01-01 00:00 in Amsterdam
SPEC = PipelineSpec.model_validate(
    {
        "pipeline": "battery",
        "description": "Trade a battery.",
        "environment": {"entry_point": "drl.envs.battery.environment:BatteryArbitrage"},
        "training": {"settings": {"algorithm": "PPO"}, "time_steps": 2048, "reward": "regret"},
        "evaluation": {
            "unit": "EUR",
            "upper_bound": "foresight",
            "baselines": [
                {"name": name, "kind": name} for name in ("nothing", "threshold", "clock", "mpc", "foresight")
            ],
        },
        "promotion": {"gate": "clock", "block": 2, "resamples": 200},
        "registration": {"model": "battery"},
    }
)


def prices(rows, seed):
    hours = np.arange(rows)
    noise = 20 * Words(seed).uniforms((rows,))
    return {
        "timestamp": (MONDAY + 3600 * (hours - CONTEXT)).astype(np.int64),
        "price": 80 + 30 * np.sin(2 * np.pi * hours / 24) + noise,
        "context": hours < CONTEXT,
    }


def run(out, folder):
    out.mkdir()
    return evaluate(
        SPEC,
        policy=folder / "policy",
        champion=None,
        champion_root=None,
        test_data=folder / "test.npy",
        train_data=folder / "train.parquet",
        out=out,
        alpha=0.05,
        learning_curves=[],
        validation={"rule": "highest mean", "released": 0, "means": [0.0]},
        progress=Progress(io.StringIO()),
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("battery")
    write_npy(prices(CONTEXT + 168 * WEEKS, "test"), folder / "test.npy")
    write_parquet(prices(CONTEXT + 8760, "train"), folder / "train.parquet")
    weight = (Words("policy").uniforms((5, 182)) - 0.5).astype(np.float32)
    description = {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [182]},
        "action_space": {"kind": "discrete", "n": 5},
        "layers": [{"weight": "w", "bias": "b", "activation": "identity"}],
        "head": "categorical",
    }
    write_policy(folder / "policy", description, {"w": weight, "b": np.zeros(5, np.float32)})
    return folder


def test_weeks_are_scored_nothing_beats_foresight_and_chance_is_rejected(inputs, tmp_path):
    result = run(tmp_path / "out", inputs)
    kept = Episodes.read(tmp_path / "out" / "episodes.jsonl")
    assert kept.labels == [f"2024-W{week:02d}" for week in range(1, WEEKS + 1)]
    assert kept.lengths["policy"].tolist() == [168] * WEEKS
    totals = {name: actor["total"] for name, actor in result["actors"].items()}
    assert max(totals, key=totals.get) == "foresight"
    assert totals["nothing"] == 0.0
    assert result["actors"]["foresight"]["score"] == {"estimate": 1.0, "lower": 1.0, "upper": 1.0}
    assert result["decision"]["verdict"] == "REJECT"
    assert result["gap"]["baseline"] != "foresight"
    report = (tmp_path / "out" / "report.html").read_text()
    assert "One episode in detail" in report
    assert "power above zero" in report


def test_the_same_inputs_give_the_same_bytes_of_every_file(inputs, tmp_path):
    run(tmp_path / "one", inputs)
    run(tmp_path / "two", inputs)
    assert describe_folder(tmp_path / "one") == describe_folder(tmp_path / "two")
