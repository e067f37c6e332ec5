"""What all placements of a step share: what it is asked, what of its answer is taken, and what is signed.

A placement is an operator that holds a :class:`StepWork` and hands it a function that lets the step run
somewhere: a subprocess (``operators/step.py``), a pod (``operators/pod.py``) or a RayJob
(``operators/ray_step.py``). That function gets the run and a request that lies in the store, and returns what
it saw once the step has ended well; it raises when the step failed. An answer that is refused would be
refused again, so what gave it is not to be taken up by the next try: the placement is told to throw it away.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drl.errors import Falsified, Missing, Undetermined
from operators.base import Run

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from drl.artifact import Artifact
    from drl.steps.request import StepName, StepRequest, StepResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Performed:
    """A step that ended well.

    Attributes:
        request: what it worked at; an earlier try's where a placement took up work that went on without it.
        observed: what the placement saw itself, such as the exit code; part of the signed statement.
    """

    request: StepRequest
    observed: dict[str, Any]


@dataclass(frozen=True)
class StepWork:
    """One step of a pipeline, wherever it runs.

    Attributes:
        placement: as the statement's ``builder.id`` names it: ``subprocess``, ``pod``, ``rayjob``.
        outlet: asset that has a new version when the step ends.
    """

    step: StepName
    placement: str
    outlet: Asset | None

    def do(
        self,
        run: Run,
        perform: Callable[[Run, StepRequest], Performed],
        discard: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Return the step's summary; a step that was accepted before is not run again.

        Args:
            perform: lets the step run.
            discard: throws away what ``perform`` keeps for a later try; called where its answer is refused.
        """
        from drl.steps.accept import sign_statements

        if run.journal.has(f"{self.step}.json"):
            _log.info("accepted before; nothing to do")
        else:
            self._accept(run, perform(run, self._asked(run)), discard)
        sign_statements(run.journal, self.step, run.steps_signer)
        if self.outlet:
            run.context["outlet_events"][self.outlet].extra = {"run": run.key, "step": self.step}
        return run.result(self.step).summary

    def request(self, run: Run, attempt: str) -> StepRequest:
        """What the step is asked; only ``attempt`` differs from one try to the next."""
        from drl.artifact import Artifact
        from drl.steps.request import StepRequest

        return StepRequest(
            step=self.step,
            run=run.key,
            attempt=attempt,
            resolved=Artifact.from_json(run.journal.read_json("resolved.ref.json")),
            inputs=tuple(_inputs(run, self.step)),
            parameters=_parameters(run, self.step),
        )

    def _asked(self, run: Run) -> StepRequest:
        """The request of this try, stored for the step to read."""
        from drl.digest import canonical_json

        request = self.request(run, f"{run.context['ti'].try_number}-{secrets.token_hex(4)}")
        run.store.write_once(request.key, canonical_json(request.to_json()))
        return request

    def _accept(self, run: Run, performed: Performed, discard: Callable[[], None]) -> None:
        from drl.steps.request import AcceptedStep

        request = performed.request
        try:
            result = _answer(run, request)
        except Exception as error:
            if not isinstance(error, Undetermined) or isinstance(error, Missing):
                discard()
            raise
        accepted = AcceptedStep(request, result, self.placement, performed.observed)
        run.journal.once(f"{self.step}.json", accepted.to_json)


def _answer(run: Run, request: StepRequest) -> StepResult:
    """The step's result, its outputs checked.

    Raises:
        InputError: there is none.
        Falsified: it is none, or claims what the store does not hold.
    """
    from drl.steps.accept import check_outputs
    from drl.steps.request import StepResult

    data = run.store.read(request.result_key)
    try:
        result = StepResult.from_json(json.loads(data))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Falsified(
            f"{request.result_key} is no result of a step ({type(error).__name__}: {error})",
            remedy="the step's code, or its image, is at fault: mend it, then clear this task",
        ) from error
    check_outputs(run.store, result)
    return result


def _inputs(run: Run, step: StepName) -> list[Artifact]:
    from drl.artifact import Artifact
    from drl.steps.inputs import step_inputs

    before = ("prepare", "train", "evaluate")
    results = {name: run.result(name) for name in before[: before.index(step)] if run.ran(name)}
    champion = run.resolved["champion"]
    return step_inputs(
        step, results, champion=[Artifact.from_json(a) for a in champion["files"]] if champion else []
    )


def _parameters(run: Run, step: StepName) -> dict[str, Any]:
    if step == "prepare":
        return {}
    opening = run.journal.read_json("opening.json")
    if step == "train":
        return {"seeds": opening["seeds"]}
    champion = run.resolved["champion"]
    return {
        "released": run.result("train").summary["released"],
        "alpha": opening["alpha"],
        "champion_root": champion["model_root"] if champion else None,
    }
