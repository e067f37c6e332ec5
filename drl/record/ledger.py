"""The run ledger as a record sees it: entries, their receipts, and the account of a pipeline. No network.

A receipt is a typed anchor, so that other kinds (RFC 3161, OpenTimestamps) can stand beside it in a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from drl.digest import require_sha256, sha256_bytes
from drl.errors import InputError

ANCHOR_TYPE = "evm-run-ledger/v1"

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
VERDICT_CODES: dict[Verdict, int] = {"PROMOTE": 1, "HOLD": 2, "REJECT": 3}

# Chain ids that development chains use. Their blocks prove no time to anybody else.
DEMO_CHAIN_IDS = frozenset({1337, 31337})

_HASH = re.compile(r"^0x[0-9a-f]{64}$")
_ADDRESS = re.compile(r"^0x[0-9a-f]{40}$")


def pipeline_id(name: str) -> str:
    """How the ledger knows a pipeline: SHA-256("drl pipeline v1" || 0x00 || name in UTF-8), hexadecimal."""
    return sha256_bytes(b"drl pipeline v1\x00" + name.encode())


@dataclass(frozen=True)
class Receipt:
    """Proof of having written one entry: where its event stands on which chain.

    Attributes:
        chain_id: EIP-155 id of the chain.
        genesis: hash of block 0, which tells chains of one id apart.
        contract: address of the run ledger, lower case.
        writer: address that wrote the entry, lower case.
        pipeline: the pipeline's id, see :func:`pipeline_id`.
        run: number of the run, from 1, for each writer and pipeline.
        tx: hash of the transaction.
        block_number: height of its block.
        block_hash: hash of its block.
        block_time: the block's timestamp, seconds since the epoch (UTC).
        log_index: position of the event in the block.
    """

    chain_id: int
    genesis: str
    contract: str
    writer: str
    pipeline: str
    run: int
    tx: str
    block_number: int
    block_hash: str
    block_time: int
    log_index: int
    type: str = field(default=ANCHOR_TYPE, kw_only=True)

    def __post_init__(self) -> None:
        require_sha256(self.pipeline, where="receipt.pipeline")
        checks = {name: _HASH for name in ("genesis", "tx", "block_hash")}
        checks |= {name: _ADDRESS for name in ("contract", "writer")}
        for name, pattern in checks.items():
            _require(bool(pattern.match(getattr(self, name))), name, getattr(self, name))
        for name in ("chain_id", "run", "block_number", "block_time", "log_index"):
            value = getattr(self, name)
            _require(type(value) is int and 0 <= value < 2**53, name, value)
        _require(self.run > 0, "run", self.run)
        _require(self.type == ANCHOR_TYPE, "type", self.type)

    @property
    def demo(self) -> bool:
        """Whether the chain is a development chain, whose blocks prove no time to others."""
        return self.chain_id in DEMO_CHAIN_IDS

    def to_json(self) -> dict[str, Any]:
        """All attributes; ``from_json`` reads them again, equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """Read what :meth:`to_json` wrote; missing, unknown or malformed fields raise InputError."""
        _require("type" in value, "receipt", sorted(value))
        try:
            return cls(**value)
        except TypeError as error:
            raise InputError(f"receipt: {error}", remedy="compare it with docs/record.md") from error


@dataclass(frozen=True)
class Opening:
    """A run was opened with an intent, naming the held-out data it will look at.

    Attributes:
        intent: SHA-256 of the signed intent's envelope.
        test_data: identifier of the held-out data, or None.
        look: how many openings of this writer, this one included, have named ``test_data``; 0 without it.
        receipt: where it is written.
    """

    intent: str
    test_data: str | None
    look: int
    receipt: Receipt

    def __post_init__(self) -> None:
        require_sha256(self.intent, where="opening.intent")
        if self.test_data is not None:
            require_sha256(self.test_data, where="opening.test_data")
        _require((self.look > 0) == (self.test_data is not None), "look", self.look)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``entry_from_json`` reads it again, equal."""
        return {"entry": "opening", **asdict(self)}


@dataclass(frozen=True)
class Closing:
    """A run was closed with a verdict.

    Attributes:
        record: SHA-256 of the signed release statement's envelope.
        verdict: PROMOTE, HOLD or REJECT.
        receipt: where it is written.
    """

    record: str
    verdict: Verdict
    receipt: Receipt

    def __post_init__(self) -> None:
        require_sha256(self.record, where="closing.record")
        _require(self.verdict in VERDICT_CODES, "verdict", self.verdict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``entry_from_json`` reads it again, equal."""
        return {"entry": "closing", **asdict(self)}


@dataclass(frozen=True)
class Note:
    """A statement about a run came later: promotion, rollback, revocation, reproduction.

    Attributes:
        statement: SHA-256 of the signed statement's envelope.
        receipt: where it is written.
    """

    statement: str
    receipt: Receipt

    def __post_init__(self) -> None:
        require_sha256(self.statement, where="note.statement")

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``entry_from_json`` reads it again, equal."""
        return {"entry": "note", **asdict(self)}


Entry = Opening | Closing | Note


def position(entry: Entry) -> tuple[int, int]:
    """Block number and log index: the order of the chain."""
    return entry.receipt.block_number, entry.receipt.log_index


_KINDS: dict[str, type[Entry]] = {"opening": Opening, "closing": Closing, "note": Note}


def entry_from_json(value: Mapping[str, Any]) -> Entry:
    """Read an entry that ``to_json`` wrote; missing, unknown or malformed fields raise InputError.

    Anchors of other kinds may stand beside the receipt, see :func:`further_anchors`; they are no part of the
    entry, which is what the ledger holds.
    """
    further_anchors(value)
    fields = {name: field_value for name, field_value in value.items() if name != "anchors"}
    kind = _KINDS.get(fields.pop("entry", ""))
    if kind is None or not isinstance(fields.get("receipt"), Mapping):
        raise InputError(
            f"ledger entry {str(dict(value))[:80]}: no known kind with a receipt",
            remedy=f"give `entry`, one of {sorted(_KINDS)}, and `receipt`",
        )
    receipt = Receipt.from_json(fields.pop("receipt"))
    try:
        return kind(**fields, receipt=receipt)
    except TypeError as error:
        raise InputError(f"ledger entry: {error}", remedy="compare it with docs/record.md") from error


def further_anchors(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The typed anchors that stand beside an entry's receipt, e.g. a time stamp of RFC 3161; often none.

    Raises:
        InputError: ``anchors`` is not a list of objects that each name their ``type``, or repeats the
            receipt's, of which there is one.
    """
    anchors = value.get("anchors", [])
    typed = isinstance(anchors, list) and all(
        isinstance(anchor, Mapping) and isinstance(anchor.get("type"), str) for anchor in anchors
    )
    _require(typed and all(anchor["type"] != ANCHOR_TYPE for anchor in anchors), "anchors", anchors)
    return cast("list[Mapping[str, Any]]", anchors)


def verdict_of(code: int) -> Verdict:
    """The verdict for its number on the ledger; an unknown number raises InputError."""
    for verdict, known in VERDICT_CODES.items():
        if known == code:
            return verdict
    raise InputError(f"verdict {code} on the ledger", remedy=f"known verdicts are {VERDICT_CODES}")


@dataclass(frozen=True)
class Account:
    """What the ledger says of one writer's pipeline, for everyone to count.

    Attributes:
        opened: runs opened.
        closed: runs closed, by verdict.
        unclosed: numbers of the runs that were never closed: under way, or abandoned.
        looks: for each held-out data identifier, the highest look number of this pipeline's openings.
    """

    opened: int
    closed: dict[Verdict, int]
    unclosed: tuple[int, ...]
    looks: dict[str, int]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Account:
        """Count the entries of one pipeline, in any order."""
        listed = list(entries)
        openings = [e for e in listed if isinstance(e, Opening)]
        closings = [e for e in listed if isinstance(e, Closing)]
        closed_runs = {e.receipt.run for e in closings}
        looks: dict[str, int] = {}
        for opening in openings:
            if opening.test_data is not None:
                looks[opening.test_data] = max(opening.look, looks.get(opening.test_data, 0))
        return cls(
            opened=len(openings),
            closed={v: sum(e.verdict == v for e in closings) for v in VERDICT_CODES},
            unclosed=tuple(sorted(e.receipt.run for e in openings if e.receipt.run not in closed_runs)),
            looks=looks,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the four attributes."""
        return cast("dict[str, Any]", {**asdict(self), "unclosed": list(self.unclosed)})


def _require(holds: bool, field_name: str, value: object) -> None:
    if not holds:
        raise InputError(f"ledger entry: {field_name} = {value!r}", remedy="compare it with docs/record.md")
