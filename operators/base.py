"""What every operator of a pipeline shares: the run it belongs to, and which errors are worth a retry."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from drl.errors import ConflictError, DataError, DrlError, Falsified, InputError
from drl.spec import PipelineSpec, parse_pipeline
from operators import connections
from operators.links import RunPageLink
from operators.signing import signer

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from drl.artifact import Artifact
    from drl.record.keys import RoleSigner
    from drl.record.outcome import Approval, Outcome
    from drl.steps.journal import RunJournal
    from drl.steps.request import StepResult
    from drl.stores.s3 import ArtifactStore

# A second try cannot change these: bad input, bad data, false claims, somebody else was first.
_FINAL = (InputError, DataError, Falsified, ConflictError)


@dataclass
class Run:
    """One pass of a pipeline, as its operators see it."""

    pipeline: str
    key: str
    context: Context

    @cached_property
    def store(self) -> ArtifactStore:
        """The artifact store, with the operators' rights."""
        return connections.artifact_store()

    @cached_property
    def records(self) -> ArtifactStore:
        """Documents of the bucket that no step may touch."""
        return connections.record_documents()

    @cached_property
    def journal(self) -> RunJournal:
        """What was decided so far."""
        from drl.steps.journal import RunJournal

        return RunJournal(self.records, self.key)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The frozen run."""
        value: dict[str, Any] = self.journal.read_json("resolved.json")
        return value

    @cached_property
    def spec(self) -> PipelineSpec:
        """The frozen spec."""
        return parse_pipeline(self.resolved["spec"], path=Path(f"{self.key}/resolved.json"))

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run in MLflow."""
        return {"drl.pipeline": self.pipeline}

    @property
    def steps_signer(self) -> RoleSigner:
        """Signs what was done."""
        return signer("steps")

    @property
    def release_signer(self) -> RoleSigner:
        """Signs what is released and promoted."""
        return signer("release")

    def result(self, step: str) -> StepResult:
        """The accepted result of a step."""
        from drl.steps.request import AcceptedStep

        return AcceptedStep.from_json(self.journal.read_json(f"{step}.json")).result

    @property
    def decision(self) -> dict[str, Any]:
        """What the promotion rule said, with its numbers."""
        value: dict[str, Any] = self.result("evaluate").summary["decision"]
        return value

    @property
    def outcome(self) -> Outcome:
        """What the release says: the decision, unless something else forbids a promotion."""
        from drl.record.outcome import release_outcome

        code = self.resolved["code"]
        if not self.spec.promotion.require_approval:
            return release_outcome(self.decision, code=code, approval=None)
        answer = self.answer
        given: Approval = answer["answer"] if answer else "unanswered"
        return release_outcome(self.decision, code=code, approval=given, answer=answer)

    @property
    def answer(self) -> dict[str, Any] | None:
        """What an approver answered, after its signature held; None while nobody has."""
        from drl.steps.approval import NAME, read_answer
        from drl.steps.journal import ENVELOPE

        if not self.journal.has(f"{NAME}{ENVELOPE}"):
            return None
        keys = signer("approval").accepted
        return read_answer(self.journal, keys=keys, own_keys=self.spec.promotion.approver_keys)

    @property
    def source_archive(self) -> list[Artifact]:
        """The archive of the source code that ran, where there is one."""
        from drl.artifact import Artifact

        archive = self.resolved["code"]["archive"]
        return [Artifact.from_json(archive)] if archive else []

    def ran(self, step: str) -> bool:
        """Whether this run has the step: without data there is nothing to prepare."""
        return step != "prepare" or self.spec.data is not None

    @property
    def date(self) -> date:
        """The run's date: its logical date, or the day it was asked for when it has none."""
        moment = self.context.get("logical_date") or self.context["dag_run"].run_after
        return moment.date()


class RunOperator(BaseOperator):
    """Does one thing for a run, idempotently: a retry at any point ends in the same state.

    Subclasses implement :meth:`work`; what it returns is pushed as XCom and must be small JSON.
    """

    operator_extra_links = (RunPageLink(),)

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline

    def execute(self, context: Context) -> Any:
        """Call :meth:`work`; errors that a retry cannot mend fail the task at once."""
        return self.guarded(context, self.work)

    def guarded(self, context: Context, act: Callable[[Run], Any]) -> Any:
        """Do ``act``, note how long it took, and let no error pass that a retry cannot mend."""
        from drl.steps.journal import run_key

        run = Run(self.pipeline, run_key(self.pipeline, context["run_id"]), context)
        start = time.perf_counter()
        try:
            value = act(run)
            seconds = round(time.perf_counter() - start, 2)
            run.journal.once(f"times/{self.task_id}.json", lambda: {"seconds": seconds})
        except _FINAL as error:
            raise AirflowFailException(str(error)) from error
        except DrlError as error:
            self.log.error("%s", error)
            raise
        return value

    @abstractmethod
    def work(self, run: Run) -> Any:
        """Do it, or find it done."""
