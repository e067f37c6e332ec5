"""Check 21: what the promotions had left at the opening, by statements in the record; two verifiers agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lying_owner import key_revoked, other_policy, replaced_since
from record_factory import AT, Builder, InventedLedger, Made, built, trust_text
from security_tables import reproduced_since
from two_verifiers import ours, theirs

from drl.digest import canonical_json
from drl.record import predicates
from drl.record.files import open_record
from drl.verification.findings import Label
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record

Later = dict[str, tuple[dict[str, Any], str]]
TRUST = trust_text(minimum="{level: 2}")


def promotion(made: Made, version: str, root: str, outcome: Any = "promoted") -> dict[str, Any]:
    return predicates.promotion_statement(
        release=made.release,
        model="cartpole",
        root=root,
        version=version,
        alias="champion",
        outcome=outcome,
        replaced=None,
        decided=AT,
    )


def rollback(made: Made, version: str, root: str, restored: Any) -> dict[str, Any]:
    return predicates.rollback_statement(
        release=made.release,
        model="cartpole",
        root=root,
        version=version,
        alias="champion",
        restored=restored,
        reason="it lost money",
        decided=AT,
    )


def replaced_and_restored(made: Made) -> Later:
    first = {"version": "1", "root": made.root}
    return {
        "a": (promotion(made, "2", "ab" * 32), "release"),
        "b": (rollback(made, "2", "ab" * 32, first), "release"),
        "c": (promotion(made, "3", "cd" * 32, "superseded"), "release"),
    }


def taken_back(made: Made) -> Later:
    return {"rollback-1": (rollback(made, "1", made.root, None), "release")}


def without_champion(resolved: dict[str, Any]) -> None:
    resolved["champion"] = None


def by_hand(resolved: dict[str, Any]) -> None:
    resolved["champion"] |= {"release": None, "promotion": None}


def promotion_as_a_note(folder: Path) -> None:
    """Without a champion its promotion is one of the notes, and its release and its files are not there."""
    remove("champion/release.dsse.json")(folder)
    for kind in ("dsse", "note"):
        at = folder / "champion" / f"promotion.{kind}.json"
        at.rename(folder / "champion" / "notes" / f"run-1-promotion.{kind}.json")
    named = (folder / "release.dsse.json", *folder.glob("*.dsse.json"))
    texts = [predicate_text(path) for path in named]
    for blob in (folder / "sha256").iterdir():
        if not any(blob.name in text for text in texts):
            blob.unlink()


def predicate_text(envelope: Path) -> str:
    from drl.record.dsse import read_unverified

    return canonical_json(read_unverified(envelope.read_bytes())).decode()


def remove(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def no_statements(folder: Path) -> None:
    remove("champion/release.dsse.json", "champion/promotion.dsse.json", "champion/promotion.note.json")(
        folder
    )


def another_note(folder: Path) -> None:
    note = json.loads((folder / "champion" / "promotion.note.json").read_bytes())
    note["statement"] = "ab" * 32
    (folder / "champion" / "promotion.note.json").write_bytes(canonical_json(note))


CASES: dict[str, tuple[Label, dict[str, Any]]] = {
    "no champion, nothing promoted": (Label.RECOMPUTED, {}),
    "promoted last": (Label.RECOMPUTED, {"champion": -1.0}),
    "replaced, restored, another superseded": (
        Label.RECOMPUTED,
        {"champion": -1.0, "since": replaced_and_restored},
    ),
    "a key was revoked since": (Label.RECOMPUTED, {"champion": -1.0, "since": key_revoked}),
    "taken back, so none": (
        Label.RECOMPUTED,
        {
            "champion": -1.0,
            "since": taken_back,
            "resolved": without_champion,
            "after": promotion_as_a_note,
        },
    ),
    "taken back, and named all the same": (Label.FALSE, {"champion": -1.0, "since": taken_back}),
    "replaced, and named all the same": (Label.FALSE, {"champion": -1.0, "since": replaced_since}),
    "of another policy": (Label.FALSE, {"champion": -1.0, "proof": other_policy}),
    "of another version": (
        Label.FALSE,
        {"champion": -1.0, "resolved": lambda r: r["champion"].update(version=2)},
    ),
    "of another model": (
        Label.FALSE,
        {"champion": -1.0, "resolved": lambda r: r["champion"].update(model="other")},
    ),
    "a promotion that was superseded": (
        Label.FALSE,
        {
            "champion": -1.0,
            "proof": lambda n, s: s["predicate"].update(outcome="superseded") if n == "promotion" else None,
        },
    ),
    "without its release": (
        Label.FALSE,
        {"champion": -1.0, "after": remove("champion/release.dsse.json")},
    ),
    "without its note": (
        Label.FALSE,
        {"champion": -1.0, "after": remove("champion/promotion.note.json")},
    ),
    "with the note of another statement": (Label.FALSE, {"champion": -1.0, "after": another_note}),
    "a later note without its statement": (
        Label.FALSE,
        {
            "champion": -1.0,
            "since": taken_back,
            "after": remove("champion/notes/run-1-rollback-1.dsse.json"),
        },
    ),
    "a later statement left out": (
        Label.NOT_CHECKED,
        {
            "champion": -1.0,
            "since": taken_back,
            "after": remove(
                "champion/notes/run-1-rollback-1.dsse.json", "champion/notes/run-1-rollback-1.note.json"
            ),
        },
    ),
    "an alias that was moved by hand": (
        Label.NOT_CHECKED,
        {"champion": -1.0, "resolved": by_hand, "after": no_statements},
    ),
}


def labels(builder: Builder, *, offline: bool = False) -> set[Label]:
    ledger = None if offline else InventedLedger(builder.entries)
    means = Means(trust=parse_trust(TRUST, where="trust"), open_ledger=ledger, level=2, offline=offline)
    with open_record(builder.folder) as files:
        return {f.label for f in verify_record(files, means).findings if f.check == 21}


@pytest.mark.parametrize("case", CASES)
def test_what_the_champion_was(case: str, tmp_path: Path) -> None:
    label, knobs = CASES[case]
    builder = built(tmp_path / "record", **knobs)
    trust = tmp_path / "trust.yaml"
    trust.write_text(TRUST)
    assert labels(builder) == {label}
    mine = ours(builder.folder, trust)
    assert (21 in mine.false) == (label is Label.FALSE)
    assert mine == theirs(builder.folder, trust)


def test_offline_the_statements_are_read_and_that_nothing_came_between_is_a_claim(tmp_path: Path) -> None:
    builder = built(tmp_path / "record", champion=-1.0)
    assert labels(builder, offline=True) == {Label.RECOMPUTED, Label.CLAIMED}


def test_a_reproduction_of_the_champion_is_none_of_this_run(tmp_path: Path) -> None:
    builder = built(tmp_path / "record", champion=-1.0, since=reproduced_since)
    means = Means(
        trust=parse_trust(TRUST, where="trust"), open_ledger=InventedLedger(builder.entries), level=2
    )
    with open_record(builder.folder) as files:
        result = verify_record(files, means)
    assert (result.exit_code, result.level) == (0, 2), result.reasons
    assert {f.label for f in result.findings if f.check == 31} == {Label.NOT_CHECKED}


def test_statements_of_a_champion_that_nobody_names_are_false(tmp_path: Path) -> None:
    builder = built(tmp_path / "record", champion=-1.0, resolved=by_hand)
    trust = tmp_path / "trust.yaml"
    trust.write_text(TRUST)
    mine = ours(builder.folder, trust)
    assert mine.false == {5}
    assert mine == theirs(builder.folder, trust)
