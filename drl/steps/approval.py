"""What an approver is asked about, and their signed answer: one for each run, naming exactly these bytes.

The answer is signed with the deployment's approval key for somebody who answered in Airflow, or with a key
that the approver holds and the pipeline names. Whatever was written into the journal first is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import Key, SSlibKey

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified
from drl.record.dsse import sign, verify
from drl.record.keyring import now
from drl.record.keys import RoleSigner, load_public
from drl.record.outcome import Approval, release_outcome
from drl.record.predicates import approval_statement
from drl.steps.journal import ENVELOPE, KEYS, RunJournal
from drl.steps.request import AcceptedStep

NAME = "approval"


@dataclass(frozen=True)
class Question:
    """What is to be approved.

    Attributes:
        intent: digest of the intent's envelope.
        model: name of the registered model.
        root: model root of the policy.
        evaluation: digest of the evaluation statement's envelope.
        verdict: what the promotion rule says.
    """

    intent: str
    model: str
    root: str
    evaluation: str
    verdict: Any

    def statement(self, answer: Approval, approver: str, comment: str) -> dict[str, Any]:
        """The answer as a statement, made now."""
        return approval_statement(
            intent=self.intent,
            model=self.model,
            root=self.root,
            evaluation=self.evaluation,
            verdict=self.verdict,
            answer=answer,
            approver=approver,
            answered=now(),
            comment=comment,
        )


def question(journal: RunJournal) -> Question:
    """What the run asks to be approved."""
    summary = AcceptedStep.from_json(journal.read_json("evaluate.json")).result.summary
    return Question(
        intent=sha256_bytes(journal.read(f"intent{ENVELOPE}")),
        model=journal.read_json("resolved.json")["spec"]["registration"]["model"],
        root=summary["model_root"],
        evaluation=sha256_bytes(journal.read(f"evaluation{ENVELOPE}")),
        verdict=summary["decision"]["verdict"],
    )


def needs_approval(resolved: Mapping[str, Any], decision: Mapping[str, Any]) -> bool:
    """Whether a person is asked: the pipeline wants it, and nothing but their answer is in the way."""
    asks = bool(resolved["spec"]["promotion"]["require_approval"])
    approved = release_outcome(decision, code=resolved["code"], approval="approved")
    return asks and approved.verdict == "PROMOTE"


def write_answer(
    journal: RunJournal, answer: Approval, approver: str, comment: str, signer: RoleSigner
) -> Artifact:
    """Sign an answer and write it, unless there is one; returns what is stored, whoever wrote it."""
    journal.keep_key(signer.public_key)
    envelope = sign(question(journal).statement(answer, approver, comment), [signer])
    stored = journal.write(f"{NAME}{ENVELOPE}", envelope)
    return Artifact(f"{NAME}{ENVELOPE}", sha256_bytes(stored), len(stored))


def read_answer(
    journal: RunJournal, *, keys: Sequence[Key], own_keys: Sequence[str]
) -> dict[str, Any] | None:
    """The predicate of the answer, or None while there is none.

    Args:
        journal: of the run.
        keys: the deployment's keys for approval.
        own_keys: ids of the keys that the run's approvers hold.

    Raises:
        Falsified: it is signed with no such key, or is not about what the run asks.
    """
    if not journal.has(f"{NAME}{ENVELOPE}"):
        return None
    trusted = [*keys, *_own(journal, own_keys)]
    statement = verify(journal.read(f"{NAME}{ENVELOPE}"), trusted).statement
    predicate: dict[str, Any] = statement["predicate"]
    asked = question(journal)
    again = approval_statement(
        intent=asked.intent,
        model=asked.model,
        root=asked.root,
        evaluation=asked.evaluation,
        verdict=asked.verdict,
        **{name: predicate[name] for name in ("answer", "approver", "answered", "comment")},
    )
    if statement != again:
        raise Falsified(
            f"the approval of {journal.run} is about other bytes than the run's",
            remedy="nothing is promoted on it; find out who signed it",
        )
    return predicate


def _own(journal: RunJournal, own_keys: Sequence[str]) -> list[SSlibKey]:
    """The public half of the approver's own key that signed, if it is one of ``own_keys``."""
    signed_by = journal.key_of(NAME)
    if signed_by not in own_keys:
        return []
    key = load_public(journal.read(f"{KEYS}{signed_by}.pem"), where=f"journal of {journal.run}")
    return [key] if key.keyid == signed_by else []
