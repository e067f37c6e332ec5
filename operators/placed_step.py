"""What the operators of all placements of a step are made of: one step, its outlet, its link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from operators.base import RunOperator
from operators.links import StepLink
from operators.step_work import StepWork

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from drl.steps.request import StepName


class PlacedStepOperator(RunOperator):
    """One step of a pipeline; a subclass says where it runs.

    Args:
        step: ``prepare``, ``train`` or ``evaluate``.
        outlet: asset that has a new version when the step ends.
    """

    placement: ClassVar[str]
    operator_extra_links = (StepLink(),)

    def __init__(self, *, step: StepName, outlet: Asset | None = None, **kwargs: Any) -> None:
        super().__init__(outlets=[outlet] if outlet else [], **kwargs)
        self.step_work = StepWork(step, self.placement, outlet)
