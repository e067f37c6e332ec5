"""An EVM node for one machine: Foundry's anvil, with its state kept in a file.

anvil is told no key: it runs without accounts of its own, and the one account of the stack is given a balance
through the node's development interface. So no secret is on its command line, and it signs for nobody.
Whoever reaches its port can still rewrite its chain: it is a demo chain and proves no time to others.

anvil makes block 0 anew at each start and dates it by its clock, so a restart would change the genesis hash.
Here block 0 has a date that follows from the account, and the clock is set at each start.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from drl.errors import StoreError
from drl.local.anvil_package import fetch, program
from drl.local.probes import json_rpc
from drl.local.server import HOST, Say, Server

CHAIN_ID = 31337
BALANCE = 10_000 * 10**18
"""Wei given to the account of a new chain."""
_FIRST_DATE = 1_600_000_000


@dataclass(frozen=True)
class Anvil(Server):
    """anvil on loopback; a block for each transaction; state written every second and at the end."""

    address: str
    cache: Path

    name: ClassVar[str] = "evm"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    @property
    def url(self) -> str:
        """Address for JSON-RPC clients."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            *(
                str(program(self.cache)),
                "--host",
                HOST,
                "--port",
                str(self.port),
                "--chain-id",
                str(CHAIN_ID),
            ),
            *("--accounts", "0", "--state", str(self._state), "--state-interval", "1"),
            *("--preserve-historical-states", "--no-cors", "--quiet"),
            *("--timestamp", str(self._genesis_time)),
        ]

    def prepare(self, say: Say) -> None:
        """Fetch the program; keep a copy of the last whole state and take it when a crash left a torn file.

        anvil rewrites its file in place, so a kill within that instant leaves it cut off.
        """
        super().prepare(say)
        fetch(self.cache, say)
        copy = self._state.with_suffix(".json.whole")
        if _is_whole(self._state):
            shutil.copyfile(self._state, copy)
        elif self._state.exists() and copy.exists():
            say("evm: the chain's state file was cut off by a crash; the copy from its last start is taken")
            self._state.replace(self._state.with_suffix(".json.torn"))
            shutil.copyfile(copy, self._state)
        elif self._state.exists():
            raise StoreError(
                f"the chain's state {self._state} is cut off, and there is no earlier copy",
                remedy="Move the file away to begin a new chain, then run: drl stack up",
            )

    def answers(self) -> bool:
        """Tell whether it says our chain id."""
        return bool(json_rpc(self.url, "eth_chainId") == hex(CHAIN_ID))

    def initialise(self) -> None:
        """Set the clock, and give the account of a new chain its balance."""
        json_rpc(self.url, "evm_setTime", int(time.time()))
        if json_rpc(self.url, "eth_getBalance", self.address, "latest") == "0x0":
            json_rpc(self.url, "anvil_setBalance", self.address, hex(BALANCE))

    def ready(self) -> bool:
        """Tell whether the chain answers and the account can pay for gas."""
        return self.answers() and json_rpc(self.url, "eth_getBalance", self.address, "latest") not in (
            None,
            "0x0",
        )

    @property
    def _genesis_time(self) -> int:
        """Seconds since the epoch; six hexadecimal digits keep the chains of different homes apart."""
        return _FIRST_DATE + int(self.address[-6:], 16)

    @property
    def _state(self) -> Path:
        return self.data / "state.json"


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            json.load(file)
    except (OSError, ValueError):
        return False
    return True
