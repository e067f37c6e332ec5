"""Register the released policy in MLflow; a HOLD is a version too, without the alias."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.base import Run, RunOperator
from operators.links import RegistryLink

if TYPE_CHECKING:
    from drl.steps.request import StepResult
    from drl.stores.registry import ModelRegistry


class RegisterModelOperator(RunOperator):
    """Make the model version, with parameters, complete curves, system facts and the ONNX model."""

    operator_extra_links = (RegistryLink(),)

    def work(self, run: Run) -> dict[str, Any]:
        """Return model, version and MLflow run; a retry finds the version that was made before."""
        done = run.journal.once("registration.json", lambda: self._register(run))
        self.log.info("model %s version %s", done["model"], done["version"])
        return dict(done)

    def _register(self, run: Run) -> dict[str, Any]:
        from drl.steps.inputs import released_policy

        registry = connections.model_registry()
        trained, evaluated = run.result("train"), run.result("evaluate")
        mlflow_run = registry.start_run(run.pipeline, run.key, run.tags)
        registry.log_params(mlflow_run, _parameters(run))
        registry.log_system_info(mlflow_run, trained.system)
        summary = evaluated.summary
        scores = {f"{name}/mean": actor["mean"]["estimate"] for name, actor in summary["actors"].items()}
        registry.log_metrics(mlflow_run, "evaluation", 0, scores)
        files = released_policy(trained)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _complete_curves(run, registry, mlflow_run, trained, folder)
            run.store.get_many(files, folder)
            version = registry.register_onnx(
                run.spec.registration.model,
                folder,
                mlflow_run,
                tags={
                    "drl.run_key": run.key,
                    "drl.verdict": run.outcome.verdict,
                    "drl.model_root": trained.summary["model_root"],
                },
            )
        registry.end_run(mlflow_run, "FINISHED")
        return {"model": run.spec.registration.model, "version": int(version), "mlflow_run": mlflow_run}


def _parameters(run: Run) -> dict[str, Any]:
    training = run.spec.training
    settings = training.settings.model_dump()
    return {
        **settings,
        "hidden": training.network.hidden,
        "activation": training.network.activation,
        "time_steps": training.time_steps,
        "seeds": run.journal.read_json("opening.json")["seeds"],
        "reward": training.reward or "evaluation",
        "environment": run.spec.environment.entry_point,
        "git_commit": run.resolved["code"]["commit"],
    }


def _complete_curves(
    run: Run, registry: ModelRegistry, mlflow_run: str, trained: StepResult, folder: Path
) -> None:
    """Live points may have been missed while MLflow was away; the metrics files have them all."""
    curves = [a for a in trained.outputs if a.name.endswith("/metrics.jsonl")]
    for path in run.store.get_many(curves, folder):
        series = path.parent.name
        points = [json.loads(line) for line in path.read_text().splitlines()]
        registry.complete_metrics(mlflow_run, series, [(p["time_steps"], p["values"]) for p in points])
