"""Put a signed reproduction on the ledger of the live deployment and beside the run it is about."""

from __future__ import annotations

from typing import Any

from securesystemslib.signer import SSlibKey

from drl.cli.key_ring import open_ledger
from drl.cli.lineage_again import record_again
from drl.cli.show import records
from drl.digest import sha256_bytes
from drl.errors import InputError
from drl.reproduction.recorded import RecordedTraining
from drl.steps.journal import ENVELOPE, RunJournal


def note(training: RecordedTraining, envelope: bytes, key: SSlibKey) -> dict[str, Any]:
    """Note the statement; returns the receipt. It may be run again after an interruption.

    Raises:
        InputError: the run was not made by this deployment, whose ledger account cannot note it.
        StoreError: store, chain or database out of reach.
    """
    from drl.cli.main import use_stack

    use_stack()
    ledger, run = open_ledger(), str(training.resolved["run"])
    receipt = training.record.statement("release").predicate["opening"]["receipt"]
    journal = RunJournal(records(), run)
    if not journal.has("closing.json") or receipt["writer"] != ledger.writer:
        raise InputError(
            f"run {run} was written to the ledger by {receipt['writer']}, not by this deployment",
            remedy="send the signed statement to whoever runs that deployment",
        )
    sha256 = sha256_bytes(envelope)
    name = f"reproduction-{sha256[:16]}"
    journal.keep_key(key)
    journal.write(f"{name}{ENVELOPE}", envelope)
    noted = journal.once(
        f"{name}.note.json", lambda: ledger.note(training.spec.pipeline, receipt["run"], sha256).to_json()
    )
    record_again(run)
    found: dict[str, Any] = noted["receipt"]
    return found
