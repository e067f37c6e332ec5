"""An approval names exactly what was asked about, is signed with a key that the run knows, and comes once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from drl.artifact import Artifact
from drl.errors import Falsified, InputError
from drl.record.dsse import sign
from drl.record.key_files import make_key_file, read_key_file
from drl.record.keys import RoleSigner, load_signer, public_pem
from drl.record.predicates import approval_statement
from drl.record.statement import Subject, predicate_type, statement
from drl.spec import parse_pipeline
from drl.steps.approval import needs_approval, question, read_answer, write_answer
from drl.steps.exchange import FolderExchange
from drl.steps.journal import RunJournal
from drl.steps.request import AcceptedStep, StepRequest, StepResult

ROOT = "ab" * 32
RESOLVED: dict[str, Any] = {
    "code": {"dirty": False},
    "spec": {"registration": {"model": "cartpole"}, "promotion": {"require_approval": True}},
}
PROMOTE = {"verdict": "PROMOTE", "reason": "better"}


@pytest.fixture
def deployment(tmp_path: Path) -> RoleSigner:
    return load_signer(tmp_path / "keys", "approval")


@pytest.fixture
def ada(tmp_path: Path) -> RoleSigner:
    """An approver with a key of her own."""
    make_key_file(tmp_path / "ada.pem")
    inner = read_key_file(tmp_path / "ada.pem")
    return RoleSigner("approval", inner, [inner.public_key])


@pytest.fixture
def journal(tmp_path: Path) -> RunJournal:
    """Of a run that was evaluated."""
    journal = RunJournal(FolderExchange(tmp_path / "documents"), "p/r")
    signer = load_signer(tmp_path / "keys", "steps")
    journal.write("resolved.json", json.dumps(RESOLVED).encode())
    summary = {"decision": PROMOTE, "model_root": ROOT}
    request = StepRequest("evaluate", "p/r", "1-x", Artifact("resolved.json", "0" * 64, 1))
    result = StepResult((), summary, "2026-11-24T10:00:00+00:00", "2026-11-24T10:00:01+00:00", {})
    journal.once("evaluate.json", AcceptedStep(request, result, "subprocess", {}).to_json)
    for name in ("intent", "evaluation"):
        made = statement([Subject(name, "0" * 64)], predicate_type(name), {})
        journal.sign_once(name, lambda made=made: made, signer)
    return journal


def answers(journal: RunJournal, deployment: RoleSigner, *own: RoleSigner) -> dict[str, Any] | None:
    return read_answer(journal, keys=deployment.accepted, own_keys=[s.public_key.keyid for s in own])


def test_the_answer_names_what_was_asked(journal: RunJournal, deployment: RoleSigner) -> None:
    assert answers(journal, deployment) is None
    artifact = write_answer(journal, "approved", "ada", "go", deployment)
    assert artifact in journal.envelopes()
    said = journal.statement("approval", deployment.accepted)
    asked = question(journal)
    by_name = {a.name: a.sha256 for a in journal.envelopes()}
    assert said["subject"] == [{"name": "cartpole", "digest": {"sha256": ROOT}}]
    assert said["predicate"]["evaluation"] == asked.evaluation == by_name["evaluation.dsse.json"]
    assert said["predicate"]["intent"] == asked.intent == by_name["intent.dsse.json"]
    found = answers(journal, deployment)
    assert found is not None
    assert (found["answer"], found["approver"], found["comment"]) == ("approved", "ada", "go")


def test_the_first_answer_counts(journal: RunJournal, deployment: RoleSigner, ada: RoleSigner) -> None:
    first = write_answer(journal, "rejected", "ada", "no", ada)
    assert write_answer(journal, "approved", "bob", "yes", deployment) == first
    found = answers(journal, deployment, ada)
    assert found is not None
    assert (found["answer"], found["approver"]) == ("rejected", "ada")


def test_a_key_that_the_run_does_not_know_approves_nothing(
    journal: RunJournal, deployment: RoleSigner, ada: RoleSigner
) -> None:
    write_answer(journal, "approved", "ada", "", ada)
    with pytest.raises(Falsified, match="signatures needed"):
        answers(journal, deployment)


def test_another_key_under_a_known_id_approves_nothing(
    journal: RunJournal, deployment: RoleSigner, ada: RoleSigner
) -> None:
    journal.write(f"keys/{ada.public_key.keyid}.pem", public_pem(deployment.public_key))
    write_answer(journal, "approved", "ada", "", ada)
    with pytest.raises(Falsified, match="signatures needed"):
        answers(journal, deployment, ada)


@pytest.mark.parametrize("lie", [{"root": "cd" * 32}, {"evaluation": "cd" * 32}, {"intent": "cd" * 32}])
def test_an_answer_about_other_bytes_is_refused(
    journal: RunJournal, deployment: RoleSigner, lie: dict[str, str]
) -> None:
    asked = question(journal)
    facts = {"intent": asked.intent, "root": ROOT, "evaluation": asked.evaluation} | lie
    other = approval_statement(
        model="cartpole",
        verdict="PROMOTE",
        answer="approved",
        approver="ada",
        answered="2026-11-24T10:00:00+00:00",
        **facts,
    )
    journal.write("approval.dsse.json", sign(other, [deployment]))
    with pytest.raises(Falsified, match="other bytes"):
        answers(journal, deployment)


def test_only_what_would_be_promoted_is_asked_about() -> None:
    assert needs_approval(RESOLVED, PROMOTE)
    assert not needs_approval(RESOLVED, {"verdict": "HOLD", "reason": ""})
    assert not needs_approval(RESOLVED, {"verdict": "REJECT", "reason": ""})
    assert not needs_approval(RESOLVED | {"code": {"dirty": True}}, PROMOTE)
    nobody = {"spec": {"promotion": {"require_approval": False}}, "code": {"dirty": False}}
    assert not needs_approval(nobody, PROMOTE)


def test_naming_approvers_without_asking_is_refused() -> None:
    value = yaml.safe_load((Path(__file__).parents[2] / "dags" / "cartpole.yaml").read_text())
    value["promotion"]["approvers"] = ["ada"]
    with pytest.raises(InputError, match="require_approval is not true"):
        parse_pipeline(value, path=Path("cartpole.yaml"))
    value["promotion"] |= {"require_approval": True, "approver_keys": ["ada"]}
    with pytest.raises(InputError, match="should match pattern"):
        parse_pipeline(value, path=Path("cartpole.yaml"))
