"""Getting a transaction onto the chain exactly once, whatever dies on the way.

The chain is the truth and the contract refuses duplicates; the outbox only makes sure that the same signed
bytes are sent again rather than new ones made. Each turn of the loop looks at the chain first, so a crash at
any point, a lost reply, a dropped transaction or a reorganisation all lead back to the same few lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from drl.errors import InputError, StoreError
from drl.stores.chain_rpc import Fees, Rpc
from drl.stores.outbox import Call, Outbox, Row, Signed, State

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """What a call left on the chain, and the block that holds it: None for one that others made long ago."""

    value: T
    block_number: int | None


@dataclass(frozen=True)
class Patience:
    """Seconds: how long to wait in all, until fees are raised, and between two looks at the chain."""

    timeout: float = 120.0
    raise_fees_after: float = 30.0
    poll: float = 0.5


def load_account(private_key: str) -> LocalAccount:
    """The signer of a private key; a malformed one raises InputError that does not repeat it."""
    try:
        return Account.from_key(private_key)
    except (ValueError, TypeError):
        raise InputError(
            "the chain's private key is not 32 bytes in hexadecimal",
            remedy="set DRL_EVM_PRIVATE_KEY, or the password of the connection evm_default",
        ) from None


class Sender:
    """Signs and sends for one account on one chain."""

    def __init__(
        self,
        rpc: Rpc,
        outbox: Outbox,
        account: LocalAccount,
        *,
        chain_id: int,
        max_fee: int,
        patience: Patience,
    ) -> None:
        self._rpc = rpc
        self._outbox = outbox
        self._account = account
        self._chain_id = chain_id
        self._max_fee = max_fee
        self._patience = patience

    def settle(self, call: Call, locate: Callable[[], Found[T] | None]) -> T:
        """Bring a call onto the chain and wait until it is final.

        Args:
            call: what to send, if it is not on the chain yet.
            locate: looks on the chain for what the call leaves there.

        Raises:
            ConflictError: the contract refuses the call.
            StoreError: chain or database out of reach, fees above the cap, or not final in time. The outbox
                keeps the transaction: calling again goes on where this ended.
        """
        start = time.monotonic()
        raise_at = start + self._patience.raise_fees_after
        sent = marked = False
        while True:
            found = locate()
            if found is not None:
                if found.block_number is None or self._rpc.final(found.block_number):
                    self._mark(call, "final", found.block_number)
                    return found.value
                if not marked:
                    self._mark(call, "mined", found.block_number)
                    marked = True
            else:
                marked = False
                row = self._ensure_signed(call, locate)
                if row is not None and self._send_waiting(row, raise_fees=time.monotonic() > raise_at):
                    raise_at = time.monotonic() + self._patience.raise_fees_after
                if not sent:
                    sent = True
                    continue  # chains that mine at once have it by now
            if time.monotonic() - start > self._patience.timeout:
                raise StoreError(
                    f"{call.kind} {call.key[:12]}: not final on the chain at {self._rpc.host} after "
                    f"{self._patience.timeout:g} s",
                    remedy="run again: the signed transaction is kept and found again",
                )
            time.sleep(self._patience.poll)

    def hashes(self, call: Call) -> tuple[str, ...]:
        """Hashes of every signed form of a call; empty if it was never signed."""
        with self._outbox.rows() as rows:
            row = rows.find(call)
        return row.tx_hashes if row is not None else ()

    def _ensure_signed(self, call: Call, locate: Callable[[], Found[T] | None]) -> Row | None:
        """A row whose nonce is still to be used; None when the chain has to be looked at again first."""
        with self._outbox.rows() as rows:
            rows.want(call)  # kept even when signing is put off because fees are above the cap
        with self._outbox.locked() as rows:
            row = rows.get(call)
            mined, pending = self._rpc.nonces(self._account.address)
            if row.nonce is not None and row.nonce >= mined:
                return row
            # The nonce is spent. By ours (the entry is there), by ours in vain, or by somebody else's.
            if row.nonce is not None and locate() is not None:
                return None
            ahead = rows.between(mined, rows.next_nonce())
            if any(each.state in ("mined", "final") for each in ahead):
                # The chain forgot blocks that it had. What stood there comes first: this call may need it.
                for each in ahead:
                    self._rpc.send(each.raw_txs[-1])
                return None
            nonce = max(mined, pending, rows.next_nonce())
            rows.sign(call, self._sign(call, nonce, self._rpc.fees(self._max_fee)))
            return rows.get(call)

    def _send_waiting(self, row: Row, *, raise_fees: bool) -> bool:
        """Send everything up to this row that is not mined: a gap of one nonce would hold up the rest.

        Returns:
            Whether fees were raised.
        """
        mined, _ = self._rpc.nonces(self._account.address)
        with self._outbox.rows() as rows:
            waiting = rows.between(mined, row.nonce if row.nonce is not None else -1)
        raised = False
        for index, each in enumerate(waiting):
            accepted = self._rpc.send(each.raw_txs[-1])
            if each.state == "signed":
                self._mark(each.call, "sent", None)
            # Only the first one can be stuck for its fees; the others wait for it.
            if index == 0 and (raise_fees or not accepted):
                raised = self._raise_fees(each)
        return raised

    def _raise_fees(self, row: Row) -> bool:
        if row.nonce is None or row.max_fee is None:
            return False
        with self._outbox.locked() as rows:
            if rows.get(row.call).tx_hashes != row.tx_hashes:
                return True  # another process was first
            # Nodes replace a waiting transaction only when both fees rise by a tenth or more.
            asked = self._rpc.fees(self._max_fee)
            fees = Fees(
                max(asked.max_fee, row.max_fee * 5 // 4 + 1),
                None if asked.tip is None else max(asked.tip, (row.tip or 0) * 5 // 4 + 1),
            )
            if fees.max_fee > self._max_fee:
                return False
            signed = self._sign(row.call, row.nonce, fees)
            rows.sign(row.call, signed)
        if self._rpc.send(signed.raw):
            self._mark(row.call, "sent", None)
        return True

    def _sign(self, call: Call, nonce: int, fees: Fees) -> Signed:
        transaction: dict[str, Any] = {"from": self._account.address, "data": call.data, "value": 0}
        if call.target is not None:
            transaction["to"] = Web3.to_checksum_address(call.target)
        transaction |= {"gas": self._rpc.gas(transaction), "nonce": nonce, "chainId": self._chain_id}
        del transaction["from"]
        if fees.tip is None:
            transaction["gasPrice"] = fees.max_fee
        else:
            transaction |= {"maxFeePerGas": fees.max_fee, "maxPriorityFeePerGas": fees.tip}
        signed = self._account.sign_transaction(transaction)
        return Signed(
            nonce,
            "0x" + bytes(signed.raw_transaction).hex(),
            "0x" + bytes(signed.hash).hex(),
            fees.max_fee,
            fees.tip,
        )

    def _mark(self, call: Call, state: State, block: int | None) -> None:
        with self._outbox.rows() as rows:
            rows.mark(call, state, block)
