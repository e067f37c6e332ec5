"""The signer of a role: a key file of our own, or a key in a KMS or Vault, named by a URI.

The key id is the SHA-256 of the public key's SubjectPublicKeyInfo (DER): anybody can compute it from the
public key with any tool.

``DRL_SIGNER_STEPS``, ``DRL_SIGNER_RELEASE`` and ``DRL_SIGNER_APPROVAL`` hold the URIs; without one a role has
``file:FOLDER/ROLE.pem``, made at first use. Other schemes are securesystemslib's; the public key of such a
signer is a PEM file named by ``DRL_SIGNER_ROLE_PUBLIC``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from securesystemslib.exceptions import (
    UnsupportedAlgorithmError,
    UnsupportedLibraryError,
    UnverifiedSignatureError,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, Signature, Signer, SSlibKey

from drl.errors import InputError, Undetermined
from drl.record.key_files import (
    key_id,
    load_public,
    make_key_file,
    public_pem,
    read_key_file,
    replace_key_file,
)
from drl.record.keyring import ROLES, KeyEntry, Keyring, Role, now

__all__ = [
    "Role",
    "RoleSigner",
    "key_id",
    "load_public",
    "load_signer",
    "open_signer",
    "public_pem",
    "rotate",
    "signer_uri",
]

FILE = "file"
# What securesystemslib needs for each scheme beside itself.
_EXTRAS = {"awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hsm": "hsm", "hv": "vault"}


class RoleSigner:
    """Signs with the current key of a role, and knows which keys may have signed in it before.

    Attributes:
        role: what it signs.
        public_key: the current key.
        accepted: the current key and the earlier ones that were not revoked.
    """

    def __init__(self, role: str, inner: Signer, accepted: list[Key]) -> None:
        self.role = role
        self.public_key: SSlibKey = inner.public_key
        self.accepted = accepted
        self._inner = inner

    def sign(self, payload: bytes) -> Signature:
        """Sign, and check that the signature is the public key's before anybody stores it.

        Raises:
            Undetermined: the system that holds the key refused or is out of reach.
            InputError: it signed with another key or scheme.
        """
        try:
            signature = self._inner.sign(payload)
        except Exception as error:  # whatever the client of a KMS raises
            raise Undetermined(
                f"the {self.role} key {self.public_key.keyid[:12]} did not sign: {type(error).__name__}",
                remedy="see that the system which holds the key is up and lets this process sign, try again",
            ) from error
        try:
            self.public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError as error:
            raise InputError(
                f"what signed for the {self.role} key {self.public_key.keyid[:12]} is not that Ed25519 key",
                remedy=f"let {_variable(self.role)} and {_variable(self.role)}_PUBLIC name the same key",
            ) from error
        return signature


def load_signer(folder: Path, role: Role) -> RoleSigner:
    """The signer of a role; a key file is made when there is none, and the key noted in the key ring.

    Args:
        folder: of the key ring and the key files; made with mode 0700 when missing.
        role: ``steps`` signs what was done, ``release`` what is released and promoted, ``approval`` answers.

    Raises:
        InputError: the key is unusable, not the one in the key ring, revoked, or another role's.
    """
    ring = Keyring(folder)
    with ring.locked():
        uri = signer_uri(folder, role)
        if (path := _file(uri)) is not None and not path.exists():
            _refuse_to_replace_silently(ring, role, path)
            make_key_file(path)
        signer = _open(uri, role)
        _require_own(ring, role, signer.public_key)
        current = ring.current(role)
        if current is None:
            if ring.writable:
                ring.begin(_entry(role, uri, signer.public_key, _made(path)))
        elif current.key_id != signer.public_key.keyid:
            raise InputError(
                f"the {role} key is {signer.public_key.keyid[:12]}, and the key ring knows "
                f"{current.key_id[:12]}",
                remedy=f"put the key back, or take the new one over: drl keys rotate {role}",
            )
        elif current.revoked is not None:
            raise InputError(
                f"the {role} key {current.key_id[:12]} was revoked", remedy=f"drl keys rotate {role}"
            )
        accepted = ring.trusted(role) or [signer.public_key]
    return RoleSigner(role, signer, accepted)


def open_signer(uri: str, purpose: str) -> Signer:
    """A signer by its URI, outside the key ring; a key file is made when there is none.

    Args:
        uri: as for a role; for another scheme than ``file``, ``DRL_SIGNER_PURPOSE_PUBLIC`` names the public
            key.
        purpose: what it signs, for that variable and for errors.

    Raises:
        InputError: the URI names no usable key.
    """
    path = _file(uri)
    if path is not None and not path.exists():
        make_key_file(path)
    return _open(uri, purpose)


def rotate(folder: Path, role: Role) -> KeyEntry:
    """Let a new key sign in a role from now on; the key ring keeps the public half of the old one.

    A key file is replaced by a new key. Where the configuration names another key than the key ring already,
    that one is taken over: this is how a key in a KMS is rotated, and how an interrupted rotation ends.

    Raises:
        InputError: the key is in a KMS and the configuration still names the old one.
    """
    ring = Keyring(folder)
    with ring.locked():
        uri, current = signer_uri(folder, role), ring.current(role)
        path = _file(uri)
        if path is not None and not path.exists():
            make_key_file(path)
        elif current is None or _open(uri, role).public_key.keyid == current.key_id:
            if path is None:
                raise InputError(
                    f"the {role} key is held by {urlsplit(uri).scheme}, which makes its own keys",
                    remedy=f"make one there, set {_variable(role)} and {_variable(role)}_PUBLIC to it, again",
                )
            replace_key_file(path)
        public = _open(uri, role).public_key
        _require_own(ring, role, public)
        entry = _entry(role, uri, public, now())
        ring.begin(entry)
    return entry


def signer_uri(folder: Path, role: str) -> str:
    """Where the private key of a role is."""
    return os.environ.get(_variable(role)) or f"{FILE}:{folder / role}.pem"


def _variable(role: str) -> str:
    return f"DRL_SIGNER_{role.upper()}"


def _file(uri: str) -> Path | None:
    """The path in a ``file:`` URI, or None for another scheme."""
    parts = urlsplit(uri)
    if parts.scheme != FILE:
        return None
    if parts.netloc or not parts.path:
        raise InputError(f"{uri}: not the URI of a local file", remedy="write file:/path/to/key.pem")
    return Path(parts.path)


def _open(uri: str, role: str) -> Signer:
    path = _file(uri)
    if path is not None:
        return read_key_file(path)
    scheme = urlsplit(uri).scheme
    if scheme not in _EXTRAS or scheme not in SIGNER_FOR_URI_SCHEME:
        raise InputError(
            f"{_variable(role)}: no signer for {uri.partition(':')[0]!r}",
            remedy=f"give a URI of one of {sorted([FILE, *_EXTRAS])}",
        )
    public = _public(role)
    try:
        return Signer.from_priv_key_uri(uri, public)
    except UnsupportedLibraryError as error:
        raise InputError(
            f"{_variable(role)}: {error}", remedy=f"pip install 'securesystemslib[{_EXTRAS[scheme]}]'"
        ) from error
    except (KeyError, ValueError, UnsupportedAlgorithmError) as error:
        raise InputError(
            f"{_variable(role)}: {scheme} cannot sign with Ed25519 there, or the URI is not one of its keys "
            f"({type(error).__name__})",
            remedy="give an Ed25519 key in a system whose signer supports it, see docs/security.md",
        ) from error


def _public(role: str) -> SSlibKey:
    variable = f"{_variable(role)}_PUBLIC"
    path = os.environ.get(variable)
    if not path:
        raise InputError(
            f"{_variable(role)} names a key outside, and {variable} is not set",
            remedy=f"set {variable} to a PEM file with its public key",
        )
    try:
        return load_public(Path(path).read_bytes(), where=variable)
    except OSError as error:
        raise InputError(
            f"{variable}: {path}: {error.strerror}", remedy="give a readable PEM file"
        ) from error


def _refuse_to_replace_silently(ring: Keyring, role: Role, path: Path) -> None:
    known = ring.current(role)
    if known is not None:
        raise InputError(
            f"{path}: the {role} key {known.key_id[:12]} is gone",
            remedy=f"restore it from its backup, or let a new one take over: drl keys rotate {role}",
        )


def _require_own(ring: Keyring, role: Role, public: SSlibKey) -> None:
    """A key signs in one role, and a key of the past is not taken up again."""
    for entry in ring.entries():
        if entry.key_id == public.keyid and (entry.role != role or entry.until is not None):
            was = "is" if entry.until is None else "was"
            raise InputError(
                f"{_variable(role)}: {public.keyid[:12]} {was} the {entry.role} key",
                remedy="give each role a key of its own, and a new one at each rotation",
            )
    for other in ROLES:
        if other != role and _configured(ring.folder, other) == public.keyid:
            raise InputError(
                f"{public.keyid[:12]} is both the {role} key and the {other} key",
                remedy="give each role a key of its own",
            )


def _configured(folder: Path, role: Role) -> str | None:
    """Id of the key that is configured for a role, as far as its file is there."""
    path = _file(signer_uri(folder, role))
    if path is None:
        return str(_public(role).keyid)
    return str(read_key_file(path).public_key.keyid) if path.exists() else None


def _entry(role: Role, uri: str, public: SSlibKey, since: str) -> KeyEntry:
    return KeyEntry(role, public.keyid, uri, public_pem(public).decode(), since)


def _made(path: Path | None) -> str:
    """When a key file was written; for a key outside, now."""
    if path is None:
        return now()
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
