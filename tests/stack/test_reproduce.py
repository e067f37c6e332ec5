"""``drl reproduce`` on records of real, short trainings: identical, different, or up to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trained_record import (
    TrainedRun,
    reproduction_of,
    tiny_battery,
    tiny_pipeline,
    train_here,
    write_record,
)
from typer.testing import CliRunner, Result

from drl.cli.main import app
from drl.record.dsse import verify
from drl.record.key_files import read_key_file
from drl.verification.schemas import check_predicate


def reproduce(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("reproduce")
    return train_here(folder / "run", tiny_pipeline(folder))


def test_the_same_machine_makes_the_same_policy_of_the_records_own_code(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRL_S3_SECRET_KEY", "not for the code of others")
    record = write_record(trained, tmp_path / "archive.zip", archive=True)
    key = tmp_path / "reproducer.pem"
    done = reproduce(
        record, "--i-trust-this-code", "--keep", tmp_path / "kept", "--sign", f"file:{key}", "--json"
    )
    assert done.exit_code == 0, done.output
    envelope = (tmp_path / "kept" / "reproduction.dsse.json").read_bytes()
    statement = verify(envelope, [read_key_file(key).public_key]).statement
    assert statement == json.loads(done.stdout) == reproduction_of(tmp_path / "kept")
    check_predicate(statement, name="reproduction.dsse.json")
    predicate, root = statement["predicate"], trained.accepted("train").result.summary["model_root"]
    assert statement["subject"] == [{"name": "tiny", "digest": {"sha256": root}}]
    assert (predicate["outcome"], predicate["root"]) == ("identical", root)
    assert (predicate["test"], predicate["first_difference"]) == (None, None)
    assert (predicate["environment"]["code"], predicate["environment"]["differences"]) == (
        "the record's archive",
        [],
    )
    assert (tmp_path / "kept" / "source" / "drl" / "training" / "train.py").is_file()


def test_other_settings_are_found_with_the_checkpoint_where_they_part(
    trained: TrainedRun, tmp_path: Path
) -> None:
    """The record says another learning rate than the one that was trained with."""

    def change(resolved: dict[str, Any]) -> None:
        resolved["spec"]["training"]["settings"] |= {"learning_rate": 1e-6, "final_learning_rate": 1e-6}

    record = write_record(trained, tmp_path / "other.zip", change=change)
    done = reproduce(record, "--i-trust-this-code", "--keep", tmp_path / "kept")
    assert done.exit_code == 1, done.output
    predicate = reproduction_of(tmp_path / "kept")["predicate"]
    assert predicate["outcome"] == "different"
    assert predicate["first_difference"] == {"seed": 11, "iteration": 2}
    assert predicate["test"]["margin"] > 0
    printed = done.output
    margin = printed.index(f"margin     {predicate['test']['margin']:.6g}")
    assert margin < printed.index("working in") < printed.index("different: the 90% interval")


def test_other_bits_are_never_called_identical(trained: TrainedRun, tmp_path: Path) -> None:
    """Vector instructions add in another order than the recorded profile does."""
    record = write_record(trained, tmp_path / "plain.zip")
    done = reproduce(record, "--i-trust-this-code", "--keep", tmp_path / "kept", "--profile", "native")
    predicate = reproduction_of(tmp_path / "kept")["predicate"]
    outcome, test = predicate["outcome"], predicate["test"]
    assert outcome == ("equivalent" if test["equivalent"] else "different")
    assert done.exit_code == (0 if test["equivalent"] else 1), done.output
    assert test["equivalent"] == (-test["margin"] < test["lower"] and test["upper"] < test["margin"])
    assert predicate["environment"]["profile"] == "native"
    assert "PROMOTE" not in done.output  # without the champion it is no verdict
    assert "differs    instruction-set profile: recorded portable, here native" in done.output
    margin = done.output.index(f"margin     {test['margin']:.6g}")
    assert margin < done.output.index("working in") < done.output.index(f"{outcome}: the 90% interval")


def test_up_to_a_checkpoint(trained: TrainedRun, tmp_path: Path) -> None:
    record = write_record(trained, tmp_path / "plain.zip")
    done = reproduce(record, "--i-trust-this-code", "--keep", tmp_path / "kept", "--until", 3, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["iteration"], found["identical"], found["first_difference"]) == (2, True, None)
    for seed in found["seeds"]:
        assert seed["recorded"] == seed["again"]
    assert [seed["seed"] for seed in found["seeds"]] == [11, 12]


def test_data_are_prepared_again_from_a_file_that_the_reader_has(tmp_path: Path) -> None:
    """The record names a path of the machine that it was made on, where nothing is any more."""
    pipeline = tiny_battery(tmp_path / "owner")
    record = write_record(train_here(tmp_path / "run", pipeline), tmp_path / "battery.zip")
    source = (tmp_path / "owner" / "prices.csv").rename(tmp_path / "mine.csv")
    done = reproduce(record, "--i-trust-this-code", "--keep", tmp_path / "kept", "--source", source)
    assert done.exit_code == 0, done.output
    for split in ("train", "validation", "test"):
        assert f"data: {split} has the recorded content" in done.output
    assert reproduction_of(tmp_path / "kept")["predicate"]["outcome"] == "identical"
