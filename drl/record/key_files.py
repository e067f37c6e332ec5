"""Ed25519 keys in files: private ones of our own, written whole and for their owner only, and public ones."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from drl.digest import sha256_bytes
from drl.errors import InputError


def key_id(public: Ed25519PublicKey) -> str:
    """SHA-256 of the public key's SubjectPublicKeyInfo, in hexadecimal."""
    return sha256_bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def public_pem(key: SSlibKey) -> bytes:
    """An Ed25519 public key as SubjectPublicKeyInfo in PEM, the form in which a record carries it."""
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def load_public(pem: bytes, *, where: str) -> SSlibKey:
    """A public key from PEM, with our key id.

    Args:
        pem: SubjectPublicKeyInfo in PEM.
        where: file or field, for the error.

    Raises:
        InputError: not an Ed25519 public key in PEM.
    """
    try:
        public = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{where}: not a public key in PEM", remedy="give an Ed25519 public key") from error
    if not isinstance(public, Ed25519PublicKey):
        raise InputError(
            f"{where}: not an Ed25519 key, and records are signed with Ed25519 only",
            remedy="give an Ed25519 public key; in a KMS, make a key of that kind",
        )
    return SSlibKey.from_crypto(public, key_id(public))


def make_key_file(path: Path) -> None:
    """Write a new private key to ``path`` with mode 0600, unless there is one.

    The file appears whole, under its name, once: of two processes that come at once, both find the key of the
    first.
    """
    with contextlib.suppress(FileExistsError), _draft(path) as draft:
        os.link(draft, path)


def replace_key_file(path: Path) -> None:
    """Write a new private key over the one in ``path``; at every moment there is one whole key."""
    with _draft(path) as draft:
        draft.replace(path)


def read_key_file(path: Path) -> CryptoSigner:
    """The signer of a private key in a file.

    Raises:
        InputError: there is no such file, others may read it, or it is not an Ed25519 key in PKCS#8 PEM.
    """
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise InputError(
                    f"{path}: mode {mode:04o} lets others read the signing key",
                    remedy=f"chmod 600 {path}, and make a new key if somebody may have read it",
                )
            pem = stream.read()
    except OSError as error:
        raise InputError(
            f"{path}: the signing key cannot be read: {error.strerror}", remedy="give the file of a key"
        ) from error
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The parser's own message is left out: it might quote the file.
        raise InputError(
            f"{path}: not an unencrypted private key in PEM ({type(error).__name__})",
            remedy="restore the key from its backup, or move the file away and let a new key take over: "
            "drl keys rotate",
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key", remedy="give an Ed25519 key in PKCS#8 PEM")
    public = private.public_key()
    return CryptoSigner(private, SSlibKey.from_crypto(public, key_id(public)))


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A whole new key beside ``path``, to be moved there."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
