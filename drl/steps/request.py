"""What an operator asks of a step and what the step answers, as JSON in the artifact store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from drl.artifact import Artifact

StepName = Literal["prepare", "train", "evaluate"]


@dataclass(frozen=True)
class StepRequest:
    """One attempt at one step.

    Attributes:
        run: key of the run, ``pipeline/run-id``.
        resolved: the frozen run that the step works from.
        inputs: outputs of earlier steps, by digest.
        parameters: what is known only after resolving, such as the seeds that the ledger gave.
        attempt: unique among the attempts at this step; names the folder of its answer.
    """

    step: StepName
    run: str
    attempt: str
    resolved: Artifact
    inputs: tuple[Artifact, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Key prefix of this attempt in the exchange."""
        return f"runs/{self.run}/{self.step}/{self.attempt}"

    @property
    def key(self) -> str:
        """Where the request lies."""
        return f"{self.folder}/request.json"

    @property
    def result_key(self) -> str:
        """Where the step writes its answer."""
        return f"{self.folder}/result.json"

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return {
            "step": self.step,
            "run": self.run,
            "attempt": self.attempt,
            "resolved": self.resolved.to_json(),
            "inputs": [a.to_json() for a in self.inputs],
            "parameters": self.parameters,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StepRequest:
        """Read what :meth:`to_json` wrote."""
        return cls(
            step=value["step"],
            run=value["run"],
            attempt=value["attempt"],
            resolved=Artifact.from_json(value["resolved"]),
            inputs=tuple(Artifact.from_json(a) for a in value["inputs"]),
            parameters=value["parameters"],
        )


@dataclass(frozen=True)
class StepResult:
    """What a step produced; a claim until the operator has checked the digests.

    Attributes:
        outputs: every file it wrote, by digest.
        summary: small JSON for the next tasks and for people.
        started: and ``finished``, ISO 8601 in UTC.
        system: where it ran: processor, cores, Python and package versions.
    """

    outputs: tuple[Artifact, ...]
    summary: dict[str, Any]
    started: str
    finished: str
    system: dict[str, Any]

    def output(self, name: str) -> Artifact:
        """The output called ``name``; KeyError when the step wrote none."""
        for artifact in self.outputs:
            if artifact.name == name:
                return artifact
        raise KeyError(name)

    def below(self, folder: str) -> list[Artifact]:
        """Outputs whose name begins with ``folder/``."""
        return [a for a in self.outputs if a.name.startswith(f"{folder}/")]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return {
            "outputs": [a.to_json() for a in self.outputs],
            "summary": self.summary,
            "started": self.started,
            "finished": self.finished,
            "system": self.system,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StepResult:
        """Read what :meth:`to_json` wrote."""
        return cls(
            outputs=tuple(Artifact.from_json(a) for a in value["outputs"]),
            summary=value["summary"],
            started=value["started"],
            finished=value["finished"],
            system=value["system"],
        )


@dataclass(frozen=True)
class AcceptedStep:
    """A request with the answer that the operator checked and took; one for each step of a run.

    Attributes:
        placement: what ran it, e.g. ``subprocess``.
        observed: what the operator saw itself, such as the exit code.
    """

    request: StepRequest
    result: StepResult
    placement: str
    observed: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return {
            "request": self.request.to_json(),
            "result": self.result.to_json(),
            "placement": self.placement,
            "observed": self.observed,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AcceptedStep:
        """Read what :meth:`to_json` wrote."""
        return cls(
            request=StepRequest.from_json(value["request"]),
            result=StepResult.from_json(value["result"]),
            placement=value["placement"],
            observed=value["observed"],
        )
