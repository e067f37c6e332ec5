"""The lineage graph on any Bolt server: Neo4j, or ArcadeDB in the embedded stack.

Only what Neo4j Community has is used: uniqueness constraints, one database. The graph is an index that can be
rebuilt from the signed statements; it proves nothing by itself.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar, cast

import neo4j
from neo4j.exceptions import AuthError, ConstraintError, DriverError, Neo4jError

from drl.errors import InputError, StoreError
from drl.stores import graph_questions as questions
from drl.stores.graph_outcomes import PipelineOutcomes, newest_audit, outcomes
from drl.stores.graph_queries import (
    BATCH,
    DOWNSTREAM,
    KEYS,
    SCHEMA,
    UPSTREAM,
    Collected,
    LineageCounts,
    Relative,
    collect,
    count,
    exists,
    merge,
    read_among,
    read_page,
    read_run,
    run_statement,
    walk,
)
from drl.stores.graph_questions import Champion, FailingProof, Version
from drl.stores.lineage import RELATIONS, RunLineage
from drl.stores.lineage_audit import Audit
from drl.stores.lineage_merging import merged
from drl.stores.settings import GraphSettings

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 15.0
_QUERY_SECONDS = 20.0
_CONSTRAINT_ATTEMPTS = 10

__all__ = ["Champion", "FailingProof", "LineageCounts", "LineageGraph", "Relative", "Version"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_AT_COMMIT = "n.kind = 'code' AND n.commit STARTS WITH $what"

Result = TypeVar("Result")


class LineageGraph:
    """Records runs and answers questions about them; make it after a fork and close it (``with``).

    Every method raises StoreError when the server refuses or is silent for ``patience`` seconds. Writing is
    idempotent, and its order does not matter: nodes and relations are merged on their keys.
    """

    def __init__(self, settings: GraphSettings, *, patience: float = 60.0) -> None:
        self.settings = settings
        self._patience = patience
        self._schema_ready = False
        self._driver = neo4j.GraphDatabase.driver(
            settings.uri,
            auth=(settings.user, settings.password),
            connection_timeout=_CONNECT_SECONDS,
            connection_acquisition_timeout=2 * _CONNECT_SECONDS,
            max_transaction_retry_time=_RETRY_SECONDS,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )

    def __enter__(self) -> LineageGraph:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._driver.close()

    def ping(self) -> None:
        """Return if the server answers a query with these credentials."""
        self._read(partial(run_statement, statement="RETURN 1"))

    def record_run(self, lineage: RunLineage) -> LineageCounts:
        """Add a run in one transaction; the second call changes nothing.

        Nodes go first and relations second, each sorted, so that concurrent writers seldom wait for each
        other and a relation never misses an end.
        """
        self._prepare()
        return self._write(lambda tx: merge(tx, lineage))

    def record_runs(self, lineages: Iterable[RunLineage]) -> LineageCounts:
        """Add several runs in one transaction, which is faster than one by one."""
        together = merged(lineages)
        self._prepare()
        return self._write(lambda tx: merge(tx, together))

    def record_audit(self, audit: Audit) -> LineageCounts:
        """Add what an audit found; ``drl.steps.lineage_documents.record_audit`` also keeps it in S3."""
        return self.record_run(audit.lineage())

    # -------------------------------------------------------------------------------------- questions

    def ancestry(
        self, sha256: str, depth: int = 10, most: int | None = None, first: Callable[[str], bool] = bool
    ) -> list[Relative]:
        """Everything that the entity was made from, nearest first: activities and the entities they used.

        With ``most``, only so many of them; of those equally far, activities of the runs that are ``first``.
        """
        return self._read(lambda tx: walk(tx, UPSTREAM, sha256, depth, most, first))

    def descendants(
        self, sha256: str, depth: int = 10, most: int | None = None, first: Callable[[str], bool] = bool
    ) -> list[Relative]:
        """The blast radius: what was made with the entity, nearest first; ``most`` and ``first`` as above."""
        return self._read(lambda tx: walk(tx, DOWNSTREAM, sha256, depth, most, first))

    def run(self, key: str) -> RunLineage:
        """A run's activities with what they used and generated, who was responsible, and how these relate.

        Raises:
            InputError: the graph does not know the run.
        """
        lineage = self._read(lambda tx: read_run(tx, key))
        if not lineage.activities:
            raise InputError(
                f"run {key}: not in the lineage graph at {self.settings.uri}",
                remedy="give the key that the run printed",
            )
        return lineage

    def champions_trained_on(self, what: str) -> list[Champion]:
        """Every champion whose model was made from a dataset, a source, a file or a commit, the oldest first.

        Args:
            what: SHA-256 of the source, of a split's content or of a file, or a git commit of 7 to 40 digits.

        Raises:
            InputError: it is neither.
        """
        if _DIGEST.fullmatch(what):
            return self._read(lambda tx: questions.champions_trained_on(tx, [what]))
        if not _COMMIT.fullmatch(what):
            raise InputError(
                f"{what!r} is no digest and no commit",
                remedy="give 64 hexadecimal digits, or 7 to 40 of a git commit",
            )
        ids = self._read(lambda tx: questions.code_ids(tx, what))
        return self._read(lambda tx: questions.champions_trained_on(tx, ids))

    def champion_on(self, model: str, moment: datetime) -> Champion | None:
        """The champion at a moment (with a time zone), by the ledger's time; None when there was none."""
        seconds = int(moment.timestamp())
        return self._read(lambda tx: questions.champion_on(tx, model, seconds))

    def version(self, model: str, version: str) -> Version:
        """A registered version and what it was made with: data, code, settings, environment, seeds, packages.

        Raises:
            InputError: the graph does not know it.
        """
        found = self._read(lambda tx: questions.read_version(tx, model, version))
        if found is None:
            raise InputError(
                f"model {model!r} version {version}: not in the lineage graph at {self.settings.uri}",
                remedy="give a version that a run registered (drl show), or rebuild: drl lineage rebuild",
            )
        return found

    def failing(self) -> list[FailingProof]:
        """Versions whose newest audit found something false, or could not tell."""
        return self._read(questions.failing)

    def outcomes(self) -> list[PipelineOutcomes]:
        """How often each pipeline's runs ended how."""
        return self._read(outcomes)

    def newest_audit(self) -> datetime | None:
        """When the newest audit began, None when there was none."""
        return self._read(newest_audit)

    def knows(self, what: str) -> bool:
        """Whether anything in the graph has this digest, or the code this commit."""
        condition = "n.sha256 = $what" if _DIGEST.fullmatch(what) else _AT_COMMIT
        return self._read(lambda tx: exists(tx, condition, what))

    def knows_model(self, model: str) -> bool:
        """Whether a run in the graph made a version of the model."""
        return self._read(lambda tx: exists(tx, "n.model = $what", model))

    def audited(self) -> bool:
        """Whether an audit has told the graph anything."""
        return self._read(lambda tx: exists(tx, "n.kind = $what", "audit finding"))

    # ---------------------------------------------------------------------------------------- content

    def ancestry_lineage(self, sha256: str, depth: int = 10) -> RunLineage:
        """The entity with everything it was made from, and all relations among these: for export."""
        return self.among(sha256, self.ancestry(sha256, depth))

    def among(self, sha256: str, relatives: Sequence[Relative]) -> RunLineage:
        """The entity with these relatives of it, and all relations among them."""
        entities = [sha256, *(r.identifier for r in relatives if r.label == "Entity")]
        activities = [r.identifier for r in relatives if r.label == "Activity"]
        return self._read(lambda tx: read_among(tx, sha256, entities, activities))

    def everything(self) -> RunLineage:
        """The whole graph, read a page at a time."""
        found = Collected()
        for label, key in KEYS.items():
            after = ""
            while page := self._read(partial(read_page, label=label, after=after)):
                found.nodes[label].update({properties[key]: properties for properties in page})
                after = page[-1][key]
        for kind, (source, _) in RELATIONS.items():
            identifiers = sorted(found.nodes[source])
            for start in range(0, len(identifiers), BATCH):
                ids = identifiers[start : start + BATCH]
                condition = f"a.{KEYS[source]} IN $ids"
                self._read(partial(collect, found=found, kind=kind, condition=condition, ids=ids))
        return found.lineage("everything")

    def counts(self) -> dict[str, int]:
        """Number of nodes by label and of relations by kind in the whole graph."""
        return self._read(count)

    def _prepare(self) -> None:
        """Constraints and indexes exist before the first write: without them writers make duplicates."""
        if not self._schema_ready:
            for statement in SCHEMA:
                self._write(partial(run_statement, statement=statement))
            self._schema_ready = True

    # --------------------------------------------------------------------------------- transactions

    def _read(self, work: Callable[[neo4j.ManagedTransaction], Result]) -> Result:
        def attempt() -> Result:
            with self._driver.session(database=self.settings.database) as session:
                result: Result = session.execute_read(_limited(work))
                return result

        return self._bounded(attempt)

    def _write(self, work: Callable[[neo4j.ManagedTransaction], Result]) -> Result:
        """Only managed transactions: ArcadeDB commits half of a failed auto-commit statement."""

        def attempt(left: int = _CONSTRAINT_ATTEMPTS) -> Result:
            try:
                with self._driver.session(database=self.settings.database) as session:
                    result: Result = session.execute_write(_limited(work))
                    return result
            except ConstraintError:
                # Two writers merged the same new node; on the next attempt it is there. The driver retries
                # conflicts by itself, but not this one.
                if left <= 1:
                    raise
            return attempt(left - 1)

        return self._bounded(attempt)

    def _bounded(self, attempt: Callable[[], Result]) -> Result:
        """Run ``attempt`` for ``patience`` at most: the driver waits for ever on a server gone silent."""
        outcome: queue.Queue[tuple[Result | None, Exception | None]] = queue.Queue()

        def report() -> None:
            try:
                outcome.put((attempt(), None))
            except Exception as error:
                outcome.put((None, error))

        threading.Thread(target=report, name="lineage-graph", daemon=True).start()
        try:
            result, error = outcome.get(timeout=self._patience)
        except queue.Empty as silence:
            raise self._store_error(f"no answer within {self._patience:g} s") from silence
        if isinstance(error, AuthError):
            raise StoreError(
                f"graph at {self.settings.uri} refused user {self.settings.user}",
                remedy="check DRL_BOLT_USER and DRL_BOLT_PASSWORD",
            ) from error
        if isinstance(error, Neo4jError):
            raise self._store_error(f"refused: {error.code}") from error
        if isinstance(error, DriverError):
            raise self._store_error(f"cannot be reached: {type(error).__name__}") from error
        if error is not None:
            raise error
        return cast(Result, result)

    def _store_error(self, problem: str) -> StoreError:
        return StoreError(
            f"graph at {self.settings.uri}, database {self.settings.database}: {problem}",
            remedy="start the server (`drl stack up`), or mend DRL_BOLT_URI and DRL_BOLT_DATABASE",
        )


def _limited(work: Callable[[neo4j.ManagedTransaction], Result]) -> Callable[..., Result]:
    limited: Callable[..., Result] = neo4j.unit_of_work(timeout=_QUERY_SECONDS)(work)
    return limited
