"""A process that writes to the ledger and is killed at a boundary: python chain_child.py BOUNDARY CALL...

CALL is JSON: the name of a method of the ledger and its arguments. Settings come from DRL_EVM_* and
DRL_POSTGRES_URI. For each entry the number of its run is printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import psycopg2

from drl.stores.chain import ChainSettings, Ledger, OpenRun
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
    boundary, calls = sys.argv[1], [json.loads(call) for call in sys.argv[2:]]
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
    for name, *arguments in calls:
        if name == "open_many":
            arguments = [[OpenRun(*request) for request in arguments[0]]]
        written = getattr(ledger, name)(*arguments)
        for entry in written if isinstance(written, list) else [written]:
            print(entry.receipt.run, flush=True)


if __name__ == "__main__":
    main()
