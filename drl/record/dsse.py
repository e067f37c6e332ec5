"""Signed statements: DSSE envelopes in canonical JSON.

An envelope is signed once and stored; its digest is of the stored bytes and it is never made again. Only the
canonical byte form is accepted, so that one signed statement has one digest and every parser reads the same.
Specification: https://github.com/secure-systems-lab/dsse (v1).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import Key, Signer

from drl.digest import canonical_json, sha256_bytes
from drl.errors import Falsified, InputError

PAYLOAD_TYPE = "application/vnd.in-toto+json"

_MAX_DEPTH = 100
# Strings are stepped over as a whole, ended or not, so that the search stays linear.
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)

_REMEDY = "take the envelope from its source again; do not trust what depends on it"


@dataclass(frozen=True)
class Verified:
    """A statement whose signatures hold.

    Attributes:
        statement: the in-toto statement.
        sha256: digest of the envelope's bytes.
        key_ids: the given keys that signed, sorted.
    """

    statement: dict[str, Any]
    sha256: str
    key_ids: tuple[str, ...]


def sign(statement: dict[str, Any], signers: Sequence[Signer]) -> bytes:
    """Sign a statement.

    Returns:
        The envelope's bytes, to be stored exactly as they are. Ed25519 makes the same bytes each time.

    Raises:
        InputError: no signer, two signers with one key, or a statement without canonical JSON form.
    """
    envelope = Envelope(canonical_json(statement), PAYLOAD_TYPE, {})
    for signer in sorted(signers, key=lambda s: s.public_key.keyid):
        envelope.sign(signer)
    if not signers or len(envelope.signatures) != len(signers):
        raise InputError(f"{len(signers)} signers", remedy="give at least one signer, each with its own key")
    return canonical_json(envelope.to_dict())


def verify(stored: bytes, keys: Sequence[Key], *, threshold: int = 1) -> Verified:
    """Check an envelope and return its statement.

    Args:
        stored: the envelope's exact bytes.
        keys: the public keys that may have signed; which key may sign which statement is the caller's policy.
        threshold: how many of ``keys`` must have signed.

    Raises:
        Falsified: the bytes are no canonical envelope, or the signatures do not hold.
        InputError: fewer keys than the threshold, or a threshold below one.
    """
    if threshold < 1 or len(keys) < threshold:
        raise InputError(
            f"{len(keys)} keys for a threshold of {threshold}", remedy="give the keys that may have signed"
        )
    envelope = _read(stored)
    holding = [key.keyid for key in keys if _holds(envelope, key)]
    if len(set(holding)) < threshold:
        raise Falsified(
            f"envelope {sha256_bytes(stored)[:12]}: {len(set(holding))} of the {threshold} signatures needed "
            f"hold (signed by {sorted(envelope.signatures)}, trusted {sorted(k.keyid for k in keys)})",
            remedy=_REMEDY,
        )
    return Verified(_statement(envelope.payload), sha256_bytes(stored), tuple(sorted(set(holding))))


def read_unverified(stored: bytes) -> dict[str, Any]:
    """The statement inside an envelope, signatures unchecked: for display and for finding keys only."""
    return _statement(_read(stored).payload)


def _holds(envelope: Envelope, key: Key) -> bool:
    try:
        envelope.verify([key], 1)
    except VerificationError:
        return False
    return True


def _read(stored: bytes) -> Envelope:
    value = parse_canonical(stored, what="envelope")
    try:
        payload = base64.b64decode(value["payload"], validate=True)
        envelope = Envelope.from_dict(json.loads(stored))
        again = canonical_json(envelope.to_dict())
    except (KeyError, TypeError, ValueError, AttributeError, FormatError, InputError) as error:
        raise Falsified(f"not a DSSE envelope: {error!r}", remedy=_REMEDY) from error
    ordered = list(envelope.signatures) == sorted(envelope.signatures)
    if again != stored or payload != envelope.payload or not ordered:
        raise Falsified("the envelope is not in its canonical form", remedy=_REMEDY)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Falsified(f"payloadType {envelope.payload_type!r} is not {PAYLOAD_TYPE!r}", remedy=_REMEDY)
    return envelope


def _statement(payload: bytes) -> dict[str, Any]:
    return parse_canonical(payload, what="statement")


def parse_canonical(data: bytes, *, what: str) -> dict[str, Any]:
    """A JSON object whose bytes are its canonical form: nothing is given twice, nothing can be read two ways.

    Raises:
        Falsified: the bytes are something else.
    """
    _refuse_deep_nesting(data, what)
    try:
        value = json.loads(data, parse_int=_number)
        same = isinstance(value, dict) and canonical_json(value) == data
    except (ValueError, RecursionError, InputError) as error:
        raise Falsified(f"the {what} is not canonical JSON: {error}", remedy=_REMEDY) from error
    if not same:
        raise Falsified(f"the {what} is not a JSON object in canonical form", remedy=_REMEDY)
    result: dict[str, Any] = value
    return result


def _refuse_deep_nesting(data: bytes, what: str) -> None:
    # The parser recurses in C: where a library has raised Python's recursion limit, hostile nesting would
    # end the process instead of raising an error.
    depth = 0
    for token in _BRACKETS.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > _MAX_DEPTH:
            raise Falsified(f"the {what} is nested more than {_MAX_DEPTH} levels deep", remedy=_REMEDY)


def _number(text: str) -> int | float:
    # RFC 8785 writes a double like 1e16 without a point; beyond 53 bits digits can only be such a double.
    number = int(text) if len(text) < 20 else float(text)
    return number if abs(number) < 2**53 else float(number)
