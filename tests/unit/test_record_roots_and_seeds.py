"""Roots and seeds: small enough to be computed by hand, as another verifier would."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drl.artifact import Artifact
from drl.errors import InputError
from drl.record.roots import artifacts_root, resources_root
from drl.record.seeds import derive_seeds

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
A, B = "aa" * 32, "bb" * 32


def test_a_root_by_hand():
    expected = hashlib.sha256(bytes.fromhex(A) + bytes.fromhex(B)).hexdigest()
    assert resources_root([("policy.json", A), ("policy.onnx", B)]) == expected
    assert artifacts_root([Artifact("b", B, 1), Artifact("a", A, 2)]) == expected


@given(st.dictionaries(st.text(min_size=1), digests, min_size=2, max_size=6), st.randoms())
def test_order_does_not_matter_and_content_does(resources, random):
    shuffled = list(resources.items())
    random.shuffle(shuffled)
    assert resources_root(shuffled) == resources_root(resources.items())
    name = shuffled[0][0]
    if resources[name] != A:
        assert resources_root((resources | {name: A}).items()) != resources_root(resources.items())


@pytest.mark.parametrize("resources", [[], [("a", A), ("a", B)], [("a", A[:-1])], [("a", A.upper())]])
def test_unusable_resources(resources):
    with pytest.raises(InputError):
        resources_root(resources)


def test_seeds_by_hand():
    prefix = b"drl seeds v1\x00" + bytes.fromhex(A) + bytes.fromhex(B)
    by_hand = [
        int.from_bytes(hashlib.sha256(prefix + bytes([0, 0, 0, i])).digest()[:4], "big") // 2
        for i in range(3)
    ]
    assert derive_seeds(A, "0x" + B, 3) == by_hand
    # A vector for other implementations; printed in docs/record.md.
    assert by_hand == [1945978461, 57200075, 1848216383]


@given(digests, digests, st.integers(1, 40))
def test_seeds_are_distinct_and_longer_lists_begin_alike(intent, block, count):
    seeds = derive_seeds(intent, "0x" + block, count)
    assert len(set(seeds)) == count
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seeds(intent, "0x" + block, count + 5)[:count] == seeds


def test_seeds_depend_on_both():
    assert (
        len({*derive_seeds(A, "0x" + B, 1), *derive_seeds(B, "0x" + A, 1), *derive_seeds(A, "0x" + A, 1)})
        == 3
    )


@pytest.mark.parametrize(("intent", "block", "count"), [("x", "0x" + B, 1), (A, "0x1", 1), (A, "0x" + B, 0)])
def test_unusable_seed_input(intent, block, count):
    with pytest.raises(InputError):
        derive_seeds(intent, block, count)
