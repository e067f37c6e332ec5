"""Held-out data that travelled, that did not, and that are made again from their source."""

from __future__ import annotations

import json

import numpy as np
import pytest
from record_factory import InventedLedger, built, trust_text, write_prices

from drl.digest import canonical_json
from drl.record.files import open_record
from drl.verification.findings import Label
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record

TRUST = parse_trust(trust_text(pipelines="[battery]", minimum="{level: 3}"), where="trust")


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    return write_prices(tmp_path_factory.mktemp("source") / "prices.csv")


@pytest.fixture(scope="module")
def private(prices, tmp_path_factory):
    """A record whose held-out data did not travel."""
    folder = tmp_path_factory.mktemp("record") / "private"
    return built(folder, prices=prices, spec=lambda s: s["data"].update(redistributable=False))


def verified(builder, **means):
    with open_record(builder.folder) as files:
        ledger = InventedLedger(builder.entries)
        return verify_record(files, Means(trust=TRUST, open_ledger=ledger, **means))


def of(result, check):
    return [(f.label, f.sentence) for f in result.findings if f.check == check]


def test_held_out_data_in_the_record_are_enough_for_level_three(prices, tmp_path):
    builder = built(tmp_path / "record", prices=prices)
    result = verified(builder)
    assert (result.level, result.exit_code) == (3, 0), result.reasons
    assert [label for label, _ in of(result, 26)] == [Label.CLAIMED]
    assert [label for label, _ in of(result, 25)] == [Label.CLAIMED]
    assert "look 1 at fixed test data" in str(of(result, 15))


def test_held_out_data_that_did_not_travel_leave_level_two_and_name_the_remedy(private):
    result = verified(private)
    assert (result.level, result.exit_code) == (2, 2)
    assert [label for label, _ in of(result, 24)] == [Label.NOT_CHECKED]
    assert "--source FILE" in next(f.remedy for f in result.findings if f.check == 24)


def test_from_the_source_everything_is_made_again(private, prices):
    result = verified(private, source=prices)
    assert (result.level, result.exit_code) == (3, 0), result.reasons
    for check in (24, 25, 26):
        assert {label for label, _ in of(result, check)} == {Label.RECOMPUTED}
    assert "fitted again" in str(of(result, 26))


def test_another_file_than_the_source_is_not_taken_for_it(private, prices, tmp_path):
    other = tmp_path / "prices.csv"
    other.write_text(prices.read_text() + "\n")
    result = verified(private, source=other)
    assert [label for label, _ in of(result, 26)] == [Label.NOT_CHECKED]
    assert result.exit_code == 2


def dearer(splits):
    splits["test"]["price"] = splits["test"]["price"] + 1.0


def weaker_clock(folder):
    path = folder / "baselines.json"
    value = json.loads(path.read_bytes())
    value["clock"]["fitted"]["profile"] = list(np.arange(24.0))
    path.write_bytes(canonical_json(value))


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        ({"splits": dearer}, 26),
        ({"evaluated": weaker_clock}, 26),
        ({"selection": lambda s: s.update(means=[m + 1 for m in s["means"]])}, 25),
    ],
    ids=["other held-out prices", "a gate fitted to be weak", "forged validation scores"],
)
def test_lies_about_the_data_fall_to_the_source(prices, tmp_path, lie, check):
    builder = built(tmp_path / "record", prices=prices, **lie)
    result = verified(builder, source=prices)
    assert Label.FALSE in {label for label, _ in of(result, check)}
    assert result.exit_code == 1


def test_windows_that_overlap_are_false(prices, tmp_path):
    def overlap(resolved):
        resolved["spec"]["data"]["splits"]["train"]["to"] = "2024-04-01"

    result = verified(built(tmp_path / "record", prices=prices, resolved=overlap))
    assert Label.FALSE in {label for label, _ in of(result, 27)}


def test_a_record_alone_makes_nobody_import_a_module(prices, tmp_path):
    def foreign(resolved):
        resolved["spec"]["environment"]["entry_point"] = "antigravity:Env"

    result = verified(built(tmp_path / "record", prices=prices, resolved=foreign))
    assert {label for label, _ in of(result, 24)} == {Label.NOT_CHECKED}
    import sys

    assert "antigravity" not in sys.modules
