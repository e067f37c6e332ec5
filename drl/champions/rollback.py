"""Taking the alias ``champion`` from a policy: signed, noted on the ledger, and only then done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from drl.champions.history import Change, Policy, champion, history, rollbacks, standing
from drl.digest import sha256_bytes
from drl.errors import ConflictError, InputError, Undetermined
from drl.record.dsse import read_unverified
from drl.record.keys import RoleSigner
from drl.record.ledger import Entry, Note
from drl.record.predicates import rollback_statement
from drl.steps.journal import ENVELOPE, Documents, RunJournal, pipeline_of
from drl.stores.locks import promotion_lock
from drl.stores.registry import CHAMPION, ChampionInfo


class Registry(Protocol):
    """What is asked of :class:`drl.stores.registry.ModelRegistry`."""

    def champion(self, model: str) -> ChampionInfo | None:
        """The champion with its digests."""

    def set_champion(self, model: str, version: int | None, *, expected: int | None) -> bool:
        """Move or remove the alias if it still points to ``expected``."""


class RunLedger(Protocol):
    """What is asked of :class:`drl.stores.chain.Ledger`."""

    def entries(self) -> list[Entry]:
        """Every entry of this writer, in all its pipelines."""

    def note(self, pipeline: str, run: int, statement: str) -> Note:
        """Add a statement to a run."""


class Sealing(Protocol):
    """What is asked of :class:`drl.stores.s3.ArtifactStore`."""

    def seal_bytes(self, data: bytes, name: str, *, retain_days: int) -> Any:
        """Put a document under lock."""


@dataclass(frozen=True)
class Champions:
    """The champions of a deployment.

    Attributes:
        registry: versions and aliases.
        ledger: the run ledger.
        documents: the bucket of the journals.
    """

    registry: Registry
    ledger: RunLedger
    documents: Documents

    def history(self, model: str, *, whole: bool = False) -> list[Change]:
        """Every promotion and rollback on the ledger, as :func:`drl.champions.history.history` tells."""
        return history(model, self.ledger.entries(), self.documents, whole=whole)

    def agreed(self, model: str) -> ChampionInfo | None:
        """The champion, where alias and statements on the ledger name the same one; None where neither does.

        Raises:
            Undetermined: they do not, or a statement is missing.
        """
        found = self.registry.champion(model)
        said = standing(model, self.ledger.entries(), self.documents)
        if said != (Policy(found.version, found.model_root) if found else None):
            raise Undetermined(
                f"the alias of {model} points to {_named(found)}, and the statements on the ledger to "
                f"{_named(said)}",
                remedy="wait while a promotion is under way; else find out who moved the alias and put it "
                "back, or remove it where the ledger is a new one",
            )
        return found

    def require(self, model: str) -> ChampionInfo:
        """The champion by the registry's alias; InputError when there is none."""
        found = self.registry.champion(model)
        if found is None:
            raise InputError(f"{model!r} has no champion", remedy="see the models: drl show, or MLflow")
        return found


def roll_back(
    champions: Champions,
    model: str,
    *,
    to: int | None,
    reason: str,
    signer: RoleSigner,
    sealing: Sealing,
    exclusive: Callable[[str], AbstractContextManager[None]],
) -> dict[str, Any]:
    """Take the alias from the champion and give it to an earlier one, or to none.

    One order, under the lock of promotions: sign, seal, note on the ledger, move the alias. After a crash in
    between, the same call ends what was begun and makes no second statement.

    Args:
        champions: of the deployment.
        model: name of the registered model.
        to: an earlier champion's version that was not rolled back itself; by default the last such one before
            the champion, or none.
        reason: for everybody to read, in the statement.
        signer: the release role's.
        sealing: puts the statement under lock.
        exclusive: holds a lock of the deployment by its name.

    Returns:
        What was done: ``run`` and ``version`` rolled back, ``restored`` version or None, ``reason``,
        ``statement``, ``tx``.

    Raises:
        InputError: there is no champion, or ``to`` was never one, or was rolled back itself.
        ConflictError: the alias points to a version that the statements do not name, or another rollback was
            begun and has not ended.
        Undetermined: the bucket lacks a statement that may be about the champion, or about ``to``.
    """
    if not reason.strip():
        raise InputError("a rollback without a reason", remedy="say why: --reason TEXT")
    with exclusive(promotion_lock(model)):
        present = champions.require(model)
        # Whether the version that somebody names was rolled back itself is told by every statement there is.
        changes = champions.history(model, whole=to is not None)
        journal = RunJournal(champions.documents, present.run_key)
        name = _unfinished(journal, changes)
        if name is None:
            _require_agreement(model, present, changes)
            restored = target(model, present, changes, to)
            name = f"rollback-{len(rollbacks(journal)) + 1}"
        else:
            restored = None  # as the statement says that was signed before
        journal.sign_once(name, lambda: _statement(journal, model, present, restored, reason), signer)
        return _carry_out(champions, journal, name, model, present, to, sealing)


def _carry_out(
    champions: Champions,
    journal: RunJournal,
    name: str,
    model: str,
    present: ChampionInfo,
    to: int | None,
    sealing: Sealing,
) -> dict[str, Any]:
    data = journal.read(f"{name}{ENVELOPE}")
    predicate = read_unverified(data)["predicate"]  # sign_once has verified it
    restored = Policy.from_json(predicate["restored"])
    version = restored.version if restored else None
    if to not in (None, version):
        raise ConflictError(
            f"a rollback of {model} version {present.version} to {version or 'none'} was begun at "
            f"{predicate['decided']} and has not ended",
            remedy="end it first: the same command without --to",
        )
    number = journal.read_json("opening.json")["entry"]["receipt"]["run"]
    pipeline = pipeline_of(journal.run)
    sealing.seal_bytes(data, f"{name}{ENVELOPE}", retain_days=journal.retain_days())
    note = journal.once(
        f"{name}.note.json", lambda: champions.ledger.note(pipeline, number, sha256_bytes(data)).to_json()
    )
    champions.registry.set_champion(model, version, expected=present.version)
    return {
        "model": model,
        "run": journal.run,
        "version": present.version,
        "restored": version,
        "reason": predicate["reason"],
        "statement": sha256_bytes(data),
        "tx": note["receipt"]["tx"],
    }


def _unfinished(journal: RunJournal, changes: Sequence[Change]) -> str | None:
    """The champion's own rollback that was begun: not on the ledger yet, or nothing came after it there."""
    begun = rollbacks(journal)
    if not begun:
        return None
    statement = sha256_bytes(journal.read(f"{begun[-1]}{ENVELOPE}"))
    places = [i for i, change in enumerate(changes) if change.note.statement == statement]
    later = [c for c in changes[places[0] + 1 :] if c.outcome != "superseded"] if places else []
    return None if later else begun[-1]


def _named(champion: ChampionInfo | Policy | None) -> str:
    return f"version {champion.version}" if champion else "none"


def _require_agreement(model: str, present: ChampionInfo, changes: Sequence[Change]) -> None:
    said = champion(changes)
    if said != Policy(present.version, present.model_root):
        raise ConflictError(
            f"the alias of {model} points to version {present.version}, and the statements on the ledger to "
            f"{said.version if said else 'none'}",
            remedy="somebody moved the alias by hand: find out who, put it back, then roll back",
        )


def target(model: str, present: ChampionInfo, changes: Sequence[Change], to: int | None) -> Policy | None:
    """To which earlier champion a rollback goes; arguments and errors as :func:`roll_back`."""
    promoted = {c.policy.version: c for c in changes if c.outcome == "promoted"}
    fallen = {c.policy.version for c in changes if c.outcome == "rolled-back"} | {present.version}
    if to is not None:
        if to not in promoted or to in fallen:
            earlier = sorted(set(promoted) - fallen)
            raise InputError(
                f"{model} version {to} is no earlier champion that still stands",
                remedy=f"give one of {earlier}" if earlier else "leave --to away: there is none",
            )
        return promoted[to].policy
    candidate = promoted[present.version].replaced if present.version in promoted else None
    while candidate is not None and candidate.version in fallen:
        candidate = promoted[candidate.version].replaced if candidate.version in promoted else None
    return candidate


def _statement(
    journal: RunJournal, model: str, present: ChampionInfo, restored: Policy | None, reason: str
) -> dict[str, Any]:
    return rollback_statement(
        release=sha256_bytes(journal.read(f"release{ENVELOPE}")),
        model=model,
        root=present.model_root,
        version=str(present.version),
        alias=CHAMPION,
        restored=restored.to_json() if restored else None,
        reason=reason.strip(),
        decided=datetime.now(UTC).isoformat(timespec="seconds"),
    )
