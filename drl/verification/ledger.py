"""Checks 6, 7, 10, 11, 28, 29 and 30: what the run ledger says about the run and its pipeline.

Without a chain to ask, everything about the ledger is what the record says, and is labelled so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drl.errors import Falsified, Undetermined
from drl.record.ledger import (
    DEMO_CHAIN_IDS,
    Account,
    Closing,
    Entry,
    Note,
    Opening,
    Receipt,
    Verdict,
    further_anchors,
    pipeline_id,
    position,
)
from drl.record.promotions import FOLDER
from drl.record.statement import predicate_type
from drl.verification.findings import Findings, Label
from drl.verification.ledger_view import (
    KeptAccount,
    LedgerAddress,
    LedgerView,
    OpenLedger,
    read_entry,
    require_order,
)
from drl.verification.record import ENVELOPE, NOTE, RELEASE, Envelope, Record
from drl.verification.signatures import SigningTimes
from drl.verification.trust import TrustedLedger, TrustPolicy

RUN_LEDGER_CODE = "0x99eea40741921fd1d571be9fb050a368737abaadde028ca9082620f1bccc06c4"
"""Keccak-256 of the run ledger's runtime code, from docs/record.md; taken where no trust policy pins one."""

_PROMOTION, _REVOCATION = predicate_type("promotion"), predicate_type("revocation")
_LATER = (_PROMOTION, _REVOCATION, predicate_type("reproduction"))
OFFLINE = "give --rpc URL of a node that you trust"
"""What to do when nobody asked the ledger."""


@dataclass
class LedgerFacts:
    """What is known about the run's entries, filled by :func:`gather`.

    Attributes:
        opening: and ``closing``, from the record's files; None when missing or malformed.
        notes: by the file name of the statement that each is for.
        earlier_notes: the same below ``champion/``, about runs before this one.
        entries: every entry of the pipeline: of the chain when it answered, else of ``account.json``.
        kept: ``account.json``.
        view: the chain, None when it was not or could not be asked.
    """

    opening: Opening | None = None
    closing: Closing | None = None
    notes: dict[str, Note] = field(default_factory=dict)
    earlier_notes: dict[str, Note] = field(default_factory=dict)
    entries: list[Entry] | None = None
    kept: KeptAccount | None = None
    view: LedgerView | None = None

    @property
    def online(self) -> bool:
        """Whether the entries are the chain's."""
        return self.view is not None

    @property
    def where(self) -> str:
        """What has the entries, in words."""
        return "the ledger" if self.online else "account.json"

    def times(self, record: Record) -> SigningTimes:
        """Ledger times of the run's statements."""
        noted = {name: note.receipt.block_time for name, note in (self.notes | self.earlier_notes).items()}
        revoked = {
            envelope.subjects[name]: noted[envelope.name]
            for envelope in record.envelopes.values()
            if envelope.kind == _REVOCATION and envelope.predicate["what"] == "key" and envelope.name in noted
            for name in envelope.subjects
        }
        if (promoted := f"{FOLDER}promotion{ENVELOPE}") in noted:
            noted[f"{FOLDER}{RELEASE}"] = noted[promoted]
        return SigningTimes(
            opened=self.opening.receipt.block_time if self.opening else None,
            closed=self.closing.receipt.block_time if self.closing else None,
            noted=noted,
            revoked=revoked,
            on_ledger=self.online,
        )


def gather(
    record: Record, findings: Findings, trust: TrustPolicy | None, open_ledger: OpenLedger | None
) -> LedgerFacts:
    """Read the entries that the record holds, and ask the chain for its own."""
    facts = LedgerFacts()
    with findings.guard(6):
        value = record.document("opening.json")["entry"]
        facts.opening = read_entry(value, Opening)
        _report_anchors(findings, "opening.json", value)
    with findings.guard(7):
        if "closing.json" in record.names:
            value = record.document("closing.json")
            facts.closing = read_entry(value, Closing)
            _report_anchors(findings, "closing.json", value)
    for name in sorted(n for n in record.names if n.endswith(NOTE)):
        earlier = name.startswith(FOLDER)
        with findings.guard(21 if earlier else 10):
            value = record.document(name)
            notes = facts.earlier_notes if earlier else facts.notes
            notes[name.removesuffix(NOTE) + ENVELOPE] = read_entry(value, Note)
            _report_anchors(findings, name, value)
    with findings.guard(29):
        facts.kept = KeptAccount.from_json(record.document("account.json"))
        facts.entries = list(facts.kept.entries)
    if open_ledger is not None and facts.opening is not None:
        with findings.guard(28):
            view = open_ledger(_address(record, facts.opening.receipt, trust))
            _check_chain(findings, view, facts.opening.receipt, trust.ledger if trust else None)
            entries = view.entries()
            require_order(tuple(entries))
            facts.view, facts.entries = view, entries
    return facts


def _report_anchors(findings: Findings, name: str, value: dict[str, Any]) -> None:
    for anchor in further_anchors(value):
        findings.not_checked(
            28,
            f"{name}: a further anchor of type {anchor['type']}, which this verifier does not know",
            remedy="check it with the tool of its kind",
        )


def _address(record: Record, receipt: Receipt, trust: TrustPolicy | None) -> LedgerAddress:
    pinned = trust.ledger if trust else None
    writer = receipt.writer
    if pinned is not None and writer not in pinned.writers:
        raise Falsified(
            f"the entries were written by {writer}, whom the trust policy does not name",
            remedy="ask the owner which account is theirs",
        )
    return LedgerAddress(
        contract=pinned.contract if pinned else receipt.contract,
        writer=writer,
        pipeline=record.spec.pipeline,
        finality=pinned.finality if pinned else "instant",
    )


def _check_chain(
    findings: Findings, view: LedgerView, receipt: Receipt, pinned: TrustedLedger | None
) -> None:
    """Check 28, online: the chain that answers is the one that is pinned, or that the record names."""
    chain_id, genesis = view.identity()
    wanted = (pinned.chain_id, pinned.genesis) if pinned else (receipt.chain_id, receipt.genesis)
    if (chain_id, genesis) != wanted:
        raise Undetermined(
            f"the chain that answers is {chain_id} with genesis {genesis}, not {wanted[0]} with {wanted[1]}",
            remedy="give --rpc the address of a node of that chain",
        )
    code, expected = view.code_hash(), pinned.code_hash if pinned else RUN_LEDGER_CODE
    if code != expected:
        raise Falsified(
            f"the contract's code has the hash {code}, not {expected}: anything may answer there",
            remedy="refuse what this contract says",
        )
    if pinned is not None and pinned.checkpoint is not None:
        block = view.block(pinned.checkpoint.number)
        found = block[0] if block else "not there yet"
        if found != pinned.checkpoint.hash:
            raise Falsified(
                f"block {pinned.checkpoint.number} is {found} on the chain that answers, and "
                f"{pinned.checkpoint.hash} in the trust policy",
                remedy="ask another node; if it agrees, the chain was rewritten",
            )
    pinned_by = "the trust policy" if pinned else "the record, as no trust policy pins one,"
    findings.recomputed(28, f"chain {chain_id} with the genesis and contract code that {pinned_by} names")


def check_ledger(record: Record, findings: Findings, facts: LedgerFacts, trust: TrustPolicy | None) -> None:
    """Checks 6, 7, 10, 28 and 29."""
    check_pinned(findings, facts, trust)
    check_opening(record, findings, facts)
    check_closing(record, findings, facts)
    check_notes(record, findings, facts)
    check_account(findings, facts)


def check_pinned(findings: Findings, facts: LedgerFacts, trust: TrustPolicy | None) -> None:
    """Check 28: every receipt is of one ledger, the pinned one; and what the chain's kind proves."""
    receipts = [e.receipt for e in (facts.opening, facts.closing, *facts.notes.values()) if e is not None]
    with findings.guard(28):
        places = {(r.chain_id, r.genesis, r.contract, r.writer, r.pipeline, r.run) for r in receipts}
        findings.require(28, len(places) <= 1, "the receipts are of several ledgers, writers or runs")
        pinned = trust.ledger if trust else None
        for receipt in receipts[:1] if pinned else ():
            assert pinned is not None  # noqa: S101 - receipts are looked at only then
            named = (receipt.chain_id, receipt.genesis, receipt.contract)
            findings.require(
                28,
                named == (pinned.chain_id, pinned.genesis, pinned.contract)
                and receipt.writer in pinned.writers,
                f"the receipts name chain {named[0]}, genesis {named[1]}, contract {named[2]} and writer "
                f"{receipt.writer}, which the trust policy does not",
            )
        if not facts.online and not findings.having(28, Label.NOT_CHECKED):
            findings.not_checked(
                28,
                "offline: the ledger was not asked, so order, time and completeness are the owner's word",
                remedy=OFFLINE,
            )
        for chain_id in sorted({r.chain_id for r in receipts} & DEMO_CHAIN_IDS):
            findings.claimed(
                28,
                f"order and time: chain {chain_id} is a demo chain, which proves no time to others",
                key=None,
            )
        _check_final(findings, facts)


def _check_final(findings: Findings, facts: LedgerFacts) -> None:
    if facts.view is None:
        return
    for what, entry in (("opening", facts.opening), ("closing", facts.closing)):
        if entry is not None and not facts.view.final(entry.receipt.block_number):
            findings.not_checked(
                28,
                f"the {what}'s block {entry.receipt.block_number} is not final yet",
                remedy="ask again later",
            )


def check_opening(record: Record, findings: Findings, facts: LedgerFacts) -> None:
    """Check 6: the run was opened with this intent and these held-out data."""
    with findings.guard(6):
        opening = require_opening(facts.opening, "opening.json")
        release, intent = record.statement("release"), record.statement("intent")
        pipeline = record.spec.pipeline
        holds = True
        for right, sentence in (
            (opening.to_json() == release.predicate["opening"], "the release names another opening"),
            (opening.intent == intent.sha256, "the opening is of another intent"),
            (opening.test_data == record.resolved["test_data"], "the opening names other held-out data"),
            (opening.receipt.pipeline == pipeline_id(pipeline), f"the opening is not of {pipeline}"),
        ):
            holds &= findings.require(6, right, sentence)
        if holds:
            look = f", look {opening.look} at its held-out data" if opening.test_data else ""
            _on_ledger(
                findings,
                facts,
                6,
                opening,
                f"run {opening.receipt.run} was opened with the intent{look}",
                key=release.key,
            )


def check_closing(record: Record, findings: Findings, facts: LedgerFacts) -> None:
    """Check 7: the run was closed, later, with this release and its verdict."""
    with findings.guard(7):
        if facts.closing is None:
            if "closing.json" not in record.names:
                findings.not_checked(
                    7, "the record holds no closing", remedy="ask for a record of the closed run"
                )
            return
        closing, opening = facts.closing, require_opening(facts.opening, "opening.json")
        release = record.statement("release")
        holds = True
        for right, sentence in (
            (closing.record == release.sha256, "the run was closed with another release statement"),
            (closing.verdict == release.predicate["verdict"], f"the run was closed with {closing.verdict}"),
            (position(closing) > position(opening), "the closing is not behind the opening"),
        ):
            holds &= findings.require(7, right, sentence)
        if holds:
            _on_ledger(
                findings, facts, 7, closing, f"the run was closed with this release: {closing.verdict}"
            )


def require_opening(entry: Opening | None, name: str) -> Opening:
    """The opening; Undetermined when it is missing."""
    if entry is None:
        raise Undetermined(f"rests on {name}, which is missing or malformed", remedy="see check 6")
    return entry


def _on_ledger(
    findings: Findings, facts: LedgerFacts, check: int, entry: Entry, sentence: str, *, key: str | None = None
) -> bool:
    """Say where the entry stands, and whether the chain, or only the record, says so."""
    receipt = entry.receipt
    where = f"{sentence} (block {receipt.block_number}, {utc(receipt.block_time)})"
    if facts.entries is not None and entry not in facts.entries:
        findings.false(
            check,
            f"{sentence}: {facts.where} has no such entry",
            remedy="do not believe the receipt",
        )
        return False
    if facts.online:
        findings.recomputed(check, f"{where}: so says the ledger")
    else:
        findings.claimed(check, where, key=key)
    return True


def check_notes(record: Record, findings: Findings, facts: LedgerFacts) -> None:
    """Check 10: promotion, rollback, revocation and reproduction statements are about this run, and noted."""
    later = {
        n: e for n, e in record.envelopes.items() if n == f"promotion{ENVELOPE}" or n.startswith("notes/")
    }
    for name in sorted(facts.notes.keys() - later.keys()):
        findings.false(10, f"{name}: a note without its statement", remedy="ask for the record again")
    for _, envelope in sorted(later.items()):
        with findings.guard(10):
            _check_note(record, findings, facts, envelope)
    if not later and not findings.having(10, Label.FALSE):
        findings.recomputed(10, "the record holds no promotion and no later statement")


def _check_note(record: Record, findings: Findings, facts: LedgerFacts, envelope: Envelope) -> None:
    if envelope.kind not in _LATER or not (envelope.name.startswith("notes/") or record.has("promotion")):
        raise Falsified(f"{envelope.name}: no later statement", remedy="ask for the record again")
    release, note = record.statement("release"), facts.notes.get(envelope.name)
    what = _about(record, findings, envelope)
    if note is None:
        findings.false(10, f"{what} was never noted on the ledger", remedy="ask for its note, or refuse it")
        return
    opening = require_opening(facts.opening, "opening.json")
    behind = position(facts.closing) if facts.closing else position(opening)
    holds = findings.require(
        10, note.statement == envelope.sha256, f"{what}: its note is of another statement"
    )
    holds &= findings.require(10, position(note) > behind, f"{what}: its note is not behind the closing")
    if envelope.kind == _PROMOTION and envelope.predicate["outcome"] == "promoted":
        holds &= findings.require(
            10,
            release.predicate["verdict"] == "PROMOTE",
            f"promoted, although the release says {release.predicate['verdict']}",
        )
    if holds and _on_ledger(findings, facts, 10, note, what, key=envelope.key) and _takes_back(envelope):
        findings.false(10, f"{what}: {envelope.predicate['reason']}", remedy="do not use this policy")


def _takes_back(envelope: Envelope) -> bool:
    """Whether it revokes the release or the policy; what a key's revocation does is for check 12."""
    return envelope.kind == _REVOCATION and envelope.predicate["what"] != "key"


def _about(record: Record, findings: Findings, envelope: Envelope) -> str:
    """What a later statement is about, in words; it must be about this run."""
    predicate, release = envelope.predicate, record.statement("release")
    root = release.predicate["policy"]["root"]
    findings.require(10, len(envelope.subjects) == 1, f"{envelope.name} has more than one subject")
    if envelope.kind == _REVOCATION:
        subject = set(envelope.subjects.values())
        signers = {key for e in record.own for key in e.keys}
        mine = {"release": {release.sha256}, "policy": {root}, "key": signers}[predicate["what"]]
        findings.require(10, bool(subject & mine), f"{envelope.name} revokes something of another run")
        return f"revocation of the {predicate['what']}"
    named = predicate.get("release", release.sha256)
    findings.require(10, named == release.sha256, f"{envelope.name} is about another release")
    findings.require(10, root in envelope.subjects.values(), f"{envelope.name} is about another policy")
    if envelope.kind == _PROMOTION:
        return f"version {predicate['version']} {predicate['outcome']} as {predicate['alias']}"
    return envelope.kind.rsplit(":", 2)[-2]


def check_account(findings: Findings, facts: LedgerFacts) -> None:
    """Check 29: nothing that the chain shows is missing from the record's account, and nothing is added."""
    with findings.guard(29):
        kept = facts.kept
        if kept is None:
            return
        if facts.view is None:
            findings.not_checked(
                29,
                "whether account.json shows every run of the pipeline: the ledger was not asked",
                remedy=OFFLINE,
            )
            return
        upto = [e for e in facts.entries or [] if e.receipt.block_number <= kept.number]
        holds = findings.require(
            29,
            facts.view.block(kept.number) == (kept.hash, kept.time),
            "account.json names a block that the chain has not",
        )
        missing = [e for e in upto if e not in kept.entries]
        added = [e for e in kept.entries if e not in upto]
        holds &= findings.require(29, not missing, f"account.json leaves out {_runs(missing)}")
        holds &= findings.require(
            29, not added, f"account.json shows what the ledger does not: {_runs(added)}"
        )
        if holds:
            newer = len(facts.entries or []) - len(upto)
            findings.recomputed(
                29, f"account.json is the ledger's up to block {kept.number}; {newer} entries came later"
            )


def _runs(entries: list[Entry]) -> str:
    shown = ", ".join(f"{type(e).__name__.lower()} of run {e.receipt.run}" for e in entries[:3])
    return f"{len(entries)} entries ({shown})"


def account(findings: Findings, facts: LedgerFacts) -> Account | None:
    """Check 11: the runs of the pipeline, for the reader to judge; None when nothing tells."""
    if facts.entries is None:
        findings.not_checked(11, "no account of the pipeline", remedy=OFFLINE)
        return None
    counted = Account.of(facts.entries)
    closed = ", ".join(f"{count} {verdict}" for verdict, count in counted.closed.items())
    abandoned = f"{len(counted.unclosed)} never closed" if counted.unclosed else "none left open"
    sentence = (
        f"{counted.opened} {'run' if counted.opened == 1 else 'runs'} opened; closed: {closed}; {abandoned}"
    )
    if facts.online:
        findings.recomputed(11, sentence)
    else:
        findings.claimed(11, sentence, key=None)
    for data, look in sorted(counted.looks.items()):
        text = f"held-out data {data[:12]} were looked at {look} {'times' if look > 1 else 'time'}"
        if facts.online:
            findings.recomputed(11, text)
        else:
            findings.claimed(11, text, key=None)
    return counted


@dataclass(frozen=True)
class Standing:
    """What the policy is today.

    Attributes:
        verdict: of the release, None when it could not be read.
        state: ``promoted``, ``superseded``, ``rolled back``, ``revoked``, ``not promoted`` or ``unknown``.
        sentence: it in words.
    """

    verdict: Verdict | None
    state: str
    sentence: str


def standing(record: Record, findings: Findings, facts: LedgerFacts) -> Standing:
    """Check 30: whether the promotion still stands, as far as the entries show."""
    found = Standing(None, "unknown", "what became of the policy cannot be told")
    with findings.guard(30):
        found = _standing(record, facts)
        opening = require_opening(facts.opening, "opening.json")
        hidden = _unexplained(record, facts, opening)
        if hidden:
            findings.not_checked(
                30,
                f"the ledger notes {hidden} later statements about this run that the record does not hold; "
                "one may be a rollback or a revocation",
                remedy="ask for a newer export of the record",
            )
            found = Standing(
                found.verdict, "unknown", f"{found.sentence}; what came later is not in the record"
            )
        elif facts.online:
            findings.recomputed(30, found.sentence)
        else:
            findings.claimed(30, found.sentence, key=None)
        _successors(findings, facts, opening, found)
    return found


def _standing(record: Record, facts: LedgerFacts) -> Standing:
    verdict: Verdict = record.statement("release").predicate["verdict"]
    later = [e for n, e in record.envelopes.items() if n in facts.notes]
    later.sort(key=lambda e: position(facts.notes[e.name]))
    state, sentence = "not promoted", f"released with {verdict}, not promoted"
    for envelope in later:
        when = utc(facts.notes[envelope.name].receipt.block_time)
        if envelope.kind == _PROMOTION:
            outcome = envelope.predicate["outcome"]
            state = "rolled back" if outcome == "rolled-back" else outcome
            sentence = f"{state} at {when}"
        elif _takes_back(envelope):
            return Standing(verdict, "revoked", f"revoked at {when}")
    return Standing(verdict, state, sentence)


def _unexplained(record: Record, facts: LedgerFacts, opening: Opening) -> int:
    held = {envelope.sha256 for envelope in record.own}
    run = opening.receipt.run
    return sum(
        isinstance(e, Note) and e.receipt.run == run and e.statement not in held for e in facts.entries or []
    )


def _successors(findings: Findings, facts: LedgerFacts, opening: Opening, found: Standing) -> None:
    last = max((position(n) for n in facts.notes.values()), default=position(opening))
    after = [e for e in facts.entries or [] if isinstance(e, Note) and position(e) > last]
    others = sorted({e.receipt.run for e in after if e.receipt.run != opening.receipt.run})
    if found.state == "promoted" and others:
        findings.not_checked(
            30,
            f"later notes on the runs {others}: another policy may have become champion since",
            remedy="ask for the records of those runs",
        )


def utc(seconds: int) -> str:
    """A ledger time for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
