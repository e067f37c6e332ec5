"""Keys: made once, kept to their owner, one for each role, rotated and revoked without losing the past."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer

from drl.errors import Falsified, InputError, Undetermined
from drl.record.dsse import sign, verify
from drl.record.key_files import make_key_file
from drl.record.keyring import Keyring
from drl.record.keys import load_public, load_signer, public_pem, rotate
from drl.record.statement import Subject, statement

STATEMENT = statement([Subject("s", "00" * 32)], "urn:drl:predicate:intent:v1", {})


def test_made_once_for_each_role(tmp_path):
    folder = tmp_path / "keys"
    steps, release = load_signer(folder, "steps"), load_signer(folder, "release")
    assert load_signer(folder, "steps").public_key == steps.public_key
    assert steps.public_key.keyid != release.public_key.keyid
    assert sorted(p.name for p in folder.iterdir()) == ["keys.json", "release.pem", "steps.pem"]
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "steps.pem"]


def test_two_processes_at_first_use_get_one_key(tmp_path):
    program = (
        "import sys, pathlib; from drl.record.keys import load_signer; "
        "print(load_signer(pathlib.Path(sys.argv[1]), 'steps').public_key.keyid)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "keys")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ids = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(ids) == 1
    assert [entry.key_id for entry in Keyring(tmp_path / "keys").entries()] == [ids.pop().strip()]


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


# ----------------------------------------------------------------------------------- one key for each role


def test_one_file_for_two_roles_is_refused(tmp_path, monkeypatch):
    load_signer(tmp_path, "steps")
    monkeypatch.setenv("DRL_SIGNER_RELEASE", f"file:{tmp_path}/steps.pem")
    with pytest.raises(InputError, match="is the steps key"):
        load_signer(tmp_path, "release")


def test_a_copy_under_another_name_is_refused_before_either_was_used(tmp_path):
    load_signer(tmp_path / "other", "steps")
    for name in ("steps.pem", "approval.pem"):
        write_private(tmp_path / name, (tmp_path / "other" / "steps.pem").read_bytes())
    with pytest.raises(InputError, match="both the steps key and the approval key"):
        load_signer(tmp_path, "steps")


# ------------------------------------------------------------------------------------- keys held elsewhere


class StandIn(Signer):
    """Stands for a Vault: holds a key that no file of ours has."""

    held: CryptoSigner

    def __init__(self, public_key):
        self._public = public_key

    @property
    def public_key(self):
        return self._public

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri, public_key, secrets_handler=None):
        return cls(public_key)

    def sign(self, payload):
        signature = self.held.sign(payload)
        signature.keyid = self._public.keyid
        return signature


@pytest.fixture
def vault(tmp_path, monkeypatch):
    """A release key in the stand-in; returns its public half."""
    monkeypatch.setattr(StandIn, "held", CryptoSigner.generate_ed25519(), raising=False)
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "hv", StandIn)
    return hold(tmp_path, monkeypatch)


def hold(folder, monkeypatch):
    public = folder / f"{StandIn.held.public_key.keyid[:8]}.pub.pem"
    public.write_bytes(public_pem(StandIn.held.public_key))
    monkeypatch.setenv("DRL_SIGNER_RELEASE", "hv:release/1")
    monkeypatch.setenv("DRL_SIGNER_RELEASE_PUBLIC", str(public))
    return load_public(public.read_bytes(), where="held")


def test_a_key_elsewhere_signs_what_its_public_half_verifies(tmp_path, vault):
    signer = load_signer(tmp_path / "keys", "release")
    assert verify(sign(STATEMENT, [signer]), [vault]).key_ids == (vault.keyid,)
    assert [e.where for e in Keyring(tmp_path / "keys").entries()] == ["hv:release/1"]
    assert not (tmp_path / "keys" / "release.pem").exists()


def test_what_another_key_signed_is_refused_before_it_is_stored(tmp_path, vault, monkeypatch):
    signer = load_signer(tmp_path / "keys", "release")
    monkeypatch.setattr(StandIn, "held", CryptoSigner.generate_ed25519())
    with pytest.raises(InputError, match="is not that Ed25519 key"):
        sign(STATEMENT, [signer])


def test_a_signer_that_is_away_could_not_tell(tmp_path, vault, monkeypatch):
    def away(self, payload):
        raise ConnectionError("token s.wordfish refused")

    monkeypatch.setattr(StandIn, "sign", away)
    signer = load_signer(tmp_path / "keys", "release")
    with pytest.raises(Undetermined, match="did not sign: ConnectionError") as caught:
        sign(STATEMENT, [signer])
    assert "wordfish" not in str(caught.value)


def test_a_key_elsewhere_is_rotated_by_its_configuration(tmp_path, vault, monkeypatch):
    folder = tmp_path / "keys"
    old = load_signer(folder, "release").public_key
    with pytest.raises(InputError, match="held by hv") as caught:
        rotate(folder, "release")
    assert "DRL_SIGNER_RELEASE_PUBLIC" in caught.value.remedy
    monkeypatch.setattr(StandIn, "held", CryptoSigner.generate_ed25519())
    new = hold(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="the key ring knows") as caught:
        load_signer(folder, "release")
    assert "drl keys rotate release" in caught.value.remedy
    assert rotate(folder, "release").key_id == new.keyid
    assert [key.keyid for key in load_signer(folder, "release").accepted] == [old.keyid, new.keyid]


def test_another_scheme_is_refused(tmp_path, vault, monkeypatch):
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = tmp_path / "ecdsa.pem"
    pem.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setenv("DRL_SIGNER_RELEASE_PUBLIC", str(pem))
    with pytest.raises(InputError, match="DRL_SIGNER_RELEASE_PUBLIC: not an Ed25519 key"):
        load_signer(tmp_path / "keys", "release")


@pytest.mark.parametrize("uri", ["awskms:alias/release", "hsm:2?label=release"])
def test_a_system_whose_signer_cannot_do_ed25519_is_refused(tmp_path, vault, monkeypatch, uri):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("DRL_SIGNER_RELEASE", uri)
    with pytest.raises(InputError, match="cannot sign with Ed25519"):
        load_signer(tmp_path / "keys", "release")


@pytest.mark.parametrize(
    ("uri", "extra"),
    [
        ("gcpkms:release/1", "gcpkms"),
        ("azurekms://v.vault.azure.net/keys/k/1", "azurekms"),
        ("hv:release/1", "vault"),
    ],
)
def test_a_missing_package_is_named(tmp_path, vault, monkeypatch, uri, extra):
    from securesystemslib.signer import VaultSigner

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "hv", VaultSigner)
    monkeypatch.setenv("DRL_SIGNER_RELEASE", uri)
    with pytest.raises(InputError) as caught:
        load_signer(tmp_path / "keys", "release")
    assert f"securesystemslib[{extra}]" in caught.value.remedy


@pytest.mark.parametrize("uri", ["swordfish:x", "file2:/k.pem", "gnupg:abc", "file://host/k.pem", "k.pem"])
def test_an_unknown_place_is_refused(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("DRL_SIGNER_STEPS", uri)
    with pytest.raises(InputError):
        load_signer(tmp_path, "steps")


def test_a_key_elsewhere_needs_its_public_half(tmp_path, vault, monkeypatch):
    monkeypatch.delenv("DRL_SIGNER_RELEASE_PUBLIC")
    with pytest.raises(InputError, match="DRL_SIGNER_RELEASE_PUBLIC is not set"):
        load_signer(tmp_path / "keys", "release")


# ------------------------------------------------------------------------------------ rotation, revocation


def test_after_a_rotation_the_new_key_signs_and_the_old_one_still_verifies(tmp_path):
    before = load_signer(tmp_path, "steps")
    signed = sign(STATEMENT, [before])
    entry = rotate(tmp_path, "steps")
    after = load_signer(tmp_path, "steps")
    assert after.public_key.keyid == entry.key_id != before.public_key.keyid
    assert verify(signed, after.accepted).key_ids == (before.public_key.keyid,)
    old, new = Keyring(tmp_path).entries()
    assert (old.until, new.since, new.until) == (entry.since, entry.since, None)
    assert stat.S_IMODE((tmp_path / "steps.pem").stat().st_mode) == 0o600


def test_no_private_key_is_in_the_key_ring(tmp_path):
    load_signer(tmp_path, "steps")
    rotate(tmp_path, "steps")
    text = (tmp_path / "keys.json").read_text()
    assert "PRIVATE" not in text
    assert text.count("BEGIN PUBLIC KEY") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "steps.pem"]


def test_a_rotation_that_was_interrupted_is_ended_by_the_next(tmp_path):
    load_signer(tmp_path, "steps")
    ring = (tmp_path / "keys.json").read_bytes()
    entry = rotate(tmp_path, "steps")
    (tmp_path / "keys.json").write_bytes(ring)  # died between the two writes
    with pytest.raises(InputError, match="the key ring knows"):
        load_signer(tmp_path, "steps")
    assert rotate(tmp_path, "steps").key_id == entry.key_id
    assert load_signer(tmp_path, "steps").public_key.keyid == entry.key_id


def test_a_lost_key_is_not_replaced_in_silence(tmp_path):
    load_signer(tmp_path, "steps")
    (tmp_path / "steps.pem").unlink()
    with pytest.raises(InputError, match="is gone") as caught:
        load_signer(tmp_path, "steps")
    assert "drl keys rotate steps" in caught.value.remedy
    rotate(tmp_path, "steps")
    assert len(load_signer(tmp_path, "steps").accepted) == 2


def test_a_key_of_the_past_is_not_taken_up_again(tmp_path):
    load_signer(tmp_path, "steps")
    pem = (tmp_path / "steps.pem").read_bytes()
    rotate(tmp_path, "steps")
    write_private(tmp_path / "steps.pem", pem)
    with pytest.raises(InputError, match="was the steps key"):
        rotate(tmp_path, "steps")


def test_what_a_revoked_key_signed_does_not_hold_any_more(tmp_path):
    before = load_signer(tmp_path, "steps")
    rotate(tmp_path, "steps")
    Keyring(tmp_path).revoke(before.public_key.keyid, "2026-11-24T10:00:00+00:00")
    with pytest.raises(Falsified):
        verify(sign(STATEMENT, [before]), load_signer(tmp_path, "steps").accepted)


def test_a_damaged_key_ring_is_refused(tmp_path):
    load_signer(tmp_path, "steps")
    (tmp_path / "keys.json").write_text('{"format": "drl.keys/1", "keys": [{}]}')
    with pytest.raises(InputError, match="not a key ring"):
        load_signer(tmp_path, "steps")


def test_the_key_ring_is_found_by_the_beginning_of_an_id(tmp_path):
    signer = load_signer(tmp_path, "steps")
    ring = Keyring(tmp_path)
    assert ring.find(signer.public_key.keyid[:8]).role == "steps"
    for text in ("", signer.public_key.keyid[:7], "00000000"):
        with pytest.raises(InputError, match="keys begin with"):
            ring.find(text)


def test_keys_in_a_folder_that_cannot_be_written_are_used_as_they_are(tmp_path, monkeypatch):
    write_private(tmp_path / "release.pem", fresh_pem(tmp_path))
    monkeypatch.setattr(Keyring, "writable", False)  # root may write anywhere, so the mode cannot say it
    signer = load_signer(tmp_path, "release")
    assert [key.keyid for key in signer.accepted] == [signer.public_key.keyid]
    assert [p.name for p in tmp_path.glob("keys.json")] == []


def fresh_pem(tmp_path) -> bytes:
    path = tmp_path / "elsewhere" / "k.pem"
    make_key_file(path)
    return path.read_bytes()
