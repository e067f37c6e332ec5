"""Rolling a champion back: on real servers, interrupted anywhere, and not undone by clearing a task."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from airflow_runs import AirflowBundle, write_pipeline
from mlflow import MlflowClient
from operator_runs import Interrupted, Interruptions, OperatorRun, replay_steps

from drl.champions.rollback import Champions, roll_back
from drl.digest import sha256_bytes
from drl.errors import ConflictError, InputError, Undetermined
from drl.record.dsse import verify
from drl.record.ledger import Note
from drl.steps.request import StepResult
from drl.stores.locks import promotion_lock
from operators import connections
from operators.signing import signer

MODEL = "rolled"
ROLLBACK = ["rollback-1.dsse.json", "rollback-1.note.json"]


def champions() -> Champions:
    return Champions(connections.model_registry(), connections.ledger(), connections.record_documents())


def rolling(model: str = MODEL, to: int | None = None, reason: str = "it overheats"):
    return roll_back(
        champions(),
        model,
        to=to,
        reason=reason,
        signer=signer("release"),
        sealing=connections.artifact_store(),
        exclusive=connections.exclusive,
    )


def drl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def promoted(
    bundle: AirflowBundle, recorded: dict[str, StepResult], model: str, runs: int
) -> list[OperatorRun]:
    """Runs of one pipeline, each of which becomes champion over the one before."""
    file = write_pipeline(bundle.dags, model)
    with pytest.MonkeyPatch.context() as patch:
        replay_steps(patch, recorded)
        made = [OperatorRun(file, f"run{number}") for number in range(runs)]
        for run in made:
            run.execute_all()
            assert run.journal.read_json("promotion.json")["outcome"] == "promoted"
    return made


def rolling_interrupted(model: str, when: str) -> int:
    """Roll back, ended once before or after each call to an outside system; returns how often."""
    interruptions, ended = Interruptions(when), 0
    with pytest.MonkeyPatch.context() as patch:
        interruptions.install(patch)
        # Ended right after the alias moved, there is nothing left to do.
        while connections.model_registry().alias(model) == 2:
            with contextlib.suppress(Interrupted):
                rolling(model)
            ended += 1
    calls = {seen.partition("(")[0] for seen in interruptions.seen}
    assert {"Ledger.note", "ArtifactStore.seal_bytes", "ModelRegistry.set_champion"} <= calls
    return ended


@pytest.fixture(scope="module")
def runs(airflow_here: AirflowBundle, recorded: dict[str, StepResult]) -> list[OperatorRun]:
    return promoted(airflow_here, recorded, MODEL, 2)


@pytest.fixture(scope="module")
def rolled(runs: list[OperatorRun]) -> list[OperatorRun]:
    """Version 2 rolled back to version 1, after the command was ended after each call."""
    assert rolling_interrupted(MODEL, "after") >= 4
    return runs


def test_the_champion_cannot_change_while_somebody_promotes(runs: list[OperatorRun]) -> None:
    errors: list[str] = []

    def try_it() -> None:
        with pytest.raises(InputError) as caught:
            rolling(to=9)
        errors.append(str(caught.value))

    thread = threading.Thread(target=try_it)
    with connections.exclusive(promotion_lock(MODEL)):
        thread.start()
        time.sleep(1)
        assert not errors
    thread.join(timeout=60)
    assert "no earlier champion" in errors[0]


def test_a_rollback_ended_before_each_call_is_made_once(
    airflow_here: AirflowBundle, recorded: dict[str, StepResult]
) -> None:
    _, second = promoted(airflow_here, recorded, "rolled_before", 2)
    assert rolling_interrupted("rolled_before", "before") >= 5
    assert [n for n in second.journal.names() if n.startswith("rollback")] == ROLLBACK
    assert sum(isinstance(e, Note) for e in connections.ledger().account("rolled_before")) == 3


def test_a_registry_from_an_old_backup_makes_no_earlier_champion(
    airflow_here: AirflowBundle, recorded: dict[str, StepResult]
) -> None:
    model = "restored"
    _, second = promoted(airflow_here, recorded, model, 2)
    mlflow = MlflowClient(os.environ["DRL_MLFLOW_URI"])
    mlflow.delete_model_version(model, "2")
    mlflow.set_registered_model_alias(model, "champion", "1")
    with pytest.raises(ConflictError, match="points to version 1, and the statements on the ledger to 2"):
        rolling(model)
    with pytest.raises(Undetermined, match="to version 1, and the statements on the ledger to version 2"):
        OperatorRun(second.file, "run2").execute("resolve")


def test_a_rollback_is_signed_noted_and_sealed_once(rolled: list[OperatorRun]) -> None:
    first, second = rolled
    assert connections.model_registry().alias(MODEL) == 1
    assert [n for n in second.journal.names() if n.startswith("rollback")] == ROLLBACK
    envelope = second.journal.read("rollback-1.dsse.json")
    statement = verify(envelope, [signer("release").public_key]).statement
    predicate = statement["predicate"]
    root = second.run.result("train").summary["model_root"]
    assert statement["subject"] == [{"name": MODEL, "digest": {"sha256": root}}]
    assert predicate["release"] == sha256_bytes(second.journal.read("release.dsse.json"))
    assert (predicate["outcome"], predicate["version"], predicate["reason"]) == (
        "rolled-back",
        "2",
        "it overheats",
    )
    assert predicate["restored"]["version"] == "1"
    notes = [e for e in connections.ledger().account(MODEL) if isinstance(e, Note)]
    digest = sha256_bytes(envelope)
    assert [note.receipt.run for note in notes if note.statement == digest] == [2]
    assert len(notes) == 3
    assert connections.artifact_store().sealed.lock(digest).until is not None
    assert not [n for n in first.journal.names() if n.startswith("rollback")]


def test_a_promotion_cleared_after_a_rollback_moves_nothing(rolled: list[OperatorRun]) -> None:
    for run in rolled:
        run.execute("promote")
        assert connections.model_registry().alias(MODEL) == 1


def test_the_command_line_shows_and_rolls_back_to_none(rolled: list[OperatorRun]) -> None:
    shown = json.loads(drl("champion", "show", MODEL, "--json").stdout)
    assert shown["alias"] == shown["statements"] == {"version": "1", "root": shown["alias"]["root"]}
    told = [(c["outcome"], c["version"], c["reason"]) for c in shown["changes"]]
    assert told == [("promoted", 1, None), ("promoted", 2, None), ("rolled-back", 2, "it overheats")]

    refused = drl("champion", "rollback", MODEL, "--to", "2", "--reason", "we want it back")
    assert refused.returncode == 1
    assert "no earlier champion that still stands" in refused.stderr

    done = drl("champion", "rollback", MODEL, "--reason", "the price file was wrong")
    assert done.returncode == 0, done.stderr
    assert "champion     none" in done.stdout
    assert connections.model_registry().alias(MODEL) is None
    assert "champion  none" in drl("champion", "show", MODEL).stdout
    again = drl("champion", "rollback", MODEL, "--reason", "once more")
    assert again.returncode == 1
    assert "has no champion" in again.stderr


def test_an_alias_moved_by_hand_is_not_rolled_back(
    airflow_here: AirflowBundle, recorded: dict[str, StepResult]
) -> None:
    promoted(airflow_here, recorded, "by_hand", 2)
    registry = connections.model_registry()
    registry.set_champion("by_hand", 1, expected=2)
    with pytest.raises(ConflictError, match="points to version 1, and the statements on the ledger to 2"):
        rolling("by_hand")
    registry.set_champion("by_hand", 2, expected=1)
    assert rolling("by_hand", to=1)["restored"] == 1


def test_records_show_with_which_champion_they_were_compared(
    airflow_here: AirflowBundle, recorded: dict[str, StepResult], tmp_path: Path
) -> None:
    _, second = promoted(airflow_here, recorded, "compared", 2)
    rolling("compared")
    third = OperatorRun(second.file, "run2")
    with pytest.MonkeyPatch.context() as patch:
        replay_steps(patch, recorded)
        third.execute_all()
    for run, later in ((second, 0), (third, 2)):
        sentences = about_the_champion(run, tmp_path)
        assert [label for label, _ in sentences] == ["RECOMPUTED", "RECOMPUTED"], sentences
        assert "version 1 with root" in sentences[1][1]
        assert f"still was the champion at this opening ({later} later notes read)" in sentences[1][1]


def about_the_champion(run: OperatorRun, folder: Path) -> list[tuple[str, str]]:
    """What ``drl verify`` says under check 21 about a run's exported record, with the ledger asked."""
    record, trust = folder / f"{run.run_id}.zip", folder / "trust.yaml"
    exported = drl("record", "export", run.key, "--out", str(record))
    assert exported.returncode == 0, exported.stderr
    if not trust.exists():
        written = drl("trust", "init", "--out", str(trust))
        assert written.returncode == 0, written.stderr
    url = os.environ["DRL_EVM_RPC_URL"]
    done = drl("verify", str(record), "--trust", str(trust), "--rpc", url, "--level", "2", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert [f["sentence"] for f in findings if f["label"] == "FALSE" and f["check"] in (1, 2)] == []
    return [(f["label"], f["sentence"]) for f in findings if f["check"] == 21]
