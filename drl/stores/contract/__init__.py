"""The run ledger's contract as package data: its source, and the artifact that is deployed.

``RunLedger.json`` is made of ``RunLedger.sol`` by :mod:`drl.stores.contract.compile`; a test makes it again
and compares it byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class ContractArtifact:
    """A compiled contract.

    Attributes:
        abi: the interface, as solc prints it.
        bytecode: creation code, ``0x`` hexadecimal; no constructor arguments.
        runtime_code_hash: Keccak-256 of the deployed code, ``0x`` hexadecimal: what an address must hold.
        source_sha256: digest of the Solidity file.
        compiler: version that solc reports.
    """

    abi: list[dict[str, Any]]
    bytecode: str
    runtime_code_hash: str
    source_sha256: str
    compiler: str


@cache
def run_ledger() -> ContractArtifact:
    """The artifact of ``RunLedger.sol``."""
    value = json.loads(files(__name__).joinpath("RunLedger.json").read_bytes())
    return ContractArtifact(
        abi=value["abi"],
        bytecode=value["bytecode"],
        runtime_code_hash=value["runtime_code_hash"],
        source_sha256=value["source_sha256"],
        compiler=value["compiler"],
    )
