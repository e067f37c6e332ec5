"""A signed reproduction reaches the ledger and the journal of the run it is about, once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drl.cli.key_ring import open_ledger
from drl.cli.reproduction_note import note
from drl.cli.show import records
from drl.digest import sha256_bytes
from drl.errors import InputError
from drl.local.stack import Stack
from drl.record.dsse import sign
from drl.record.keys import open_signer
from drl.record.predicates import reproduction_statement
from drl.steps.journal import RunJournal
from drl.stores.chain import Ledger

PIPELINE = "reproduction_note"


@pytest.fixture
def ledger(stack: Stack) -> Iterator[Ledger]:
    """The stack's ledger, and its settings in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            if name.startswith("DRL_"):
                patch.setenv(name, value)
        ledger = open_ledger()
        ledger.deploy()
        yield ledger


def test_a_reproduction_is_noted_once_beside_its_run(ledger: Ledger, tmp_path: Path) -> None:
    run = f"{PIPELINE}/{secrets.token_hex(4)}"
    journal = RunJournal(records(), run)
    opening = ledger.open(PIPELINE, sha256_bytes(run.encode()))
    opened: dict[str, Any] = opening.to_json()["receipt"]
    statement = reproduction_statement(
        release="ab" * 32,
        model=PIPELINE,
        root="cd" * 32,
        outcome="identical",
        reproduced="cd" * 32,
        test=None,
        first_difference=None,
        environment={"python": "3.11.7"},
        started="2026-11-24T10:00:00+00:00",
        finished="2026-11-24T10:01:00+00:00",
    )
    signer = open_signer(f"file:{tmp_path / 'me.pem'}", "reproduction")
    envelope = sign(statement, [signer])

    def noted() -> dict[str, Any]:
        return note(run, PIPELINE, opened, envelope, signer.public_key)

    with pytest.raises(InputError, match="is none of this deployment"):
        noted()
    journal.once("resolved.json", lambda: {"spec": {"registration": {"retention_days": 1}}})
    journal.once("opening.json", lambda: {"entry": opening.to_json()})
    journal.once("closing.json", ledger.close(PIPELINE, opening.receipt.run, "ab" * 32, "HOLD").to_json)
    with pytest.raises(InputError, match="is none of this deployment"):
        note(run, PIPELINE, opened | {"run": opened["run"] + 1}, envelope, signer.public_key)

    receipt = noted()
    assert noted() == receipt
    entry = ledger.account(PIPELINE)[-1].to_json()
    assert entry == {"entry": "note", "statement": sha256_bytes(envelope), "receipt": receipt}
    name = f"reproduction-{sha256_bytes(envelope)[:16]}"
    assert journal.read(f"{name}.dsse.json") == envelope
    lock = records().sealed.lock(sha256_bytes(envelope))
    assert lock is not None
    assert lock.until is not None
    assert lock.until > datetime.now(UTC) + timedelta(days=1)
    assert {f"{name}.note.json", f"keys/{signer.public_key.keyid}.pem"} <= set(journal.names())
