"""What the serving process and its verifying child say to each other: JSON both ways, read strictly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from drl.artifact import Artifact
from drl.errors import Undetermined

Outcome = Literal["holds", "false", "undetermined"]


@dataclass(frozen=True)
class Target:
    """What the alias points to, as the registry says; nothing of it is believed before it is proved.

    Round trip: ``Target.from_json(t.to_json()) == t``.

    Attributes:
        model: name of the registered model.
        version: its number.
        root: model root.
        run: key of the run that made it.
    """

    model: str
    version: int
    root: str
    run: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Target:
        """Read what :meth:`to_json` wrote."""
        return cls(str(value["model"]), int(value["version"]), str(value["root"]), str(value["run"]))

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the four attributes."""
        return asdict(self)


@dataclass(frozen=True)
class Expected:
    """Observations that the policy met in episodes of its training environment, component by component.

    Attributes:
        steps: how many observations.
        mean: [D].
        deviation: standard deviation, [D].
        low: smallest, [D].
        high: largest, [D].
    """

    steps: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Expected:
        """Read what :meth:`to_json` wrote."""
        parts = (tuple(float(x) for x in value[name]) for name in ("mean", "deviation", "low", "high"))
        return cls(int(value["steps"]), *parts)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Proof:
    """What the verifier found about a target.

    Attributes:
        target: what was asked about.
        outcome: ``holds``, ``false``, or ``undetermined`` when it could not be told.
        reasons: why it does not hold; empty when it does.
        sentence: the whole in one line.
        level: of proof that was reached.
        verdict: of the release.
        anchor: receipt of the promotion's note on the ledger; None when there is none.
        files: the policy's files by digest, fetched and checked; empty unless it holds.
    """

    target: Target
    outcome: Outcome
    reasons: tuple[str, ...]
    sentence: str
    level: int = 0
    verdict: str | None = None
    anchor: dict[str, Any] | None = None
    files: tuple[Artifact, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Proof:
        """Read what :meth:`to_json` wrote.

        Raises:
            Undetermined: it is something else.
        """
        try:
            outcome: Outcome = value["outcome"]
            if outcome not in ("holds", "false", "undetermined"):
                raise ValueError(outcome)
            return cls(
                target=Target.from_json(value["target"]),
                outcome=outcome,
                reasons=tuple(str(reason) for reason in value["reasons"]),
                sentence=str(value["sentence"]),
                level=int(value["level"]),
                verdict=value["verdict"],
                anchor=value["anchor"],
                files=tuple(Artifact.from_json(file) for file in value["files"]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise Undetermined(
                f"the verifier's answer cannot be read: {error!r}", remedy="look at its log lines above"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes."""
        return {
            **vars(self),
            "target": self.target.to_json(),
            "reasons": list(self.reasons),
            "files": [file.to_json() for file in self.files],
        }
