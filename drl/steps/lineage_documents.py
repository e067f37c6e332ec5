"""The lineage graph as the sealed bucket has it: everything in the graph can be made again from here.

Runs are derived from their journals. What is no part of a run (audits; later: what is being served) is a
document of its own below ``lineage/``, stored before the graph is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Protocol

from drl.digest import canonical_json
from drl.errors import Falsified, InputError
from drl.steps.journal import Documents, RunJournal
from drl.steps.lineage import run_lineage
from drl.stores.lineage import RunLineage
from drl.stores.lineage_audit import Audit
from drl.stores.lineage_merging import Comparison, merged

_JOURNALS = "journal/"
_AUDITS = "lineage/audit/"
_CLOSED = "/closing.json"
_BATCH = 20
_THREADS = 8
"""Journals that are read at once: each is two dozen small documents, one request after the other."""


class Graph(Protocol):
    """The part of the lineage graph that is needed here."""

    def record_runs(self, lineages: list[RunLineage]) -> object:
        """Add several runs in one transaction."""

    def record_audit(self, audit: Audit) -> object:
        """Add what an audit found."""

    def everything(self) -> RunLineage:
        """The whole graph."""


def record_audit(documents: Documents, graph: Graph, audit: Audit) -> Audit:
    """Keep what an audit found, then tell the graph; returns what was kept.

    The first writer of an audit's key wins, so a retry of the audit changes nothing.
    """
    key = f"{_AUDITS}{re.sub(r'[^A-Za-z0-9._-]+', '-', audit.key)}.json"
    stored, _ = documents.write_once(key, canonical_json(audit.to_json()))
    kept = Audit.from_json(json.loads(stored))
    graph.record_audit(kept)
    return kept


def recorded(documents: Documents, unreadable: list[str]) -> Iterator[RunLineage]:
    """The lineage of every run that was closed on the ledger, then of every audit, sorted by key.

    Args:
        documents: the bucket of the journals.
        unreadable: gets a line for each run whose journal is incomplete or damaged; the others go on.
    """
    closed = (key for key in documents.list(_JOURNALS) if key.endswith(_CLOSED))
    runs = (key.removeprefix(_JOURNALS).removesuffix(_CLOSED) for key in closed)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(runs, _BATCH)):
            for found in pool.map(partial(_run, documents), some):
                if isinstance(found, str):
                    unreadable.append(found)
                else:
                    yield found
    for key in documents.list(_AUDITS):
        yield Audit.from_json(json.loads(documents.read(key))).lineage()


def _run(documents: Documents, run: str) -> RunLineage | str:
    """The lineage of a run, or a line about what is wrong with its journal."""
    try:
        return run_lineage(RunJournal(documents, run))
    except (Falsified, InputError) as error:
        return f"{run}: {error.message}"


def compare(documents: Documents, graph: Graph) -> Comparison:
    """How the graph differs from what the bucket says."""
    unreadable: list[str] = []
    wanted = merged(recorded(documents, unreadable))
    return Comparison.of(wanted=wanted, found=graph.everything(), unreadable=tuple(unreadable))


def rebuild(documents: Documents, graph: Graph) -> Comparison:
    """Write everything into the graph again; returns how it differs afterwards.

    An empty graph is whole afterwards, a damaged one gets back what it lacked. What the graph has beyond the
    bucket, or says otherwise, is left as it is and told.
    """
    lineages = recorded(documents, [])
    while some := list(islice(lineages, _BATCH)):
        graph.record_runs(some)
    return compare(documents, graph)
