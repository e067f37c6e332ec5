"""Check 21: the policy compared with is the champion of that moment, by signed and noted statements."""

from __future__ import annotations

from typing import Any, NamedTuple

from drl.errors import Falsified, Undetermined
from drl.record.ledger import Closing, Entry, Note, Opening, position
from drl.record.promotions import ALIAS, FOLDER, NOTES, may_promote
from drl.record.statement import predicate_type
from drl.verification.findings import Findings
from drl.verification.ledger import OFFLINE, LedgerFacts, require_opening
from drl.verification.record import ENVELOPE, Envelope, Record, resources
from drl.verification.statements import champion_root

_RELEASE, _PROMOTION = f"{FOLDER}release", f"{FOLDER}promotion"


class _Policy(NamedTuple):
    """A version in the registry and its model root."""

    version: str
    root: str


def check_champion(record: Record, findings: Findings, facts: LedgerFacts) -> None:
    """The champion that the intent names is what the pipeline's promotions and rollbacks had left."""
    with findings.guard(21):
        named = _named(record)
        opening = require_opening(facts.opening, "opening.json")
        if facts.entries is None:
            raise Undetermined("nothing shows earlier promotions", remedy=OFFLINE)
        since = None if named is None else _promoted(record, facts, opening, named)
        later = may_promote(facts.entries, before=opening, behind=since)
        _require_nothing_else(record, facts, later)
        left = _replayed(record, later, named)
        if left != named:
            raise Falsified(
                f"before the opening, {_said(left)} was the champion by the statements noted, and the intent "
                f"names {_said(named)}",
                remedy="refuse the comparison",
            )
        if since is not None:
            findings.recomputed(21, f"{_said(named)} is what its release and its promotion are about")
        sentence = _sentence(named, since, len(later))
        if facts.online:
            findings.recomputed(21, sentence)
        else:
            findings.claimed(21, sentence, key=None)


def _named(record: Record) -> _Policy | None:
    """The champion of the intent; Falsified unless its files make its root, and it is of this model."""
    champion, root = record.champion, champion_root(record)
    if champion is None or root is None:
        return None
    if len(champion["files"]) != len(record.champion_files):
        raise Falsified("the champion's files: a name twice", remedy="refuse the comparison")
    if champion["model"] != record.spec.registration.model:
        raise Falsified(f"the champion is of {champion['model']}", remedy="refuse the comparison")
    return _Policy(str(champion["version"]), root)


def _said(policy: _Policy | None) -> str:
    return "no policy" if policy is None else f"version {policy.version} with root {policy.root[:12]}"


def _sentence(named: _Policy | None, since: Note | None, later: int) -> str:
    if named is None or since is None:
        if later:
            return "what was promoted before this opening was taken back: the gate is what to beat"
        return "no run of the pipeline was promoted before this opening: the gate is what to beat"
    return (
        f"{_said(named)} was promoted in run {since.receipt.run}, and still was the champion at this opening "
        f"({later} later notes read)"
    )


def _promoted(record: Record, facts: LedgerFacts, opening: Opening, named: _Policy) -> Note:
    """The note of the champion's promotion, after everything about it held."""
    champion: dict[str, Any] = record.champion or {}
    if champion["promotion"] is None:
        raise Undetermined(
            f"the intent names no promotion of {_said(named)}",
            remedy="ask where it came from: an alias that was moved by hand shows nothing",
        )
    release = _statement(record, _RELEASE, champion["release"])
    promotion = _statement(record, _PROMOTION, champion["promotion"])
    note = facts.earlier_notes.get(promotion.name)
    if note is None:
        raise Falsified(f"{_PROMOTION}: its note is missing", remedy="ask for a complete record")
    _require_fit(record, release, promotion, note, named)
    if _place(note) != _place(opening):
        raise Undetermined(
            f"{_said(named)} was promoted by another pipeline, or on another ledger",
            remedy="ask for the record of the run that made it",
        )
    earlier = [e for e in facts.entries or [] if position(e) < position(opening)]
    closed = [e for e in earlier if isinstance(e, Closing) and position(e) < position(note)]
    run = note.receipt.run
    right = [e for e in closed if (e.receipt.run, e.record, e.verdict) == (run, release.sha256, "PROMOTE")]
    if note not in earlier or not right:
        raise Falsified(
            f"{_said(named)}: before this opening {facts.where} has not its closing and its promotion",
            remedy="refuse the comparison",
        )
    return note


def _statement(record: Record, name: str, sha256: str) -> Envelope:
    """A statement below ``champion/``; Falsified unless it is there with the digest that the intent names."""
    if f"{name}{ENVELOPE}" not in record.names:
        raise Falsified(f"{name}{ENVELOPE} is missing", remedy="ask for a complete record")
    found = record.statement(name)
    if found.sha256 != sha256:
        raise Falsified(f"{found.name} is not the one that the intent names", remedy="refuse the record")
    return found


def _require_fit(record: Record, release: Envelope, promotion: Envelope, note: Note, named: _Policy) -> None:
    """Release, promotion and note are about the champion's policy and about each other."""
    about = {record.spec.registration.model: named.root}
    files = resources(release.predicate["policy"]["resources"], where=release.name)
    said = promotion.predicate
    for holds, what in (
        (release.subjects == about and files == record.champion_files, "its release is of another policy"),
        (promotion.subjects == about, "its promotion is of another policy"),
        (said["release"] == release.sha256, "its promotion is of another release"),
        (
            (said["alias"], said["outcome"], said["version"]) == (ALIAS, "promoted", named.version),
            f"its promotion says version {said['version']} {said['outcome']} as {said['alias']}",
        ),
        (note.statement == promotion.sha256, "the note is of another promotion"),
    ):
        if not holds:
            raise Falsified(f"{_said(named)}: {what}", remedy="refuse the comparison")


def _place(entry: Entry) -> tuple[Any, ...]:
    receipt = entry.receipt
    return receipt.chain_id, receipt.genesis, receipt.contract, receipt.writer, receipt.pipeline


def _require_nothing_else(record: Record, facts: LedgerFacts, later: list[Note]) -> None:
    """Every statement below ``champion/notes/`` has its note, one of ``later``, and every note has one."""
    statements = {n: e.sha256 for n, e in record.envelopes.items() if n.startswith(NOTES)}
    notes = {n: note for n, note in facts.earlier_notes.items() if n.startswith(NOTES)}
    for name in sorted(statements.keys() | notes.keys()):
        note = notes.get(name)
        if note is None or statements.get(name) != note.statement or note not in later:
            raise Falsified(
                f"{name}: no statement that {facts.where} has between that promotion and this opening",
                remedy="refuse the comparison",
            )


def _replayed(record: Record, later: list[Note], start: _Policy | None) -> _Policy | None:
    """What these notes left of the champion; Undetermined when the record lacks one of their statements."""
    held = {e.sha256: e for n, e in record.envelopes.items() if n.startswith(NOTES)}
    missing = sorted({note.receipt.run for note in later if note.statement not in held})
    if missing:
        raise Undetermined(
            "another policy may have been the champion: the record lacks what was noted of the runs "
            f"{missing} before this opening",
            remedy="ask for a complete record, or for the records of those runs",
        )
    left = start
    for envelope in (held[note.statement] for note in later):
        left = _after(left, envelope, record.spec.registration.model)
    return left


def _after(left: _Policy | None, envelope: Envelope, model: str) -> _Policy | None:
    """The champion after a statement, which may be about something else."""
    said = envelope.predicate
    if (
        envelope.kind != predicate_type("promotion")
        or model not in envelope.subjects
        or said["alias"] != ALIAS
    ):
        return left
    if said["outcome"] == "promoted":
        return _Policy(said["version"], envelope.subjects[model])
    if said["outcome"] == "superseded":
        return left
    restored = said["restored"]
    return None if restored is None else _Policy(restored["version"], restored["root"])
