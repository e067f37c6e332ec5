"""What the operator does with a step's answer: check it, and sign what it knows.

A step's answer is a claim. Accepting it means that every output lies in the store with the bytes that its
digest says; the signed statement adds what the operator observed itself.
"""

from __future__ import annotations

from typing import Any, Protocol

from drl.artifact import Artifact
from drl.errors import Falsified
from drl.record.keys import RoleSigner
from drl.record.predicates import (
    Execution,
    evaluation_statement,
    provenance_statement,
    validation_statement,
)
from drl.steps.journal import RunJournal
from drl.steps.request import AcceptedStep, StepName, StepResult

# Made beside the files that later steps rely on.
_BYPRODUCTS = (".html", "metrics.jsonl", "checkpoints.jsonl", "data_docs.zip", "profile.json")


class Staged(Protocol):
    """The part of the artifact store that can tell whether staged bytes are those of a digest."""

    def verify_staged(self, artifact: Artifact) -> None:
        """Raise Falsified or StoreError unless they are."""


def check_outputs(store: Staged, result: StepResult) -> None:
    """Check the digests of all outputs; Falsified when the step claims what the store does not hold."""
    names = [a.name for a in result.outputs]
    if not names or len(set(names)) != len(names):
        raise Falsified(f"the step names its outputs {names}", remedy="the step's code is at fault: mend it")
    for artifact in result.outputs:
        store.verify_staged(artifact)


def sign_statements(journal: RunJournal, step: StepName, signer: RoleSigner) -> None:
    """Sign the step's provenance, and after prepare and evaluate what was found."""
    accepted = AcceptedStep.from_json(journal.read_json(f"{step}.json"))
    intent = next(a.sha256 for a in journal.envelopes() if a.name == "intent.dsse.json")
    journal.sign_once(step, lambda: _provenance(journal, intent, accepted), signer)
    if step == "prepare":
        journal.sign_once("validation", lambda: _validation(intent, accepted.result), signer)
    if step == "evaluate":
        journal.sign_once("evaluation", lambda: _evaluation(journal, intent, accepted.result), signer)


def _provenance(journal: RunJournal, intent: str, accepted: AcceptedStep) -> dict[str, Any]:
    request, result = accepted.request, accepted.result
    beside = [a for a in result.outputs if a.name.endswith(_BYPRODUCTS)]
    return provenance_statement(
        request.step,
        intent=intent,
        parameters=request.parameters,
        inputs=[request.resolved, *request.inputs],
        outputs=[a for a in result.outputs if a not in beside],
        byproducts=beside,
        code=journal.read_json("resolved.json")["code"],
        execution=Execution(
            placement=accepted.placement,
            invocation=request.folder.removeprefix("runs/"),
            started=result.started,
            finished=result.finished,
            observed={**accepted.observed, "claimed_system": result.system},
        ),
    )


def _validation(intent: str, result: StepResult) -> dict[str, Any]:
    summary = result.summary
    return validation_statement(
        intent=intent,
        splits=[result.output(f"{name}.parquet") for name in ("train", "validation", "test")],
        result=result.output("expectations.json"),
        success=bool(summary["success"]),
        expectations={k: summary["expectations"][k] for k in ("evaluated", "failed")},
        cleaning=summary["cleaning"],
        contents=summary["contents"],
    )


def _evaluation(journal: RunJournal, intent: str, result: StepResult) -> dict[str, Any]:
    resolved = journal.read_json("resolved.json")
    evidence = [
        result.output(n) for n in ("episodes.jsonl", "baselines.json", "evaluation.json", "report.html")
    ]
    return evaluation_statement(
        intent=intent,
        model=resolved["spec"]["registration"]["model"],
        root=result.summary["model_root"],
        test_data=resolved["test_data"],
        participants=_participants(resolved, result),
        decision=result.summary["decision"],
        evidence=[*evidence, *result.below("actions")],
    )


def _participants(resolved: dict[str, Any], result: StepResult) -> list[dict[str, Any]]:
    kinds = {b["name"]: b["kind"] for b in resolved["spec"]["evaluation"]["baselines"]}
    roots = {"policy": result.summary["model_root"], "champion": result.summary["champion_root"]}
    return [
        {
            "name": name,
            "kind": kinds.get(name, "policy"),
            "root": roots.get(name),
            "mean": actor["mean"]["estimate"],
            "files": ["episodes.jsonl", f"actions/{name}.npy"],
        }
        for name, actor in sorted(result.summary["actors"].items())
    ]
