"""Reading the run ledger: from the contract's views to entries with receipts. No key and no database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from web3 import Web3

from drl.record.ledger import Closing, Entry, Note, Opening, Receipt, pipeline_id, verdict_of
from drl.stores.chain_rpc import Rpc
from drl.stores.contract import run_ledger

# Public nodes refuse to search more blocks at once.
_SPAN = 10_000

E = TypeVar("E", Opening, Closing, Note)
# Writer, pipeline and run of the events asked for, as far as given; None for any.
Topics = Sequence[str | None]


class LedgerReader:
    """Entries of one contract.

    Args:
        rpc: the chain.
        address: the contract.
        first_block: a block at or before the contract's creation, where searching starts.
    """

    def __init__(self, rpc: Rpc, address: str, *, first_block: int = 0) -> None:
        self._rpc = rpc
        self._address = Web3.to_checksum_address(address)
        self._first_block = first_block
        self._contract = rpc.web3.eth.contract(address=self._address, abi=run_ledger().abi)
        self._identity: tuple[int, str] | None = None

    def opening(self, writer: str, intent: str) -> Opening | None:
        """The opening of a writer with an intent, or None."""
        run, block = self._view("opening", Web3.to_checksum_address(writer), "0x" + intent)
        found = self._written(block, [_word(writer), None, _number(run)], Opening)
        return next((e for e in found if e.intent == intent), None)

    def closing(self, writer: str, pipeline: str, run: int) -> Closing | None:
        """The closing of a run, or None."""
        name = pipeline_id(pipeline)
        _, block = self._view("closing", Web3.to_checksum_address(writer), "0x" + name, run)
        return next(self._written(block, [_word(writer), "0x" + name, _number(run)], Closing), None)

    def note(self, writer: str, pipeline: str, run: int, statement: str) -> Note | None:
        """A note on a run, or None."""
        name = pipeline_id(pipeline)
        block = self._view("noted", Web3.to_checksum_address(writer), "0x" + name, run, "0x" + statement)
        found = self._written(block, [_word(writer), "0x" + name, _number(run)], Note)
        return next((e for e in found if e.statement == statement), None)

    def looks(self, writer: str, test_data: str) -> int:
        """How many openings of a writer, in all pipelines, have named this held-out data."""
        return int(self._view("looks", Web3.to_checksum_address(writer), "0x" + test_data))

    def entries(self, writer: str, pipeline: str | None = None) -> list[Entry]:
        """Every entry of a writer, of one pipeline or of all, in the order of the chain."""
        with self._rpc.reaching("asking for the newest block"):
            head = self._rpc.web3.eth.block_number
        topics: Topics = [_word(writer), *([] if pipeline is None else ["0x" + pipeline_id(pipeline)])]
        return [
            entry
            for first in range(self._first_block, head + 1, _SPAN)
            for entry in self._entries(first, min(first + _SPAN - 1, head), topics)
        ]

    def _view(self, name: str, *arguments: Any) -> Any:
        with self._rpc.reaching(f"asking the ledger for {name}"):
            return self._contract.functions[name](*arguments).call()

    def _written(self, block: int, topics: Topics, kind: type[E]) -> Iterator[E]:
        """Entries of one kind in one block; none in block 0, which stands for "never"."""
        if block:
            for entry in self._entries(block, block, topics):
                if isinstance(entry, kind):
                    yield entry

    def _entries(self, first: int, last: int, topics: Topics) -> list[Entry]:
        names = {self._contract.events[name]().topic: name for name in ("Opened", "Closed", "Noted")}
        with self._rpc.reaching("reading the ledger's events"):
            logs = self._rpc.web3.eth.get_logs(
                {
                    "address": self._address,
                    "topics": [list(names), *topics],
                    "fromBlock": first,
                    "toBlock": last,
                }
            )
            times = {
                log["blockHash"]: int(self._rpc.web3.eth.get_block(log["blockHash"])["timestamp"])
                for log in logs
            }
            if self._identity is None and logs:
                self._identity = self._rpc.identity()
            decoded = [
                self._contract.events[names["0x" + bytes(log["topics"][0]).hex()]]().process_log(log)
                for log in logs
            ]
        return [self._entry(event, times[event["blockHash"]]) for event in decoded]

    def _entry(self, event: Any, block_time: int) -> Entry:
        values = event["args"]
        chain_id, genesis = self._identity or self._rpc.identity()
        receipt = Receipt(
            chain_id=chain_id,
            genesis=genesis,
            contract=self._address.lower(),
            writer=values["writer"].lower(),
            pipeline=bytes(values["pipeline"]).hex(),
            run=values["run"],
            tx=_hex(event["transactionHash"]),
            block_number=event["blockNumber"],
            block_hash=_hex(event["blockHash"]),
            block_time=block_time,
            log_index=event["logIndex"],
        )
        if event["event"] == "Opened":
            test_data = bytes(values["testData"])
            return Opening(
                intent=bytes(values["intent"]).hex(),
                test_data=test_data.hex() if any(test_data) else None,
                look=values["look"],
                receipt=receipt,
            )
        if event["event"] == "Closed":
            return Closing(bytes(values["record"]).hex(), verdict_of(values["verdict"]), receipt)
        return Note(bytes(values["statement"]).hex(), receipt)


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _number(value: int) -> str:
    """A number as an indexed event argument."""
    return f"0x{value:064x}"


def _word(address: str) -> str:
    """An address as an indexed event argument."""
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")
