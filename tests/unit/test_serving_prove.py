"""What the verifying child adds to the verifier: the newest promotion, the right record, a pinned ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_factory import SPEC, trust_text
from served_policies import policy_folder

from drl.champions.history import Change, Policy, champion
from drl.errors import InputError
from drl.serving.expectation import expected_observations
from drl.serving.proof import Target
from drl.serving.prove import identity_faults, newest_faults, open_view, serving_trust
from drl.spec import PipelineSpec
from drl.verification.trust import parse_trust

TARGET = Target("pole", 2, "b" * 64, "pole/run-2")


def change(outcome: str, version: int, root: str, restored: Policy | None = None) -> Change:
    return Change(outcome, Policy(version, root), None, restored, None, "pole/run", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("promoted", 2, "b" * 64)], None),
        ([("promoted", 1, "a" * 64), ("promoted", 2, "b" * 64), ("superseded", 3, "c" * 64)], None),
        ([], "makes none the champion"),
        ([("promoted", 2, "b" * 64), ("promoted", 3, "c" * 64)], "version 3 with root cccc"),
        ([("promoted", 2, "d" * 64)], "version 2 with root dddd"),
    ],
)
def test_only_the_newest_promotion_is_followed(changes: list[Any], words: str | None) -> None:
    found = newest_faults(TARGET, champion([change(*one) for one in changes]))
    assert not found if words is None else words in found[0]


def test_what_a_rollback_restored_is_the_newest() -> None:
    restored = change("rolled-back", 3, "c" * 64, restored=Policy(2, "b" * 64))
    assert newest_faults(TARGET, champion([change("promoted", 3, "c" * 64), restored])) == []


def test_a_record_of_something_else_is_noticed() -> None:
    release = {"subject": [{"name": "pole"}], "predicate": {"policy": {"root": "b" * 64}}}
    assert identity_faults(TARGET, release) == []
    assert identity_faults(Target("pole", 2, "a" * 64, "pole/run-2"), release)
    assert identity_faults(Target("other", 2, "b" * 64, "pole/run-2"), release)


def test_serving_asks_for_a_standing_promotion_whatever_the_policy_says() -> None:
    trust = serving_trust(parse_trust(trust_text(minimum="{level: 3}"), where="here"))
    assert (trust.minimum.level, trust.minimum.verdict) == (3, "PROMOTE")


def test_trust_policies_that_cannot_say_what_is_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRL_EVM_RPC_URL", "http://127.0.0.1:9")
    trust = parse_trust(trust_text(), where="here")
    with pytest.raises(InputError, match="pins no ledger"):
        serving_trust(trust.model_copy(update={"ledger": None}))
    assert trust.ledger is not None
    writers = [*trust.ledger.writers, "0x" + "ab" * 20]
    several = trust.model_copy(update={"ledger": trust.ledger.model_copy(update={"writers": writers})})
    with pytest.raises(InputError, match="2 writers are pinned"):
        open_view(several, "cartpole")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_folder(tmp_path_factory.mktemp("policy") / "two", outputs=2)


def resolved(**environment: Any) -> dict[str, Any]:
    value = {**SPEC, "environment": {**SPEC["environment"], **environment}}
    return {"spec": PipelineSpec.model_validate(value).to_json()}


def test_expected_observations_are_those_of_the_training_environment(folder: Path) -> None:
    expected, why = expected_observations(resolved(), folder, None, [], steps=200)
    again, _ = expected_observations(resolved(), folder, None, [], steps=200)
    assert why is None
    assert expected == again
    assert expected is not None
    assert (expected.steps, len(expected.mean)) == (200, 4)
    assert np.all(np.array(expected.low) <= expected.mean)
    assert np.all(np.array(expected.high) >= expected.mean)


def test_drift_without_a_reference_says_why(folder: Path) -> None:
    foreign = resolved(entry_point="somewhere.environments:Pole", settings={})
    for value, words in (
        (foreign, "does not allow to import somewhere.environments"),
        ({"spec": {}}, "resolved.json"),
    ):
        expected, why = expected_observations(value, folder, None, [], steps=10)
        assert expected is None
        assert why is not None
        assert words in why
