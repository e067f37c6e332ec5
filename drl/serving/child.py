"""Children of the serving process: what needs much memory runs beside it, and its memory goes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from drl.errors import Undetermined
from drl.serving.proof import Expected, Proof, Target
from drl.serving.settings import ApiSettings


class Prove(Protocol):
    """Verifies a target and puts its files into an empty folder."""

    def __call__(self, target: Target, into: Path) -> Proof:
        """The proof."""


class Expect(Protocol):
    """Finds out which observations a policy is used to."""

    def __call__(self, target: Target, policy: Path) -> tuple[Expected | None, str | None]:
        """Them, or why nobody knows; ``policy`` is the folder of the proved files."""


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

    def __call__(self, target: Target, into: Path) -> Proof:
        """The proof of a target; Undetermined or StoreError when there is none to be had."""
        question = {
            "target": target.to_json(),
            "trust": str(self._settings.trust.absolute()),
            "into": str(into.absolute()),
        }
        answer = run_child("drl.serving.prove", question, seconds=self._settings.limit_seconds)
        proof = Proof.from_json(answer)
        if proof.target != target:
            raise Undetermined("the verifier answered about something else", remedy="report this")
        return proof


class ChildExpectation:
    """Plays the training environments of served policies in children."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    def __call__(self, target: Target, policy: Path) -> tuple[Expected | None, str | None]:
        """Which observations to expect, or why nobody knows; Undetermined when the child did not end well."""
        settings = self._settings
        if not settings.drift_steps:
            return None, "switched off: drift_steps is 0"
        question = {
            "target": target.to_json(),
            "trust": str(settings.trust.absolute()),
            "policy": str(policy.absolute()),
            "steps": settings.drift_steps,
        }
        seconds = min(settings.limit_seconds, settings.prove_seconds)  # meanwhile nothing is proved again
        answer = run_child("drl.serving.expectation", question, seconds=seconds)
        expected = answer["expected"]
        return Expected.from_json(expected) if expected else None, answer["unexpected"]
