"""The lineage of a run as plain data."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drl.errors import InputError
from drl.stores.lineage import Activity, Agent, Entity, Relation, RunLineage
from drl.stores.lineage_merging import Comparison, canonical, merged

A, B = "a" * 64, "b" * 64
STEP = Activity("run/train", "train", "2026-11-24T01:00:00+01:00", "2026-11-24T00:30:00Z")

names = st.text(min_size=1, max_size=8)
scalars = st.text() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.booleans()
attributes = st.dictionaries(st.sampled_from(["rows", "verdict", "uri"]), scalars)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
times = st.none() | st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat())


@st.composite
def lineages(draw: st.DrawFn) -> RunLineage:
    entities = draw(
        st.lists(st.builds(Entity, digests, names, names, attributes), unique_by=lambda e: e.sha256)
    )
    activities = draw(
        st.lists(st.builds(Activity, names, names, times, times, attributes), unique_by=lambda a: a.key)
    )
    agents = draw(st.lists(st.builds(Agent, names, names, attributes), unique_by=lambda a: a.key_id))
    relations = []
    if entities and activities:
        ends = st.tuples(st.sampled_from(activities), st.sampled_from(entities))
        relations = [
            Relation("USED", a.key, e.sha256, draw(names)) for a, e in draw(st.lists(ends, max_size=4))
        ]
    return RunLineage("run", tuple(entities), tuple(activities), tuple(agents), tuple(relations))


# Attributes follow from the bytes; what entities of one digest are called does not.
entities_of_one_digest = st.builds(Entity, st.just(A), names, names, st.just({"rows": 3}))
named_lineages = st.builds(
    lambda entity, mark: RunLineage(f"run {mark}", (entity,), (Activity(f"{mark}/train", "train"),), (), ()),
    entities_of_one_digest,
    st.integers(0, 3),
)


@settings(max_examples=40, deadline=None)
@given(lineages())
def test_round_trip(lineage: RunLineage) -> None:
    assert RunLineage.from_json(json.loads(json.dumps(lineage.to_json()))) == lineage


@settings(max_examples=40, deadline=None)
@given(lineages())
def test_order_does_not_matter(lineage: RunLineage) -> None:
    turned = RunLineage(
        lineage.run,
        lineage.entities[::-1],
        lineage.activities[::-1],
        lineage.agents[::-1],
        lineage.relations[::-1] * 2,
    )
    assert turned == lineage


@settings(max_examples=40, deadline=None)
@given(st.lists(entities_of_one_digest, min_size=1, max_size=4), st.randoms())
def test_entities_of_one_digest_merge_in_any_order(entities: list[Entity], chance: Any) -> None:
    turned = list(entities)
    chance.shuffle(turned)
    assert reduce(Entity.merged, turned) == reduce(Entity.merged, entities)
    assert reduce(Entity.merged, [*entities, *entities]) == reduce(Entity.merged, entities)


@settings(max_examples=20, deadline=None)
@given(st.lists(named_lineages, max_size=4), st.randoms())
def test_lineages_merge_in_any_order(lineages: list[RunLineage], chance: Any) -> None:
    turned = list(lineages)
    chance.shuffle(turned)
    assert canonical(merged(turned)) == canonical(merged(lineages))
    assert Comparison.of(wanted=merged(turned), found=merged([*lineages, *lineages])).equal


def test_times_are_kept_in_utc() -> None:
    assert (STEP.started, STEP.ended) == ("2026-11-24T00:00:00+00:00", "2026-11-24T00:30:00+00:00")


@pytest.mark.parametrize("time", ["2026-11-24T01:00:00", "yesterday"])
def test_times_without_offset_are_refused(time: str) -> None:
    with pytest.raises(InputError, match="activity run/train: started"):
        Activity("run/train", "train", time)


@pytest.mark.parametrize("bad", [{"sha256": "x"}, {"a b": 1}, {"rows": None}, {"rows": [1]}])
def test_attributes_are_scalars_under_free_names(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="entity policy: attribute"):
        Entity(A, "policy", "policy", bad)


def test_digest_is_checked() -> None:
    with pytest.raises(InputError, match="not a SHA-256"):
        Entity("abc", "policy", "policy")


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        (Relation("EATS", "run/train", A), "relation kind 'EATS'"),
        (Relation("USED", "run/train", B), "not among the run's nodes"),
        (Relation("USED", A, "run/train"), "not among the run's nodes"),
        (Relation("WAS_ATTRIBUTED_TO", A, "nobody"), "not among the run's nodes"),
    ],
)
def test_relations_need_known_ends(relation: Relation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunLineage("run", (Entity(A, "policy", "p"),), (STEP,), (), (relation,))


def test_a_node_is_listed_once() -> None:
    with pytest.raises(InputError, match="listed twice"):
        RunLineage("run", (Entity(A, "policy", "p"), Entity(A, "policy", "q")), (), (), ())
