"""The champions of a deployment, and whether their proof held when somebody looked last."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from drl.errors import ConflictError
from drl.pages.journals import Journals
from drl.serving.proof import Target
from drl.steps.journal import pipeline_of
from drl.stores.lineage_audit import Audit, AuditFinding

_AUDITS = "lineage/audit/"
_SEEN = 30
_ALIAS = "champion"
_THREADS = 8


class Registry(Protocol):
    """What is asked of :class:`drl.serving.registry.RegistryClient`."""

    def aliases(self, alias: str) -> dict[str, int]:
        """For each model that has the alias, the version that it points to."""

    def target(self, model: str, version: int) -> Target:
        """What a version is said to be; ConflictError when no pipeline registered it."""


@dataclass(frozen=True)
class ChampionLine:
    """What the alias of a model points to.

    Attributes:
        model: registered name.
        version: that the alias points to.
        target: what the version is said to be; None when no pipeline registered it.
        finding: of the newest audit that looked at it; None when none did.
        audited: when that audit began.
    """

    model: str
    version: int
    target: Target | None = None
    finding: AuditFinding | None = None
    audited: datetime | None = None

    @property
    def proof(self) -> str:
        """``holds``, ``false``, ``undetermined``, ``not audited`` or ``not registered by a pipeline``."""
        if self.target is None:
            return "not registered by a pipeline"
        return self.finding.outcome if self.finding else "not audited"


def champions(registry: Registry, journals: Journals, readable: Collection[str]) -> list[ChampionLine]:
    """The champion of every model whose run belongs to one of the pipelines ``readable``, by model.

    What no pipeline registered belongs to none, and is listed for everybody.

    Raises:
        StoreError: the registry is out of reach.
    """
    pointed = sorted(registry.aliases(_ALIAS).items())
    with ThreadPoolExecutor(_THREADS) as pool:
        targets = pool.map(lambda item: _target(registry, *item), pointed)
    found = {(f.model, f.version, f.root): (f, moment) for f, moment in _findings(journals)}
    lines = []
    for (model, version), target in zip(pointed, targets, strict=True):
        if target is None:
            lines.append(ChampionLine(model, version))
        elif pipeline_of(target.run) in readable:
            finding, audited = found.get((model, str(version), target.root), (None, None))
            lines.append(ChampionLine(model, version, target, finding, audited))
    return lines


def _target(registry: Registry, model: str, version: int) -> Target | None:
    try:
        return registry.target(model, version)
    except ConflictError:
        return None


def _findings(journals: Journals) -> Iterator[tuple[AuditFinding, datetime]]:
    """What the newest audits found, the newest last."""
    audits = [Audit.from_json(value) for value in journals.below(_AUDITS, _SEEN)]
    for audit in sorted(audits, key=lambda a: a.started):
        for finding in audit.findings:
            yield finding, datetime.fromisoformat(audit.started)
