"""What ``drl keys`` does: the key ring for people, rotation, and revocation with its notes on the ledger."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from drl.cli.lineage_again import record_again
from drl.cli.show import records
from drl.digest import sha256_bytes
from drl.errors import InputError
from drl.record.dsse import sign, verify
from drl.record.keyring import ROLES, KeyEntry, Keyring, Role, now
from drl.record.keys import load_signer, rotate
from drl.record.ledger import Note
from drl.record.predicates import revocation_statement
from drl.steps.journal import ENVELOPE, KEYS, RunJournal, pipeline_of

if TYPE_CHECKING:
    from drl.stores.chain import Ledger


def keys_folder() -> Path:
    """Folder of the key ring: ``DRL_KEYS``, by default that of the embedded Airflow."""
    from drl.local.home import Home

    given = os.environ.get("DRL_KEYS")
    return Path(given) if given else Home.at().path / "airflow" / "keys"


def show_keys(*, as_json: bool) -> None:
    """Print every key that signed or signs."""
    entries = Keyring(keys_folder()).entries()
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    if not entries:
        typer.echo(f"no key yet in {keys_folder()}; each is made when it first signs")
        return
    for entry in entries:
        typer.echo(f"{entry.role:<9} {entry.key_id}")
        typer.echo(f"          since {entry.since}, {_state(entry)}")


def rotate_role(role: str) -> None:
    """Let a new key sign in ``role``, and say what to do next."""
    entry = rotate(keys_folder(), _role(role))
    typer.echo(f"{entry.role} signs with {entry.key_id} since {entry.since}")
    typer.echo(
        "next: give the new key to whoever verifies, who adds it to their trust policy: drl trust init"
    )


def revoke(key_id: str, reason: str) -> None:
    """Sign that an earlier key is not to be trusted, and note it on every closed run that it signed in.

    It may be run again after an interruption: the statement is made once, and noted once.

    Raises:
        InputError: no such key, or it is the one that signs now.
    """
    ring = Keyring(keys_folder())
    entry = ring.find(key_id)
    if entry.until is None:
        raise InputError(
            f"{entry.key_id[:12]} is the {entry.role} key that signs now",
            remedy=f"let a new one take over first: drl keys rotate {entry.role}",
        )
    envelope = _revocation(ring, entry, reason)
    noted = _note_everywhere(ring, entry, envelope)
    with ring.locked():
        ring.revoke(entry.key_id, min((_block_time(note) for _, note in noted), default=now()))
    typer.echo(f"revoked {entry.role} key {entry.key_id}: statement {sha256_bytes(envelope)}")
    for run, note in noted:
        typer.echo(f"noted   {_block_time(note)} on {run}: {note.receipt.tx}")
    if not noted:
        typer.echo("it signed in no run that was closed, so nothing is on the ledger")
    typer.echo(f"next    hand {_revocation_file(ring, entry)} to whoever verifies")


def _revocation(ring: Keyring, entry: KeyEntry, reason: str) -> bytes:
    """The signed statement, made once and kept beside the key ring."""
    signer = load_signer(ring.folder, "release")
    path = _revocation_file(ring, entry)
    if not path.exists():
        statement = revocation_statement(
            "key", name=f"{entry.role} key", sha256=entry.key_id, reason=reason, since=now()
        )
        draft = path.with_suffix(".draft")
        draft.write_bytes(sign(statement, [signer]))
        draft.replace(path)
    envelope = path.read_bytes()
    verify(envelope, signer.accepted)
    return envelope


def _note_everywhere(ring: Keyring, entry: KeyEntry, envelope: bytes) -> list[tuple[str, Note]]:
    """Note the statement on every closed run that the key signed in; returns the runs with their notes."""
    from drl.stores.chain_requests import NoteStatement

    name = f"revocation-{entry.key_id[:16]}"
    journals = _signed_with(entry.key_id)
    if not journals:
        return []
    signer = load_signer(ring.folder, "release")
    requests = []
    for journal in journals:
        journal.keep_key(signer.public_key)
        stored = journal.write(f"{name}{ENVELOPE}", envelope)
        records().seal_bytes(stored, f"{name}{ENVELOPE}", retain_days=journal.retain_days())
        number = journal.read_json("opening.json")["entry"]["receipt"]["run"]
        requests.append(NoteStatement(pipeline_of(journal.run), number, sha256_bytes(stored)))
    notes = open_ledger().note_many(requests)
    for journal, note in zip(journals, notes, strict=True):
        journal.once(f"{name}.note.json", note.to_json)
        if journal.has("lineage.json"):  # else the run's own task has yet to write it
            record_again(journal.run)
    return [(journal.run, note) for journal, note in zip(journals, notes, strict=True)]


def _signed_with(key_id: str) -> list[RunJournal]:
    """The closed runs that a key signed in. One under way would list the note in its release, and fails."""
    documents = records()
    runs = (RunJournal(documents, documents.read(key).decode()) for key in documents.list("index/"))
    return [run for run in runs if run.has(f"{KEYS}{key_id}.pem") and run.has("closing.json")]


def open_ledger() -> Ledger:
    """The run ledger that ``DRL_EVM_*`` and ``DRL_POSTGRES_URI`` name."""
    import psycopg

    from drl.stores.chain import ChainSettings, Ledger
    from drl.stores.settings import read_variable

    uri = read_variable("DRL_POSTGRES_URI")
    return Ledger(ChainSettings.from_environment(), lambda: psycopg.connect(uri))


def _block_time(note: Note) -> str:
    return datetime.fromtimestamp(note.receipt.block_time, UTC).isoformat(timespec="seconds")


def _revocation_file(ring: Keyring, entry: KeyEntry) -> Path:
    return ring.folder / f"revocation-{entry.key_id[:16]}{ENVELOPE}"


def _state(entry: KeyEntry) -> str:
    if entry.until is None:
        return f"signs now, {entry.where}"
    return f"until {entry.until}" + (f", revoked {entry.revoked}" if entry.revoked else "")


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise InputError(f"no role {text!r}", remedy=f"give one of {list(ROLES)}")
