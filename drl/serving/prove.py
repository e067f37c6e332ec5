"""``python -m drl.serving.prove``: verify one target's record as an outsider would, and hand over its files.

Reads one JSON object from standard input and writes the proof to standard output. A process of its own: it
needs S3, the chain and the verifier, whose memory goes back when it ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drl.artifact import Artifact
from drl.champions.history import Policy, standing
from drl.champions.stored_record import StoredRecord
from drl.errors import DrlError, InputError, Undetermined
from drl.policy.onnx import check_onnx
from drl.policy.root import FILES, model_root
from drl.record.dsse import read_unverified
from drl.record.ledger import entry_from_json
from drl.serving.proof import Outcome, Proof, Target
from drl.steps.journal import RunJournal, pipeline_of
from drl.stores.ledger_view import ChainView, ledger_at
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings, read_variable
from drl.verification.ledger_view import LedgerAddress, account_until_now
from drl.verification.record import resources
from drl.verification.result import Result
from drl.verification.trust import Minimum, TrustedLedger, TrustPolicy, load_trust
from drl.verification.verify import Means, verify_record

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
_RELEASE, _NOTE = "release.dsse.json", "promotion.note.json"


@dataclass(frozen=True)
class Question:
    """What the serving process asks.

    Attributes:
        target: what the alias points to.
        trust: file of the trust policy.
        into: folder for the policy's files.
    """

    target: Target
    trust: Path
    into: Path

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Question:
        """Read what the serving process wrote."""
        return cls(Target.from_json(value["target"]), Path(value["trust"]), Path(value["into"]))


def main() -> int:
    """Answer the question on standard input."""
    os.nice(10)  # whoever is served goes first
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        question = Question.from_json(json.load(sys.stdin))
        proof = answered(question)
    json.dump(proof.to_json(), answer)
    return 0


def answered(question: Question) -> Proof:
    """The proof; what goes wrong on the way becomes its outcome."""
    try:
        return prove(question)
    except (InputError, Undetermined) as error:
        return _failed(question.target, "undetermined", error.message)
    except DrlError as error:
        return _failed(question.target, "false", error.message)
    except _MALFORMED as error:
        message = f"a stored document is malformed ({type(error).__name__}: {error})"
        return _failed(question.target, "false", message)


def prove(question: Question) -> Proof:
    """Verify the record, its promotion as the newest, and the files.

    Raises:
        DrlError: as the stores, the chain and the verifier do.
    """
    target, trust = question.target, serving_trust(load_trust(question.trust))
    settings = S3Settings.from_environment()
    store = ArtifactStore(settings)
    documents = ArtifactStore(replace(settings, staging=settings.sealed))
    journal = RunJournal(documents, target.run)
    view = open_view(trust, pipeline_of(target.run))
    entries, head = account_until_now(view)
    record = StoredRecord.of(journal, entries, head, store)
    means = Means(trust=trust, open_ledger=lambda _: view, level=trust.minimum.level)
    result = verify_record(record, means)
    release = read_unverified(journal.read(_RELEASE))
    wrong = identity_faults(target, release)
    # A promotion is noted before the alias moves: that the two disagree may be over in a moment.
    said = standing(target.model, view.writer_entries(), documents)
    unsettled = newest_faults(target, said)
    outcome: Outcome = "false" if wrong or result.exit_code == 1 else "undetermined"
    if reasons := (*wrong, *unsettled, *result.reasons, *record.unread):
        return _proof(target, outcome, reasons, result, journal)
    files = fetch_policy(target, release, store, question.into)
    return replace(_proof(target, "holds", (), result, journal), files=files)


def serving_trust(trust: TrustPolicy) -> TrustPolicy:
    """The trust policy with what serving asks on top: a promotion that stands, seen on a pinned ledger.

    Raises:
        InputError: it pins no ledger.
    """
    if trust.ledger is None:
        raise InputError(
            "the trust policy pins no ledger, without which no promotion is the newest",
            remedy="add the section `ledger`: drl trust init writes one",
        )
    return trust.model_copy(update={"minimum": Minimum(level=trust.minimum.level, verdict="PROMOTE")})


def open_view(trust: TrustPolicy, pipeline: str) -> ChainView:
    """The pinned ledger's entries of a pipeline.

    Raises:
        InputError: several writers are pinned, and nothing says whose alias it is.
    """
    ledger: TrustedLedger = trust.ledger  # type: ignore[assignment]  # serving_trust has looked
    if len(ledger.writers) != 1:
        raise InputError(
            f"{len(ledger.writers)} writers are pinned", remedy="pin the one whose champions are served"
        )
    first_block = int(read_variable("DRL_EVM_FIRST_BLOCK", default="0"))
    address = LedgerAddress(ledger.contract, ledger.writers[0], pipeline, ledger.finality)
    return ledger_at(read_variable("DRL_EVM_RPC_URL"), first_block)(address)


def newest_faults(target: Target, said: Policy | None) -> list[str]:
    """Why the target is not what the newest statement on the ledger makes champion; empty when it is."""
    if said == Policy(target.version, target.root):
        return []
    name = f"version {said.version} with root {said.root[:12]}" if said else "none"
    return [f"the newest promotion on the ledger makes {name} the champion, not version {target.version}"]


def identity_faults(target: Target, release: dict[str, Any]) -> list[str]:
    """Where the record is about something else than the registry says; empty when it is not."""
    subject = release["subject"][0]
    found = (subject["name"], release["predicate"]["policy"]["root"])
    if found == (target.model, target.root):
        return []
    return [f"the record is of {found[0]} with root {found[1][:12]}, the registry says {target.root[:12]}"]


def fetch_policy(
    target: Target, release: dict[str, Any], store: ArtifactStore, into: Path
) -> tuple[Artifact, ...]:
    """Fetch the policy's files into an empty folder, checked: digests, root, and the ONNX file's network.

    Raises:
        Falsified: something else lies under a digest, or the ONNX file is another network.
    """
    listed = resources(release["predicate"]["policy"]["resources"], where="policy")
    files = tuple(listed[name] for name in FILES)
    store.get_many(files, into, sealed=True)
    if model_root(into) != target.root:
        raise InputError(f"{into}: the files have another root", remedy="try again; look at the disk")
    check_onnx(into)
    return files


def _proof(
    target: Target, outcome: Outcome, reasons: Sequence[str], result: Result, journal: RunJournal
) -> Proof:
    note = entry_from_json(journal.read_json(_NOTE)).receipt if journal.has(_NOTE) else None
    anchor = None if note is None else {**note.to_json(), "demo": note.demo}
    return Proof(
        target=target,
        outcome=outcome,
        reasons=tuple(reasons),
        sentence=result.sentence,
        level=result.level,
        verdict=result.standing.verdict,
        anchor=anchor,
    )


def _failed(target: Target, outcome: Outcome, message: str) -> Proof:
    return Proof(target, outcome, (message,), message)


if __name__ == "__main__":
    sys.exit(main())
