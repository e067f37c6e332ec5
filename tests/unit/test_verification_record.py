"""A true record, seen by verifiers with more or less in hand; and the doors that must stay shut."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from record_factory import InventedLedger, built, receipt, trust_text
from typer.testing import CliRunner

from drl.cli.main import app
from drl.digest import canonical_json
from drl.record.files import open_record
from drl.record.ledger import Note
from drl.verification.findings import CHECKS, LEVELS, NEEDED, Finding, Label
from drl.verification.result import level_of
from drl.verification.trust import Minimum, parse_trust
from drl.verification.verify import Means, verify_record

ROOT = Path(__file__).resolve().parents[2]
TRUST = parse_trust(trust_text(), where="trust")


@pytest.fixture(scope="module")
def true_record(tmp_path_factory):
    builder = built(tmp_path_factory.mktemp("record") / "true")
    return builder.folder, builder.entries


def verified(folder, **means):
    with open_record(folder) as files:
        return verify_record(files, Means(**means))


def labels(result, check):
    return {f.label for f in result.findings if f.check == check}


def sentences(result, label):
    return [(f.check, f.sentence) for f in result.findings if f.label == label]


def test_a_true_record_reaches_level_three_and_says_what_it_rests_on(true_record):
    folder, entries = true_record
    result = verified(folder, trust=TRUST, open_ledger=InventedLedger(entries))
    assert sentences(result, Label.FALSE) == []
    assert (result.level, result.exit_code, result.standing.state) == (3, 0, "promoted")
    assert {f.check for f in result.findings} == set(CHECKS)
    assert {check for check, _ in sentences(result, Label.CLAIMED)} == {9, 17, 22, 28}
    assert {check for check, _ in sentences(result, Label.NOT_CHECKED)} == {22, 31}
    claims = [f for f in result.findings if f.label == Label.CLAIMED and f.check in (9, 22)]
    assert all(f.key for f in claims)


def test_without_the_ledger_nothing_about_it_is_called_recomputed(true_record):
    folder, _ = true_record
    result = verified(folder, trust=TRUST, offline=True)
    assert (result.level, result.exit_code) == (3, 0)
    for check in (6, 7, 10, 11, 21, 28, 29, 30):
        assert Label.RECOMPUTED not in labels(result, check), CHECKS[check]


def test_a_ledger_that_was_neither_asked_nor_renounced_leaves_it_open(true_record):
    folder, _ = true_record
    result = verified(folder, trust=TRUST)
    assert result.exit_code == 2
    assert any("--offline" in reason for reason in result.reasons)


def test_without_a_trust_policy_nobody_is_known(true_record):
    folder, entries = true_record
    result = verified(folder, open_ledger=InventedLedger(entries))
    assert result.exit_code == 2
    assert labels(result, 12) == {Label.NOT_CHECKED}
    assert "proves nothing about who" in str(sentences(result, Label.NOT_CHECKED))


def test_level_four_is_out_of_reach_without_a_reproduction(true_record):
    folder, entries = true_record
    result = verified(folder, trust=TRUST, open_ledger=InventedLedger(entries), level=4)
    assert (result.level, result.exit_code) == (3, 2)


def test_another_contract_that_answers_yes_is_not_believed(true_record):
    folder, entries = true_record
    ledger = InventedLedger(entries, code_hash="0x" + "00" * 32)
    result = verified(folder, trust=TRUST, open_ledger=ledger)
    assert result.exit_code == 1
    assert Label.FALSE in labels(result, 28)
    assert Label.RECOMPUTED not in labels(result, 6)


def test_an_entry_that_the_ledger_does_not_have_is_false(true_record):
    folder, entries = true_record
    result = verified(folder, trust=TRUST, open_ledger=InventedLedger(entries[:1]))
    assert Label.FALSE in labels(result, 7)
    assert Label.FALSE in labels(result, 29)


def test_a_block_that_is_not_final_is_said(true_record):
    folder, entries = true_record
    result = verified(folder, trust=TRUST, open_ledger=InventedLedger(entries, final=5))
    assert any("not final" in text for _, text in sentences(result, Label.NOT_CHECKED))


@pytest.mark.parametrize("verdict", ["PROMOTE", None])
def test_a_later_note_that_the_record_does_not_hold_may_be_a_rollback(true_record, verdict):
    folder, entries = true_record
    trust = TRUST.model_copy(update={"minimum": Minimum(level=2, verdict=verdict)})
    hidden = Note("99" * 32, receipt(1, 40))
    result = verified(folder, trust=trust, open_ledger=InventedLedger([*entries, hidden]))
    assert labels(result, 30) == {Label.NOT_CHECKED}
    assert (result.standing.state, result.exit_code) == ("unknown", 2)


@pytest.mark.parametrize("name", ["train.dsse.json", "closing.json", "account.json"])
def test_a_file_that_is_no_json_is_a_finding_and_never_an_exception(true_record, tmp_path, name):
    folder = shutil.copytree(true_record[0], tmp_path / "record")
    for nonsense in (b"", b"[" * 100_000, b'{"a":1', b'{"entries":[{}],"format":"drl.account/1","head":{}}'):
        (folder / name).write_bytes(nonsense)
        result = verified(folder, trust=TRUST, offline=True, level=1)
        assert sentences(result, Label.FALSE)


def test_a_false_finding_does_not_stop_the_others(true_record, tmp_path):
    folder = shutil.copytree(true_record[0], tmp_path / "record")
    (folder / "closing.json").write_bytes(b"{}")
    result = verified(folder, trust=TRUST, offline=True)
    assert {check for check, _ in sentences(result, Label.FALSE)} == {7}
    assert Label.RECOMPUTED in labels(result, 24)


def test_an_array_that_promises_more_than_it_holds_is_not_read(true_record, tmp_path):
    folder = shutil.copytree(true_record[0], tmp_path / "record")
    release = json.loads((folder / "release.dsse.json").read_bytes())
    assert (
        release
    )  # the digest of the actions stays as signed; only the bytes change, so 5 and 24 both say so
    for path in (folder / "sha256").iterdir():
        if path.read_bytes()[:6] == b"\x93NUMPY":
            path.write_bytes(path.read_bytes()[:-8])
    result = verified(folder, trust=TRUST, offline=True)
    assert {check for check, _ in sentences(result, Label.FALSE)} == {5, 24}


def test_objects_in_an_array_are_refused(tmp_path, true_record):
    from drl.artifact import Artifact
    from drl.errors import Falsified
    from drl.verification.record import Record

    folder = shutil.copytree(true_record[0], tmp_path / "record")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    artifact = Artifact.of(tmp_path / "objects.npy")
    shutil.copyfile(tmp_path / "objects.npy", folder / "sha256" / artifact.sha256)
    (tmp_path / "scratch").mkdir()
    with open_record(folder) as files, pytest.raises(Falsified, match="object"):
        Record(files, tmp_path / "scratch").array(artifact)


def test_the_command_prints_labels_numbers_and_a_level(true_record, tmp_path):
    trust = tmp_path / "trust.yaml"
    trust.write_text(trust_text())
    arguments = ["verify", str(true_record[0]), "--trust", str(trust), "--offline"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"RECOMPUTED +14  PROMOTE follows from 10 kept episodes", shown.stdout)
    assert re.search(r"CLAIMED +9  that training was done .*\(key [0-9a-f]{12}\)", shown.stdout)
    assert re.search(r"NOT CHECKED +28  offline", shown.stdout)
    assert "Demo chain: proves no time to others." in shown.stdout
    as_json = CliRunner().invoke(app, [*arguments, "--json", "--level", "4"])
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout)["level"] == 3


@pytest.mark.parametrize(
    "arguments",
    [["none.zip"], ["RECORD", "--trust", "none.yaml"], ["RECORD", "--rpc", "http://localhost", "--offline"]],
)
def test_a_mistake_of_the_verifier_says_nothing_about_the_record(
    true_record, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    given = [str(true_record[0]) if a == "RECORD" else a for a in arguments]
    shown = CliRunner().invoke(app, ["verify", *given])
    assert shown.exit_code == 2
    assert "what to do" in shown.stderr


def test_a_zip_that_is_none_is_false(tmp_path):
    (tmp_path / "record.zip").write_bytes(b"no zip")
    shown = CliRunner().invoke(app, ["verify", str(tmp_path / "record.zip")])
    assert shown.exit_code == 1


def test_control_characters_of_a_record_do_not_reach_the_terminal(tmp_path):
    folder = built(
        tmp_path / "record",
        spec=lambda spec: spec["evaluation"].update(unit="\x1b[2Jsteps"),
    ).folder
    shown = CliRunner().invoke(app, ["verify", str(folder), "--offline"])
    assert "\N{REPLACEMENT CHARACTER}[2Jsteps" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_levels_one_to_three_need_the_light_base_only(true_record, tmp_path):
    trust = tmp_path / "trust.yaml"
    trust.write_text(trust_text())
    program = ROOT / "tests" / "light_base.py"
    arguments = ["verify", str(true_record[0]), "--trust", str(trust), "--offline", "--json"]
    done = subprocess.run(
        [sys.executable, str(program), *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["level"] == 3
    for check, extra in ((20, "onnx"), (33, "report")):
        found = next(f for f in result["findings"] if f["check"] == check)
        assert (found["label"], found["remedy"]) == (
            "NOT CHECKED",
            f"pip install -c requirements.lock '.[{extra}]' in a checkout of this project",
        )


def test_the_document_lists_the_checks_and_levels_of_the_code():
    text = (ROOT / "docs" / "record.md").read_text()
    section = text[text.index("## 7. What a verifier checks") : text.index("## 8. ")]
    listed = [int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)]
    assert listed == list(CHECKS)
    rows = re.findall(r"^\| (\d) \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    assert {int(n): (name, {int(c) for c in re.findall(r"\d+", cells)}) for n, name, cells in rows} == {
        n: (name, set(checks)) for n, (name, checks) in LEVELS.items()
    }
    bold = {int(c) for _, _, cells in rows for c in re.findall(r"\*\*(\d+)\*\*", cells)}
    assert bold == NEEDED


def test_no_level_is_reached_over_a_gap():
    good = [Finding(check, Label.RECOMPUTED, "") for check in CHECKS]
    assert level_of(good) == 4
    for check in CHECKS:
        without = [f for f in good if f.check != check]
        false = level_of([*without, Finding(check, Label.FALSE, "")])
        wanted = next((level - 1 for level, (_, checks) in LEVELS.items() if check in checks), 4)
        assert false == wanted
        missing = level_of(without)
        assert missing == (wanted if check in NEEDED else 4)


def test_canonical_bytes_only(true_record, tmp_path):
    folder = shutil.copytree(true_record[0], tmp_path / "record")
    value = json.loads((folder / "opening.json").read_bytes())
    (folder / "opening.json").write_bytes(json.dumps(value, indent=1).encode())
    assert canonical_json(value) == (true_record[0] / "opening.json").read_bytes()
    result = verified(folder, trust=TRUST, offline=True, level=1)
    assert Label.FALSE in labels(result, 6)
