"""Canonical JSON and SHA-256, the two things that every digest in this project is made of.

A digest is always of exact stored bytes, written as 64 lower-case hexadecimal characters.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import rfc8785

from drl.errors import InputError

_CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """The one byte sequence of a JSON value (RFC 8785).

    Args:
        value: JSON made of dict, list, str, bool, None, int within 53 bits, finite float.

    Raises:
        InputError: a number is outside 53 bits, not finite, or a type is not JSON.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, TypeError, ValueError) as error:
        raise InputError(
            f"this value has no canonical JSON form: {error}",
            remedy="write integers beyond 53 bits as strings and replace NaN and infinity",
        ) from error


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces so that memory stays constant."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def require_sha256(text: str, *, where: str) -> str:
    """Return ``text`` if it is a SHA-256 in lower-case hexadecimal, else raise :class:`InputError`."""
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise InputError(
            f"{where}: {text!r} is not a SHA-256 digest",
            remedy="give 64 lower-case hexadecimal characters, as `sha256sum` prints them",
        )
    return text
