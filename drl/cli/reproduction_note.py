"""Put a signed reproduction on the ledger of the live deployment and beside the run it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from securesystemslib.signer import SSlibKey

from drl.cli.key_ring import open_ledger
from drl.cli.lineage_again import record_again
from drl.cli.show import records
from drl.digest import sha256_bytes
from drl.errors import InputError
from drl.steps.journal import ENVELOPE, RunJournal


def note(
    run: str, pipeline: str, opened: Mapping[str, Any], envelope: bytes, key: SSlibKey
) -> dict[str, Any]:
    """Note the statement; returns the receipt. It may be run again after an interruption.

    Args:
        run: key of the run.
        pipeline: its pipeline.
        opened: receipt of the run's opening, as the record has it.
        envelope: the signed statement.
        key: that signed it.

    Raises:
        InputError: the run was not made by this deployment, whose ledger account cannot note it.
        StoreError: store, chain or database out of reach.
    """
    from drl.cli.main import use_stack

    use_stack()
    ledger, journal = open_ledger(), RunJournal(records(), run)
    own = journal.read_json("opening.json")["entry"]["receipt"] if journal.has("closing.json") else None
    if own != dict(opened):
        raise InputError(
            f"run {run}, opened by {opened['writer']} in {opened['tx']}, is none of this deployment",
            remedy="send the signed statement to whoever runs that deployment",
        )
    sha256 = sha256_bytes(envelope)
    name = f"reproduction-{sha256[:16]}"
    journal.keep_key(key)
    journal.write(f"{name}{ENVELOPE}", envelope)
    records().seal_bytes(envelope, f"{name}{ENVELOPE}", retain_days=journal.retain_days())
    noted = journal.once(f"{name}.note.json", lambda: ledger.note(pipeline, opened["run"], sha256).to_json())
    record_again(run)
    found: dict[str, Any] = noted["receipt"]
    return found
