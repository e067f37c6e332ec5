"""Checks 1, 2 and 12: envelopes, signatures, schemas, and whether these keys may sign these statements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import SSlibKey

from drl.errors import Falsified
from drl.record.dsse import parse_canonical, verify
from drl.record.key_files import load_public, public_pem
from drl.record.statement import MODEL_SIGNATURE, SLSA_PROVENANCE, predicate_type
from drl.verification.findings import Findings
from drl.verification.record import ENVELOPE, Envelope, Record
from drl.verification.schemas import check_predicate
from drl.verification.trust import TrustPolicy

_ENVELOPE_LIMIT = 16 << 20

ROLES: dict[str, tuple[str, ...]] = {
    predicate_type("intent"): ("steps",),
    SLSA_PROVENANCE: ("steps",),
    predicate_type("validation"): ("steps",),
    predicate_type("evaluation"): ("steps",),
    MODEL_SIGNATURE: ("release",),
    predicate_type("release"): ("release",),
    predicate_type("promotion"): ("release",),
    predicate_type("approval"): ("approval",),
    predicate_type("revocation"): ("revocation", "release"),
    predicate_type("reproduction"): ("reproduction",),
}
"""Predicate type to the roles of a trust policy whose keys may sign it."""


def check_envelopes(record: Record, findings: Findings, trust: TrustPolicy | None) -> None:
    """Read every envelope; those that hold become the record's statements."""
    keys = _keys(record, findings, trust)
    names = sorted(n for n in record.names if n.endswith(ENVELOPE))
    unsuitable = 0
    for name in names:
        with findings.guard(1):
            envelope = _open(record, name, keys)
            try:
                check_predicate(envelope.statement, name=name)
            except Falsified as error:
                unsuitable += 1
                findings.false(2, error.message, remedy=error.remedy)
                continue
            record.envelopes[name] = envelope
    used = {key for envelope in record.envelopes.values() for key in envelope.keys}
    good = len(record.envelopes)
    if good:
        findings.recomputed(
            1, f"{good} of {len(names)} envelopes are canonical and their signatures hold ({len(used)} keys)"
        )
        findings.recomputed(2, f"{good} statements fit their schemas")
    if not names:
        findings.false(1, "there is no signed statement", remedy="ask for a complete record")


def _keys(record: Record, findings: Findings, trust: TrustPolicy | None) -> dict[str, SSlibKey]:
    """Public keys by id: those that the record carries, and those that the trust policy holds itself."""
    keys: dict[str, SSlibKey] = {}
    for name in sorted(n for n in record.names if n.startswith("keys/")):
        with findings.guard(1):
            stored = record.files.read(name, limit=4096)
            key = load_public(stored, where=name)
            if name != f"keys/{key.keyid}.pem" or stored != public_pem(key):
                raise Falsified(
                    f"{name}: holds the key {key.keyid}, or more than a key",
                    remedy="ask for the record again",
                )
            keys[key.keyid] = key
    for trusted in trust.keys if trust else ():
        if trusted.pem is not None:
            keys[trusted.id] = load_public(trusted.pem.encode(), where="trust policy")
    return keys


def _open(record: Record, name: str, keys: dict[str, SSlibKey]) -> Envelope:
    stored = record.files.read(name, limit=_ENVELOPE_LIMIT)
    parse_canonical(stored, what=name)
    ids = [signature["keyid"] for signature in json.loads(stored)["signatures"]]
    missing = [key_id for key_id in ids if key_id not in keys]
    if missing or not ids or len(set(ids)) != len(ids):
        raise Falsified(
            f"{name}: signed by {[i[:12] for i in ids]}; neither the record nor the trust policy holds the "
            f"keys {[i[:12] for i in missing]}",
            remedy="ask for the record again, with the public keys of all signatures",
        )
    try:
        verified = verify(stored, [keys[key_id] for key_id in ids], threshold=len(ids))
    except Falsified as error:
        raise Falsified(f"{name}: {error.message}", remedy=error.remedy) from error
    return Envelope(name, verified.sha256, verified.statement, verified.key_ids)


@dataclass(frozen=True)
class SigningTimes:
    """Ledger times that bound when statements of a run were signed, seconds since the epoch.

    A time is None when no entry with it is there. Offline they are what the record's receipts say.

    Attributes:
        opened: of the opening: the intent was signed before.
        closed: of the closing: everything that the release lists, and itself, was signed before.
        noted: of each note, by the file name of its statement.
        revoked: key id to the time of the note that revoked it.
        on_ledger: whether the ledger itself was asked.
    """

    opened: int | None
    closed: int | None
    noted: dict[str, int]
    revoked: dict[str, int]
    on_ledger: bool

    def of(self, envelope: Envelope) -> int | None:
        """By when the statement was signed."""
        if envelope.name in self.noted:
            return self.noted[envelope.name]
        return self.opened if envelope.kind == predicate_type("intent") else self.closed


def check_signers(record: Record, findings: Findings, trust: TrustPolicy | None, times: SigningTimes) -> None:
    """Check 12: every statement is signed by a key that may sign it, at the ledger's time of it."""
    if trust is None:
        findings.not_checked(
            12,
            "no trust policy: signatures hold under the record's own keys, which proves nothing about who",
            remedy="give --trust FILE, a policy that you hold yourself",
        )
        return
    good = 0
    for envelope in record.envelopes.values():
        with findings.guard(12):
            good += _check_signer(envelope, findings, trust, times)
    if good == len(record.envelopes) and good:
        dated = (
            "at the ledger's times" if times.on_ledger else "at the times that the record's receipts claim"
        )
        findings.recomputed(12, f"all {good} statements are signed by keys of the trust policy, {dated}")


def _check_signer(envelope: Envelope, findings: Findings, trust: TrustPolicy, times: SigningTimes) -> bool:
    roles = ROLES[envelope.kind]
    allowed = [key for role in roles for key in trust.keys_for(role) if key.id in envelope.keys]
    if not allowed:
        if envelope.kind == predicate_type("reproduction"):
            return True  # check 31 says what an untrusted reproduction is worth
        findings.false(
            12,
            f"{envelope.name}: signed by {_short(envelope.keys)}, which the trust policy allows no role "
            f"{' or '.join(roles)}",
            remedy="ask the owner which keys are theirs, by another way than this record",
        )
        return False
    time = times.of(envelope)
    if time is None:
        findings.not_checked(
            12,
            f"{envelope.name}: no ledger entry says when it was signed",
            remedy="ask for a record of the finished run",
        )
        return False
    holding = [k for k in allowed if k.valid_at(time) and time < times.revoked.get(k.id, time + 1)]
    return findings.require(
        12,
        bool(holding),
        f"{envelope.name}: its key {_short(envelope.keys)} was not valid, or revoked, at ledger time {time}",
    )


def _short(keys: Any) -> str:
    return ", ".join(key[:12] for key in keys)
