"""A champion's record verified as an outsider would, with this deployment's own keys and ledger as trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from drl.champions.audit import Kind, Remark
from drl.champions.stored_record import Sealed, StoredRecord
from drl.record.keyring import KeyEntry
from drl.record.ledger import Receipt
from drl.steps.journal import RunJournal, pipeline_of
from drl.stores.contract import run_ledger
from drl.verification.ledger_view import LedgerView, account_until_now
from drl.verification.trust import FORMAT, TrustPolicy
from drl.verification.verify import Means, verify_record

# Level 2 takes seconds; a replay of every champion every day would prove the same again each time.
_LEVEL = 2
_ROLES = {"steps": ["steps"], "release": ["release", "revocation"], "approval": ["approval"]}


class Views(Protocol):
    """What is asked of :class:`drl.stores.chain.Ledger`."""

    def view(self, pipeline: str) -> LedgerView:
        """The ledger as a verifier asks it."""


class RecordCheck:
    """Calls the verifier.

    Args:
        ledger: of the deployment.
        store: has the files under lock.
        keys: the deployment's key ring.
    """

    def __init__(self, ledger: Views, store: Sealed, keys: Sequence[KeyEntry]) -> None:
        self._ledger = ledger
        self._store = store
        self._keys = keys

    def __call__(self, journal: RunJournal) -> list[Remark]:
        """What the verifier says of a run's record: one remark when it holds, else one for each problem."""
        view = self._ledger.view(pipeline_of(journal.run))
        entries, head = account_until_now(view)
        files = StoredRecord.of(journal, entries, head, self._store)
        trust = deployment_trust(self._keys, entries[0].receipt)  # as the chain itself gave it
        means = Means(trust=trust, open_ledger=lambda _: view, level=_LEVEL)
        result = verify_record(files, means)
        kind: Kind = "false" if result.exit_code == 1 else "undetermined"
        remarks = [Remark(kind, "record", reason) for reason in result.reasons if result.exit_code]
        remarks += [Remark("undetermined", "record", message) for message in files.unread]
        return remarks or [Remark("holds", "record", result.sentence)]


def deployment_trust(keys: Sequence[KeyEntry], receipt: Receipt, finality: str = "instant") -> TrustPolicy:
    """The trust policy of a deployment that asks about itself: its own keys, and the ledger of a receipt.

    Args:
        keys: of its key ring.
        receipt: of an entry on its ledger.
        finality: when it counts an entry as written.
    """
    value: dict[str, Any] = {
        "format": FORMAT,
        "keys": [
            {"pem": entry.public, "roles": _ROLES[entry.role]} for entry in keys if entry.revoked is None
        ],
        "ledger": {
            "chain_id": receipt.chain_id,
            "genesis": receipt.genesis,
            "contract": receipt.contract,
            "code_hash": run_ledger().runtime_code_hash,
            "writers": [receipt.writer],
            "finality": finality,
        },
        "minimum": {"level": _LEVEL},
    }
    return TrustPolicy.model_validate(value)
