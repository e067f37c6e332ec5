"""Every builder makes what its published schema asks for, and the schemas are closed."""

from __future__ import annotations

import json
from copy import deepcopy
from importlib.resources import files

import jsonschema
import pytest

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_json
from drl.errors import InputError
from drl.record import predicates as p
from drl.record.ledger import Opening, Receipt, pipeline_id
from drl.record.roots import artifacts_root
from drl.record.statement import STATEMENT_TYPE, Subject, statement

INTENT, ROOT, TEST_DATA = "11" * 32, "22" * 32, "33" * 32
AT = "2026-11-24T10:00:00+00:00"
FILES = [Artifact("policy.safetensors", "44" * 32, 20), Artifact("policy.json", "55" * 32, 10)]
OPENING = Opening(
    INTENT,
    TEST_DATA,
    1,
    Receipt(
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
    ),
)
RESOLVED = {
    "format": "drl.resolved/1",
    "run": "cartpole/manual-1",
    "run_date": "2026-11-24",
    "spec": {"pipeline": "cartpole", "training": {"seeds": 2}},
    "expectations": None,
    "test_data": TEST_DATA,
    "champion": None,
    "code": {"commit": "ab" * 20, "tree": "cd" * 20, "dirty": False, "from": "git"},
    "environment": {},
    "packages": {},
}


def intent():
    return p.intent_statement(RESOLVED)


def provenance():
    return p.provenance_statement(
        "train",
        intent=INTENT,
        parameters={"seeds": ["1", "2"]},
        inputs=[Artifact("train.parquet", "66" * 32, 5)],
        outputs=FILES,
        byproducts=[Artifact("metrics.jsonl", "77" * 32, 5)],
        code=RESOLVED["code"],
        execution=p.Execution("subprocess", "cartpole/manual-1/train/1", AT, AT, {"exit_code": 0}),
    )


def validation():
    return p.validation_statement(
        intent=INTENT,
        splits=[Artifact("train.parquet", "66" * 32, 5)],
        result=Artifact("expectations.json", "88" * 32, 5),
        success=True,
        expectations={"evaluated": 3, "failed": 0},
        cleaning=[{"rule": "sort_by", "touched": 0}],
        contents={"train": "99" * 32},
    )


def evaluation():
    return p.evaluation_statement(
        intent=INTENT,
        model="cartpole",
        root=ROOT,
        test_data=TEST_DATA,
        participants=[
            {"name": "policy", "kind": "policy", "root": ROOT, "mean": 499.5, "files": ["episodes.jsonl"]}
        ],
        decision={"verdict": "PROMOTE", "reason": "better"},
        evidence=FILES,
    )


def approval():
    return p.approval_statement(
        intent=INTENT,
        model="cartpole",
        root=ROOT,
        evaluation="aa" * 32,
        verdict="PROMOTE",
        answer="approved",
        approver="ada",
        answered=AT,
    )


def release():
    return p.release_statement(
        intent=INTENT,
        model="cartpole",
        policy=FILES,
        evidence=[Artifact("report.html", "bb" * 32, 9)],
        verdict="PROMOTE",
        reason="better",
        statements={"intent.dsse.json": INTENT, "train.dsse.json": "cc" * 32},
        opening=OPENING,
    )


def promotion():
    return p.promotion_statement(
        release="dd" * 32,
        model="cartpole",
        root=ROOT,
        version="3",
        alias="champion",
        outcome="promoted",
        replaced={"version": "2", "root": "ee" * 32},
        decided=AT,
    )


def rollback():
    return p.rollback_statement(
        release="dd" * 32,
        model="cartpole",
        root=ROOT,
        version="3",
        alias="champion",
        restored={"version": "2", "root": "ee" * 32},
        reason="it overheats",
        decided=AT,
    )


def revocation():
    return p.revocation_statement(
        "release", name="release.dsse.json", sha256="dd" * 32, reason="the price file was wrong", since=AT
    )


def reproduction():
    predicate = {
        "release": "dd" * 32,
        "outcome": "identical",
        "root": ROOT,
        "test": None,
        "first_difference": None,
        "environment": {"processor": "x86-64"},
        "started": AT,
        "finished": AT,
    }
    return statement([Subject("cartpole", ROOT)], "urn:drl:predicate:reproduction:v1", predicate)


OURS = [intent, validation, evaluation, approval, release, promotion, rollback, revocation, reproduction]
SCHEMAS = {make: make.__name__ for make in OURS} | {rollback: "promotion"}


def schema_of(name: str):
    schema = json.loads(files("drl.schemas").joinpath(f"predicates/{name}.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@pytest.mark.parametrize("make", OURS)
def test_a_predicate_fits_its_schema(make):
    made = make()
    name = SCHEMAS[make]
    schema = schema_of(name)
    assert made["predicateType"] == schema["$id"] == f"urn:drl:predicate:{name}:v1"
    assert made["_type"] == STATEMENT_TYPE
    jsonschema.validate(json.loads(canonical_json(made["predicate"])), schema)


@pytest.mark.parametrize("make", OURS)
def test_a_schema_refuses_a_missing_or_an_unknown_field(make):
    predicate, schema = make()["predicate"], schema_of(SCHEMAS[make])
    for field in predicate:
        fewer = {k: v for k, v in predicate.items() if k != field}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(fewer, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(predicate | {"unknown": 1}, schema)


def test_there_is_a_schema_for_each_kind_and_no_other():
    found = {path.name for path in files("drl.schemas").joinpath("predicates").iterdir()}
    assert found == {f"{name}.json" for name in SCHEMAS.values()}


def test_only_a_rollback_restores_and_only_it_needs_a_reason():
    schema = schema_of("promotion")
    back, forth = rollback()["predicate"], promotion()["predicate"]
    jsonschema.validate(back | {"restored": None}, schema)
    for wrong in (
        back | {"outcome": "promoted"},
        back | {"replaced": back["restored"]},
        back | {"reason": ""},
        forth | {"outcome": "rolled-back"},
        forth | {"reason": "better"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_intent_is_about_the_resolved_run():
    made = intent()
    assert made["subject"] == [{"name": "resolved.json", "digest": {"sha256": sha256_json(RESOLVED)}}]
    assert made["predicate"]["resolved"] == RESOLVED
    assert made["predicate"]["seeds"] == {"origin": "opening-block", "scheme": "drl seeds v1", "count": 2}


def test_explicit_seeds_are_marked():
    resolved = deepcopy(RESOLVED)
    resolved["spec"]["training"]["seeds"] = [7, 8]
    predicate = p.intent_statement(resolved)["predicate"]
    assert predicate["seeds"] == {"origin": "owner-chosen", "values": [7, 8]}
    jsonschema.validate(predicate, schema_of("intent"))


def test_provenance_is_slsa():
    made = provenance()
    assert made["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, details = made["predicate"]["buildDefinition"], made["predicate"]["runDetails"]
    assert definition["buildType"] == "urn:drl:build:train:v1"
    assert definition["externalParameters"]["intent"] == INTENT
    assert definition["resolvedDependencies"][-1] == {"name": "code", "digest": {"gitCommit": "ab" * 20}}
    assert details["builder"]["id"] == "urn:drl:builder:subprocess:v1"
    assert [s["name"] for s in made["subject"]] == ["policy.json", "policy.safetensors"]
    assert details["metadata"]["invocationId"] == "cartpole/manual-1/train/1"


def test_the_model_is_signed_as_openssf_model_signing_does():
    made = p.model_statement(model="cartpole", policy=FILES)
    assert made["predicateType"] == "https://model_signing/signature/v1.0"
    assert made["subject"] == [{"name": "cartpole", "digest": {"sha256": artifacts_root(FILES)}}]
    assert made["predicate"]["resources"] == [
        {"name": "policy.json", "algorithm": "sha256", "digest": "55" * 32},
        {"name": "policy.safetensors", "algorithm": "sha256", "digest": "44" * 32},
    ]


def test_a_release_has_no_other_revision():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(release()["predicate"] | {"revision": 2}, schema_of("release"))


def test_the_release_binds_everything():
    made = release()
    predicate = made["predicate"]
    assert made["subject"] == [{"name": "cartpole", "digest": {"sha256": artifacts_root(FILES)}}]
    assert predicate["policy"]["root"] == artifacts_root(FILES)
    assert [s["name"] for s in predicate["statements"]] == ["intent.dsse.json", "train.dsse.json"]
    assert predicate["opening"] == OPENING.to_json()


def test_a_release_of_another_opening_is_refused():
    arguments = {
        "model": "cartpole",
        "policy": FILES,
        "evidence": FILES,
        "verdict": "HOLD",
        "reason": "x",
        "opening": OPENING,
    }
    with pytest.raises(InputError, match="the ledger opened 111111"):
        p.release_statement(intent="ff" * 32, statements={"intent.dsse.json": "ff" * 32}, **arguments)
    with pytest.raises(InputError, match="statements"):
        p.release_statement(intent=INTENT, statements={"train.dsse.json": "ff" * 32}, **arguments)


@pytest.mark.parametrize("subjects", [[], [Subject("a", ROOT), Subject("a", INTENT)], [Subject("a", "x")]])
def test_unusable_subjects_are_refused(subjects):
    with pytest.raises(InputError):
        statement(subjects, "urn:drl:predicate:intent:v1", {})


@pytest.mark.parametrize("value", [float("nan"), 2**53, {1: 2}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(InputError):
        statement([Subject("a", ROOT)], "urn:drl:predicate:intent:v1", {"x": value})


def test_an_unknown_verdict_is_refused():
    with pytest.raises(InputError, match="MAYBE"):
        p.evaluation_statement(
            intent=INTENT,
            model="m",
            root=ROOT,
            test_data=TEST_DATA,
            participants=[],
            decision={"verdict": "MAYBE"},
            evidence=[],
        )
