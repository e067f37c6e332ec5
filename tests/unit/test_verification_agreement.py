"""What a second reader of the document refused and ours once let pass: now both refuse it, by one check."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from record_factory import AT, Made, build_record, later_statement, receipt, signer, trust_text
from two_verifiers import ours, theirs
from typer.testing import CliRunner

from drl.cli.main import app
from drl.digest import canonical_json
from drl.errors import Falsified
from drl.record.dsse import sign
from drl.record.files import open_record
from drl.record.ledger import Closing, Note, Opening
from drl.verification.ledger_view import require_order


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "trust.yaml"
    path.write_text(trust_text(pipelines="[cartpole]", minimum="{level: 1}"))
    return path


def wrong_size(statement: dict[str, Any]) -> None:
    """The first of two evidence entries with one digest says another size."""
    listed = statement["predicate"]["evidence"]["resources"]
    digests = [entry["digest"]["sha256"] for entry in listed]
    first = next(e for e in listed if digests.count(e["digest"]["sha256"]) > 1)
    first["annotations"]["size"] += 1


def listed_twice(resolved: dict[str, Any]) -> None:
    resolved["champion"]["files"].append(resolved["champion"]["files"][0])


def episodes(edit: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "episodes.jsonl"
        path.write_bytes(edit(path.read_bytes()))

    return change


def first_length(value: float) -> Any:
    def edit(text: bytes) -> bytes:
        line, rest = text.split(b"\n", 1)
        return canonical_json(json.loads(line) | {"length": value}) + b"\n" + rest

    return edit


def two_subjects(made: Made) -> dict[str, tuple[dict[str, Any], str]]:
    predicate = {"what": "policy", "reason": "it lost money", "since": AT}
    value = later_statement("revocation", made.root, predicate)
    value["subject"].append({"name": "zzz", "digest": {"sha256": "ab" * 32}})
    return {"revocation-1": (value, "release")}


def another_type(name: str, source: str, role: str) -> Any:
    """Under one statement's name, the statement of another kind."""

    def change(folder: Path) -> None:
        import base64

        payload = json.loads((folder / f"{source}.dsse.json").read_bytes())["payload"]
        value = json.loads(base64.b64decode(payload))
        (folder / f"{name}.dsse.json").write_bytes(sign(value, [signer(role)]))

    return change


def links_allowed(statement: dict[str, Any]) -> None:
    statement["predicate"]["serialization"]["allow_symlinks"] = True


def other_file(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"][0]["digest"] = "ab" * 32


def other_root(statement: dict[str, Any]) -> None:
    statement["subject"][0]["digest"]["sha256"] = "ab" * 32


LIES: dict[str, tuple[int, dict[str, Any]]] = {
    "a second revision": (2, {"release": lambda s: s["predicate"].update(revision=2)}),
    "a model's signature of a folder with links": (2, {"model": links_allowed}),
    "a model's signature of other files": (5, {"model": other_file}),
    "a model's signature in another order": (5, {"model": lambda s: s["predicate"]["resources"].reverse()}),
    "a model's signature of another root": (5, {"model": other_root}),
    "one digest, two sizes": (5, {"release": wrong_size}),
    "a champion's file twice": (5, {"champion": -0.5, "resolved": listed_twice}),
    "episodes without the last line feed": (14, {"evaluated": episodes(lambda t: t[:-1])}),
    "an episode that is not canonical": (14, {"evaluated": episodes(lambda t: t.replace(b",", b", ", 1))}),
    "a broken length": (14, {"evaluated": episodes(first_length(9.5))}),
    "no length": (14, {"evaluated": episodes(first_length(0))}),
    "a later statement with two subjects": (10, {"notes": two_subjects}),
    "an approval's name with another type": (4, {"after": another_type("approval", "intent", "steps")}),
    "an evaluation of another type": (4, {"after": another_type("evaluation", "train", "steps")}),
    "a promotion of another type": (10, {"after": another_type("promotion", "intent", "steps")}),
}


@pytest.mark.parametrize("lie", LIES)
def test_both_verifiers_refuse(lie: str, tmp_path: Path, trust: Path) -> None:
    check, knobs = LIES[lie]
    record = build_record(tmp_path / "record", **knobs)
    mine, second = ours(record, trust), theirs(record, trust)
    assert check in mine.false
    assert mine == second


@pytest.mark.parametrize(("step", "check"), [("train", 8), ("evaluate", 16)])
def test_a_step_that_was_asked_for_more_is_refused(
    step: str, check: int, tmp_path: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drl.record import predicates

    made = predicates.provenance_statement

    def more(of: str, **fields: Any) -> dict[str, Any]:
        if of == step:
            fields["parameters"] = fields["parameters"] | {"more": 1}
        return made(of, **fields)

    monkeypatch.setattr(predicates, "provenance_statement", more)
    record = build_record(tmp_path / "record")
    mine = ours(record, trust)
    assert mine.false == {check}
    assert mine == theirs(record, trust)


@pytest.mark.parametrize(
    "again",
    [Closing("56" * 32, "REJECT", receipt(1, 5)), Note("78" * 32, receipt(1, 5))],
)
def test_no_ledger_holds_an_entry_twice(again: Closing | Note) -> None:
    true = (
        Opening("12" * 32, "34" * 32, 1, receipt(1, 2)),
        Closing("56" * 32, "PROMOTE", receipt(1, 3)),
        Note("78" * 32, receipt(1, 4)),
    )
    require_order(true)
    with pytest.raises(Falsified, match="twice"):
        require_order((*true, again))


def test_a_comment_on_a_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "record.zip", "w") as archive:
        member = zipfile.ZipInfo("resolved.json")
        member.comment = b"hidden"
        archive.writestr(member, b"{}")
    with pytest.raises(Falsified, match="a comment"), open_record(tmp_path / "record.zip"):
        pass


def test_programs_are_told_in_json_of_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "record.zip").write_bytes(b"no zip")
    shown = CliRunner().invoke(app, ["verify", str(tmp_path / "record.zip"), "--json"])
    said = json.loads(shown.stdout)
    assert (shown.exit_code, said["exit_code"], said["level"], said["findings"]) == (1, 1, 0, [])
    assert "not a zip file" in said["sentence"]


def test_one_run_is_a_run(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["verify", str(build_record(tmp_path / "record")), "--level", "1"])
    assert " 1 run opened" in shown.stdout
