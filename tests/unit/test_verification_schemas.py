"""The small schema validator judges as the package jsonschema does what records hold and what they do not."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import build_record

from drl.errors import Falsified
from drl.record.dsse import read_unverified
from drl.record.statement import MODEL_SIGNATURE, SLSA_PROVENANCE
from drl.verification.schemas import check_predicate, violations

NAMES = [p.name for p in files("drl.schemas").joinpath("predicates").iterdir() if p.name.endswith(".json")]
SCHEMAS = {
    name: json.loads(files("drl.schemas").joinpath(path).read_bytes())
    for name, path in {
        **{name: f"predicates/{name}" for name in NAMES},
        "statement.json": "statement.json",
        "provenance.json": "provenance.json",
        "model_signature.json": "model_signature.json",
    }.items()
}


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    folder = build_record(tmp_path_factory.mktemp("record") / "record")
    return {path.name: read_unverified(path.read_bytes()) for path in folder.glob("*.dsse.json")}


def schema_of(statement):
    kind = statement["predicateType"]
    of_others = {SLSA_PROVENANCE: "provenance.json", MODEL_SIGNATURE: "model_signature.json"}
    return SCHEMAS[of_others.get(kind) or f"{kind.rsplit(':', 2)[-2]}.json"]


def agree(value, schema):
    ours = next(violations(value, schema, schema), None) is None
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert ours == theirs, (ours, theirs, value)
    return ours


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_uses_no_keyword_that_is_unknown_here(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    agree({}, SCHEMAS[name])
    agree([], SCHEMAS[name])


def test_a_keyword_that_is_unknown_is_an_error():
    with pytest.raises(KeyError):
        list(violations("a", {"maxLength": 3}, {}))


def test_every_statement_of_a_record_fits(statements):
    assert len(statements) == 7
    for name, statement in statements.items():
        check_predicate(statement, name=name)
        assert agree(statement["predicate"], schema_of(statement))


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


OTHER = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**53),
    st.sampled_from(
        [0.5, 1.0, "", "a", "ab" * 32, "AB" * 32, "ab" * 32 + "\n", [], {}, ["a", "a"], {"a": 1}]
    ),
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_put_anywhere_is_judged_as_jsonschema_judges_it(statements, data):
    statement = statements[data.draw(st.sampled_from(sorted(statements)))]
    predicate, schema = statement["predicate"], schema_of(statement)
    path = data.draw(st.sampled_from(list(places(predicate))))
    new = data.draw(OTHER)
    if new == "ab" * 32 + "\n":  # jsonschema searches with Python's `$`, which the standard does not mean
        return
    agree(replaced(predicate, path, new), schema)


def test_a_line_break_after_a_digest_is_refused(statements):
    intent = statements["intent.dsse.json"]
    changed = replaced(intent, ("predicate", "test_data"), intent["predicate"]["test_data"] + "\n")
    with pytest.raises(Falsified, match="test_data"):
        check_predicate(changed, name="intent.dsse.json")


@pytest.mark.parametrize(
    "kind", ["urn:drl:predicate:unheard:v1", "urn:drl:predicate:intent:v2", 7, None, "../x"]
)
def test_an_unknown_type_is_refused(statements, kind):
    with pytest.raises(Falsified):
        check_predicate(statements["intent.dsse.json"] | {"predicateType": kind}, name="x")
