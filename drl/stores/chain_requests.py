"""What a writer may ask of the run ledger: one class for each kind of entry, used alone or in fleets.

A request knows its arguments in the contract's call, how its entry is found again on the chain, and whether
an entry found there is the one that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from drl.digest import require_sha256
from drl.errors import ConflictError
from drl.record.ledger import VERDICT_CODES, Closing, Note, Opening, Verdict, pipeline_id

E = TypeVar("E", Opening, Closing, Note)


class Reader(Protocol):
    """What is asked of :class:`drl.stores.chain_reader.LedgerReader`."""

    def opening(self, writer: str, intent: str) -> Opening | None:
        """The opening of a writer with an intent."""

    def closing(self, writer: str, pipeline: str, run: int) -> Closing | None:
        """The closing of a run."""

    def note(self, writer: str, pipeline: str, run: int, statement: str) -> Note | None:
        """A note on a run."""


class Request(Protocol, Generic[E]):
    """An entry that is wanted on the ledger, once."""

    kind: ClassVar[str]
    """The contract's function; its array form is ``kindMany``."""

    @property
    def key(self) -> str:
        """What makes it unique among its kind and writer."""

    def arguments(self) -> tuple[object, ...]:
        """Arguments of the call."""

    def find(self, reader: Reader, writer: str) -> E | None:
        """Its entry, if it is on the chain."""

    def check(self, entry: E) -> None:
        """Raise ConflictError unless the entry is the one that was asked for."""


@dataclass(frozen=True)
class OpenRun:
    """A run to be opened before training.

    Attributes:
        pipeline: name of the pipeline.
        intent: SHA-256 of the signed intent's envelope.
        test_data: identifier of the held-out data that the run will look at, or None.
    """

    kind: ClassVar[str] = "open"
    pipeline: str
    intent: str
    test_data: str | None = None

    @property
    def key(self) -> str:
        """The intent."""
        return require_sha256(self.intent, where="intent")

    def arguments(self) -> tuple[object, ...]:
        """Pipeline, intent, held-out data; zeros for none."""
        data = bytes(32) if self.test_data is None else _bytes32(self.test_data, "test_data")
        return _bytes32(pipeline_id(self.pipeline), "pipeline"), _bytes32(self.intent, "intent"), data

    def find(self, reader: Reader, writer: str) -> Opening | None:
        """The opening with this intent, of whatever pipeline."""
        return reader.opening(writer, self.intent)

    def check(self, entry: Opening) -> None:
        """Refuse an opening for another pipeline or other held-out data."""
        if (entry.receipt.pipeline, entry.test_data) != (pipeline_id(self.pipeline), self.test_data):
            raise ConflictError(
                f"intent {self.intent[:12]} was opened before as run {entry.receipt.run} of another pipeline "
                f"or with other held-out data",
                remedy="make a new intent for a new run",
            )


@dataclass(frozen=True)
class CloseRun:
    """A run to be closed after the seal.

    Attributes:
        pipeline: name of the pipeline.
        run: number of the run, from its opening.
        record: SHA-256 of the signed release statement's envelope.
        verdict: PROMOTE, HOLD or REJECT.
    """

    kind: ClassVar[str] = "close"
    pipeline: str
    run: int
    record: str
    verdict: Verdict

    @property
    def key(self) -> str:
        """The run."""
        return f"{pipeline_id(self.pipeline)}/{self.run}"

    def arguments(self) -> tuple[object, ...]:
        """Pipeline, run, record, verdict."""
        name, record = _bytes32(pipeline_id(self.pipeline), "pipeline"), _bytes32(self.record, "record")
        return name, self.run, record, VERDICT_CODES[self.verdict]

    def find(self, reader: Reader, writer: str) -> Closing | None:
        """The run's closing, whatever it says."""
        return reader.closing(writer, self.pipeline, self.run)

    def check(self, entry: Closing) -> None:
        """Refuse another record or verdict."""
        if (entry.record, entry.verdict) != (self.record, self.verdict):
            raise ConflictError(
                f"run {self.run} of {self.pipeline} was closed before with {entry.verdict} and record "
                f"{entry.record[:12]}, now {self.verdict} and {self.record[:12]}",
                remedy="a run is closed once, with one release",
            )


@dataclass(frozen=True)
class NoteStatement:
    """A later statement to be added to a run.

    Attributes:
        pipeline: name of the pipeline.
        run: number of the run.
        statement: SHA-256 of the signed statement's envelope.
    """

    kind: ClassVar[str] = "note"
    pipeline: str
    run: int
    statement: str

    @property
    def key(self) -> str:
        """Run and statement."""
        return f"{pipeline_id(self.pipeline)}/{self.run}/{self.statement}"

    def arguments(self) -> tuple[object, ...]:
        """Pipeline, run, statement."""
        name = _bytes32(pipeline_id(self.pipeline), "pipeline")
        return name, self.run, _bytes32(self.statement, "statement")

    def find(self, reader: Reader, writer: str) -> Note | None:
        """The note."""
        return reader.note(writer, self.pipeline, self.run, self.statement)

    def check(self, entry: Note) -> None:
        """Nothing: a note is found by all that it says."""


def _bytes32(sha256: str, where: str) -> bytes:
    return bytes.fromhex(require_sha256(sha256, where=where))
