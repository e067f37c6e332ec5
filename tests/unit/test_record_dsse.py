"""Envelopes: what is signed comes back, and nothing else does."""

from __future__ import annotations

import base64
import json
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from drl.digest import canonical_json, sha256_bytes
from drl.errors import Falsified, InputError
from drl.record.dsse import parse_canonical, read_unverified, sign, verify
from drl.record.statement import Subject, statement

SIGNER, OTHER = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
STATEMENT = statement(
    [Subject("model", "ab" * 32)], "urn:drl:predicate:release:v1", {"verdict": "HOLD", "x": 0.1}
)
STORED = sign(STATEMENT, [SIGNER])

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_round_trips(value):
    data = canonical_json({"x": value})
    assert canonical_json(parse_canonical(data, what="test")) == data


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_any_predicate_comes_back(predicate):
    made = statement([Subject("s", "00" * 32)], "urn:drl:predicate:intent:v1", predicate)
    verified = verify(sign(made, [SIGNER]), [SIGNER.public_key])
    assert canonical_json(verified.statement) == canonical_json(made)


@pytest.mark.parametrize("number", [2.0**53, 1e16, -1e16, 1e20, 1.7976931348623157e308, 5e-324, -0.0])
def test_large_doubles_come_back(number):
    made = statement([Subject("s", "00" * 32)], "urn:drl:predicate:intent:v1", {"x": number})
    assert verify(sign(made, [SIGNER]), [SIGNER.public_key]).statement == made


@pytest.mark.parametrize("text", ["9007199254740993", "1e16", "1.0", "NaN", "-0", "1" * 5000])
def test_numbers_in_another_form_are_false(text):
    with pytest.raises(Falsified, match="canonical"):
        parse_canonical(b'{"x":%s}' % text.encode(), what="test")


def test_what_verified_says():
    verified = verify(STORED, [OTHER.public_key, SIGNER.public_key])
    assert verified.statement == STATEMENT
    assert verified.sha256 == sha256_bytes(STORED)
    assert verified.key_ids == (SIGNER.public_key.keyid,)
    assert read_unverified(STORED) == STATEMENT


def test_signing_again_makes_the_same_bytes():
    assert sign(STATEMENT, [SIGNER]) == STORED
    assert sign(STATEMENT, [SIGNER, OTHER]) == sign(STATEMENT, [OTHER, SIGNER])


def test_every_flipped_bit_is_false():
    for index in range(len(STORED)):
        for bit in range(8):
            changed = bytearray(STORED)
            changed[index] ^= 1 << bit
            with pytest.raises(Falsified):
                verify(bytes(changed), [SIGNER.public_key])


def test_every_truncation_is_false():
    for length in range(len(STORED)):
        with pytest.raises(Falsified):
            verify(STORED[:length], [SIGNER.public_key])


@given(st.binary(max_size=300))
def test_any_other_bytes_are_false(data):
    with pytest.raises(Falsified):
        verify(data, [SIGNER.public_key])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(json_values)
def test_any_other_json_is_false(value):
    with pytest.raises(Falsified):
        verify(canonical_json(value), [SIGNER.public_key])


def test_another_key_is_false():
    with pytest.raises(Falsified, match="0 of the 1 signatures"):
        verify(STORED, [OTHER.public_key])


def test_a_key_counts_once():
    both = sign(STATEMENT, [SIGNER, OTHER])
    assert len(verify(both, [SIGNER.public_key, OTHER.public_key], threshold=2).key_ids) == 2
    with pytest.raises(Falsified, match="1 of the 2"):
        verify(both, [SIGNER.public_key, SIGNER.public_key], threshold=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e | {"payloadType": "text/plain"},
        lambda e: e | {"extra": 1},
        lambda e: e | {"signatures": []},
        lambda e: e | {"signatures": e["signatures"] * 2},
        lambda e: e | {"signatures": [e["signatures"][0] | {"keyid": OTHER.public_key.keyid}]},
        lambda e: e | {"payload": base64.b64encode(b'{"_type":"x"}').decode()},
        lambda e: {k: v for k, v in e.items() if k != "payload"},
    ],
)
def test_a_changed_envelope_is_false(change):
    changed = canonical_json(change(json.loads(STORED)))
    with pytest.raises(Falsified):
        verify(changed, [SIGNER.public_key])


def test_signatures_in_another_order_are_false():
    envelope = json.loads(sign(STATEMENT, [SIGNER, OTHER]))
    envelope["signatures"].reverse()
    with pytest.raises(Falsified, match="canonical form"):
        verify(canonical_json(envelope), [SIGNER.public_key])


def test_the_same_envelope_with_white_space_is_another_file_and_false():
    with pytest.raises(Falsified, match="canonical"):
        verify(json.dumps(json.loads(STORED), indent=1).encode(), [SIGNER.public_key])


def test_a_payload_that_is_not_canonical_is_false():
    envelope = Envelope(b'{"a": 1, "a": 2}', "application/vnd.in-toto+json", {})
    envelope.sign(SIGNER)
    with pytest.raises(Falsified, match="statement"):
        verify(canonical_json(envelope.to_dict()), [SIGNER.public_key])


def test_signed_text_of_another_type_is_false():
    envelope = Envelope(canonical_json(STATEMENT), "application/json", {})
    envelope.sign(SIGNER)
    with pytest.raises(Falsified, match="payloadType"):
        verify(canonical_json(envelope.to_dict()), [SIGNER.public_key])


def test_securesystemslib_alone_reads_an_envelope():
    envelope = Envelope.from_dict(json.loads(STORED))
    assert list(envelope.verify([SIGNER.public_key], 1)) == [SIGNER.public_key.keyid]
    assert json.loads(envelope.payload) == STATEMENT


@pytest.mark.parametrize("start", [b"[", b'{"a":', b'{"a":[{"":', b'{"\\"]]]":['])
def test_hostile_nesting_is_false_even_where_recursion_is_unlimited(start):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(Falsified, match="nested more than 100"):
            verify(start * 100_000, [SIGNER.public_key])
    finally:
        sys.setrecursionlimit(limit)


def test_brackets_in_text_are_no_nesting():
    made = statement([Subject("[" * 1000, "00" * 32)], "urn:drl:predicate:intent:v1", {'{"\\': "{[" * 500})
    assert verify(sign(made, [SIGNER]), [SIGNER.public_key]).statement == made


def test_an_unended_string_is_refused_in_linear_time():
    start = time.perf_counter()
    with pytest.raises(Falsified):
        verify(b'"\\' * 300_000, [SIGNER.public_key])
    assert time.perf_counter() - start < 2


def test_misuse_is_an_input_error():
    with pytest.raises(InputError):
        sign(STATEMENT, [])
    with pytest.raises(InputError):
        sign(STATEMENT, [SIGNER, SIGNER])
    with pytest.raises(InputError):
        verify(STORED, [])
    with pytest.raises(InputError):
        verify(STORED, [SIGNER.public_key], threshold=0)
