"""Ledger entries as a record holds them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.digest import canonical_json
from drl.errors import InputError
from drl.record.ledger import (
    VERDICT_CODES,
    Account,
    Closing,
    Note,
    Opening,
    Receipt,
    entry_from_json,
    further_anchors,
    pipeline_id,
    verdict_of,
)

sha256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
hash32 = sha256.map(lambda text: "0x" + text)
address = st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex())
natural = st.integers(0, 2**53 - 1)
receipts = st.builds(
    Receipt,
    chain_id=natural,
    genesis=hash32,
    contract=address,
    writer=address,
    pipeline=sha256,
    run=st.integers(1, 2**53 - 1),
    tx=hash32,
    block_number=natural,
    block_hash=hash32,
    block_time=natural,
    log_index=natural,
)
openings = st.builds(
    lambda intent, test_data, look, receipt: Opening(intent, test_data, look if test_data else 0, receipt),
    sha256,
    st.none() | sha256,
    st.integers(1, 1000),
    receipts,
)
entries = (
    openings
    | st.builds(Closing, record=sha256, verdict=st.sampled_from(sorted(VERDICT_CODES)), receipt=receipts)
    | st.builds(Note, statement=sha256, receipt=receipts)
)

RECEIPT = Receipt(
    chain_id=31337,
    genesis="0x" + "00" * 32,
    contract="0x" + "11" * 20,
    writer="0x" + "22" * 20,
    pipeline=pipeline_id("cartpole"),
    run=1,
    tx="0x" + "33" * 32,
    block_number=5,
    block_hash="0x" + "44" * 32,
    block_time=1_700_000_000,
    log_index=0,
)


@given(entries)
def test_an_entry_comes_back_equal(entry):
    assert entry_from_json(json.loads(canonical_json(entry.to_json()))) == entry


def test_anchors_of_other_kinds_stand_beside_the_receipt():
    note = Note("ab" * 32, RECEIPT)
    stamp = {"type": "rfc3161/v1", "token": "MII="}
    value = note.to_json() | {"anchors": [stamp]}
    assert entry_from_json(value) == note
    assert further_anchors(value) == [stamp]
    assert further_anchors(note.to_json()) == []


@pytest.mark.parametrize(
    "anchors", [None, {"type": "x"}, ["x"], [{}], [{"type": 3}], [{"type": "evm-run-ledger/v1"}]]
)
def test_anchors_are_typed_and_no_second_receipt(anchors):
    with pytest.raises(InputError, match="anchors"):
        entry_from_json(Note("ab" * 32, RECEIPT).to_json() | {"anchors": anchors})


@given(receipts)
def test_a_receipt_comes_back_equal(receipt):
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_a_receipt_is_a_typed_anchor():
    assert RECEIPT.to_json()["type"] == "evm-run-ledger/v1"
    assert RECEIPT.demo
    assert not replace(RECEIPT, chain_id=1).demo


@pytest.mark.parametrize(
    "change",
    [
        {"type": "evm-run-ledger/v2"},
        {"run": 0},
        {"run": "1"},
        {"run": True},
        {"chain_id": 2**53},
        {"block_number": -1},
        {"tx": "33" * 32},
        {"contract": "0x" + "AA" * 20},
        {"pipeline": "cartpole"},
        {"more": 1},
    ],
)
def test_a_malformed_receipt_is_refused(change):
    with pytest.raises(InputError):
        Receipt.from_json(RECEIPT.to_json() | change)


@pytest.mark.parametrize("field", RECEIPT.to_json())
def test_a_receipt_without_a_field_is_refused(field):
    with pytest.raises(InputError):
        Receipt.from_json({n: v for n, v in RECEIPT.to_json().items() if n != field})


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"entry": "opening"},
        {"entry": "seal", "receipt": RECEIPT.to_json()},
        {"entry": "closing", "record": "00" * 32, "verdict": "MAYBE", "receipt": RECEIPT.to_json()},
        {"entry": "note", "receipt": RECEIPT.to_json()},
        {"entry": "note", "statement": "00" * 32, "receipt": RECEIPT.to_json(), "x": 1},
        {"entry": "opening", "intent": "00" * 32, "test_data": None, "look": 1, "receipt": RECEIPT.to_json()},
        {
            "entry": "opening",
            "intent": "00" * 32,
            "test_data": "11" * 32,
            "look": 0,
            "receipt": RECEIPT.to_json(),
        },
    ],
)
def test_a_malformed_entry_is_refused(value):
    with pytest.raises(InputError):
        entry_from_json(value)


def test_the_pipeline_id_by_hand():
    assert pipeline_id("cartpole") == hashlib.sha256(b"drl pipeline v1\0cartpole").hexdigest()


def test_verdict_numbers():
    assert {verdict_of(code): code for code in (1, 2, 3)} == VERDICT_CODES
    with pytest.raises(InputError):
        verdict_of(4)


def test_an_account_counts_every_attempt():
    at = [replace(RECEIPT, run=run) for run in range(1, 6)]
    data = "dd" * 32
    account = Account.of(
        [
            *(
                Opening(f"{run:02x}" * 32, data, look, r)
                for run, look, r in zip((1, 2, 3), (1, 2, 4), at, strict=False)
            ),
            Opening("04" * 32, None, 0, at[3]),
            Closing("aa" * 32, "REJECT", at[0]),
            Closing("bb" * 32, "PROMOTE", at[2]),
            Note("cc" * 32, at[2]),
        ]
    )
    assert account.to_json() == {
        "opened": 4,
        "closed": {"PROMOTE": 1, "HOLD": 0, "REJECT": 1},
        "unclosed": [2, 4],
        "looks": {data: 4},
    }
