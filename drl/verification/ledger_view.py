"""How a verifier sees the run ledger: the chain itself, or only what the record says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from drl.errors import Falsified, InputError
from drl.record.ledger import Closing, Entry, Opening, entry_from_json, position

ACCOUNT_FORMAT = "drl.account/1"


@dataclass(frozen=True)
class LedgerAddress:
    """Which entries of which ledger are asked for.

    Attributes:
        contract: address of the run ledger.
        writer: who wrote the entries.
        pipeline: name of the pipeline.
        finality: what counts as final: ``instant``, ``depth:N``, ``tag:safe`` or ``tag:finalized``.
    """

    contract: str
    writer: str
    pipeline: str
    finality: str


class LedgerView(Protocol):
    """A chain that answers. Every method may raise StoreError when it does not."""

    def identity(self) -> tuple[int, str]:
        """Chain id and hash of block 0."""

    def code_hash(self) -> str:
        """Keccak-256 of the contract's runtime code, ``0x...``."""

    def block(self, number: int) -> tuple[str, int] | None:
        """Hash and time of a block, None when the chain has not come so far."""

    def head(self) -> tuple[int, str, int]:
        """Number, hash and time of the newest block."""

    def entries(self) -> list[Entry]:
        """Every entry of the address, in the order of the chain."""

    def final(self, block_number: int) -> bool:
        """Whether a block counts as final."""


OpenLedger = Callable[[LedgerAddress], LedgerView]


def account_until_now(view: LedgerView) -> tuple[list[Entry], dict[str, Any]]:
    """Everything up to the newest block, and that block: an account's entries and its head.

    The block is asked for first. What is written meanwhile comes after it and is left out; the other way
    round it would lie before the head and be missing, which is false (check 29).
    """
    number, block, time = view.head()
    entries = [entry for entry in view.entries() if entry.receipt.block_number <= number]
    return entries, {"number": number, "hash": block, "time": time}


@dataclass(frozen=True)
class KeptAccount:
    """``account.json``: the ledger's account of the pipeline when the record was exported. Unsigned.

    Attributes:
        number: and ``hash`` and ``time``, of the block up to which it goes.
        entries: in the order of the chain.
    """

    number: int
    hash: str
    time: int
    entries: tuple[Entry, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> KeptAccount:
        """Read and check the file.

        Raises:
            Falsified: another format, entries of several writers, out of order, or run numbers with a gap.
            InputError: an entry is malformed.
        """
        if set(value) != {"format", "head", "entries"} or value["format"] != ACCOUNT_FORMAT:
            raise _refusal(f"fields {sorted(value)}, format {value.get('format')!r}")
        head = value["head"]
        if set(head) != {"number", "hash", "time"}:
            raise _refusal(f"head {head!r}")
        entries = tuple(entry_from_json(e) for e in value["entries"])
        require_order(entries)
        if entries and entries[-1].receipt.block_number > head["number"]:
            raise _refusal(f"an entry behind its own head, block {head['number']}")
        return cls(int(head["number"]), str(head["hash"]), int(head["time"]), entries)


def require_order(entries: tuple[Entry, ...]) -> None:
    """Refuse entries that no ledger could hold: several writers, out of order, gaps, the same thing twice.

    Raises:
        Falsified: with the first entry that does not fit.
    """
    places = [position(e) for e in entries]
    if places != sorted(set(places)):
        raise _refusal("entries are not in the order of the chain, each once")
    owners = {(e.receipt.chain_id, e.receipt.genesis, e.receipt.contract) for e in entries}
    owners_of = {(e.receipt.writer, e.receipt.pipeline) for e in entries}
    if len(owners) > 1 or len(owners_of) > 1:
        raise _refusal("entries of several ledgers, writers or pipelines")
    opened, closed, noted = 0, set[int](), set[tuple[int, str]]()
    for entry in entries:
        if isinstance(entry, Opening):
            opened += 1
            if entry.receipt.run != opened:
                raise _refusal(f"run {entry.receipt.run} was opened where run {opened} is next")
        elif entry.receipt.run > opened:
            raise _refusal(f"an entry of run {entry.receipt.run} before its opening")
        elif isinstance(entry, Closing):
            if entry.receipt.run in closed:
                raise _refusal(f"run {entry.receipt.run} was closed twice")
            closed.add(entry.receipt.run)
        else:
            if (entry.receipt.run, entry.statement) in noted:
                raise _refusal(f"the same note of run {entry.receipt.run} twice")
            noted.add((entry.receipt.run, entry.statement))


def read_entry(value: Any, kind: type[Entry]) -> Any:
    """An entry of a given kind from JSON; InputError or Falsified when it is something else."""
    if not isinstance(value, dict):
        raise InputError(f"ledger entry {str(value)[:60]!r}", remedy="compare it with docs/record.md")
    entry = entry_from_json(value)
    if not isinstance(entry, kind):
        raise Falsified(f"{type(entry).__name__} where an {kind} belongs", remedy="ask for the record again")
    return entry


def _refusal(reason: str) -> Falsified:
    return Falsified(f"account.json: {reason}", remedy="ask the ledger itself: --rpc URL")
