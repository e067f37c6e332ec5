"""Check 31: training is a claim until somebody whom the verifier trusts has done it again."""

from __future__ import annotations

from drl.record.statement import predicate_type
from drl.verification.findings import Findings, Label
from drl.verification.ledger import LedgerFacts
from drl.verification.record import Envelope, Record
from drl.verification.trust import TrustPolicy

_REPRODUCTION = predicate_type("reproduction")


def check_reproduction(
    record: Record, findings: Findings, facts: LedgerFacts, trust: TrustPolicy | None
) -> None:
    """Look at every reproduction statement of the record."""
    with findings.guard(31):
        found = [e for e in record.own if e.kind == _REPRODUCTION]
        for envelope in found:
            _check(record, findings, facts, envelope, trust)
        if not findings.having(31, Label.RECOMPUTED) and not findings.having(31, Label.FALSE):
            findings.not_checked(
                31,
                "training was not reproduced by a key that the trust policy trusts for it",
                remedy="drl reproduce RECORD, or ask for the statement of somebody you trust",
            )


def _check(
    record: Record, findings: Findings, facts: LedgerFacts, envelope: Envelope, trust: TrustPolicy | None
) -> None:
    said, root = envelope.predicate, record.statement("release").predicate["policy"]["root"]
    outcome, key = said["outcome"], envelope.key
    if (outcome == "identical") != (said["root"] == root):
        findings.false(31, f"{envelope.name} says {outcome} of the model root {said['root'][:12]}")
        return
    if outcome == "equivalent" and said["test"] is None:
        findings.false(31, f"{envelope.name} says equivalent without a test")
        return
    trusted = trust is not None and any(k.id in envelope.keys for k in trust.keys_for("reproduction"))
    note = facts.notes.get(envelope.name)
    noted = facts.online and note is not None and note in (facts.entries or [])
    if trusted and outcome == "different":
        findings.false(31, f"a reproduction by the trusted key {key[:12]} came to a different policy")
    elif not trusted or not noted:
        why = "by a key that no trust policy trusts for it" if not trusted else "not seen on the ledger"
        findings.claimed(31, f"training was repeated: {outcome} ({why})", key=key)
    else:
        findings.recomputed(31, f"training was repeated by the trusted key {key[:12]}: {outcome}")
