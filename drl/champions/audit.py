"""Does every champion's proof hold now? Alias, ledger, locks, and the record as a verifier sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from drl.artifact import Artifact
from drl.champions.history import Change, Policy, champion, rollbacks
from drl.champions.rollback import Champions
from drl.digest import sha256_bytes
from drl.errors import DrlError, Undetermined
from drl.record.dsse import read_unverified
from drl.record.export import RELEASE, named_files
from drl.record.ledger import Closing, Entry, Opening, entry_from_json
from drl.steps.journal import ENVELOPE, RunJournal, pipeline_of
from drl.stores.lineage_audit import AuditFinding
from drl.stores.registry import ChampionInfo
from drl.stores.sealing import Lock

_THREADS = 4
# What reading a document of the wrong shape raises; that somebody may have changed it is what is asked here.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)

Kind = Literal["holds", "false", "undetermined"]


@dataclass(frozen=True)
class Remark:
    """One thing looked at.

    Attributes:
        kind: ``holds``, ``false``, or ``undetermined`` when it could not be told.
        about: ``alias``, ``ledger``, ``locks`` or ``record``.
        sentence: what was found.
    """

    kind: Kind
    about: str
    sentence: str


@dataclass(frozen=True)
class ChampionAudit:
    """What was found about one model's champion.

    Attributes:
        model: registered name.
        champion: what its alias points to; None when the registry does not say.
        remarks: everything looked at.
    """

    model: str
    champion: ChampionInfo | None
    remarks: tuple[Remark, ...]

    @property
    def outcome(self) -> Kind:
        """``false`` when anything is, else ``undetermined`` when anything is."""
        kinds = {remark.kind for remark in self.remarks}
        return next((kind for kind in ("false", "undetermined") if kind in kinds), "holds")

    def finding(self) -> AuditFinding | None:
        """For the lineage graph; None without a champion to attach it to."""
        if self.champion is None:
            return None
        problems = tuple(f"{r.about}: {r.sentence}" for r in self.remarks if r.kind != "holds")
        info = self.champion
        return AuditFinding(
            self.model, str(info.version), info.model_root, info.run_key, self.outcome, problems
        )

    def to_json(self) -> dict[str, Any]:
        """For the task's result: small."""
        return {
            "model": self.model,
            "version": self.champion.version if self.champion else None,
            "outcome": self.outcome,
            "problems": [f"{r.about}: {r.sentence}" for r in self.remarks if r.kind != "holds"],
        }


class Locks(Protocol):
    """What is asked of :class:`drl.stores.sealing.SealedBucket`."""

    def lock(self, sha256: str) -> Lock | None:
        """Size and lock of the newest version of an object."""


class Chain(Protocol):
    """What is asked of :class:`drl.stores.chain.Ledger`."""

    def account(self, pipeline: str) -> list[Entry]:
        """Every entry of this writer's pipeline."""

    def final(self, block_number: int) -> bool:
        """Whether a block counts as final."""


Verify = Callable[[RunJournal], Iterable[Remark]]


@dataclass(frozen=True)
class Auditor:
    """Looks at champions, and changes nothing.

    Attributes:
        champions: of the deployment.
        chain: the run ledger.
        locks: of the sealed bucket.
        verify: a verifier's findings about a run's record.
    """

    champions: Champions
    chain: Chain
    locks: Locks
    verify: Verify

    def audit(self, model: str) -> ChampionAudit | None:
        """Everything about the champion of a model; None when it has none and none is said to be.

        No error of a check ends the audit: what is out of reach is ``undetermined``, anything else ``false``.
        """
        registry, remarks = self.champions.registry, _Remarks()
        info: ChampionInfo | None = None
        changes: list[Change] = []
        with remarks.looking_at("alias"):
            info = registry.champion(model)
            changes = self.champions.history(model)
            said = champion(changes)
            if info is None and said is None:
                return None
            remarks.add("alias", *_alias(info, said))
        if info is not None:
            journal = RunJournal(self.champions.documents, info.run_key)
            pipeline = pipeline_of(journal.run)
            with remarks.looking_at("ledger"):
                entries = self.chain.account(pipeline)
                remarks.add("ledger", *self._ledger(journal, entries, changes))
            with remarks.looking_at("locks"):
                remarks.add("locks", *self._locks(journal))
            with remarks.looking_at("record"):
                remarks.all += self.verify(journal)
        return ChampionAudit(model, info, tuple(remarks.all))

    def _ledger(
        self, journal: RunJournal, entries: Sequence[Entry], changes: Sequence[Change]
    ) -> tuple[Kind, str]:
        """Opening, closing and promotion stand on the chain as the journal says, and are final."""
        kept = [
            entry_from_json(journal.read_json("opening.json")["entry"]),
            entry_from_json(journal.read_json("closing.json")),
            *(c.note for c in changes if c.run == journal.run),
        ]
        for entry in kept:
            if entry not in entries:
                return "false", f"the chain has not the {entry.to_json()['entry']} that the journal names"
            if not self.chain.final(entry.receipt.block_number):
                return "undetermined", f"block {entry.receipt.block_number} is not final"
        for entry in kept:
            name, digest = _bound(entry)
            if name and sha256_bytes(journal.read(name)) != digest:
                return "false", f"{name} in the journal is not the one that the ledger has"
        return "holds", f"{len(kept)} entries of run {kept[0].receipt.run} stand and are final"

    def _locks(self, journal: RunJournal) -> tuple[Kind, str]:
        """Every file and statement of the release is locked while its retention lasts."""
        opened = journal.read_json("opening.json")["entry"]["receipt"]["block_time"]
        days = journal.retain_days()
        until = datetime.fromtimestamp(opened, UTC) + timedelta(days=days)
        if until <= datetime.now(UTC):
            return "holds", f"the retention of {days} days is over"
        artifacts = _sealed(journal)
        with ThreadPoolExecutor(_THREADS) as pool:
            problems = list(pool.map(lambda artifact: self._lock_problem(artifact, until), artifacts))
        if found := [problem for problem in problems if problem]:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            return "false", found[0] + more
        return "holds", f"{len(artifacts)} objects are locked until {until:%Y-%m-%d} at least"

    def _lock_problem(self, artifact: Artifact, until: datetime) -> str | None:
        lock = self.locks.lock(artifact.sha256)
        if lock is None:
            return f"{artifact.name} is gone from the sealed bucket"
        if lock.size != artifact.size:
            return f"{artifact.name}: {lock.size} bytes lie above the sealed {artifact.size}"
        if lock.until is None or lock.until < until:
            return f"{artifact.name}: locked until {lock.until or 'never'}, promised {until:%Y-%m-%d}"
        return None


class _Remarks:
    """What was found so far about one model."""

    def __init__(self) -> None:
        self.all: list[Remark] = []

    def add(self, about: str, kind: Kind, sentence: str) -> None:
        self.all.append(Remark(kind, about, sentence))

    @contextmanager
    def looking_at(self, about: str) -> Iterator[None]:
        """An error of a check becomes a remark, and the next check goes on."""
        try:
            yield
        except Undetermined as error:
            self.add(about, "undetermined", error.message)
        except DrlError as error:
            self.add(about, "false", error.message)
        except _MALFORMED as error:
            self.add(about, "false", f"a stored document is malformed ({type(error).__name__}: {error})")


def _alias(info: ChampionInfo | None, said: Policy | None) -> tuple[Kind, str]:
    present = Policy(info.version, info.model_root) if info else None
    if present != said:
        return "false", f"it points to {_name(present)}, the statements on the ledger say {_name(said)}"
    return "holds", f"{_name(present)}, as the newest statement on the ledger says"


def _name(policy: Policy | None) -> str:
    return f"version {policy.version} with root {policy.root[:12]}" if policy else "none"


def _bound(entry: Entry) -> tuple[str | None, str]:
    """The document of the journal that an entry binds, and its digest; notes were found by theirs."""
    if isinstance(entry, Opening):
        return f"intent{ENVELOPE}", entry.intent
    if isinstance(entry, Closing):
        return RELEASE, entry.record
    return None, entry.statement


def _sealed(journal: RunJournal) -> list[Artifact]:
    """Files that the release names, its statements, itself, and what became of the policy since."""
    release = read_unverified(journal.read(RELEASE))["predicate"]
    names = {RELEASE, f"promotion{ENVELOPE}", *(statement["name"] for statement in release["statements"])}
    names |= {f"{name}{ENVELOPE}" for name in rollbacks(journal)}
    return [*named_files(release), *(a for a in journal.envelopes() if a.name in names)]
