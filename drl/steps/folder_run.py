"""One step in a fresh process, its request and answer in a folder: for ``drl run`` and for reproductions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from drl.digest import canonical_json
from drl.errors import StepError
from drl.steps.exchange import FolderExchange
from drl.steps.request import StepRequest, StepResult


def run_in_folder(
    folder: Path,
    request: StepRequest,
    *,
    environment: Mapping[str, str],
    show: Callable[[str], None],
    python: str = sys.executable,
    cwd: Path | None = None,
) -> StepResult:
    """Do a step whose inputs lie in the exchange ``folder``; returns its answer.

    The process and all it starts end with this one.

    Args:
        folder: absolute; the root of a :class:`FolderExchange`.
        request: what to do.
        environment: all of the process's variables, the instruction-set profile among them.
        show: told each line that the step prints.
        python: the interpreter.
        cwd: where the process starts; Python finds packages there first.

    Raises:
        StepError: the step ended with an error, whose text it printed.
    """
    exchange = FolderExchange(folder)
    exchange.write_once(request.key, canonical_json(request.to_json()))
    command = [python, "-m", "drl.steps.supervise", python, "-m", "drl", "step"]
    with subprocess.Popen(
        [*command, f"file://{folder}#{request.key}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
    ) as process:
        for line in process.stdout or ():
            show(line.rstrip("\n"))
    if process.returncode != 0:
        raise StepError(
            f"step {request.step} ended with status {process.returncode}", remedy="see the lines above"
        )
    return StepResult.from_json(json.loads(exchange.read(request.result_key)))


def message(line: str) -> str | None:
    """What a line of a step says to a person: a log line or a phase that ended; None for anything else."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return None
    if event.get("event") == "log":
        return str(event["message"])
    if event.get("event") == "phase":
        return f"{event['name']}: {event['seconds']:.1f} s"
    return None
