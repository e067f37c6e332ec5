"""Children of the serving process: what needs much memory runs beside it, and its memory goes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from drl.errors import Undetermined
from drl.serving.proof import Proof, Target
from drl.serving.settings import ApiSettings


class Prove(Protocol):
    """Verifies a target and puts its files into an empty folder."""

    def __call__(self, target: Target, into: Path, *, drift: bool) -> Proof:
        """The proof; with ``drift``, also which observations to expect."""


_SHOWN = 500


def run_child(module: str, question: Any, *, seconds: float) -> Any:
    """Run ``python -m MODULE`` with a JSON question on its standard input; its JSON answer.

    Raises:
        Undetermined: it did not end in time, ended badly, or answered something else.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Undetermined(
            f"{module} did not end within {seconds:g} s", remedy="raise DRL_API_LIMIT_SECONDS"
        ) from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip()[-_SHOWN:]
        raise Undetermined(f"{module} ended with {done.returncode}: {last}", remedy="mend what it says")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise Undetermined(f"{module} answered no JSON", remedy="run it by hand") from error


class ChildProver:
    """Proves targets in children."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    def __call__(self, target: Target, into: Path, *, drift: bool) -> Proof:
        """The proof of a target; Undetermined or StoreError when there is none to be had."""
        question = {
            "target": target.to_json(),
            "trust": str(self._settings.trust.absolute()),
            "into": str(into.absolute()),
            "drift_steps": self._settings.drift_steps if drift else 0,
        }
        answer = run_child("drl.serving.prove", question, seconds=self._settings.limit_seconds)
        proof = Proof.from_json(answer)
        if proof.target != target:
            raise Undetermined("the verifier answered about something else", remedy="report this")
        return proof
