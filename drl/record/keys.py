"""Ed25519 signing keys in files, one for each role, made at first use.

The key id is the SHA-256 of the public key's SubjectPublicKeyInfo (DER): anybody can compute it from the
public key with any tool. Keys held elsewhere (KMS, HSM) join as other securesystemslib signers.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Literal

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

Role = Literal["steps", "release", "approval"]


def load_signer(folder: Path, role: Role) -> CryptoSigner:
    """The signer of a role; its key file ``ROLE.pem`` is made when there is none.

    Two processes that come at once get the same key: the file appears whole, under its name, once.

    Args:
        folder: where the keys lie; made with mode 0700 when missing.
        role: ``steps`` signs what was done, ``release`` what is released and promoted, ``approval`` answers.

    Raises:
        InputError: others may read the file, or it is not an Ed25519 key in PKCS#8 PEM.
    """
    path = folder / f"{role}.pem"
    if not path.exists():
        _make(path)
    return _read(path)


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
        raise InputError(f"{where}: not an Ed25519 key", remedy="give an Ed25519 public key")
    return SSlibKey.from_crypto(public, key_id(public))


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the key
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> CryptoSigner:
    with path.open("rb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
        if mode & 0o077:
            raise InputError(
                f"{path}: mode {mode:04o} lets others read the signing key",
                remedy=f"chmod 600 {path}, and make a new key if somebody may have read it",
            )
        pem = stream.read()
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The parser's own message is left out: it might quote the file.
        raise InputError(
            f"{path}: not an unencrypted private key in PEM ({type(error).__name__})",
            remedy="restore the key from its backup, or move the file away to have a new key made",
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key", remedy="give an Ed25519 key in PKCS#8 PEM")
    public = private.public_key()
    return CryptoSigner(private, SSlibKey.from_crypto(public, key_id(public)))
