"""The trust policy as a file: what it may say, and what YAML may not do to its reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_factory import signer, trust_text

from drl.errors import InputError
from drl.record.key_files import public_pem
from drl.verification.trust import load_trust, parse_trust

ROOT = Path(__file__).resolve().parents[2]


def parse(text):
    return parse_trust(text, where="trust.yaml")


def test_ten_lines_are_enough():
    policy = parse(trust_text())
    assert [key.roles for key in policy.keys] == [["steps"], ["release"], ["approval"], ["reproduction"]]
    assert policy.ledger.genesis == "0x" + "01" * 32  # hexadecimal stays a text without quotes
    assert (policy.minimum.level, policy.minimum.verdict) == (3, "PROMOTE")
    assert len(trust_text().splitlines()) <= 10


def test_a_key_may_be_given_whole():
    pem = public_pem(signer("steps").public_key).decode()
    indented = "".join(f"        {line}\n" for line in pem.splitlines())
    policy = parse(trust_text(keys=f"\n  - roles: [steps]\n    pem: |\n{indented}"))
    assert policy.keys[0].id == signer("steps").public_key.keyid


@pytest.mark.parametrize("written", ["2026-01-01T00:00:00Z", '"2026-01-01T00:00:00+00:00"', "2026-01-01"])
def test_dates_are_ledger_seconds(written):
    key = parse(trust_text(keys=f"[{{keyid: {'ab' * 32}, roles: [steps], valid_from: {written}}}]")).keys[0]
    assert key.valid_from == 1767225600
    assert key.valid_at(1767225600)
    assert not key.valid_at(1767225599)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "drl.trust/2"}, "format"),
        ({"surprise": "1"}, "surprise: Extra inputs"),
        ({"keys": "[]"}, "keys"),
        ({"keys": f"[{{keyid: {'ab' * 32}, roles: [king]}}]"}, "roles"),
        ({"keys": f"[{{keyid: {'AB' * 32}, roles: [steps]}}]"}, "keyid"),
        ({"keys": "[{roles: [steps]}]"}, "either keyid or pem"),
        ({"keys": "[{roles: [steps], pem: nonsense}]"}, "not a public key"),
        ({"minimum": "{level: 5}"}, "minimum.level"),
        ({"minimum": '{level: "3"}'}, "minimum.level"),
        ({"ledger": "{chain_id: 1}"}, "ledger.genesis: Field required"),
        ({"environments": '["os; import sys"]'}, "environments"),
        ({"pipelines": "&a [x]"}, "anchor"),
        ({"pipelines": "!!python/object/apply:os.system [ls]"}, "tag"),
        ({"pipelines": "[" * 30 + "]" * 30}, "nested"),
        ({"pipelines": "[a\n"}, "not plain YAML"),
        ({"rule": "{alpha_at_most: .nan}"}, "alpha_at_most"),
    ],
)
def test_everything_else_is_refused_with_field_and_reason(changes, says):
    with pytest.raises(InputError, match=says):
        parse(trust_text(**changes))


def test_a_field_given_twice_is_refused():
    with pytest.raises(InputError, match="'minimum' given twice"):
        parse(trust_text() + "minimum: {level: 1}\n")


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(InputError, match="anchor or alias"):
        parse(bomb)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "trust.yaml"
    path.write_bytes(b"#" * (300 << 10))
    with pytest.raises(InputError, match="307200 bytes"):
        load_trust(path)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_trust(tmp_path / "none.yaml")


def test_the_documents_example_is_a_policy():
    text = (ROOT / "docs" / "record.md").read_text()
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    for short, whole in (("3f0c…", "3f" * 32), ("9a41…", "9a" * 32), ("0x7ca3…", "0x" + "7c" * 32)):
        example = example.replace(short, whole)
    for short, whole in (("0xc62b…", "c6" * 20), ("0x99ee…", "99" * 32), ("0x5b2a…", "5b" * 20)):
        example = example.replace(short, "0x" + whole)
    policy = parse(example.replace("0x41d8…", "0x" + "41" * 32))
    assert policy.ledger.checkpoint.number == 131000000
    assert json.loads(policy.model_dump_json())["minimum"] == {"level": 3, "verdict": "PROMOTE"}
