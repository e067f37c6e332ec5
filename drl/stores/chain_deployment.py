"""Putting the run ledger on a chain once, and finding it again."""

from __future__ import annotations

from functools import cached_property

from web3 import Web3

from drl.digest import sha256_bytes
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Found, Sender
from drl.stores.contract import run_ledger
from drl.stores.outbox import Call

# A contract that deploys others at an address that follows from their code alone, present on most chains:
# https://github.com/Arachnid/deterministic-deployment-proxy
CREATE2_FACTORY = "0x4e59b44847b379578588920ca78fbf26c0b4956c"


class Deployment:
    """The one deployment of the run ledger's code on a chain.

    Through the CREATE2 factory (EIP-1014, salt 0) the address follows from the code; on a chain without the
    factory the outbox remembers the transaction, whose receipt names the address.
    """

    def __init__(self, rpc: Rpc, sender: Sender) -> None:
        self._rpc = rpc
        self._sender = sender

    @cached_property
    def call(self) -> Call:
        """The transaction that deploys."""
        code = run_ledger().bytecode
        key = sha256_bytes(bytes.fromhex(code.removeprefix("0x")))
        if self._rpc.code(CREATE2_FACTORY):
            return Call("deploy", key, CREATE2_FACTORY, "0x" + bytes(32).hex() + code.removeprefix("0x"))
        return Call("deploy", key, None, code)

    def address(self) -> str | None:
        """Where the contract goes or went; None when only the outbox could tell, and it does not know."""
        if self.call.target is not None:
            init = bytes(Web3.keccak(hexstr=run_ledger().bytecode))
            preimage = b"\xff" + bytes.fromhex(self.call.target.removeprefix("0x")) + bytes(32) + init
            return "0x" + bytes(Web3.keccak(preimage))[12:].hex()
        for tx_hash in self._sender.hashes(self.call):
            receipt = self._rpc.receipt(tx_hash)
            if receipt is not None and receipt["contractAddress"]:
                return str(receipt["contractAddress"])
        return None

    def locate(self) -> Found[str] | None:
        """The address, once code is there."""
        address = self.address()
        if address is None or not self._rpc.code(address):
            return None
        receipts = (self._rpc.receipt(tx_hash) for tx_hash in self._sender.hashes(self.call))
        blocks = [int(receipt["blockNumber"]) for receipt in receipts if receipt is not None]
        return Found(address, blocks[0] if blocks else None)  # none: somebody else deployed it
