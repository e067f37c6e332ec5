"""The champions of a deployment, and whether their proof held when somebody looked last."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from drl.pages.journals import Journals
from drl.serving.proof import Target
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
        """What a version is said to be."""


@dataclass(frozen=True)
class ChampionLine:
    """What the alias of a model points to.

    Attributes:
        target: model, version, model root and run.
        finding: of the newest audit that looked at it; None when none did.
        audited: when that audit began.
    """

    target: Target
    finding: AuditFinding | None
    audited: datetime | None

    @property
    def pipeline(self) -> str:
        """Of the run that made it."""
        return self.target.run.partition("/")[0]

    @property
    def proof(self) -> str:
        """``holds``, ``false``, ``undetermined`` or ``not audited``."""
        return self.finding.outcome if self.finding else "not audited"


def champions(registry: Registry, journals: Journals, readable: Collection[str]) -> list[ChampionLine]:
    """The champion of every model whose run belongs to one of the pipelines ``readable``, by model.

    Raises:
        StoreError: the registry is out of reach.
        ConflictError: an alias points to something that no pipeline registered.
    """
    pointed = registry.aliases(_ALIAS)
    with ThreadPoolExecutor(_THREADS) as pool:
        targets = list(pool.map(lambda item: registry.target(*item), sorted(pointed.items())))
    found = {(f.model, f.version, f.root): (f, moment) for f, moment in _findings(journals)}
    lines = []
    for target in targets:
        finding, audited = found.get((target.model, str(target.version), target.root), (None, None))
        lines.append(ChampionLine(target, finding, audited))
    return [line for line in lines if line.pipeline in readable]


def _findings(journals: Journals) -> Iterator[tuple[AuditFinding, datetime]]:
    """What the newest audits found, the newest last."""
    audits = [Audit.from_json(value) for value in journals.below(_AUDITS, _SEEN)]
    for audit in sorted(audits, key=lambda a: a.started):
        for finding in audit.findings:
            yield finding, datetime.fromisoformat(audit.started)
