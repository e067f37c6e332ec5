"""What a run's journal says about where things came from."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from lineage_runs import JournalRun, write_rollback, write_run

from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError
from drl.steps.exchange import FolderExchange
from drl.steps.journal import RunJournal
from drl.steps.lineage import run_lineage
from drl.steps.lineage_documents import record_audit, recorded
from drl.stores.lineage import Relation, RunLineage
from drl.stores.lineage_audit import Audit, AuditFinding
from drl.stores.lineage_merging import Comparison, canonical, merged

RUN = JournalRun("battery", 2, champion=(1, "9" * 64))
KINDS = [
    "source",
    "dataset",
    "data",
    "code",
    "environment",
    "packages",
    "settings",
    "seeds",
    "checkpoint",
    "policy",
    "model",
    "evaluation",
    "report",
    "resolved run",
    "policy file",
    "checkpoint chain",
    "model version",
    "intent statement",
    "prepare statement",
    "train statement",
    "evaluate statement",
    "validation statement",
    "evaluation statement",
    "release statement",
    "promotion statement",
    "ledger opening",
    "ledger closing",
    "ledger note",
]


@pytest.fixture
def documents(tmp_path: Path) -> FolderExchange:
    return FolderExchange(tmp_path)


@pytest.fixture
def journal(documents: FolderExchange) -> RunJournal:
    return write_run(documents, RUN)


def named(lineage: RunLineage, kind: str) -> list[str]:
    return [e.sha256 for e in lineage.entities if e.kind == kind]


def test_everything_has_its_place(journal: RunJournal) -> None:
    lineage = run_lineage(journal)
    assert set(KINDS) <= {e.kind for e in lineage.entities}
    assert [a.kind for a in lineage.activities] == ["run", "evaluate", "prepare", "promotion", "train"]
    assert {a.kind for a in lineage.agents} == {"signing key", "ledger account"}
    touched = {end for r in lineage.relations for end in (r.source, r.target)}
    assert {e.sha256 for e in lineage.entities} <= touched


def test_the_model_is_tied_to_what_it_was_learned_from(journal: RunJournal) -> None:
    lineage = run_lineage(journal)
    sources = {
        r.role: r.target for r in lineage.relations if r.kind == "WAS_DERIVED_FROM" and r.source == RUN.root
    }
    assert {"source", "train", "validation", "code", "environment", "checkpoint"} <= sources.keys()
    assert sources["train"] == RUN.content("train")
    assert RUN.content("test") not in sources.values()
    assert Relation("USED", f"{RUN.key}/evaluate", "9" * 64, "champion") in lineage.relations


def test_every_seed_has_a_policy_from_the_end_of_its_chain(journal: RunJournal) -> None:
    lineage = run_lineage(journal)
    checkpoints = {e.sha256: e.attributes for e in lineage.entities if e.kind == "checkpoint"}
    last = {r.source: r.target for r in lineage.relations if r.role == "checkpoint"}
    assert set(last) == {*named(lineage, "policy"), RUN.root}
    assert {checkpoints[c]["iteration"] for c in last.values()} == {3}
    parents = {r.source: r.target for r in lineage.relations if r.role == "parent"}
    assert {checkpoints[c]["iteration"] for c in checkpoints.keys() - parents.keys()} == {1}


def test_recording_later_only_adds(documents: FolderExchange) -> None:
    before = run_lineage(write_run(documents, RUN, promote=False))
    promoted = run_lineage(write_run(documents, RUN))
    journal = RunJournal(documents, RUN.key)
    write_rollback(journal, RUN, JournalRun("battery", 1))
    rolled_back = run_lineage(journal)
    for early, late in ((before, promoted), (promoted, rolled_back)):
        assert set(early.relations) < set(late.relations)
        assert {e.sha256: e for e in late.entities} == {
            e.sha256: e for e in (*late.entities, *early.entities)
        }
        assert {a.key: a for a in late.activities} == {
            a.key: a for a in (*late.activities, *early.activities)
        }


def test_a_rollback_says_what_is_champion_now(documents: FolderExchange) -> None:
    restored = JournalRun("battery", 1)
    journal = write_run(documents, RUN)
    write_rollback(journal, RUN, restored)
    lineage = run_lineage(journal)
    statement = sha256_bytes(journal.read("notes/rollback-1.dsse.json"))
    entity = next(e for e in lineage.entities if e.sha256 == statement)
    assert (entity.kind, entity.attributes["champion"]) == ("promotion statement", "1")
    assert Relation("WAS_DERIVED_FROM", statement, restored.root, "champion") in lineage.relations
    assert Relation("WAS_DERIVED_FROM", statement, RUN.root, "model") in lineage.relations


def test_other_bytes_under_a_checkpoint_chain_are_refused(documents: FolderExchange, tmp_path: Path) -> None:
    journal = write_run(documents, RUN)
    [chain] = named(run_lineage(journal), "checkpoint chain")
    (tmp_path / "sha256" / chain).write_bytes(b"{}\n")
    with pytest.raises(Falsified, match=r"checkpoints\.jsonl of battery/run-2"):
        run_lineage(journal)


# ----------------------------------------------------------------------------------------- whole graphs


def test_the_order_of_recording_does_not_matter(documents: FolderExchange) -> None:
    other = JournalRun("cartpole", 3)
    lineages = [
        run_lineage(write_run(documents, RUN, promote=False)),
        run_lineage(write_run(documents, RUN)),
        run_lineage(write_run(documents, other)),
    ]
    assert len({canonical(merged(order)) for order in permutations(lineages)}) == 1
    assert canonical(merged([*lineages, *lineages])) == canonical(merged(recorded(documents, [])))


def test_only_closed_runs_are_recorded(documents: FolderExchange) -> None:
    write_run(documents, RUN)
    documents.write_once("journal/battery/run-9/resolved.json", b"{}")
    assert [lineage.run for lineage in recorded(documents, [])] == [RUN.key]


def test_a_damaged_journal_does_not_hide_the_other_runs(documents: FolderExchange) -> None:
    write_run(documents, RUN)
    documents.write_once("journal/battery/run-9/closing.json", b"{}")
    unreadable: list[str] = []
    assert [lineage.run for lineage in recorded(documents, unreadable)] == [RUN.key]
    assert [line.split(":")[0] for line in unreadable] == ["battery/run-9"]


def test_graphs_are_compared_node_by_node(journal: RunJournal) -> None:
    wanted = run_lineage(journal)
    assert Comparison.of(wanted=wanted, found=wanted).equal
    least = RunLineage("empty", (), (), (), ())
    nodes = len(wanted.entities) + len(wanted.activities) + len(wanted.agents)
    assert len(Comparison.of(wanted=wanted, found=least).missing) == nodes + len(wanted.relations)
    assert len(Comparison.of(wanted=least, found=wanted).superfluous) == nodes + len(wanted.relations)


# ---------------------------------------------------------------------------------------------- audits


class Heard:
    """What a graph would be told; nothing else is asked of it."""

    def __init__(self) -> None:
        self.audits: list[Audit] = []

    def record_audit(self, audit: Audit) -> None:
        self.audits.append(audit)


def an_audit(problem: str) -> Audit:
    findings = (
        AuditFinding("battery", "2", RUN.root, RUN.key, "false", (problem,)),
        AuditFinding("battery", "1", "9" * 64, "battery/run-1", "holds"),
    )
    return Audit("scheduled__2026-11-24", "2026-11-24T01:00:00+01:00", "2026-11-24T00:05:00Z", findings)


def test_an_audit_is_kept_once_before_the_graph_is_told(documents: FolderExchange) -> None:
    graph = Heard()
    first = record_audit(documents, graph, an_audit("check 5"))  # type: ignore[arg-type]
    again = record_audit(documents, graph, an_audit("another thing, told by a retry"))  # type: ignore[arg-type]
    assert first == again == an_audit("check 5")
    assert graph.audits == [first, first]
    assert [lineage.run for lineage in recorded(documents, [])] == ["audit/scheduled__2026-11-24"]


def test_an_audit_as_lineage() -> None:
    lineage = an_audit("check 5").lineage()
    facts = [dict(e.attributes) for e in lineage.entities if e.kind == "audit finding"]
    assert {f["outcome"] for f in facts} == {"false", "holds"}
    assert {f["checked"] for f in facts} == {"2026-11-24T00:00:00+00:00"}
    assert Relation("USED", "audit/scheduled__2026-11-24", RUN.root, "audited") in lineage.relations


@pytest.mark.parametrize(("outcome", "problems"), [("holds", ("no",)), ("false", ()), ("fine", ("no",))])
def test_a_finding_that_contradicts_itself_is_refused(outcome: str, problems: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="audit of battery 1"):
        AuditFinding("battery", "1", "9" * 64, "battery/run-1", outcome, problems)  # type: ignore[arg-type]
