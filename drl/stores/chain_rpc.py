"""Talking to an EVM chain: which chain it is, what fees it asks, what is final, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from eth_abi import abi
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError
from web3.middleware import ExtraDataToPOAMiddleware

from drl.errors import ConflictError, InputError, StoreError
from drl.stores.contract import run_ledger

_FINALITY = re.compile(r"^(instant|depth:\d+|tag:(safe|finalized))$")
_TIMEOUT_S = 20

# Nodes word the same answer differently; what follows is seen in anvil, geth, Besu and Nethermind.
_KNOWN = ("already known", "already imported", "known transaction", "alreadyknown")
_NONCE_LOW = ("nonce too low", "nonce is too low", "invalid transaction nonce", "oldnonce")
_UNDERPRICED = (
    "underpriced",
    "less than block base fee",
    "fee too low",
    "feetoolow",
    "gas price below",
    "transaction gas price too low",
)


@dataclass(frozen=True)
class Fees:
    """Wei per gas: a type-2 transaction's maximum and tip, or a legacy price with ``tip`` None."""

    max_fee: int
    tip: int | None


class Rpc:
    """A JSON-RPC endpoint.

    Args:
        url: its address; it may hold an access token and is therefore never printed.
        finality: ``instant``, ``depth:N`` (N blocks on top) or ``tag:safe`` / ``tag:finalized``.
    """

    def __init__(self, url: str, finality: str) -> None:
        if not _FINALITY.match(finality):
            raise InputError(
                f"finality {finality!r}", remedy="use `instant`, `depth:N`, `tag:safe` or `tag:finalized`"
            )
        self._finality = finality
        self.host = urlsplit(url).netloc.rpartition("@")[2]
        options = {"timeout": _TIMEOUT_S}
        self.web3 = Web3(HTTPProvider(url, request_kwargs=options))
        # web3 sends a raw transaction again by itself when a reply is lost; here the outbox decides.
        self._sender = Web3(HTTPProvider(url, request_kwargs=options, exception_retry_configuration=None))
        # Chains with proof of authority (Besu QBFT) put more into extraData than web3 accepts otherwise.
        self.web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)

    @contextmanager
    def reaching(self, what: str) -> Iterator[None]:
        """Turn failures while doing ``what`` into StoreError; a contract's refusal into ConflictError."""
        try:
            yield
        except ContractLogicError as error:
            raise ConflictError(
                f"{what}: the contract refuses: {_refusal(error)}",
                remedy="compare the run with the ledger's account of its pipeline",
            ) from None
        except Web3RPCError as error:
            raise StoreError(
                f"{what}: the chain at {self.host} answers: {_message(error)}",
                remedy="see what the node says; run again when it is mended, nothing is lost",
            ) from None
        except (requests.RequestException, Web3Exception, OSError) as error:
            raise StoreError(
                f"{what}: no usable answer from the chain at {self.host} ({type(error).__name__})",
                remedy="check that the chain is up (`drl stack status`), then run again; nothing is lost",
            ) from None

    def identity(self) -> tuple[int, str]:
        """Chain id and hash of block 0."""
        with self.reaching("asking which chain this is"):
            return self.web3.eth.chain_id, _hex(self.web3.eth.get_block(0)["hash"])

    def code(self, address: str) -> bytes:
        """The code at an address, empty if there is none."""
        with self.reaching("reading the contract's code"):
            return bytes(self.web3.eth.get_code(Web3.to_checksum_address(address)))

    def nonces(self, address: str) -> tuple[int, int]:
        """How many transactions of an address are mined, and how many with those that wait."""
        account = Web3.to_checksum_address(address)
        with self.reaching("counting the signer's transactions"):
            count = self.web3.eth.get_transaction_count
            return count(account, "latest"), count(account, "pending")

    def receipt(self, tx_hash: str) -> Any | None:
        """A transaction's receipt, or None while it is not mined (or not any more)."""
        with self.reaching("reading a receipt"):
            try:
                return self.web3.eth.get_transaction_receipt(tx_hash)
            except TransactionNotFound:
                return None

    def gas(self, transaction: dict[str, Any]) -> int:
        """A gas limit with a quarter to spare; a call that would revert raises ConflictError."""
        with self.reaching("trying the transaction"):
            return int(self.web3.eth.estimate_gas(transaction)) * 5 // 4

    def fees(self, cap: int) -> Fees:
        """What to offer now, at most ``cap`` wei per gas.

        Raises:
            StoreError: the chain asks more than the cap.
        """
        with self.reaching("asking for fees"):
            base = self.web3.eth.get_block("latest").get("baseFeePerGas")
            tip = None if base is None else int(self.web3.eth.max_priority_fee)
            least = self.web3.eth.gas_price if base is None or tip is None else base + tip
        if least > cap:
            raise StoreError(
                f"the chain asks {least / 1e9:g} gwei per gas, more than the cap of {cap / 1e9:g}",
                remedy="run again when fees have fallen, or raise max_fee_gwei; the transaction is kept",
            )
        return Fees(int(least), None) if base is None else Fees(min(int(least + base), cap), tip)

    def send(self, raw: str) -> bool:
        """Hand a signed transaction to the node, as often as one likes.

        Returns:
            False if the node finds its fees too low; True if the node has it, or it was mined before.
        """
        with self.reaching("sending a transaction"):
            try:
                self._sender.eth.send_raw_transaction(raw)
            except Web3RPCError as error:
                message = _message(error).lower()
                if any(text in message for text in (*_KNOWN, *_NONCE_LOW)):
                    return True
                if any(text in message for text in _UNDERPRICED):
                    return False
                raise
        return True

    def final(self, block_number: int) -> bool:
        """Whether blocks up to this one count as final."""
        kind, _, value = self._finality.partition(":")
        if kind == "instant":
            return True
        with self.reaching("asking what is final"):
            if kind == "depth":
                return int(self.web3.eth.block_number) - block_number >= int(value)
            return int(self.web3.eth.get_block(value)["number"]) >= block_number


def _message(error: Web3RPCError) -> str:
    response = error.rpc_response or {}
    detail = response.get("error")
    return str(detail.get("message") if isinstance(detail, dict) else detail or error.message)


def _refusal(error: ContractLogicError) -> str:
    """A custom error of the run ledger by its name and values; anything else as the node worded it."""
    data = error.data if isinstance(error.data, str) else ""
    for entry in run_ledger().abi:
        if entry["type"] == "error":
            types = [field["type"] for field in entry["inputs"]]
            selector = Web3.keccak(text=f"{entry['name']}({','.join(types)})")[:4]
            if data.startswith(Web3.to_hex(selector)):
                values = abi.decode(types, bytes.fromhex(data[10:]))
                shown = [v.hex() if isinstance(v, bytes) else str(v) for v in values]
                return f"{entry['name']}({', '.join(shown)})"
    return str(error.message or data or "reverted without a reason")


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()
