"""The run ledger as a verifier asks it: a node's answers about one writer's pipeline. No key, no database."""

from __future__ import annotations

from collections.abc import Callable

from web3 import Web3
from web3.exceptions import BlockNotFound

from drl.record.ledger import Entry
from drl.stores.chain_reader import LedgerReader
from drl.stores.chain_rpc import Rpc
from drl.verification.ledger_view import LedgerAddress


class ChainView:
    """What a node says.

    Args:
        url: JSON-RPC address of the node; never printed.
        contract: address of the run ledger.
        writer: whose entries are asked for.
        pipeline: name of the pipeline.
        finality: ``instant``, ``depth:N``, ``tag:safe`` or ``tag:finalized``.
        first_block: a block at or before the contract's creation, where reading starts.
    """

    def __init__(
        self,
        url: str,
        *,
        contract: str,
        writer: str,
        pipeline: str,
        finality: str,
        first_block: int = 0,
    ) -> None:
        self._rpc = Rpc(url, finality)
        self._first_block = first_block
        self._contract, self._writer, self._pipeline = contract, writer, pipeline

    def identity(self) -> tuple[int, str]:
        """Chain id and hash of block 0."""
        return self._rpc.identity()

    def code_hash(self) -> str:
        """Keccak-256 of the contract's runtime code."""
        return Web3.to_hex(Web3.keccak(self._rpc.code(self._contract)))

    def block(self, number: int) -> tuple[str, int] | None:
        """Hash and time of a block, None when the chain has not come so far."""
        with self._rpc.reaching("asking for a block"):
            try:
                block = self._rpc.web3.eth.get_block(number)
            except BlockNotFound:
                return None
            return "0x" + bytes(block["hash"]).hex(), int(block["timestamp"])

    def head(self) -> tuple[int, str, int]:
        """Number, hash and time of the newest block."""
        with self._rpc.reaching("asking for the newest block"):
            block = self._rpc.web3.eth.get_block("latest")
            return int(block["number"]), "0x" + bytes(block["hash"]).hex(), int(block["timestamp"])

    def entries(self) -> list[Entry]:
        """Every entry of the writer's pipeline, in the order of the chain."""
        return self._reader().entries(self._writer, self._pipeline)

    def writer_entries(self) -> list[Entry]:
        """Every entry of the writer, in all its pipelines, in the order of the chain."""
        return self._reader().entries(self._writer)

    def _reader(self) -> LedgerReader:
        return LedgerReader(self._rpc, self._contract, first_block=self._first_block)

    def final(self, block_number: int) -> bool:
        """Whether a block counts as final."""
        return self._rpc.final(block_number)


def ledger_at(url: str, first_block: int = 0) -> Callable[[LedgerAddress], ChainView]:
    """Asks one node about any ledger on its chain; arguments as :class:`ChainView` takes them."""

    def view(address: LedgerAddress) -> ChainView:
        return ChainView(
            url,
            contract=address.contract,
            writer=address.writer,
            pipeline=address.pipeline,
            finality=address.finality,
            first_block=first_block,
        )

    return view
