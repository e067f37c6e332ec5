"""What an audit found, and how the lineage graph keeps it: an activity that generated a finding a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from drl.digest import require_sha256, sha256_json
from drl.errors import InputError
from drl.stores.lineage import Activity, Entity, Relation, RunLineage

Outcome = Literal["holds", "false", "undetermined"]


@dataclass(frozen=True)
class AuditFinding:
    """Whether the proof of one version holds.

    Attributes:
        model: registered name.
        version: its version in the registry.
        root: its model root.
        run: key of the run that made it.
        outcome: ``holds``; ``false`` when a check found something false; ``undetermined`` when none did and
            something could not be told.
        problems: one sentence for each finding that is not good; empty when the proof holds.
    """

    model: str
    version: str
    root: str
    run: str
    outcome: Outcome
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_sha256(self.root, where=f"audit of {self.model} {self.version}")
        if self.outcome not in get_args(Outcome) or (self.outcome == "holds") == bool(self.problems):
            raise InputError(
                f"audit of {self.model} {self.version}: {self.outcome!r} with {len(self.problems)} problems",
                remedy="give holds without problems, or false or undetermined with at least one",
            )


@dataclass(frozen=True)
class Audit:
    """One audit of several versions.

    Round trip: ``Audit.from_json(a.to_json()) == a``.

    Attributes:
        key: names this audit for ever, e.g. the id of the Airflow run; a retry keeps it.
        started: and ``ended``, ISO 8601 with an offset. ``started`` decides which audit is the newest.
        findings: one for each version.
    """

    key: str
    started: str
    ended: str
    findings: tuple[AuditFinding, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Audit:
        """Read what :meth:`to_json` wrote."""
        findings = (AuditFinding(**{**f, "problems": tuple(f["problems"])}) for f in value["findings"])
        return cls(value["key"], value["started"], value["ended"], tuple(findings))

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the four attributes."""
        return {
            "key": self.key,
            "started": self.started,
            "ended": self.ended,
            "findings": [{**asdict(f), "problems": list(f.problems)} for f in self.findings],
        }

    def lineage(self) -> RunLineage:
        """The audit as an activity; each finding an entity derived from the model it is about."""
        activity = Activity(f"audit/{self.key}", "audit", self.started, self.ended)
        entities: dict[str, Entity] = {}
        relations: set[Relation] = set()
        for finding in self.findings:
            facts = {
                "model": finding.model,
                "version": finding.version,
                "root": finding.root,
                "run_key": finding.run,
                "outcome": finding.outcome,
                "problems": "\n".join(finding.problems),
                "checked": str(activity.started),
            }
            name = f"{finding.model} {finding.version} {finding.outcome}"
            entity = Entity(sha256_json({"audit finding": facts}), "audit finding", name, facts)
            entities[entity.sha256] = entity
            entities.setdefault(finding.root, Entity(finding.root, "model", finding.model))
            relations |= {
                Relation("WAS_GENERATED_BY", entity.sha256, activity.key),
                Relation("WAS_DERIVED_FROM", entity.sha256, finding.root, "model"),
                Relation("USED", activity.key, finding.root, "audited"),
            }
        return RunLineage(activity.key, tuple(entities.values()), (activity,), (), tuple(relations))
