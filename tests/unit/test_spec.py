"""The pipeline file: what is read, what is refused, and how the refusal helps."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.digest import canonical_json
from drl.errors import InputError
from drl.spec import Window, load_pipeline, parse_pipeline, pipeline_schema, resolve_boundary

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "dags").glob("*.yaml"))
CARTPOLE = (ROOT / "dags" / "cartpole.yaml").read_text()


def refusal(tmp_path: Path, text: str) -> str:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_pipeline(file)
    return str(caught.value)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.stem)
def test_every_shipped_pipeline_is_read_and_survives_a_round_trip(path: Path) -> None:
    spec = load_pipeline(path)
    frozen = json.loads(canonical_json(spec.to_json()))
    assert parse_pipeline(frozen, path=path) == spec
    assert spec.pipeline == path.stem
    assert path.with_suffix(".py").exists()


def test_published_schema_is_the_schema() -> None:
    published = json.loads((ROOT / "drl/schemas/pipeline.schema.json").read_text())
    assert published == pipeline_schema()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "epochs: 10",
            "epochz: 10",
            ":15: training.settings.epochz: Extra inputs are not permitted, seen 10",
        ),
        (
            "time_steps: 40960",
            "time_steps: many",
            ":19: training.time_steps: Input should be a valid integer",
        ),
        ("time_steps: 40960", "time_steps: '40960'", "seen '40960'"),
        ("algorithm: PPO", "algorithm: PPPO", "expected tags: 'PPO', 'DQN', 'SAC'"),
        ("gate: random", "gate: rondom", "'rondom' is not one of the baselines ['lean', 'random']"),
        ("minibatch: 256", "minibatch: 300", "minibatch 300 must divide environments × fragment = 1024"),
        ("seeds: 2", "seeds: [1, 1]", "non-empty list without repetition"),
        ("pipeline: cartpole", "pipeline: Cart Pole", "pipeline: String should match pattern"),
        ("  alpha: 0.05", "  alpha: .inf", "promotion.alpha"),
        ("tags: [example, ppo]", "tags: [example, ppo]\ntags: [twice]", "tags: given twice, first on line 4"),
        ("promotion:", "promotion: [", "not valid YAML"),
    ],
)
def test_a_refusal_names_line_field_and_value(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in CARTPOLE
    message = refusal(tmp_path, CARTPOLE.replace(old, new, 1))
    assert expected in message
    assert "what to do:" in message
    assert str(tmp_path / "broken.yaml") in message


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, CARTPOLE.replace("  model: cartpole\n", "  retention_days: 3\n"))
    assert "registration.model: Field required" in message


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    message = refusal(tmp_path, "pipeline: !!python/object/apply:os.system ['true']\n")
    assert "not valid YAML" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        ("run", date(2024, 3, 31)),
        ("run-4w", date(2024, 3, 3)),
        ("run+1d", date(2024, 4, 1)),
        ("run-1mo", date(2024, 2, 28)),
        ("run-3mo", date(2023, 12, 28)),
        ("run-1y", date(2023, 3, 28)),
    ],
)
def test_boundaries(text: str, expected: date) -> None:
    assert resolve_boundary(text, date(2024, 3, 31)) == expected


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 120), st.integers(0, 120))
def test_longer_ago_is_never_later(run: date, a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    assert resolve_boundary(f"run-{high}mo", run) <= resolve_boundary(f"run-{low}mo", run)


def test_window_says_whether_it_moves() -> None:
    assert Window.model_validate({"from": "run-1y", "to": "run"}).relative
    assert not Window.model_validate({"from": date(2024, 1, 1), "to": "2024-02-01"}).relative


def test_a_rate_without_a_final_one_stays_constant() -> None:
    spec = load_pipeline(ROOT / "dags" / "cartpole.yaml").to_json()
    settings = {"algorithm": "PPO", "learning_rate": 3e-4, "entropy": 0.01}
    spec["training"]["settings"] = settings
    made = parse_pipeline(spec, path=Path("made.yaml")).training.settings
    assert made.model_dump()["final_learning_rate"] == 3e-4
    assert made.model_dump()["final_entropy"] == 0.01
