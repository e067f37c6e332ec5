"""An attacker without keys: a sample of every kind of tamper on small records. All of them: ``make soak``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_factory import built, trust_text
from security_tables import SmallRecord, section, small_records, tamper_checks
from tampering import Row, consistent_tampers, files_in, measure, sample, tampers

from drl.verification.findings import Label
from drl.verification.trust import parse_trust

MOST_OF_A_KIND = 7


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[SmallRecord]:
    return small_records(tmp_path_factory.mktemp("records"))


def documented() -> dict[str, tuple[int, set[int]]]:
    """Kind of tamper to how many of them there are and the checks that find them, as the document has it."""
    lines = [line.strip("|").split(" | ") for line in section("tampers").splitlines()[2:-1]]
    return {
        kind.strip(): (
            int(count),
            {int(word) for word in checks.replace(";", ",").split(",") if word.strip().isdigit()},
        )
        for kind, count, checks in lines
    }


def test_every_kind_of_tamper_is_caught_by_the_check_that_the_document_names(
    records: list[SmallRecord],
) -> None:
    rows: dict[str, Row] = {}
    for record in records:
        honest = record.verify(record.files)
        assert (honest.exit_code, honest.level) == (0, 2), honest.reasons
        listed = sample(tampers(record.files, record.other), MOST_OF_A_KIND)
        measure(listed, record.files, record.verify, rows)
    count = sum(row.count for row in rows.values())
    print(f"{count} distinct tampers of {len(rows)} kinds, all caught")
    assert count >= 300
    assert {kind: row.believed for kind, row in rows.items() if row.believed} == {}
    table = documented()
    assert rows.keys() == table.keys()
    for kind, row in rows.items():
        assert row.false.keys() <= table[kind][1], (kind, tamper_checks(row))
        assert row.count <= table[kind][0]


def test_what_is_not_told_is_only_what_was_left_out(records: list[SmallRecord]) -> None:
    """Exit code 2 is for records from which a part is missing that the ledger shows, and nothing else."""
    removed = ("entry removed with its statement and from the account", "note removed with its statement")
    for record in records:
        rows: dict[str, Row] = {}
        listed = [t for t in tampers(record.files, record.other) if t.kind in ("file removed", *removed)]
        measure(listed, record.files, record.verify, rows)
        untold = {about for row in rows.values() for about in row.untold}
        assert untold <= {
            "closing.json",
            "promotion.note.json",
            "champion/notes/run-1-reproduction-1.note.json",
        }


def test_offline_only_what_nobody_signed_can_be_changed(records: list[SmallRecord]) -> None:
    """Without the ledger, closing, notes and account are what somebody says, and are labelled so."""
    free = (
        "closing.json",
        "promotion.note.json",
        "account.json",
        "champion/promotion.note",
        "champion/notes/",
    )
    for record in records:
        rows: dict[str, Row] = {}
        listed = sample(tampers(record.files, record.other), 2)
        listed += sample(consistent_tampers(record.files), 8)
        measure(listed, record.files, lambda files, r=record: r.verify(files, offline=True), rows)
        believed = [about for row in rows.values() for about in row.believed]
        assert [about for about in believed if not about.startswith(free)] == []
        assert believed, "somebody now signs these: say so in the document"


def test_a_record_that_a_stranger_made_under_the_owners_name_is_false(tmp_path: Path) -> None:
    """Everything signed again, with keys that the trust policy does not name and receipts of the true run."""
    honest = built(tmp_path / "honest")
    forged = built(
        tmp_path / "forged", directions=(-1.0, 0.8), signers=dict.fromkeys(("steps", "release"), "stranger")
    )
    record = SmallRecord({}, {}, honest.entries, parse_trust(trust_text(minimum="{level: 2}"), where="trust"))
    online = record.verify(files_in(forged.folder))
    assert {6, 7, 10, 12, 29} <= {f.check for f in online.findings if f.label == Label.FALSE}
    offline = record.verify(files_in(forged.folder), offline=True)
    assert {f.check for f in offline.findings if f.label == Label.FALSE} == {12}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_other_bytes_in_any_file_are_caught(records: list[SmallRecord], data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(records))
    name = data.draw(st.sampled_from(sorted(record.files)))
    stored = record.files[name]
    start = data.draw(st.integers(0, len(stored)))
    end = data.draw(st.integers(start, min(len(stored), start + 40)))
    changed = stored[:start] + data.draw(st.binary(max_size=40)) + stored[end:]
    result = record.verify(record.files | {name: changed})
    assert result.exit_code == (0 if changed == stored else 1)
