"""``drl approve``: an approver's answer, signed with a key of their own."""

from __future__ import annotations

from pathlib import Path

import typer

from drl.cli.show import records
from drl.errors import ConflictError, InputError
from drl.record.dsse import read_unverified
from drl.record.key_files import read_key_file
from drl.record.keys import RoleSigner
from drl.steps.approval import NAME, needs_approval, question, write_answer
from drl.steps.journal import ENVELOPE, RunJournal
from drl.steps.request import AcceptedStep


def approve_run(run: str, key: Path, *, reject: bool, comment: str) -> None:
    """Sign the answer and put it into the run's journal, where the first one counts.

    Raises:
        InputError: the run asks nobody, or does not know this key.
        ConflictError: it was answered before.
    """
    inner = read_key_file(key)
    signer = RoleSigner("approval", inner, [inner.public_key])
    journal = RunJournal(records(), run)
    _require_asking(journal, signer.public_key.keyid)
    asked = question(journal)
    for name, value in (
        ("run", run),
        ("verdict", asked.verdict),
        ("model root", asked.root),
        ("evaluation", asked.evaluation),
        ("key", signer.public_key.keyid),
    ):
        typer.echo(f"{name:<12}{value}")
    given = "rejected" if reject else "approved"
    approver = f"key {signer.public_key.keyid[:16]}"
    stored = write_answer(journal, "rejected" if reject else "approved", approver, comment, signer)
    _require_mine(journal, given, approver)
    typer.echo(f"{given:<12}statement {stored.sha256}")
    typer.echo("next        the run goes on within a minute or two; see: drl show")


def _require_asking(journal: RunJournal, key_id: str) -> None:
    if not journal.has(f"evaluation{ENVELOPE}"):
        raise InputError(
            f"{journal.run} has no signed evaluation", remedy="give the key of a run that waits: drl show"
        )
    resolved = journal.read_json("resolved.json")
    evaluated = AcceptedStep.from_json(journal.read_json("evaluate.json"))
    if not needs_approval(resolved, evaluated.result.summary["decision"]):
        raise InputError(
            f"{journal.run} asks for nobody's approval",
            remedy="only a PROMOTE of a pipeline with promotion.require_approval does",
        )
    if key_id not in resolved["spec"]["promotion"]["approver_keys"]:
        raise InputError(
            f"{journal.run} does not know the key {key_id}",
            remedy="name it in the pipeline's promotion.approver_keys before the run starts",
        )


def _require_mine(journal: RunJournal, given: str, approver: str) -> None:
    predicate = read_unverified(journal.read(f"{NAME}{ENVELOPE}"))["predicate"]
    if (predicate["answer"], predicate["approver"]) != (given, approver):
        who = predicate["approver"] or "nobody"
        raise ConflictError(
            f"{journal.run} was answered before: {predicate['answer']} by {who} at {predicate['answered']}",
            remedy="the first answer counts; run the pipeline again for another",
        )
