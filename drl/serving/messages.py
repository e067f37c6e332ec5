"""What goes over the wire: closed JSON, with examples for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drl.serving.readiness import State

Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(min_length=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActRequest(_Closed):
    """One observation, or several; with a seed the action is drawn from the policy's distribution."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["observation"]}, {"required": ["observations"]}],
            "examples": [
                {"observation": [0.02, -0.01, 0.03, 0.04]},
                {"observations": [[0.02, -0.01, 0.03, 0.04], [0.1, 0.2, -0.1, 0.0]], "seed": 7},
            ],
        }
    )

    observation: Vector = Field(default=[], description="One observation, as long as the policy's")
    observations: Annotated[list[Vector], Field(min_length=1)] = Field(
        default=[], description="Several observations, answered in their order"
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, strict=True, description="Left away: the deterministic action"
    )

    @model_validator(mode="after")
    def _one(self) -> ActRequest:
        if bool(self.observation) == bool(self.observations):
            raise ValueError("give either observation or observations")
        return self


class ActAnswer(_Closed):
    """The action for ``observation``, or the actions for ``observations``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": 1}, {"actions": [1, 0]}]})

    action: int | list[float] | None = None
    actions: list[int] | list[list[float]] | None = None


class Refusal(_Closed):
    """A target that was not loaded, and why."""

    version: int | None
    outcome: str
    reasons: list[str]


class Served(_Closed):
    """What answers, and why it may."""

    version: int
    model_root: str
    record: str = Field(description="Key of the run whose record was verified")
    verdict: str | None
    level: int = Field(description="Level of proof that was reached")
    sentence: str
    anchor: dict[str, Any] | None = Field(description="Receipt of the promotion's note on the ledger")
    loaded: str
    proved: str
    drift: str
    observation_space: dict[str, Any]
    action_space: dict[str, Any]
    head: str
    algorithm: str


class PolicyAnswer(_Closed):
    """One policy."""

    name: str
    alias: str
    served: Served | None
    refused: Refusal | None


class PoliciesAnswer(_Closed):
    """All policies."""

    policies: list[PolicyAnswer]


class Readiness(_Closed):
    """Whether this process is of use, and how it stands with everything."""

    ready: bool = Field(description="Every policy was looked at, and one at least answers")
    policies: dict[str, State]
    servers: dict[str, bool]
    versions: dict[str, int | None] | None = Field(default=None, description="Told to keys that may read")
    problems: list[str] | None = Field(default=None, description="Told to keys that may read")


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    title: str
    status: int
    detail: str
    remedy: str
    reasons: list[str] = []
