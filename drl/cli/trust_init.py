"""A trust policy from what a live deployment says of itself: its keys, its approvers', ledger, pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from drl.cli.key_ring import keys_folder
from drl.cli.show import records
from drl.errors import Falsified, InputError
from drl.record.keyring import KeyEntry, Keyring
from drl.record.ledger import DEMO_CHAIN_IDS, Receipt, entry_from_json
from drl.steps.journal import RunJournal, pipeline_of
from drl.stores.contract import run_ledger
from drl.stores.ledger_view import ChainView
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import read_variable
from drl.verification.trust import FORMAT, parse_trust

_ROLES = {"steps": ["steps"], "release": ["release", "revocation"], "approval": ["approval"]}
# A run under way when its key is replaced still ends with what the old key signed.
_GRACE = timedelta(days=2)
_RUNS_LOOKED_AT = 50

_HEADING = """\
# Whom and what to believe when checking records of this deployment (docs/record.md, "Trust policy").
# Written by the deployment itself: compare the key ids with its owner by another way, then pin this file.
# Where only a policy that stands promoted will do, add `verdict: PROMOTE` to the minimum.
"""
_OWN = """\
# Keys named "an approver's own" are not the deployment's. For approvals that the owner cannot give alone,
# take the role `approval` from the deployment's key.
"""
_DEMO = "# Demo chain: whoever runs it could order its blocks at will. It proves no time to anybody else.\n"


def live_policy() -> str:
    """The policy as YAML.

    Raises:
        InputError: nothing was signed or opened on the ledger yet.
        Falsified: the chain or the contract is not the one of the deployment's runs.
        StoreError: the store or the chain is out of reach.
    """
    documents = records()
    opened = _opened(documents)
    keys, receipt = _keys(), opened[0].receipt
    approvers = _approvers(opened, without={key["keyid"] for key in keys})
    value = {
        "format": FORMAT,
        "keys": [*keys, *approvers],
        "ledger": _ledger(receipt, opened[0].pipeline),
        "pipelines": _pipelines(documents),
        "minimum": {"level": 2},
    }
    demo = _DEMO if receipt.chain_id in DEMO_CHAIN_IDS else ""
    text = _HEADING + (_OWN if approvers else "") + demo + _yaml(value)
    parse_trust(text, where="the trust policy of this deployment")
    return text


def _keys() -> list[dict[str, Any]]:
    """The deployment's own keys; an earlier or a revoked one until it ended."""
    folder = keys_folder()
    entries = Keyring(folder).entries()
    if not entries:
        raise InputError(f"{folder}: no key has signed yet", remedy="run a pipeline, or set DRL_KEYS")
    return [_key(entry) for entry in entries]


def _key(entry: KeyEntry) -> dict[str, Any]:
    value: dict[str, Any] = {"keyid": entry.key.keyid, "roles": list(_ROLES[entry.role])}
    ends = [datetime.fromisoformat(entry.until) + _GRACE] if entry.until else []
    ends += [datetime.fromisoformat(entry.revoked)] if entry.revoked else []
    if ends:
        value["valid_until"] = min(ends).isoformat()
    return value | {"name": f"the deployment's, for {entry.role}" + (", revoked" if entry.revoked else "")}


@dataclass(frozen=True)
class _Opened:
    """A run that was opened on the ledger, and the keys that its approvers hold themselves."""

    pipeline: str
    receipt: Receipt
    approver_keys: frozenset[str]

    @classmethod
    def read(cls, journal: RunJournal) -> _Opened:
        receipt = entry_from_json(journal.read_json("opening.json")["entry"]).receipt
        keys = journal.read_json("resolved.json")["spec"]["promotion"]["approver_keys"]
        return cls(pipeline_of(journal.run), receipt, frozenset(keys))


def _opened(documents: ArtifactStore) -> list[_Opened]:
    """The newest runs that were opened on the ledger, the newest first; at least one."""
    runs = [documents.read(entry).decode() for entry in documents.list("index/", limit=_RUNS_LOOKED_AT)]
    journals = [RunJournal(documents, run) for run in runs]
    opened = [_Opened.read(journal) for journal in journals if journal.has("opening.json")]
    if not opened:
        raise InputError("no run was opened on the ledger yet", remedy="run a pipeline first")
    return opened


def _approvers(opened: Sequence[_Opened], *, without: set[str]) -> list[dict[str, Any]]:
    """Keys that approvers hold themselves; one that its pipeline dropped until the first run without it."""
    ends: dict[str, int | None] = {}
    next_opening: dict[str, int | None] = {}
    for run in opened:
        ended = next_opening.get(run.pipeline)
        for key in run.approver_keys:
            known = ends.get(key, 0)
            ends[key] = None if ended is None or known is None else max(known, ended)
        next_opening[run.pipeline] = run.receipt.block_time
    return [_approver(key, end) for key, end in sorted(ends.items()) if key not in without]


def _approver(key: str, end: int | None) -> dict[str, Any]:
    value: dict[str, Any] = {"keyid": key, "roles": ["approval"]}
    if end is not None:
        value["valid_until"] = datetime.fromtimestamp(end, UTC).isoformat()
    return value | {"name": "an approver's own"}


def _ledger(receipt: Receipt, pipeline: str) -> dict[str, Any]:
    """The ledger of the newest run, whose opening is final, after asking the live chain about it."""
    finality = read_variable("DRL_EVM_FINALITY", default="instant")
    view = ChainView(
        read_variable("DRL_EVM_RPC_URL"),
        contract=receipt.contract,
        writer=receipt.writer,
        pipeline=pipeline,
        finality=finality,
    )
    block = view.block(receipt.block_number)
    found = (*view.identity(), view.code_hash(), block[0] if block else None)
    expected = (receipt.chain_id, receipt.genesis, run_ledger().runtime_code_hash, receipt.block_hash)
    if found != expected:
        raise Falsified(
            f"the chain has id, genesis, contract code and block {receipt.block_number} {found}, the newest "
            f"run {expected}",
            remedy="let DRL_EVM_RPC_URL name the chain on which the runs were opened",
        )
    return {
        "chain_id": receipt.chain_id,
        "genesis": receipt.genesis,
        "contract": receipt.contract,
        "code_hash": run_ledger().runtime_code_hash,
        "writers": [receipt.writer],
        "checkpoint": {"number": receipt.block_number, "hash": receipt.block_hash},
        "finality": finality,
    }


def _pipelines(documents: ArtifactStore) -> list[str]:
    return sorted({key.split("/")[1] for key in documents.list("journal/")})


def _yaml(value: dict[str, Any]) -> str:
    """Block style, in the given order; texts that look like numbers are quoted, and nothing is wrapped."""
    return yaml.safe_dump(value, sort_keys=False, width=1000, default_flow_style=None)
