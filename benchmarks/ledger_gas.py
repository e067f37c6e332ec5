"""What a record costs on the ledger, alone and in fleets, beside the Ethereum Attestation Service.

Run: python benchmarks/ledger_gas.py

On a chain of its own. The figures of EAS 1.4 were measured on the same anvil with the same compiler settings:
`timestamp` and `multiTimestamp` keep a bare digest and its time; `attest` keeps a digest with its writer.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import psycopg

from drl.local.stack import Stack
from drl.stores.chain import ChainSettings, CloseRun, Ledger, NoteStatement, OpenRun
from drl.stores.chain_rpc import Rpc

PIPELINE = "gas"
SIZES = (1, 10, 100, 1000)
EAS = {1: (45_857, 180_134), 10: (26_755, None)}


def digest() -> str:
    return secrets.token_hex(32)


def gas_each(rpc: Rpc, entries: list) -> float:
    return sum(int(rpc.receipt(tx)["gasUsed"]) for tx in {e.receipt.tx for e in entries}) / len(entries)


def measure(ledger: Ledger, rpc: Rpc, size: int) -> list[float]:
    test_data = digest()
    ledger.open(PIPELINE, digest(), test_data)  # a test set's first look costs more, once
    opened = ledger.open_many([OpenRun(PIPELINE, digest(), test_data) for _ in range(size)])
    runs = [entry.receipt.run for entry in opened]
    closed = ledger.close_many([CloseRun(PIPELINE, run, digest(), "PROMOTE") for run in runs])
    noted = ledger.note_many([NoteStatement(PIPELINE, run, digest()) for run in runs])
    return [gas_each(rpc, entries) for entries in (opened, closed, noted)]


def figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="drl-gas-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        stack = Stack.at(Path(folder) / "home")
        try:
            stack.up()
            print_table(stack.environment())
        finally:
            stack.reset()


def print_table(variables: dict[str, str]) -> None:
    settings = ChainSettings(
        variables["DRL_EVM_RPC_URL"],
        int(variables["DRL_EVM_CHAIN_ID"]),
        variables["DRL_EVM_PRIVATE_KEY"],
    )
    ledger = Ledger(settings, lambda: psycopg.connect(variables["DRL_POSTGRES_URI"]))
    ledger.deploy()
    rpc = Rpc(settings.rpc_url, settings.finality)
    print("| records at once | opening | closing | note | all three, a record | EAS timestamp | EAS attest |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for size in SIZES:
        values = measure(ledger, rpc, size)
        cells = [*values, sum(values), *EAS.get(size, (None, None))]
        print(f"| {size:,} | " + " | ".join(figure(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
