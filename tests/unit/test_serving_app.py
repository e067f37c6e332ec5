"""The routes: shapes, bounds, keys, limits, ids, metrics, and the OpenAPI document against the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, openapi
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served_policies import EXPECTED, policy_folder, proof_of, target_of

from drl.policy.root import FILES
from drl.serving.access import ApiKey, KeyRing, Rates, Role, digest_of
from drl.serving.app import create_app
from drl.serving.decisions import DecisionLog
from drl.serving.drift import DriftWatch
from drl.serving.proof import Proof, Target
from drl.serving.readiness import is_ready, state_of
from drl.serving.service import Service
from drl.serving.settings import ApiSettings
from drl.serving.ship import parted, to_parquet
from drl.serving.watching import Refused

ACT = "/v1/policies/pole/act"
OBSERVATION = [0.1, 0.2, -0.1, 0.0]


class Registry:
    """A stand-in: one version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def version(self, model: str, alias: str) -> int:
        return 1

    def target(self, model: str, version: int) -> Target:
        return target_of(self.folder, model=model)

    def prove(self, target: Target, into: Path) -> Proof:
        for name in FILES:
            (into / name).write_bytes((self.folder / name).read_bytes())
        return proof_of(self.folder, model=target.model)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return serving(tmp_path)


def serving(folder: Path, body_bytes: int = 10_000) -> Service:
    """The policy ``pole`` is served, ``late`` not yet."""
    limits = ApiSettings(
        ("pole", "late"),
        folder / "t.yaml",
        "http://127.0.0.1:9",
        folder,
        batch_rows=32,
        body_bytes=body_bytes,
    )
    registry = Registry(policy_folder(folder / "policy"))
    made = Service(limits, registry=registry, prove=registry.prove, expect=lambda *_: (EXPECTED, None))
    made.watches["pole"].look()
    return made


def ring(*keys: tuple[str, Role]) -> KeyRing:
    """Keys of these names and roles."""
    return KeyRing([ApiKey(name, frozenset({role}), digest_of(f"key of {name}")) for name, role in keys])


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(create_app(service))  # not entered: nothing is watched


def test_one_and_several_observations(client: TestClient, service: Service) -> None:
    one = client.post(ACT, json={"observation": OBSERVATION})
    several = client.post(ACT, json={"observations": [OBSERVATION, OBSERVATION]})
    loaded = service.watches["pole"].loaded
    assert loaded is not None
    action = int(loaded.policy.act(np.array([OBSERVATION], np.float32))[0])
    assert one.json() == {"action": action}
    assert several.json() == {"actions": [action, action]}
    assert one.headers["X-Model-Root"] == loaded.target.root
    assert one.headers["X-Model-Version"] == "1"


def test_a_seed_repeats_a_draw(client: TestClient) -> None:
    asked = {"observations": [OBSERVATION] * 32, "seed": 3}
    first, again = client.post(ACT, json=asked).json(), client.post(ACT, json=asked).json()
    assert first == again
    assert first != client.post(ACT, json=asked | {"seed": 4}).json()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"observation": OBSERVATION[:3]}, 422, "3 numbers, the policy takes 4"),
        ({"observations": [OBSERVATION, [1.0]]}, 422, "observation 1 has 1 numbers"),
        ({"observation": [1e39, 0, 0, 0]}, 422, "beyond float32"),
        ({"observation": OBSERVATION, "observations": [OBSERVATION]}, 422, "not of its form"),
        ({}, 422, "not of its form"),
        ({"observation": ["x", 0, 0, 0]}, 422, "not of its form"),
        ({"observation": OBSERVATION, "seed": -1}, 422, "not of its form"),
        ({"observation": OBSERVATION, "sample": True}, 422, "not of its form"),
        ({"observations": [OBSERVATION] * 33}, 413, "at most 32"),
        ({"observations": [OBSERVATION] * 2000}, 413, "more than 10000 bytes"),
    ],
)
def test_requests_that_do_not_fit(client: TestClient, body: dict[str, Any], status: int, words: str) -> None:
    answer = client.post(ACT, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert answer.json()["remedy"]


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"observation": [NaN, 0, 0, 0]}', b"\xff"])
def test_bodies_that_are_no_json(client: TestClient, body: bytes) -> None:
    assert client.post(ACT, content=body).status_code == 422


def test_a_body_of_unknown_length_is_limited_too(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 100

    assert client.post(ACT, content=pieces()).status_code == 413


def test_without_a_proof_there_is_no_answer_but_reasons(client: TestClient, service: Service) -> None:
    answer = client.post("/v1/policies/late/act", json={"observation": OBSERVATION})
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["its proof has not been made yet"]
    assert client.get("/readyz").status_code == 503, "late was not looked at yet"
    assert client.get("/healthz").json() == {"status": "ok"}
    service.watches["late"].look()
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["versions"] == {"pole": 1, "late": 1}


def test_one_policy_that_is_withdrawn_does_not_make_the_process_useless(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pole, late = (service.watches[name] for name in ("pole", "late"))
    late.look()
    monkeypatch.setattr(late._registry, "version", lambda *_: None)
    late.look()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["policies"]) == (200, {"pole": "served", "late": "withdrawn"})
    assert ready.json()["problems"] == ["late: the alias champion points nowhere"]
    assert 'drl_api_policy_state{policy="late",state="withdrawn"} 1.0' in client.get("/metrics").text
    assert client.post("/v1/policies/late/act", json={"observation": OBSERVATION}).status_code == 503
    assert client.post(ACT, json={"observation": OBSERVATION}).status_code == 200
    pole.look()
    assert client.get("/readyz").status_code == 503, "nothing is served any more"


def test_a_process_is_ready_once_each_policy_was_looked_at_and_one_answers(service: Service) -> None:
    watches = [service.watches[name] for name in ("pole", "late")]
    assert [state_of(w) for w in watches] == ["served", "waiting"]
    assert not is_ready(watches)
    watches[1].registry_trouble = "the registry cannot be reached"
    assert is_ready(watches), "nobody can say when it will be back"
    watches[1].registry_trouble = None
    watches[1].refused = Refused(1, "undetermined", ("the store is away",), 0.0)
    assert state_of(watches[1]) == "refused"
    assert is_ready(watches)
    watches[0].doubt = Refused(1, "undetermined", ("the store is away",), 0.0)
    assert state_of(watches[0]) == "stale"
    assert is_ready(watches)
    watches[0].loaded = None
    assert not is_ready(watches)
    assert state_of(watches[0]) == "withdrawn"


def test_reasons_are_for_keys_that_may_read(client: TestClient, service: Service) -> None:
    service.watches["late"].refused = Refused(2, "false", ("check 5: a path of ours",), 0.0)
    assert "a path of ours" in client.get("/readyz").text, "without keys, loopback is trusted"
    service.keys = ring(("actor", "act"), ("reader", "read"))
    asked = {
        name: client.get("/readyz", headers={"Authorization": f"Bearer key of {name}"})
        for name in ("stranger", "actor", "reader")
    }
    states = {"pole": "served", "late": "refused"}
    for name in ("stranger", "actor"):
        assert asked[name].json() == {"ready": True, "policies": states, "servers": {}}
    assert asked["reader"].json()["problems"] == ["late, version 2 not loaded: check 5: a path of ours"]
    assert asked["reader"].json()["versions"] == {"pole": 1, "late": None}


def test_what_is_served_says_why_it_may(client: TestClient) -> None:
    found = client.get("/v1/policies").json()["policies"]
    assert [p["name"] for p in found] == ["pole", "late"]
    served = client.get("/v1/policies/pole").json()["served"]
    assert (served["verdict"], served["level"], served["record"]) == ("PROMOTE", 2, "pole/run-1")
    assert served["action_space"] == {"kind": "discrete", "n": 3}
    assert client.get("/v1/policies/none").status_code == 404
    assert client.get("/nothing").headers["content-type"] == "application/problem+json"
    assert client.delete("/v1/policies/pole").status_code == 405


def test_request_ids_are_kept_when_they_are_harmless(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    made = client.get("/healthz", headers={"X-Request-Id": 'x" injected'}).headers["X-Request-Id"]
    assert len(made) == 16


def test_keys_open_what_their_roles_name(client: TestClient, service: Service, capsys: Any) -> None:
    keys: list[tuple[str, Role]] = [("actor", "act"), ("reader", "read"), ("prometheus", "metrics")]
    service.keys = ring(*keys)
    opened = {}
    for name, _ in [*keys, ("stranger", "")]:
        headers = {"Authorization": f"Bearer key of {name}"}
        opened[name] = (
            client.post(ACT, json={"observation": OBSERVATION}, headers=headers).status_code,
            client.get("/v1/policies", headers=headers).status_code,
            client.get("/metrics", headers=headers).status_code,
        )
    assert opened == {
        "actor": (200, 403, 403),
        "reader": (403, 200, 403),
        "prometheus": (403, 403, 200),
        "stranger": (401, 401, 401),
    }
    assert client.get("/healthz").status_code == 200
    assert client.get("/docs").status_code == 401
    logged = capsys.readouterr().err
    assert '"by": "actor"' in logged
    assert "key of" not in logged


def test_rates(client: TestClient, service: Service) -> None:
    service.rates = Rates(0.001)
    first, second = (client.post(ACT, json={"observation": OBSERVATION}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    assert int(second.headers["Retry-After"]) > 100
    assert client.get("/readyz").status_code == 503, "health is never limited"


def test_metrics_tell_what_is_served_and_drift(client: TestClient, service: Service) -> None:
    client.post(ACT, json={"observations": [[3.0, 0.0, 0.0, 100.0]] * 10})
    text = client.get("/metrics").text
    loaded = service.watches["pole"].loaded
    assert loaded is not None
    assert f'drl_api_policy{{model_root="{loaded.target.root}",policy="pole",version="1"}} 1.0' in text
    assert 'drl_api_drift_shift{component="0",policy="pole"} 3.0' in text
    assert 'drl_api_drift_outside{policy="pole"} 0.25' in text
    assert 'drl_api_observations_total{policy="pole"} 10.0' in text
    assert 'drl_api_requests_total{route="/v1/policies/{name}/act",status="200"} 1.0' in text
    assert 'drl_api_ready{policy="late"} 0.0' in text


def test_drift_looks_at_the_last_observations_only() -> None:
    watch = DriftWatch(replace(EXPECTED, deviation=(0.0, 2.0, 1.0, 1.0)))
    np.testing.assert_array_equal(watch.shift(), 0.0)
    watch.add(np.full((5000, 4), 50.0, np.float32))
    watch.add(np.tile(np.float32([1.0, 4.0, 0.0, 0.0]), (4096, 1)))
    np.testing.assert_allclose(watch.shift(), [1.0, 2.0, 0.0, 0.0])
    assert watch.outside() == 0.25
    assert watch.rows == 4096


def test_decisions_become_rows_with_their_model_root(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    service.decisions = DecisionLog(tmp_path / "decisions", "s3://bucket/x", disk_bytes=1 << 20)
    client.post(ACT, json={"observations": [OBSERVATION] * 3, "seed": 5}, headers={"X-Request-Id": "r-1"})
    service.decisions._write()
    (file,) = (tmp_path / "decisions").iterdir()
    ((key, rows),) = parted(file, "x").items()
    assert key.startswith("x/model=pole/date=20")
    written = tmp_path / "d.parquet"
    written.write_bytes(to_parquet(rows))
    table = pq.read_table(written).to_pylist()
    loaded = service.watches["pole"].loaded
    assert loaded is not None
    assert [(r["row"], r["request"], r["seed"]) for r in table] == [(i, "r-1", 5) for i in range(3)]
    assert {r["model_root"] for r in table} == {loaded.target.root}
    np.testing.assert_allclose(table[0]["observation"], OBSERVATION, rtol=1e-6)


def test_every_metric_that_the_document_names_is_there(service: Service, tmp_path: Path) -> None:
    service.decisions = DecisionLog(tmp_path / "decisions", "s3://bucket/x", disk_bytes=1 << 20)
    told = service.metrics.text().decode()
    document = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    named = set(re.findall(r"drl_api_[a-z_]+", document))
    assert {"drl_api_policy_state", "drl_api_decisions_dropped_total"} <= named
    assert not [name for name in named if f"\n{name}" not in told]


def test_openapi_has_examples_that_are_answered(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/policies/{name}/act"]["post"]["requestBody"]
    examples = body["content"]["application/json"]["schema"]["examples"]
    assert len(examples) == 2
    for example in examples:
        assert client.post(ACT, json=example).status_code == 200
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_what_is_answered_fits_the_openapi_document(tmp_path: Path, mode: GenerationMode) -> None:
    """Statuses, types, headers and schemas of every route, for valid and for broken requests."""
    schema = openapi.from_asgi("/openapi.json", create_app(serving(tmp_path, body_bytes=1 << 20)))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        if mode == GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing to break

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def fits(case: Any) -> None:
            # How many numbers the policy takes is not in the document: it changes when another one is served.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        fits()
