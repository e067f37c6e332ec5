"""A pipeline that asks for an approval, where nobody can answer: ``airflow dags test`` ends in HOLD at once.

Answers that people give are in ``test_standalone.py``, where Airflow runs for real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow_runs import AirflowBundle, DagTest, Records, write_pipeline

from drl.record.dsse import read_unverified, verify
from drl.record.key_files import make_key_file, read_key_file
from drl.record.keys import load_signer
from drl.steps.journal import RunJournal, run_key

NAME = "approval_unanswered"


@pytest.fixture(scope="module")
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key that an approver holds."""
    path = tmp_path_factory.mktemp("approver") / "ada.pem"
    make_key_file(path)
    return path


@pytest.fixture(scope="module")
def unanswered(bundle: AirflowBundle, own_key: Path) -> DagTest:
    """A run whose policy is good enough, and nobody there to say so."""
    write_pipeline(
        bundle.dags,
        NAME,
        training={"seeds": [11]},
        promotion={
            "require_approval": True,
            "approver_keys": [read_key_file(own_key).public_key.keyid],
        },
    )
    return bundle.test(NAME)


@pytest.fixture(scope="module")
def journal(unanswered: DagTest, records: Records) -> RunJournal:
    return records.journal(run_key(NAME, unanswered.run_id))


def test_it_ends_and_says_why(unanswered: DagTest, journal: RunJournal) -> None:
    assert unanswered.succeeded, unanswered.log[-5000:]
    assert "`airflow dags test` has nobody who could answer." in unanswered.log
    assert journal.read_json("evaluate.json")["result"]["summary"]["decision"]["verdict"] == "PROMOTE"


def test_the_release_is_a_hold_with_the_reason(journal: RunJournal) -> None:
    release = read_unverified(journal.read("release.dsse.json"))["predicate"]
    assert release["verdict"] == "HOLD"
    assert release["reason"] == (
        "Nobody answered the request for approval, so nothing is promoted: "
        "`airflow dags test` has nobody who could answer."
    )
    assert journal.read_json("closing.json")["verdict"] == "HOLD"
    assert not journal.has("promotion.json")


def test_the_silence_is_signed_and_listed(journal: RunJournal, bundle: AirflowBundle) -> None:
    key = load_signer(bundle.keys, "approval").public_key
    said = verify(journal.read("approval.dsse.json"), [key])
    assert (said.statement["predicate"]["answer"], said.statement["predicate"]["approver"]) == (
        "unanswered",
        "",
    )
    listed = read_unverified(journal.read("release.dsse.json"))["predicate"]["statements"]
    assert {"name": "approval.dsse.json", "digest": {"sha256": said.sha256}} in listed


def drl(bundle: AirflowBundle, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DRL_HOME": str(bundle.stack.home.path)}
    return subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_is_not_promoted_anyway_asks_nobody(bundle: AirflowBundle, records: Records) -> None:
    name = "approval_not_needed"
    write_pipeline(
        bundle.dags,
        name,
        training={"seeds": [11], "time_steps": 1024},
        promotion={"require_approval": True, "margin": 1e6},
    )
    test = bundle.test(name)
    assert test.succeeded, test.log[-5000:]
    assert "HOLD needs nobody's approval" in test.log
    journal = records.journal(run_key(name, test.run_id))
    assert not journal.has("approval.dsse.json")
    release = read_unverified(journal.read("release.dsse.json"))["predicate"]
    assert release["verdict"] == journal.read_json("closing.json")["verdict"] == "HOLD"
    assert "not above the margin" in release["reason"]


def test_show_says_hold(journal: RunJournal, bundle: AirflowBundle) -> None:
    shown: dict[str, Any] = json.loads(drl(bundle, "show", journal.run, "--json").stdout)
    assert shown["release"]["verdict"] == "HOLD"
    assert drl(bundle, "show", journal.run).stdout.lstrip().startswith("HOLD")


def test_a_late_answer_is_refused(journal: RunJournal, bundle: AirflowBundle, own_key: Path) -> None:
    before = journal.read("approval.dsse.json")
    late = drl(bundle, "approve", journal.run, "--key", str(own_key))
    assert late.returncode == 1
    assert "was answered before: unanswered by nobody" in late.stderr
    assert journal.read("approval.dsse.json") == before
    assert "PRIVATE" not in late.stdout + late.stderr


def test_a_key_that_the_pipeline_does_not_name_is_refused(
    journal: RunJournal, bundle: AirflowBundle, tmp_path: Path
) -> None:
    make_key_file(tmp_path / "bob.pem")
    refused = drl(bundle, "approve", journal.run, "--key", str(tmp_path / "bob.pem"))
    assert refused.returncode == 1
    assert "does not know the key" in refused.stderr
