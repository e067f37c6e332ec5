"""From a pipeline file to its DAG: ``dags/NAME.yaml`` beside two lines in ``dags/NAME.py``."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, Param
from airflow.sdk.bases.operator import chain

from drl.spec import PipelineSpec, load_pipeline
from operators.base import RunOperator
from operators.ledger import CloseRunOperator, OpenRunOperator
from operators.lineage import RecordLineageOperator
from operators.placement import placement_of, step_operator, step_patience
from operators.promote import PromotePolicyOperator, VerdictOperator
from operators.publish import PublishArtifactsOperator
from operators.registry import RegisterModelOperator
from operators.resolve import ResolveRunOperator
from operators.seal import SealRecordOperator

_SHORT = timedelta(minutes=15)


def airflow_dag(dag_file: str) -> DAG:
    """The DAG of the pipeline file beside ``dag_file``.

    Raises:
        InputError: the pipeline file is wrong; Airflow shows it as this DAG's import error, other DAGs load.
    """
    path = Path(dag_file).with_suffix(".yaml")
    return pipeline_dag(load_pipeline(path), path)


def pipeline_dag(spec: PipelineSpec, path: Path) -> DAG:
    """The DAG of a pipeline: resolve and open, the steps, register, seal, close, and the verdict's branch."""
    orchestration = spec.orchestration
    placement = placement_of(orchestration)
    Step = step_operator(placement)
    with DAG(
        dag_id=spec.pipeline,
        description=spec.description,
        doc_md=_documentation(spec, path),
        schedule=orchestration.schedule,
        start_date=datetime.combine(orchestration.start_date, time(), UTC),
        end_date=datetime.combine(end, time.max, UTC) if (end := orchestration.end_date) else None,
        catchup=orchestration.catchup,
        max_active_runs=1,
        dagrun_timeout=_run_timeout(spec),
        tags={"drl", *spec.tags},
        params=_parameters(spec),
        default_args={
            "owner": spec.owner,
            "retries": orchestration.retries,
            "retry_delay": timedelta(seconds=15),
            "retry_exponential_backoff": True,
            "execution_timeout": _SHORT,
            "pool": orchestration.pool,
        },
    ) as dag:
        common: dict[str, Any] = {"pipeline": spec.pipeline}
        step: dict[str, Any] = {
            **common,
            "execution_timeout": step_patience(orchestration, placement),
        }
        dataset, policy = _assets(spec)
        prepare = [Step(task_id="prepare", step="prepare", outlet=dataset, **step)] if spec.data else []
        approve = _approval(spec, common)
        after_approval = "none_failed" if approve else "all_success"  # nobody is asked about a HOLD
        verdict = VerdictOperator(task_id="verdict", **common)
        chain(
            ResolveRunOperator(task_id="resolve", file=str(path), **common),
            OpenRunOperator(task_id="open_run", **common),
            *prepare,
            Step(task_id="train", step="train", **step),
            Step(task_id="evaluate", step="evaluate", **step),
            PublishArtifactsOperator(task_id="publish", **common),
            *approve,
            RegisterModelOperator(task_id="register_model", trigger_rule=after_approval, **common),
            SealRecordOperator(task_id="seal", **common),
            CloseRunOperator(task_id="close_run", **common),
            RecordLineageOperator(task_id="record_lineage", **common),
            verdict,
            [
                promote := PromotePolicyOperator(task_id="promote", outlet=policy, **common),
                EmptyOperator(task_id="hold"),
                EmptyOperator(task_id="reject"),
            ],
        )
        promote >> RecordLineageOperator(
            task_id="record_promotion", document="promotion.lineage.json", **common
        )
    return dag


def _approval(spec: PipelineSpec, common: dict[str, Any]) -> list[RunOperator]:
    """The task that asks a person, where the pipeline wants one to be asked; others need not import it."""
    if not spec.promotion.require_approval:
        return []
    from operators.approval import ApprovePolicyOperator

    patience = timedelta(minutes=spec.promotion.approval_timeout_minutes)
    return [ApprovePolicyOperator(task_id="approve", response_timeout=patience, **common)]


def _run_timeout(spec: PipelineSpec) -> timedelta:
    """The run's own time, and the time that people have to answer."""
    waiting = spec.promotion.approval_timeout_minutes if spec.promotion.require_approval else 0
    return timedelta(minutes=spec.orchestration.run_timeout_minutes + waiting)


def _assets(spec: PipelineSpec) -> tuple[Asset, Asset]:
    name = spec.pipeline
    return (
        Asset(name=f"{name}.dataset", uri=f"drl://dataset/{name}", group="drl"),
        Asset(name=f"{name}.policy", uri=f"drl://policy/{spec.registration.model}", group="drl"),
    )


def _parameters(spec: PipelineSpec) -> dict[str, Param]:
    """The form for a manual run: training only. Data, protocol and promotion rule belong to the pipeline."""
    training = spec.training
    explicit = isinstance(training.seeds, list)
    parameters = {
        "time_steps": Param(
            training.time_steps, type="integer", minimum=1, title="Time steps", description="For each seed"
        ),
        "seeds": Param(
            training.seeds,
            type="array" if explicit else "integer",
            **({"items": {"type": "integer", "minimum": 0}} if explicit else {"minimum": 1, "maximum": 100}),
            title="Seeds",
            description="Explicit seeds" if explicit else "How many seeds to derive from the opening block",
        ),
    }
    for name, value in training.settings.model_dump().items():
        if name != "algorithm":
            kind = "integer" if isinstance(value, int) else "number"
            parameters[name] = Param(
                value,
                type=kind,
                minimum=0,
                title=name.replace("_", " ").capitalize(),
                section=training.settings.algorithm,
            )
    return parameters


def _documentation(spec: PipelineSpec, path: Path) -> str:
    rule, training = spec.promotion, spec.training
    return f"""### {spec.pipeline}

{spec.description}

| | |
|---|---|
| environment | `{spec.environment.entry_point}` |
| training | {training.settings.algorithm}, {training.time_steps:,} time steps, {training.seed_count} seeds |
| compared with | {", ".join(b.name for b in spec.evaluation.baselines)} |
| promoted when | the mean paired difference to the champion (to `{rule.gate}` while there is none) \
lies above {rule.margin:g} {spec.evaluation.unit} with a {100 * (1 - rule.alpha):g} % interval |

The whole definition is `{path.name}`. HOLD and REJECT are successful runs: sealed, closed and kept.
"""
