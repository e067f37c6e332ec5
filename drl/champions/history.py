"""What the signed statements say about the champion of a model, in the order of the ledger."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from drl.errors import InputError, Undetermined
from drl.record.dsse import read_unverified
from drl.record.ledger import Closing, Entry, Note, Opening, position
from drl.record.statement import predicate_type
from drl.steps.journal import ENVELOPE, Documents, RunJournal, sealed_bytes

_PROMOTION = predicate_type("promotion")
_THREADS = 8
ROLLBACK = re.compile(r"^rollback-(\d+)$")


@dataclass(frozen=True)
class Policy:
    """A version in the registry and its model root."""

    version: int
    root: str

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> Policy | None:
        """Read what a promotion statement says was replaced or restored."""
        return None if value is None else cls(int(value["version"]), str(value["root"]))

    def to_json(self) -> dict[str, str]:
        """As a promotion statement names it."""
        return {"version": str(self.version), "root": self.root}


@dataclass(frozen=True)
class Change:
    """A promotion statement that is on the ledger.

    Attributes:
        outcome: ``promoted``, ``superseded`` or ``rolled-back``.
        policy: the statement's subject.
        replaced: promoted: what the alias pointed to before.
        restored: rolled back: what it points to afterwards.
        reason: rolled back: why.
        run: key of the subject's run.
        note: where the ledger has it.
    """

    outcome: str
    policy: Policy
    replaced: Policy | None
    restored: Policy | None
    reason: str | None
    run: str
    note: Note

    @property
    def champion(self) -> Policy | None:
        """What the alias points to after it; for ``superseded``, ask the change before."""
        return self.policy if self.outcome == "promoted" else self.restored

    def to_json(self) -> dict[str, Any]:
        """For people and programs: what happened to which version, when and by which transaction."""
        receipt = self.note.receipt
        return {
            "outcome": self.outcome,
            "version": self.policy.version,
            "model_root": self.policy.root,
            "restored": self.restored.to_json() if self.restored else None,
            "reason": self.reason,
            "run": self.run,
            "block_time": receipt.block_time,
            "tx": receipt.tx,
        }


def history(
    model: str, entries: Sequence[Entry], documents: Documents, *, whole: bool = False
) -> list[Change]:
    """Every promotion statement about a model that this writer's ledger has, in the ledger's order.

    The ledger names the statements, and the sealed bucket holds them under their digests. No registry is
    asked, which somebody may have restored from an old backup. Being on the ledger is what makes the exact
    stored bytes this writer's; a statement that is not on it moved no alias.

    Args:
        model: name of the registered model.
        entries: everything that the writer has on the ledger, of all pipelines.
        documents: the bucket of the journals, where sealed statements lie beside them.
        whole: no statement may be missing, not even one after which the champion changed again.

    Raises:
        Undetermined: the bucket lacks a statement that may have changed the champion since the last change
            that it has; with ``whole``, any that may be about the model.
        Falsified: other bytes lie under a statement's digest.
    """
    runs = _promotable(entries)
    notes = _notes(entries, runs)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda note: _change(model, note, runs[_run(note)], documents), notes))
    changes = [change for change in found if isinstance(change, Change)]
    moved = max((position(c.note) for c in changes if c.outcome != "superseded"), default=(0, 0))
    untold = [note for note in found if isinstance(note, Note) and (whole or position(note) > moved)]
    if untold:
        raise _untold(model, untold[-1])
    return changes


def standing(model: str, entries: Sequence[Entry], documents: Documents) -> Policy | None:
    """The champion that :func:`history` leaves, for whoever asks often; arguments and errors as there.

    Reads the newest notes first and stops at the one that decides: what it costs does not grow with the runs
    that a pipeline had, and what lies under older digests is not looked at.
    """
    runs = _promotable(entries)
    notes = _notes(entries, runs)[::-1]
    with ThreadPoolExecutor(_THREADS) as pool:
        for begin in range(0, len(notes), _THREADS):
            some = notes[begin : begin + _THREADS]
            for found in pool.map(lambda note: _change(model, note, runs[_run(note)], documents), some):
                if isinstance(found, Note):
                    raise _untold(model, found)
                if found is not None and found.outcome != "superseded":
                    return found.champion
    return None


def champion(changes: Sequence[Change]) -> Policy | None:
    """The champion that these changes leave, or None."""
    moved = [change for change in changes if change.outcome != "superseded"]
    return moved[-1].champion if moved else None


def rollbacks(journal: RunJournal) -> list[str]:
    """Names of the rollback statements of a run, the first one first."""
    names = [name.removesuffix(ENVELOPE) for name in journal.names() if name.endswith(ENVELOPE)]
    return sorted((n for n in names if ROLLBACK.match(n)), key=lambda n: int(n.rpartition("-")[2]))


@dataclass(frozen=True)
class _Promotable:
    """Digests of the intent and the release of a run that was closed with PROMOTE."""

    intent: str
    release: str


def _promotable(entries: Sequence[Entry]) -> dict[tuple[str, int], _Promotable]:
    intents = {_run(e): e.intent for e in entries if isinstance(e, Opening)}
    closed = [e for e in entries if isinstance(e, Closing) and e.verdict == "PROMOTE"]
    return {_run(e): _Promotable(intents[_run(e)], e.record) for e in closed}


def _notes(entries: Sequence[Entry], runs: Container[tuple[str, int]]) -> list[Note]:
    """Notes of these runs, the first one first."""
    return sorted((e for e in entries if isinstance(e, Note) and _run(e) in runs), key=position)


def _untold(model: str, note: Note) -> Undetermined:
    return Undetermined(
        f"who is champion of {model}: transaction {note.receipt.tx} notes a statement about run "
        f"{note.receipt.run} of its pipeline, and the sealed bucket does not have it",
        remedy=f"put sha256/{note.statement} back, from a backup or an exported record",
    )


def _run(entry: Entry) -> tuple[str, int]:
    return entry.receipt.pipeline, entry.receipt.run


def _change(model: str, note: Note, run: _Promotable, documents: Documents) -> Change | Note | None:
    """What a note stands for; None when it is about something else, the note itself if nobody can tell."""
    try:
        statement = _sealed(documents, note.statement)
    except InputError:
        return note if _may_be_about(model, run, documents) else None
    if statement["predicateType"] != _PROMOTION or statement["subject"][0]["name"] != model:
        return None
    predicate = statement["predicate"]
    return Change(
        outcome=predicate["outcome"],
        policy=Policy(int(predicate["version"]), statement["subject"][0]["digest"]["sha256"]),
        replaced=Policy.from_json(predicate["replaced"]),
        restored=Policy.from_json(predicate.get("restored")),
        reason=predicate.get("reason"),
        run=str(_sealed(documents, run.intent)["predicate"]["run"]),
        note=note,
    )


def _may_be_about(model: str, run: _Promotable, documents: Documents) -> bool:
    try:
        return bool(_sealed(documents, run.release)["subject"][0]["name"] == model)
    except InputError:
        return True


def _sealed(documents: Documents, sha256: str) -> dict[str, Any]:
    """The statement with this digest; InputError when there is none."""
    return read_unverified(sealed_bytes(documents, sha256, what="a statement on the ledger"))
