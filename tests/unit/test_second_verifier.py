"""The document is enough: a verifier written from docs/record.md alone says what ours says.

A few records of each kind; ``tests/soak/test_two_verifiers.py`` has all of them.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from record_factory import AT, Made, build_record, later_statement, trust_text, write_prices
from two_verifiers import REFUSED, Said, node, ours, theirs

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "decision.json"
GOOD = Said(level=2, false=frozenset())


def false(*checks: int) -> Said:
    """A record that is false under these checks, and reaches level 1 if they are all of level 2."""
    return Said(level=int(min(checks) in {14, 15, 16, 17, 18, 21}), false=frozenset(checks))


def revoked_policy(made: Made) -> dict[str, tuple[dict[str, Any], str]]:
    predicate = {"what": "policy", "reason": "it lost money", "since": AT}
    return {"revocation-1": (later_statement("revocation", made.root, predicate), "release")}


def ask(spec: dict[str, Any]) -> None:
    spec["promotion"]["require_approval"] = True


def flip(name: str) -> Any:
    """One byte of a stored file changed."""

    def change(folder: Path) -> None:
        path = folder / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return change


RECORDS: dict[str, tuple[dict[str, Any], Said]] = {
    "honest": ({}, GOOD),
    "a champion that was promoted": ({"champion": -0.5}, GOOD),
    "other rule, a guard that is not a binary fraction": (
        {"spec": lambda s: s["promotion"].update(block=3, guard={"worst_fraction": 0.29, "margin": 1.5})},
        GOOD,
    ),
    "rejected by the approver": ({"spec": ask, "approval": "rejected"}, GOOD),
    "a third look at fixed test data": (
        {"spec": lambda s: s["promotion"].update(fixed_test=True), "look": 3},
        GOOD,
    ),
    "from a dirty tree": ({"resolved": lambda r: r["code"].update(dirty=True)}, GOOD),
    "approved though nobody asked": ({"approval": "approved"}, false(18)),
    "seeds that do not follow": ({"seeds": ["1", "2"]}, false(8)),
    "another key than the role's": ({"signers": {"release": "steps"}}, false(12)),
    "another selection": ({"selection": lambda s: s.update(released=0)}, false(16)),
    "a digest with a line break": (
        {"release": lambda s: s["predicate"].update(intent="ab" * 32 + "\n")},
        false(2),
    ),
    "a revoked policy": ({"notes": revoked_policy}, false(10)),
    "a run left out of the account": ({"account": lambda entries: entries[:-1]}, false(10)),
    "an envelope that was changed": ({"after": flip("evaluate.dsse.json")}, false(1, 4)),
    "a file that nothing names": (
        {"after": lambda folder: (folder / "more.json").write_text("{}")},
        false(5),
    ),
    "a name that may not be": ({"after": lambda folder: (folder / ".hidden").write_text("")}, REFUSED),
}


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "trust.yaml"
    path.write_text(trust_text(pipelines="[cartpole, battery]", minimum="{level: 2}"))
    return path


@pytest.mark.parametrize("name", RECORDS)
def test_both_verifiers_say_the_same(name: str, tmp_path: Path, trust: Path) -> None:
    knobs, expected = RECORDS[name]
    record = build_record(tmp_path / "record", **knobs)
    assert theirs(record, trust) == expected
    assert ours(record, trust) == expected


def test_both_read_a_record_with_data_in_a_zip(tmp_path: Path, trust: Path) -> None:
    folder = build_record(tmp_path / "record", prices=write_prices(tmp_path / "prices.csv"))
    packed = tmp_path / "record.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    assert theirs(packed, trust) == ours(packed, trust) == GOOD
    packed.write_bytes(b"bytes before the first member" + packed.read_bytes())
    assert theirs(packed, trust) == ours(packed, trust) == REFUSED


def test_the_documents_vectors_follow_in_another_language() -> None:
    done = node("vectors.mjs")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(VECTORS.read_bytes())
