"""A trust policy from what a live deployment says of itself: its key ring, its ledger, its pipelines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import yaml

from drl.cli.key_ring import keys_folder
from drl.cli.show import records
from drl.errors import Falsified, InputError
from drl.record.keyring import KeyEntry, Keyring
from drl.record.ledger import DEMO_CHAIN_IDS, Receipt, entry_from_json
from drl.steps.journal import RunJournal
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
    pipeline, receipt = _newest_opened(documents)
    value = {
        "format": FORMAT,
        "keys": _keys(),
        "ledger": _ledger(receipt, pipeline),
        "pipelines": _pipelines(documents),
        "minimum": {"level": 2},
    }
    text = _HEADING + (_DEMO if receipt.chain_id in DEMO_CHAIN_IDS else "") + _yaml(value)
    parse_trust(text, where="the trust policy of this deployment")
    return text


def _keys() -> list[dict[str, Any]]:
    folder = keys_folder()
    entries = [entry for entry in Keyring(folder).entries() if entry.revoked is None]
    if not entries:
        raise InputError(f"{folder}: no key has signed yet", remedy="run a pipeline, or set DRL_KEYS")
    return [_key(entry) for entry in entries]


def _key(entry: KeyEntry) -> dict[str, Any]:
    value: dict[str, Any] = {"keyid": entry.key.keyid, "roles": _ROLES[entry.role]}
    if entry.until is not None:
        value["valid_until"] = (datetime.fromisoformat(entry.until) + _GRACE).isoformat()
    return value


def _newest_opened(documents: ArtifactStore) -> tuple[str, Receipt]:
    """Pipeline and receipt of the newest run that was opened on the ledger."""
    for entry in documents.list("index/", limit=_RUNS_LOOKED_AT):
        journal = RunJournal(documents, documents.read(entry).decode())
        if journal.has("opening.json"):
            receipt = entry_from_json(journal.read_json("opening.json")["entry"]).receipt
            return journal.run.partition("/")[0], receipt
    raise InputError("no run was opened on the ledger yet", remedy="run a pipeline first")


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
