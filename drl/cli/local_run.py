"""``drl run``: the same steps as a DAG's, in a folder, for the daily loop of whoever develops a policy."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from drl.digest import canonical_json
from drl.spec import PipelineSpec, load_pipeline
from drl.steps.exchange import FolderExchange
from drl.steps.folder_run import message, run_in_folder
from drl.steps.inputs import renamed, step_inputs
from drl.steps.request import StepRequest, StepResult
from drl.steps.resolve import resolve, with_parameters
from drl.steps.source_code import code_identity
from drl.training.profile import profile_environment

_console = Console(highlight=False)


def run_locally(file: Path, parameters: dict[str, Any], keep: Path | None) -> Path:
    """Prepare, train and evaluate in a folder; returns it.

    Args:
        file: the pipeline file.
        parameters: training parameters of this run.
        keep: the folder; by default a new one below ``.drl/runs``.
    """
    spec = with_parameters(load_pipeline(file), parameters)
    now = datetime.now(UTC)
    folder = (keep or Path(".drl/runs") / f"{spec.pipeline}-{now:%Y%m%dT%H%M%S}").resolve()
    exchange = FolderExchange(folder)
    run = f"{spec.pipeline}/local"
    resolved = resolve(
        spec,
        run=run,
        run_date=now.date(),
        base=file.parent,
        champion=None,
        store=None,
        code=code_identity(archive_into=None),
    )
    path = folder / "resolved.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(canonical_json(resolved))
    artifact = exchange.put(path, "resolved.json")
    results: dict[str, StepResult] = {}
    for step in ("prepare", "train", "evaluate") if spec.data else ("train", "evaluate"):
        request = StepRequest(
            step=step,
            run=run,
            attempt="1",
            resolved=artifact,
            inputs=tuple(step_inputs(step, results, champion=[])),
            parameters=_step_parameters(spec, step, results),
        )
        _console.print(f"[bold]{step}[/bold]")
        environment = os.environ | profile_environment(spec.training.profile)
        results[step] = run_in_folder(folder, request, environment=environment, show=_show)
    _unpack(exchange, results, folder)
    _print(spec, results["evaluate"].summary, folder)
    return folder


def _step_parameters(spec: PipelineSpec, step: str, results: dict[str, StepResult]) -> dict[str, Any]:
    if step == "train":
        seeds = spec.training.seeds
        chosen = seeds if isinstance(seeds, list) else [secrets.randbelow(2**31) for _ in range(seeds)]
        return {"seeds": [str(seed) for seed in chosen]}
    if step == "evaluate":
        return {
            "released": results["train"].summary["released"],
            "alpha": spec.promotion.alpha,
            "champion_root": None,
        }
    return {}


def _show(line: str) -> None:
    said = message(line)
    if said is not None:
        _console.print(f"  {said}", markup=False)


def _unpack(exchange: FolderExchange, results: dict[str, StepResult], folder: Path) -> None:
    for step, result in results.items():
        for artifact in result.outputs:
            exchange.get(renamed(artifact, f"{step}/{artifact.name}"), folder / "outputs")


def _print(spec: PipelineSpec, summary: dict[str, Any], folder: Path) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column(f"{spec.evaluation.unit} per episode", justify="right")
    means = {name: actor["mean"]["estimate"] for name, actor in summary["actors"].items()}
    for name, mean in sorted(means.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{mean:,.2f}")
    _console.print(table)
    _console.print(f"[bold]{summary['decision']['verdict']}[/bold]: {summary['decision']['reason']}")
    _console.print("nothing is signed and nothing is registered: this is your own look, not a record")
    _console.print(f"results: {folder / 'outputs'}", soft_wrap=True)
    _console.print(f"report:  {folder / 'outputs' / 'evaluate' / 'report.html'}", soft_wrap=True)
