"""Which outputs of earlier steps each step reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from drl.artifact import Artifact
from drl.steps.request import StepName, StepResult

POLICY_FILES = ("policy.json", "policy.onnx", "policy.safetensors")


def released_policy(trained: StepResult) -> list[Artifact]:
    """The three files of the released seed's policy, under their plain names."""
    folder = f"seed-{trained.summary['released']}"
    return [renamed(trained.output(f"{folder}/{name}"), name) for name in POLICY_FILES]


def renamed(artifact: Artifact, name: str) -> Artifact:
    """The same bytes under another name."""
    return Artifact(name, artifact.sha256, artifact.size)


def step_inputs(
    step: StepName, results: Mapping[str, StepResult], *, champion: Sequence[Artifact]
) -> list[Artifact]:
    """Inputs of ``step`` given the results so far.

    Args:
        champion: the policy files of the champion, empty while there is none; evaluate reads them below
            ``champion/``.
    """
    if step == "prepare":
        return []
    prepared = {a.name: a for a in results["prepare"].outputs} if "prepare" in results else {}
    if step == "train":
        wanted = ("train.parquet", "validation.parquet", "demonstrations.parquet")
        return [prepared[name] for name in wanted if name in prepared]
    trained = results["train"]
    released = f"seed-{trained.summary['released']}"
    return [
        *(prepared[name] for name in ("train.parquet", "test.npy") if name in prepared),
        *(trained.output(f"{released}/{name}") for name in POLICY_FILES),
        *(a for a in trained.outputs if PurePosixPath(a.name).name == "metrics.jsonl"),
        trained.output("selection.json"),
        *(renamed(a, f"champion/{a.name}") for a in champion),
    ]
