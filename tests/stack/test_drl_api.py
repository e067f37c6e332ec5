"""drl-api on the running stack: real records, a real server process, and what happens when things go wrong.

One server for the whole file, with forwarders before registry, store and chain that a test may cut.
The tests build on one another, in their order.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import uvicorn
from forwarding import Forwarder, free_port
from served_champion import ANGLE_ONLY, Made, ServedModel

from drl.errors import StoreError
from drl.policy.forward import NumpyPolicy
from drl.policy.root import FILES
from drl.serving.app import create_app
from drl.serving.client import PolicyClient
from drl.serving.command import _use_stack
from drl.serving.proof import Proof, Target
from drl.serving.service import Service
from drl.serving.settings import ApiSettings
from drl.serving.watching import PolicyWatch
from drl.stores.s3_client import connect

OBSERVATIONS = np.random.default_rng(3).normal(scale=0.1, size=(20, 4)).astype(np.float32)
MOST_MIB = 150
SWITCHES = 50


@dataclass
class Server:
    """The process, and what is behind it."""

    address: str
    process: psutil.Process
    log: Path
    behind: dict[str, Forwarder]
    loads: list[str] = field(default_factory=list)

    def client(self) -> PolicyClient:
        return PolicyClient(self.address)

    def ready(self) -> dict[str, Any]:
        import requests

        found: dict[str, Any] = requests.get(f"{self.address}/readyz", timeout=10).json()
        return found

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


def eventually(holds: Callable[[], Any], *, seconds: float = 180) -> Any:
    """What ``holds`` gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about")


@pytest.fixture(scope="module")
def model(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    environment = stack.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        made = ServedModel(environment, tmp_path_factory.mktemp("served"))
        made.make(ANGLE_ONLY)
        yield made


@pytest.fixture(scope="module")
def server(stack: Any, model: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("drl-api"), free_port()
    names = ("DRL_MLFLOW_URI", "DRL_S3_ENDPOINT", "DRL_EVM_RPC_URL")
    behind = {name: Forwarder(os.environ[name], named=name == "DRL_MLFLOW_URI") for name in names}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DRL_", "AIRFLOW"))},
        **{name: forwarder.address for name, forwarder in behind.items()},
        **{name: os.environ[name] for name in ("DRL_S3_ACCESS_KEY", "DRL_S3_SECRET_KEY")},
        "DRL_API_STATE": str(folder / "state"),
        "DRL_API_TRUST": str(model.trust()),
        "DRL_API_WATCH_SECONDS": "0.2",
        "DRL_API_PROVE_SECONDS": "3600",
        "DRL_API_DRIFT_STEPS": "500",
        "DRL_API_DECISIONS": f"s3://{model.settings.staging}/decisions-{model.name}",
        "DRL_API_DECISIONS_SECONDS": "0.5",
    }
    log = folder / "log"
    command = [str(Path(sys.executable).parent / "drl-api"), "serve", model.name, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid), log, behind)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=150) in (0, -signal.SIGTERM), log.read_text()[-2000:]
        for forwarder in behind.values():
            forwarder.close()


def versions(server: Server, model: ServedModel) -> int | None:
    with contextlib.suppress(StoreError), server.client() as client:
        served = client.policy(model.name)["served"]
        return served["version"] if served else None
    return None


def drift(server: Server, model: ServedModel) -> str:
    with server.client() as client:
        return str(client.policy(model.name)["served"]["drift"])


def actions(made: Made) -> list[int]:
    policy = NumpyPolicy.load(made.policy)
    return policy.actions(policy.outputs(OBSERVATIONS)).tolist()


def refusal(server: Server, model: ServedModel, version: int, words: str) -> Any:
    """The reasons once this version was refused for one that has ``words``."""
    with server.client() as client:
        refused = client.policy(model.name)["refused"] or {"version": None}
    fits = refused["version"] == version and any(words in reason for reason in refused["reasons"])
    return refused if fits else None


def test_a_champion_answers_after_its_proof_held(server: Server, model: ServedModel) -> None:
    first = model.versions[0]
    eventually(lambda: versions(server, model) == 1)
    eventually(lambda: drift(server, model) == "0 observations compared")
    with server.client() as client:
        acted = client.act_many(model.name, OBSERVATIONS.tolist())
        assert acted.actions == actions(first)
        assert (acted.model_root, acted.version) == (first.root, 1)
        served = client.policy(model.name)["served"]
    assert (served["record"], served["verdict"]) == (first.run, "PROMOTE")
    assert served["anchor"]["tx"] == first.builder.entries[-1].receipt.tx
    assert served["drift"] == "20 observations compared"
    assert server.ready() == {
        "ready": True,
        "policies": {model.name: "served"},
        "versions": {model.name: 1},
        "servers": {"registry": True, "store": True, "ledger": True},
        "problems": [],
    }
    assert server.process.memory_info().rss / 2**20 < MOST_MIB


def test_a_new_champion_takes_over_without_a_dropped_request(server: Server, model: ServedModel) -> None:
    with loaded(server, model) as answers:
        second = model.make(1.5, against=model.versions[0])
        eventually(lambda: versions(server, model) == 2)
        eventually(lambda: answers and answers[-1].version == 2)
    roots = {1: model.versions[0].root, 2: second.root}
    assert {(a.version, a.model_root) for a in answers} == set(roots.items())
    seen = [a.version for a in answers]
    assert seen == sorted(seen), "an answer of the old one after the new one's"


def test_an_alias_that_was_moved_by_hand_is_not_followed(server: Server, model: ServedModel) -> None:
    model.move(1)
    refused = eventually(lambda: refusal(server, model, 1, "the newest promotion on the ledger"))
    assert refused["outcome"] == "undetermined", "a promotion under way looks the same"
    assert versions(server, model) == 2
    assert server.ready()["ready"]
    model.move(2)
    eventually(lambda: not server.ready()["problems"])


def test_a_rollback_is_followed(server: Server, model: ServedModel) -> None:
    model.roll_back("worse in the field")
    eventually(lambda: versions(server, model) == 1)
    model.move(2)
    eventually(lambda: refusal(server, model, 2, "rolled back"))
    assert versions(server, model) == 1
    model.move(1)


def test_bad_bytes_and_a_revocation_are_refused(server: Server, model: ServedModel) -> None:
    third = model.make(2.0, against=model.versions[0], promote=False)
    path = third.policy / "policy.onnx"
    key = f"sha256/{_digest(path)}"
    store = connect(model.settings)
    store.put_object(Bucket=model.settings.sealed, Key=key, Body=path.read_bytes()[:-1] + b"\0")
    model.move(3)
    eventually(lambda: refusal(server, model, 3, "check 5: "))
    assert versions(server, model) == 1

    store.put_object(Bucket=model.settings.sealed, Key=key, Body=path.read_bytes())
    model.revoke(third)
    model.move(1)
    eventually(lambda: not server.ready()["problems"])
    model.move(3)
    eventually(lambda: refusal(server, model, 3, "found harmful"))
    assert versions(server, model) == 1


def test_it_goes_on_without_the_servers_behind_and_says_so(server: Server, model: ServedModel) -> None:
    for forwarder in server.behind.values():
        forwarder.cut()
    names = ("registry", "store", "ledger")
    eventually(lambda: not any(server.ready()["servers"].values()))
    ready = server.ready()
    assert ready["ready"]
    assert all(any(f"the {name} cannot be reached" in p for p in ready["problems"]) for name in names)
    with server.client() as client:
        assert client.act_many(model.name, OBSERVATIONS.tolist()).actions == actions(model.versions[0])
    for forwarder in server.behind.values():
        forwarder.mend()
    eventually(lambda: all(server.ready()["servers"].values()))


def test_decisions_are_in_the_bucket_with_their_model_root(
    server: Server, model: ServedModel, tmp_path: Path
) -> None:
    with server.client() as client:
        request = client.act_many(model.name, OBSERVATIONS.tolist(), seed=9).request
    found = eventually(lambda: _decisions(model, tmp_path, request))
    assert [row["row"] for row in found] == list(range(20))
    assert {(row["model_root"], row["seed"]) for row in found} == {(model.versions[0].root, 9)}
    np.testing.assert_array_equal(np.array([row["observation"] for row in found], np.float32), OBSERVATIONS)


def test_no_secret_is_in_the_log(server: Server) -> None:
    text = server.log.read_text()
    for name in ("DRL_S3_SECRET_KEY", "DRL_EVM_PRIVATE_KEY", "DRL_POSTGRES_URI"):
        assert os.environ[name] not in text
    assert server.events("switched")
    assert server.events("refused")


def test_the_embedded_stack_is_found_and_gives_no_key_of_the_chain(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith("DRL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DRL_HOME", str(stack.home.path))
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "EVM_RPC_URL", "MLFLOW_URI", "API_STATE"):
        monkeypatch.setenv(f"DRL_{name}", "")  # so that what is set below is taken back
        monkeypatch.delenv(f"DRL_{name}")
    _use_stack()
    assert os.environ["DRL_MLFLOW_URI"] == stack.environment()["DRL_MLFLOW_URI"]
    assert not {"DRL_EVM_PRIVATE_KEY", "DRL_POSTGRES_URI"} & set(os.environ)


def test_what_is_served_is_proved_again_while_the_registry_is_away(
    server: Server, model: ServedModel, stack: Any, tmp_path: Path
) -> None:
    other = ServedModel(stack.environment(), tmp_path / "made")
    second = other.make(1.5, against=other.make(ANGLE_ONLY))
    registry = Forwarder(os.environ["DRL_MLFLOW_URI"], named=True)
    settings = ApiSettings((other.name,), other.trust(), registry.address, tmp_path, drift_steps=0)
    watch = Service(settings).watches[other.name]
    watch.look()
    assert watch.loaded is not None
    assert watch.loaded.target.version == 2
    registry.cut()
    promotion = _digest(second.builder.folder / "promotion.dsse.json")
    with hidden(other, promotion):
        _look_later(watch)
        assert watch.doubt is not None
        run = second.builder.run
        assert f"notes a statement about run {run} of its pipeline" in " ".join(watch.doubt.reasons)
        older = Service(replace(settings, mlflow=os.environ["DRL_MLFLOW_URI"], state=tmp_path / "older"))
        other.move(1)  # an MLflow from an old backup
        older.watches[other.name].look()
        refused = older.watches[other.name].refused
        assert refused is not None
        assert (refused.version, refused.outcome) == (1, "undetermined")
    assert watch.loaded.target.version == 2, "nobody knows better"
    watch.doubt = None
    _look_later(watch)
    assert (watch.doubt, watch.loaded.target.version) == (None, 2)
    other.revoke(second)
    _look_later(watch)
    assert (watch.loaded, watch.registry_trouble is None) == (None, False)
    assert watch.refused is not None
    assert "found harmful" in " ".join(watch.refused.reasons)
    registry.close()


def test_the_alias_moves_fifty_times_under_load(server: Server, model: ServedModel, tmp_path: Path) -> None:
    """Proofs are taken as made: two versions cannot both be the newest. The registry is the real one."""
    made = dict(zip((1, 2), model.versions[:2], strict=True))
    settings = ApiSettings(
        (model.name,), model.trust(), os.environ["DRL_MLFLOW_URI"], tmp_path, watch_seconds=0.05
    )
    service = Service(
        settings,
        prove=lambda target, into: _taken(made[target.version], target, into),
        expect=lambda *_: (None, "not asked"),
    )
    with suspended(server.process), in_a_thread(service) as address:  # it would look at every move too
        here = Server(address, psutil.Process(), tmp_path / "none", {})
        model.move(1)
        eventually(lambda: versions(here, model) == 1)
        with loaded(here, model) as answers:
            for number in range(SWITCHES):
                model.move(version := 2 - number % 2)
                eventually(lambda wanted=version: service.watches[model.name].loaded.target.version == wanted)
    assert service.watches[model.name].switches == SWITCHES + 1
    assert len(answers) > SWITCHES
    wanted = {version: (one.root, actions(one)) for version, one in made.items()}
    assert all((a.model_root, a.actions) == wanted[a.version] for a in answers)


@contextlib.contextmanager
def loaded(server: Server, model: ServedModel, *, threads: int = 2) -> Iterator[list[Any]]:
    """Requests without a pause meanwhile; every one of them must be answered."""
    answers: list[Any] = []
    errors: list[Exception] = []
    stop = threading.Event()

    def ask() -> None:
        with server.client() as client:
            while not stop.is_set():
                try:
                    answers.append(client.act_many(model.name, OBSERVATIONS.tolist()))
                except Exception as error:
                    errors.append(error)
                stop.wait(0.002)

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield answers
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not errors, errors[:3]


@contextlib.contextmanager
def hidden(model: ServedModel, sha256: str) -> Iterator[None]:
    """A sealed object as whoever asks for its newest version sees it once somebody deleted it."""
    bucket, key, store = model.settings.sealed, f"sha256/{sha256}", connect(model.settings)
    marker = store.delete_object(Bucket=bucket, Key=key)["VersionId"]
    try:
        yield
    finally:
        store.delete_object(Bucket=bucket, Key=key, VersionId=marker)


def _look_later(watch: PolicyWatch) -> None:
    assert watch.loaded is not None
    watch.loaded = replace(watch.loaded, proved=0.0)  # longer ago than `prove_seconds`
    watch.look()


@contextlib.contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@contextlib.contextmanager
def in_a_thread(service: Service) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(service), port=port, log_level="error", access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def _taken(made: Made, target: Target, into: Path) -> Proof:
    from served_policies import proof_of

    for name in FILES:
        (into / name).write_bytes((made.policy / name).read_bytes())
    return replace(proof_of(made.policy), target=target)


def _digest(path: Path) -> str:
    from drl.digest import sha256_file

    return sha256_file(path)


def _decisions(model: ServedModel, folder: Path, request: str) -> list[dict[str, Any]]:
    found = []
    for key in model.store.list(f"decisions-{model.name}/"):
        path = folder / key.replace("/", "-")
        if not path.exists():
            model.store.download(f"s3://{model.settings.staging}/{key}", path)
        found += [row for row in pq.read_table(path).to_pylist() if row["request"] == request]
    return found
