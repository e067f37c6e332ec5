"""What the signed statements say about the champion of a model, in the order of the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from drl.digest import sha256_bytes
from drl.record.dsse import read_unverified
from drl.record.ledger import Entry, Note, position
from drl.steps.journal import ENVELOPE, RunJournal

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
        name: of the statement in the run's journal, without its suffix.
        note: where the ledger has it.
    """

    outcome: str
    policy: Policy
    replaced: Policy | None
    restored: Policy | None
    reason: str | None
    run: str
    name: str
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


def history(journals: Iterable[RunJournal], entries: Sequence[Entry]) -> list[Change]:
    """Every promotion statement of these runs that this writer's ledger has, in the ledger's order.

    A statement that is not on the ledger moved no alias and is left out. Being on the ledger, under the
    number of its run, is what makes the exact stored bytes this writer's.

    Args:
        journals: of the runs that registered a version of the model.
        entries: of the ledger, for all pipelines of these runs.
    """
    noted = {(e.receipt.run, e.receipt.pipeline, e.statement): e for e in entries if isinstance(e, Note)}
    found = [change for journal in journals for change in _of_run(journal, noted)]
    return sorted(found, key=lambda change: position(change.note))


def champion(changes: Sequence[Change]) -> Policy | None:
    """The champion that these changes leave, or None."""
    moved = [change for change in changes if change.outcome != "superseded"]
    return moved[-1].champion if moved else None


def rollbacks(journal: RunJournal) -> list[str]:
    """Names of the rollback statements of a run, the first one first."""
    names = [name.removesuffix(ENVELOPE) for name in journal.names() if name.endswith(ENVELOPE)]
    return sorted((n for n in names if ROLLBACK.match(n)), key=lambda n: int(n.rpartition("-")[2]))


def _of_run(journal: RunJournal, noted: dict[tuple[int, str, str], Note]) -> Iterable[Change]:
    names = ["promotion"] if journal.has(f"promotion{ENVELOPE}") else []
    names += rollbacks(journal)
    if not names:
        return
    receipt = journal.read_json("opening.json")["entry"]["receipt"]
    for name in names:
        data = journal.read(f"{name}{ENVELOPE}")
        note = noted.get((receipt["run"], receipt["pipeline"], sha256_bytes(data)))
        if note is not None:
            yield _change(read_unverified(data), journal.run, name, note)


def _change(statement: dict[str, Any], run: str, name: str, note: Note) -> Change:
    predicate = statement["predicate"]
    root = statement["subject"][0]["digest"]["sha256"]
    return Change(
        outcome=predicate["outcome"],
        policy=Policy(int(predicate["version"]), root),
        replaced=Policy.from_json(predicate["replaced"]),
        restored=Policy.from_json(predicate.get("restored")),
        reason=predicate.get("reason"),
        run=run,
        name=name,
        note=note,
    )
