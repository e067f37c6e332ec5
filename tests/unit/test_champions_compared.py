"""Which documents show what a run was compared with, from the journals of the earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_factory import AT, Builder, Made, built

from drl.champions.compared import champion_documents, champion_proof
from drl.digest import canonical_json
from drl.record import predicates
from drl.record.export import key_name
from drl.record.ledger import Closing, Entry
from drl.steps.journal import RunJournal

EARLIER, RUN = "cartpole/earlier", "cartpole/manual-1"


class Documents(dict[str, bytes]):
    """The journals' bucket, in memory."""

    def read(self, key: str) -> bytes:
        return self[key]

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self if key.startswith(prefix))


def noted_since(made: Made) -> dict[str, tuple[dict[str, Any], str]]:
    """A reproduction and a rollback of the champion."""
    about: dict[str, Any] = {"release": made.release, "model": "cartpole", "root": made.root}
    reproduction = predicates.reproduction_statement(
        **about,
        outcome="identical",
        reproduced=made.root,
        test=None,
        first_difference=None,
        environment={},
        started=AT,
        finished=AT,
    )
    rollback = predicates.rollback_statement(
        **about, version="1", alias="champion", restored=None, reason="it lost money", decided=AT
    )
    return {"reproduction-1": (reproduction, "reproduction"), "rollback-1": (rollback, "release")}


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return built(tmp_path / "record", champion=-1.0, since=noted_since)


def journal(builder: Builder, **changed: Any) -> RunJournal:
    """The record's documents where the runs would have written them, with a changed ``resolved.json``."""
    documents = Documents()
    for path in (path for path in builder.folder.rglob("*") if path.is_file()):
        name = path.relative_to(builder.folder).as_posix()
        run = EARLIER if name.startswith("champion/") else RUN
        plain = name.removeprefix("champion/").removeprefix("notes/").removeprefix("run-1-")
        documents[f"journal/{run}/{plain}"] = path.read_bytes()
        if name.startswith("keys/"):
            documents[f"journal/{EARLIER}/{plain}"] = path.read_bytes()
    documents[f"journal/{RUN}/resolved.json"] = canonical_json(builder.resolved | changed)
    return RunJournal(documents, RUN)


def below_champion(builder: Builder) -> dict[str, bytes]:
    folder = builder.folder
    paths = (path for path in (folder / "champion").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def without_keys(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if not name.startswith("keys/")}


def test_the_champions_statements_and_all_that_was_noted_since_are_found(builder: Builder) -> None:
    found = champion_documents(journal(builder), builder.entries)
    assert without_keys(found) == below_champion(builder)
    signed = journal(builder).beside(EARLIER)
    for name in ("release", "promotion", "reproduction-1", "rollback-1"):
        assert {key_name(key) for key in signed.keys_of(name)} <= found.keys()


def test_what_the_intent_names_is_what_is_kept(builder: Builder) -> None:
    assert champion_proof(journal(builder).beside(EARLIER)) == {
        "release": builder.resolved["champion"]["release"],
        "promotion": builder.resolved["champion"]["promotion"],
    }


def test_without_a_champion_everything_noted_is_found(builder: Builder) -> None:
    own = journal(builder, champion=None)
    names = {f"run-1-{stem}" for stem in ("promotion", "reproduction-1", "rollback-1")}
    wanted = {f"champion/notes/{name}.{kind}.json" for name in names for kind in ("dsse", "note")}
    assert without_keys(champion_documents(own, builder.entries)).keys() == wanted


def test_a_run_that_was_not_released_for_promotion_has_nothing_to_show(builder: Builder) -> None:
    held: list[Entry] = [
        Closing(e.record, "HOLD", e.receipt) if isinstance(e, Closing) and e.receipt.run == 1 else e
        for e in builder.entries
    ]
    found = without_keys(champion_documents(journal(builder), held))
    assert not [name for name in found if name.startswith("champion/notes/")]


def test_a_promotion_of_another_ledger_shows_nothing_since(builder: Builder) -> None:
    found = without_keys(champion_documents(journal(builder), builder.entries[3:]))
    assert sorted(found) == [
        "champion/promotion.dsse.json",
        "champion/promotion.note.json",
        "champion/release.dsse.json",
    ]


def test_an_alias_that_was_moved_by_hand_names_nothing(tmp_path: Path) -> None:
    def superseded(name: str, statement: dict[str, Any]) -> None:
        if name == "promotion":
            statement["predicate"]["outcome"] = "superseded"

    builder = built(tmp_path / "record", champion=-1.0, proof=superseded)
    nothing = {"release": None, "promotion": None}
    assert champion_proof(journal(builder).beside(EARLIER)) == nothing
    assert champion_proof(journal(builder).beside("cartpole/never")) == nothing
    own = journal(builder, champion=builder.resolved["champion"] | nothing)
    assert champion_documents(own, builder.entries) == {}
