"""``drl keys`` on a deployment: a rotated key is revoked; ledger, store and trust policy say since when."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from drl.cli.show import records
from drl.digest import sha256_bytes
from drl.local.stack import Stack
from drl.record.dsse import verify
from drl.record.keyring import Keyring
from drl.record.keys import RoleSigner, load_signer
from drl.record.ledger import Note
from drl.steps.journal import RunJournal
from drl.stores.chain import ChainSettings, Ledger
from drl.verification.trust import parse_trust

PIPELINE = "keys_revocation"
LEFT, STAYS = "aa" * 32, "bb" * 32
"""Keys of two approvers' own, of whom one is not asked any more."""


@pytest.fixture
def ledger(stack: Stack) -> Iterator[Ledger]:
    """The stack's ledger, and its settings in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            if name.startswith("DRL_"):
                patch.setenv(name, value)
        uri = os.environ["DRL_POSTGRES_URI"]
        ledger = Ledger(ChainSettings.from_environment(), lambda: psycopg.connect(uri))
        ledger.deploy()
        yield ledger


def closed_run(ledger: Ledger, signed_with: RoleSigner, approver_keys: list[str]) -> RunJournal:
    """A run that was opened and closed, as far as the ledger and the list of runs know."""
    run = f"{PIPELINE}/{secrets.token_hex(4)}"
    journal = RunJournal(records(), run)
    spec = {"promotion": {"approver_keys": approver_keys}, "registration": {"retention_days": 1}}
    journal.once("resolved.json", lambda: {"spec": spec})
    opening = ledger.open(PIPELINE, sha256_bytes(run.encode()))
    journal.keep_key(signed_with.public_key)
    journal.once("opening.json", lambda: {"entry": opening.to_json()})
    closing = ledger.close(PIPELINE, opening.receipt.run, "ab" * 32, "HOLD")
    journal.once("closing.json", closing.to_json)
    index = 2**42 - int(datetime.now(UTC).timestamp() * 1000)
    records().write_once(f"index/{index:013d}", run.encode())
    return journal


def keys(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return drl(folder, "keys", *arguments)


def drl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        env=os.environ | {"DRL_KEYS": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_revocation_counts_from_its_block(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    signer, other = load_signer(folder, "steps"), load_signer(tmp_path / "other", "steps")
    journals = [closed_run(ledger, signer, [LEFT, STAYS]) for _ in range(2)]
    untouched = closed_run(ledger, other, [STAYS])
    old = signer.public_key.keyid
    refused = keys(folder, "revoke", old, "--reason", "laptop lost")
    assert refused.returncode == 1
    assert "drl keys rotate steps" in refused.stderr
    rotated = keys(folder, "rotate", "steps")
    assert rotated.returncode == 0, rotated.stderr

    done = [keys(folder, "revoke", old[:12], "--reason", "laptop lost") for _ in range(2)]
    assert [d.returncode for d in done] == [0, 0], done[0].stderr + done[1].stderr
    notes = [entry for entry in ledger.account(PIPELINE) if isinstance(entry, Note)]
    name, note = f"revocation-{old[:16]}", notes[0]
    assert len(notes) == 2
    assert not untouched.has(f"{name}.dsse.json")
    for journal in journals:
        envelope = journal.read(f"{name}.dsse.json")
        assert {n.statement for n in notes} == {sha256_bytes(envelope)}
        assert journal.read_json(f"{name}.note.json") in [n.to_json() for n in notes]
    assert (folder / f"revocation-{old[:16]}.dsse.json").read_bytes() == envelope
    lock = records().sealed.lock(sha256_bytes(envelope))
    assert lock is not None
    assert lock.until is not None
    assert lock.until > datetime.now(UTC) + timedelta(days=1)

    said = verify(envelope, [load_signer(folder, "release").public_key]).statement
    assert said["subject"] == [{"name": "steps key", "digest": {"sha256": old}}]
    assert (said["predicate"]["what"], said["predicate"]["reason"]) == ("key", "laptop lost")
    since = datetime.fromtimestamp(note.receipt.block_time, UTC).isoformat(timespec="seconds")
    assert Keyring(folder).find(old).revoked == since
    assert old not in [key.keyid for key in load_signer(folder, "steps").accepted]

    listed = json.loads(keys(folder, "list", "--json").stdout)
    assert [(e["role"], bool(e["revoked"])) for e in listed] == [
        ("steps", True),
        ("steps", False),
        ("release", False),
    ]
    shown = keys(folder, "list").stdout
    assert old in shown
    assert f"revoked {since}" in shown
    assert "PRIVATE" not in shown

    written = drl(folder, "trust", "init")
    assert written.returncode == 0, written.stderr
    policy = parse_trust(written.stdout, where="trust init")
    assert {k.id: k.valid_until for k in policy.keys_for("steps")} == {
        old: note.receipt.block_time,
        load_signer(folder, "steps").public_key.keyid: None,
    }
    dropped = untouched.read_json("opening.json")["entry"]["receipt"]["block_time"]
    own = {k.id: k.valid_until for k in policy.keys_for("approval")}
    assert {k: own[k] for k in (LEFT, STAYS)} == {LEFT: dropped, STAYS: None}
    assert not {LEFT, STAYS} & {k.id for role in ("steps", "release") for k in policy.keys_for(role)}
