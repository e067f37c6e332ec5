"""The pages of runs: complete, safe against hostile text, read once, and only for those who may see them."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from page_runs import Memory, Shown, journals_of

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_bytes
from drl.errors import ConflictError, Falsified, InputError, StoreError
from drl.pages.champions import champions
from drl.pages.journals import Journals
from drl.pages.overview import by_pipeline, recent_runs
from drl.pages.render import PAGE, Overview, Site, account_part, asset, overview_page, run_page
from drl.pages.run import read_run
from drl.record.ledger import Account
from drl.serving.proof import Target
from drl.stores.lineage_audit import Audit, AuditFinding

SITE = Site("/airflow/drl", mlflow="http://mlflow:5000", explorer="https://chain.example/tx/{tx}")
HOSTILE = '<script>alert("x")</script>'
ROOT = "ab" * 32


class Page(HTMLParser):
    """What is on a page; a page that is not well formed fails."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words = " ".join([*self.words.split(), *data.split()])

    def links(self) -> list[str]:
        return [str(attributes["href"]) for name, attributes in self.elements if name == "a"]


def page_of(run: Shown) -> Page:
    journals, _ = journals_of(run)
    return Page(run_page(SITE, read_run(journals, run.key), journals, trust_words="with trust"))


# ------------------------------------------------------------------------------------------------ a run


def test_a_run_is_shown_with_all_that_is_known() -> None:
    page = page_of(Shown())
    for words in (
        *("PROMOTE", "All of it lies above the margin.", "train 58.6 s", "seal not ended"),
        *("Learning curves", "seed 0, released", "Minus the strongest baseline, random"),
        *("Answer approved", "By admin", "demo chain", "opened 11", "closed 12", "Model pole version 1"),
    ):
        assert words in page.words, words
    links = page.links()
    assert "/airflow/drl/file/pole/run-1/evaluate/report.html" in links
    assert "/airflow/drl/record/pole/run-1" in links
    assert "http://mlflow:5000/#/models/pole/versions/1" in links
    assert any(link.startswith("https://chain.example/tx/0x") for link in links)
    assert all(
        link.startswith(("/airflow/drl/", "http://mlflow:5000", "https://chain.example")) for link in links
    )


@pytest.mark.parametrize("until", ["resolved.ref.json", "opening.json", "train.json", "evaluate.json"])
def test_a_run_under_way_is_shown_as_far_as_it_is(until: str) -> None:
    page = page_of(Shown(until=until))
    assert ("There is no verdict yet." in page.words) == (until != "evaluate.json")
    assert ("Learning curves" in page.words) == (until in ("train.json", "evaluate.json"))
    assert ("not on the ledger yet" in page.words) == (until == "resolved.ref.json")
    assert "/airflow/drl/record/pole/run-1" not in page.links()


def test_hostile_text_is_shown_and_does_nothing() -> None:
    journals, _ = journals_of(run := Shown(reason=HOSTILE, comment=HOSTILE))
    html = run_page(SITE, read_run(journals, run.key), journals, trust_words=HOSTILE)
    assert HOSTILE not in html
    assert Page(html).words.count(HOSTILE) == 3


@pytest.mark.parametrize("run", [Shown(), Shown(until="resolved.ref.json")])
def test_pages_carry_no_code_and_no_style_of_their_own(run: Shown) -> None:
    scripts = [attributes for name, attributes in page_of(run).elements if name == "script"]
    assert scripts == [{"src": "/airflow/drl/static/pages.js", "defer": None}]
    for name, attributes in page_of(run).elements:
        assert name != "style"
        assert not [a for a in attributes if a == "style" or a.startswith("on")]


def test_no_run_no_page() -> None:
    journals, _ = journals_of()
    with pytest.raises(InputError, match="no run 'pole/run-1'"):
        read_run(journals, "pole/run-1")


def test_files_are_found_by_step_and_name() -> None:
    journals, _ = journals_of(run := Shown())
    facts = read_run(journals, run.key)
    assert facts.output("train/odd <name>.bin").size == 1
    for name in ("train/nothing", "evaluate/odd <name>.bin", "../train/odd <name>.bin"):
        with pytest.raises(InputError, match="no file"):
            facts.output(name)


def test_a_malformed_statement_is_said_to_be_one() -> None:
    journals, documents = journals_of(run := Shown())
    documents[f"journal/{run.key}/release.dsse.json"] = b'{"payload":"!","signatures":[]}'
    with pytest.raises(Falsified, match="malformed"):
        _ = read_run(journals, run.key).verdict


# --------------------------------------------------------------------------------------------- reading


def test_what_cannot_change_is_read_once_and_what_is_missing_is_asked_for_again() -> None:
    journals, documents = journals_of(run := Shown(until="train.json"))
    names = ["train.json", "evaluate.json"]
    assert set(journals.some(run.key, names)) == {"train.json"}
    before = documents.reads
    assert set(journals.some(run.key, names)) == {"train.json"}
    assert documents.reads == before + 1
    replace(run, until="evaluate.json").write(documents)
    assert set(journals.some(run.key, names)) == set(names)


def test_a_file_is_read_from_the_sealed_bucket_or_where_it_was_staged_and_checked() -> None:
    sealed, staged = Memory(), Memory()
    one, two = (Artifact(n, sha256_bytes(n.encode()), 1) for n in ("one", "two"))
    sealed[f"sha256/{one.sha256}"], staged[f"sha256/{two.sha256}"] = b"one", b"two"
    journals = Journals(sealed, staged)
    assert (journals.file(one), journals.file(two)) == (b"one", b"two")
    three = Artifact("three", sha256_bytes(b"three"), 5)
    staged[f"sha256/{three.sha256}"] = b"other"
    with pytest.raises(Falsified, match="other bytes"):
        journals.file(three)


# -------------------------------------------------------------------------------------------- overview


def overview_of(readable: set[str], *runs: Shown, champions: Any = (), page: int = 0) -> Page:
    journals, _ = journals_of(*runs)
    return Page(overview_page(SITE, Overview(champions, recent_runs(journals, readable), page)))


def test_only_runs_of_readable_pipelines_are_listed_the_newest_first() -> None:
    runs = [Shown(number=n, policy=90.0 + n) for n in (1, 2)]
    page = overview_of({"pole"}, *runs, Shown(pipeline="secret", number=3))
    assert "secret" not in page.words
    assert page.words.index("run-2") < page.words.index("run-1")
    spark = next(str(a["aria-label"]) for name, a in page.elements if name == "svg")
    assert spark == "Mean return in time steps of the last 2 evaluated runs, the oldest first: 91, 92"


def test_a_run_without_a_verdict_is_listed_with_what_it_has() -> None:
    page = overview_of({"pole"}, Shown(until="evaluate.json"), Shown(number=2, until="started.json"))
    assert "evaluated, not closed" in page.words
    assert "not evaluated" in page.words


def test_older_runs_are_on_further_pages() -> None:
    runs = [Shown(number=n, until="started.json") for n in range(1, PAGE + 2)]
    first, second = (overview_of({"pole"}, *runs, page=page) for page in (0, 1))
    assert "/airflow/drl/?page=1" in first.links()
    assert "Older runs" not in second.words
    assert "/airflow/drl/run/pole/run-1" in second.links()


def test_a_registry_that_is_away_does_not_take_the_runs_along() -> None:
    page = overview_of({"pole"}, Shown(), champions=StoreError("MLflow is away", remedy="start it"))
    assert "MLflow is away" in page.words
    assert "PROMOTE" in page.words


def test_pipelines_are_sorted_and_their_runs_begin_with_the_oldest() -> None:
    journals, _ = journals_of(Shown("bb", 1), Shown("aa", 2), Shown("bb", 3))
    found = by_pipeline(recent_runs(journals, {"aa", "bb"}))
    assert {name: [run.name for run in runs] for name, runs in found.items()} == {
        "aa": ["run-2"],
        "bb": ["run-1", "run-3"],
    }


class Registry:
    """A registry that says what it is told to."""

    def __init__(self, *targets: Target, foreign: str | None = None) -> None:
        self._targets = {target.model: target for target in targets}
        self._foreign = {foreign: 7} if foreign else {}

    def aliases(self, alias: str) -> dict[str, int]:
        assert alias == "champion"
        return {model: target.version for model, target in self._targets.items()} | self._foreign

    def target(self, model: str, version: int) -> Target:
        if model in self._foreign:
            raise ConflictError(f"{model} lacks the tags", remedy="point the alias elsewhere")
        assert self._targets[model].version == version
        return self._targets[model]


def audited(documents: Memory, day: int, root: str, *problems: str) -> None:
    finding = AuditFinding("pole", "4", root, "pole/run-4", "false" if problems else "holds", problems)
    moment = f"2026-11-{day:02d}T04:17:00+00:00"
    audit = Audit(f"scheduled__{moment}", moment, moment, (finding,))
    documents[f"lineage/audit/scheduled__{day:02d}.json"] = canonical_json(audit.to_json())


def test_a_champion_has_the_proof_of_the_newest_audit_that_looked_at_it() -> None:
    journals, documents = journals_of()
    registry = Registry(Target("pole", 4, ROOT, "pole/run-4"), Target("secret", 1, ROOT, "secret/run-1"))
    lines = champions(registry, journals, {"pole"})
    assert [(line.model, line.proof) for line in lines] == [("pole", "not audited")]
    audited(documents, 1, ROOT)
    audited(documents, 2, ROOT, "locks: a file is gone")
    audited(documents, 3, "cd" * 32)
    [line] = champions(registry, journals, {"pole"})
    assert (line.proof, line.audited and line.audited.day) == ("false", 2)
    page = Page(overview_page(SITE, Overview([line], [])))
    assert "locks: a file is gone" in page.words


def test_a_champion_that_no_pipeline_registered_is_listed_as_one_beside_the_others() -> None:
    journals, _ = journals_of()
    registry = Registry(Target("pole", 4, ROOT, "pole/run-4"), foreign="by-hand")
    lines = champions(registry, journals, {"pole"})
    page = Page(overview_page(SITE, Overview(lines, [])))
    assert "by-hand 7 not registered by a pipeline" in page.words
    assert "pole 4 not audited" in page.words
    assert "/airflow/drl/run/pole/run-4" in page.links()


# ------------------------------------------------------------------------------------------ small parts


def test_the_account_counts_what_was_never_closed() -> None:
    account = Account(3, {"PROMOTE": 1, "HOLD": 0, "REJECT": 0}, (2, 3), {ROOT: 2})
    words = Page(account_part(SITE, account, 40)).words
    assert "3 runs opened; closed: 1 PROMOTE, 0 HOLD, 0 REJECT; 2 never closed (runs 2, 3)" in words
    assert "block 40" in words
    away = Page(account_part(SITE, StoreError("the chain is away", remedy="start it"), 0))
    assert "the chain is away What to do: start it" in away.words


def test_assets_are_those_of_the_project_and_load_nothing_from_elsewhere() -> None:
    for name in ("report.css", "pages.css", "pages.js"):
        data, kind = asset(name)
        assert kind in ("text/css", "text/javascript")
        assert not re.search(rb"https?://|@import|url\(", data)
    for name in ("", "..", "__init__.py", "templates"):
        with pytest.raises(KeyError):
            asset(name)
