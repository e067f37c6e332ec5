"""What is known about one run, from what its operators wrote down."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError
from drl.pages.journals import Journals
from drl.record.ledger import Entry, Note, Opening, entry_from_json
from drl.steps.journal import ENVELOPE, pipeline_of

_NOTE = ".note.json"
STEPS = ("prepare", "train", "evaluate")
_STAGES = (
    *("resolve", "open_run", "prepare", "train", "evaluate", "publish", "approve", "register_model"),
    *("seal", "close_run", "record_lineage", "verdict", "promote", "record_promotion"),
)
_DOCUMENTS = (
    *(
        "started.json",
        "resolved.json",
        "resolved.ref.json",
        "opening.json",
        "closing.json",
        "registration.json",
    ),
    *(f"{step}.json" for step in STEPS),
    *(f"times/{stage}.json" for stage in _STAGES),
    *("promotion.json", "validation.dsse.json", "approval.dsse.json", "release.dsse.json"),
)


@dataclass(frozen=True)
class Stage:
    """A task of the run.

    Attributes:
        name: of the task.
        seconds: how long its work took; None when it has not ended.
    """

    name: str
    seconds: float | None


@dataclass(frozen=True)
class Line:
    """A line of the run on the ledger.

    Attributes:
        what: ``opened``, ``closed``, or which statement was noted.
        digest: of the statement that the entry holds.
        entry: with its receipt.
    """

    what: str
    digest: str
    entry: Entry

    @property
    def time(self) -> datetime:
        """When its block was made, by the chain's clock."""
        return datetime.fromtimestamp(self.entry.receipt.block_time, UTC)


@dataclass(frozen=True)
class Signed:
    """A statement.

    Attributes:
        name: in the journal, without its suffix.
        keys: ids of the keys that its envelope names.
        sha256: of the envelope.
    """

    name: str
    keys: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class KeyedRun:
    """A run by its key.

    Attributes:
        key: of the run.
    """

    key: str

    @property
    def pipeline(self) -> str:
        """Its pipeline, which is its DAG."""
        return pipeline_of(self.key)

    @property
    def name(self) -> str:
        """The run's id as it is in its key."""
        return self.key.partition("/")[2]


@dataclass(frozen=True)
class RunFacts(KeyedRun):
    """One run.

    Attributes:
        documents: the JSON documents that it has, by name.
        lines: its entries on the ledger, in order.
        statements: everything signed, sorted by name.
    """

    documents: Mapping[str, Any]
    lines: tuple[Line, ...]
    statements: tuple[Signed, ...]

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The frozen run."""
        found: Mapping[str, Any] = self.documents["resolved.json"]
        return found

    @property
    def started(self) -> datetime | None:
        """When it was resolved."""
        return started(self.documents)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its tasks in order; those that it does not have are left out."""
        spec = self.resolved["spec"]
        absent = {
            "prepare": spec["data"] is None,
            "approve": not spec["promotion"]["require_approval"],
            **dict.fromkeys(("promote", "record_promotion"), self.verdict not in (None, "PROMOTE")),
        }
        return tuple(Stage(s, self._seconds(s)) for s in _STAGES if not absent.get(s))

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """Verdict and reason: of the release, else of the evaluation, None before there is one."""
        return decided(self.documents)

    @property
    def verdict(self) -> str | None:
        """The verdict, None before there is one."""
        return self.decision["verdict"] if self.decision else None

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What ``evaluation.json`` holds."""
        return self.summary("evaluate")

    @property
    def approval(self) -> Mapping[str, Any] | None:
        """The answer of the person who was asked."""
        return self._predicate("approval")

    @property
    def validation(self) -> Mapping[str, Any] | None:
        """What the expectations said about the data."""
        return self._predicate("validation")

    @property
    def thing(self) -> str:
        """Digest of the most that there is of the run: its model, else the frozen run."""
        trained = self.summary("train")
        return str(trained["model_root"] if trained else self.documents["resolved.ref.json"]["sha256"])

    @property
    def closed(self) -> bool:
        """Whether it has ended, so that it has a record."""
        return "closing.json" in self.documents

    @property
    def record_name(self) -> str:
        """Name of its record's zip."""
        made = self.documents["registration.json"]
        return f"{made['model']}-v{made['version']}.record.zip"

    def summary(self, step: str) -> dict[str, Any] | None:
        """What a step said about its work, None when it has not ended."""
        accepted = self.documents.get(f"{step}.json")
        return accepted["result"]["summary"] if accepted else None

    def outputs(self, step: str) -> list[Artifact]:
        """Files that a step made."""
        accepted = self.documents.get(f"{step}.json")
        return [Artifact.from_json(a) for a in accepted["result"]["outputs"]] if accepted else []

    def output(self, name: str) -> Artifact:
        """The file ``STEP/NAME`` of the run.

        Raises:
            InputError: it has none of that name.
        """
        step, _, file = name.partition("/")
        for artifact in self.outputs(step):
            if artifact.name == file:
                return artifact
        raise InputError(f"{self.key}: no file {name!r}", remedy="see the files that the run's page lists")

    def _predicate(self, name: str) -> Mapping[str, Any] | None:
        envelope = self.documents.get(f"{name}{ENVELOPE}")
        return None if envelope is None else predicate(envelope)

    def _seconds(self, stage: str) -> float | None:
        found = self.documents.get(f"times/{stage}.json")
        return float(found["seconds"]) if found else None


def read_run(journals: Journals, key: str) -> RunFacts:
    """Everything about a run.

    Raises:
        InputError: there is no such run.
    """
    names = journals.names(key)
    if "resolved.json" not in names:
        raise InputError(f"no run {key!r}", remedy="it may not have begun: look at its task `resolve`")
    envelopes = {name for name in names if name.endswith(ENVELOPE)}
    notes = {name for name in names if name.endswith(_NOTE)}
    documents = journals.some(key, names & set(_DOCUMENTS) | envelopes | notes)
    stored = journals.raw(key, sorted(envelopes))
    return RunFacts(key, documents, tuple(_lines(documents)), tuple(_signed(documents, stored)))


def _lines(documents: Mapping[str, Any]) -> list[Line]:
    """The entries of the run that it wrote down, as the chain orders them."""
    entries = {"opened": documents["opening.json"]["entry"]} if "opening.json" in documents else {}
    if "closing.json" in documents:
        entries["closed"] = documents["closing.json"]
    entries |= {n.removesuffix(_NOTE): value for n, value in documents.items() if n.endswith(_NOTE)}
    lines = [Line(what, _digest(e), e) for what, v in entries.items() for e in [entry_from_json(v)]]
    return sorted(lines, key=lambda line: (line.entry.receipt.block_number, line.entry.receipt.log_index))


def _digest(entry: Entry) -> str:
    if isinstance(entry, Opening):
        return entry.intent
    return entry.statement if isinstance(entry, Note) else entry.record


def _signed(documents: Mapping[str, Any], stored: Mapping[str, bytes]) -> Iterator[Signed]:
    for name, data in stored.items():
        keys = tuple(str(signature["keyid"]) for signature in documents[name]["signatures"])
        yield Signed(name.removesuffix(ENVELOPE), keys, sha256_bytes(data))


def predicate(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a stored statement says; nobody has looked at its signature here.

    Raises:
        Falsified: the document is no envelope.
    """
    try:
        found: Mapping[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    except (LookupError, TypeError, ValueError) as error:
        raise Falsified(
            f"a stored statement is malformed ({type(error).__name__})",
            remedy="verify the run: drl verify says what is wrong",
        ) from error
    return found


def started(documents: Mapping[str, Any]) -> datetime | None:
    """When the run of these documents was resolved."""
    found = documents.get("started.json")
    return datetime.fromtimestamp(found["ms"] / 1000, UTC) if found else None


def decided(documents: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Verdict and reason of the run of these documents."""
    if release := documents.get(f"release{ENVELOPE}"):
        return predicate(release)
    evaluated = documents.get("evaluate.json")
    return evaluated["result"]["summary"]["decision"] if evaluated else None
