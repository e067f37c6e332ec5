"""Keys: made once, kept to their owner, known by a digest that anybody can compute."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from drl.errors import InputError
from drl.record.dsse import sign, verify
from drl.record.keys import load_public, load_signer, public_pem
from drl.record.statement import Subject, statement

STATEMENT = statement([Subject("s", "00" * 32)], "urn:drl:predicate:intent:v1", {})


def test_made_once_for_each_role(tmp_path):
    folder = tmp_path / "keys"
    steps, release = load_signer(folder, "steps"), load_signer(folder, "release")
    assert load_signer(folder, "steps").public_key == steps.public_key
    assert steps.public_key.keyid != release.public_key.keyid
    assert sorted(p.name for p in folder.iterdir()) == ["release.pem", "steps.pem"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}


def test_many_at_once_get_one_key(tmp_path):
    barrier, ids = threading.Barrier(16), []

    def load():
        barrier.wait()
        ids.append(load_signer(tmp_path, "steps").public_key.keyid)

    threads = [threading.Thread(target=load) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 16
    assert len(set(ids)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["steps.pem"]


def test_the_key_id_is_what_openssl_says(tmp_path):
    signer = load_signer(tmp_path, "release")
    der = subprocess.run(
        ["openssl", "pkey", "-in", str(tmp_path / "release.pem"), "-pubout", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    assert hashlib.sha256(der).hexdigest() == signer.public_key.keyid


def test_the_public_half_verifies(tmp_path):
    signer = load_signer(tmp_path, "release")
    public = load_public(public_pem(signer.public_key), where="release key")
    assert public == signer.public_key
    assert verify(sign(STATEMENT, [signer]), [public]).key_ids == (public.keyid,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    load_signer(tmp_path, "steps")
    path = tmp_path / "steps.pem"
    path.chmod(mode)
    with pytest.raises(InputError, match=f"mode {mode:04o}") as caught:
        load_signer(tmp_path, "steps")
    assert f"chmod 600 {path}" in caught.value.remedy


def write_private(path, data: bytes) -> None:
    path.write_bytes(data)
    os.chmod(path, 0o600)


def test_another_kind_of_file_is_refused_and_not_quoted(tmp_path):
    write_private(tmp_path / "steps.pem", b"swordfish")
    with pytest.raises(InputError, match="not an unencrypted private key") as caught:
        load_signer(tmp_path, "steps")
    assert "swordfish" not in str(caught.value)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_private(
        tmp_path / "release.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(InputError, match="not an Ed25519 key"):
        load_signer(tmp_path, "release")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InputError, match="trusted key: not an Ed25519"):
        load_public(public, where="trusted key")
    with pytest.raises(InputError, match="not a public key"):
        load_public(b"", where="trusted key")
