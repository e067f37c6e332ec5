"""A process that opens a run and is killed at a boundary: python child.py BOUNDARY INTENT.

Settings come from DRL_EVM_* and DRL_POSTGRES_URI.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import psycopg2

from drl.stores.chain import ChainSettings, Ledger
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Sender


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def send_then_die(send: Any) -> Any:
    def sending(rpc: Rpc, raw: str) -> Any:
        send(rpc, raw)
        die()

    return sending


def main() -> None:
    boundary, intents = sys.argv[1], sys.argv[2:]
    ledger = Ledger(
        ChainSettings.from_environment(), lambda: psycopg2.connect(os.environ["DRL_POSTGRES_URI"])
    )
    assert ledger.address
    if boundary == "wanted":
        Rpc.nonces = die
    elif boundary == "signing":
        Sender._sign = die
    elif boundary == "signed":
        Rpc.send = die
    elif boundary == "sent":
        Rpc.send = send_then_die(Rpc.send)
    elif boundary == "mined":
        Sender._mark = lambda self, call, state, block, mark=Sender._mark: (
            die() if state == "final" else mark(self, call, state, block)
        )
    for intent in intents:
        print(ledger.open("cartpole", intent).receipt.run, flush=True)


if __name__ == "__main__":
    main()
