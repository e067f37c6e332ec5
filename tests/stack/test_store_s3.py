"""The artifact store against a real S3 server with object lock."""

from __future__ import annotations

import resource
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError, StoreError
from drl.stores.s3 import ArtifactStore
from drl.stores.s3_client import connect
from drl.stores.sealing import blob_key
from drl.stores.settings import S3Settings
from drl.stores.write_once import prove_write_once


@pytest.fixture(scope="module")
def settings(stack: Any) -> S3Settings:
    e = stack.environment()
    return S3Settings(e["DRL_S3_ENDPOINT"], e["DRL_S3_ACCESS_KEY"], e["DRL_S3_SECRET_KEY"])


@pytest.fixture(scope="module")
def step_settings(stack: Any) -> S3Settings:
    e = stack.environment()
    return S3Settings(e["DRL_S3_ENDPOINT"], e["DRL_S3_STEP_ACCESS_KEY"], e["DRL_S3_STEP_SECRET_KEY"])


@pytest.fixture
def store(settings: S3Settings) -> ArtifactStore:
    return ArtifactStore(settings)


def fresh_file(folder: Path, name: str = "file.bin", size: int = 1000) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(secrets.token_bytes(size))
    return path


def requests_of(store: ArtifactStore) -> list[str]:
    """The names of the S3 operations that ``store`` sends from now on."""
    seen: list[str] = []
    store._client.meta.events.register("before-send.s3.*", lambda event_name, **_: seen.append(event_name))
    return seen


def test_round_trip_and_no_second_upload(store: ArtifactStore, tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    seen = requests_of(store)
    artifact = store.put(path, "policy/policy.onnx")
    assert artifact == Artifact.of(path, name="policy/policy.onnx")
    assert seen == ["before-send.s3.HeadObject", "before-send.s3.PutObject"]
    assert store.put(path, "another name").sha256 == artifact.sha256
    assert seen[2:] == ["before-send.s3.HeadObject"]

    fetched = store.get(artifact, tmp_path / "out")
    assert fetched == tmp_path / "out/policy/policy.onnx"
    assert fetched.read_bytes() == path.read_bytes()
    del seen[:]
    store.get(artifact, tmp_path / "out")
    assert seen == [], "a file that is there already is not fetched again"
    assert [p.name for p in fetched.parent.iterdir()] == ["policy.onnx"], "no temporary file stays behind"


def test_put_many_and_get_many(store: ArtifactStore, tmp_path: Path) -> None:
    for index in range(9):
        fresh_file(tmp_path / "in", f"seed-{index}/metrics.jsonl")
    artifacts = store.put_many(tmp_path / "in")
    assert [a.name for a in artifacts] == sorted(a.name for a in artifacts)
    paths = store.get_many(artifacts, tmp_path / "out")
    assert [Artifact.of(p, name=a.name) for p, a in zip(paths, artifacts, strict=True)] == artifacts
    seen = requests_of(store)
    store.put_many(tmp_path / "in")
    assert set(seen) == {"before-send.s3.HeadObject"}


def test_large_file_goes_up_in_parts_and_is_sealed(store: ArtifactStore, tmp_path: Path) -> None:
    path = fresh_file(tmp_path, size=(64 << 20) + 17)
    seen = requests_of(store)
    artifact = store.put(path, "replay.bin")
    assert seen.count("before-send.s3.UploadPart") == 5
    store.verify_staged(artifact)
    [sealed] = store.seal([artifact], retain_days=1)
    assert store.get(artifact, tmp_path / "out", sealed=True).stat().st_size == artifact.size
    assert sealed.uri.endswith(artifact.sha256)


def test_file_that_changes_during_the_upload(store: ArtifactStore, tmp_path: Path) -> None:
    path = fresh_file(tmp_path)
    artifact = Artifact.of(path)

    def change(**_: Any) -> None:
        path.write_bytes(b"x" * artifact.size)

    store._client.meta.events.register("before-send.s3.HeadObject", change)
    with pytest.raises(Falsified, match="changed while it was being stored"):
        store.put(path, "x")
    assert not store.exists(artifact)


@pytest.mark.parametrize("same_size", [True, False])
def test_corrupted_object_is_refused(store: ArtifactStore, tmp_path: Path, same_size: bool) -> None:
    artifact = store.put(fresh_file(tmp_path), "data.parquet")
    other = secrets.token_bytes(artifact.size if same_size else 999)
    store._client.put_object(Bucket="staging", Key=blob_key(artifact.sha256), Body=other)
    with pytest.raises(Falsified, match=r"data\.parquet"):
        store.get(artifact, tmp_path / "out")
    assert not (tmp_path / "out/data.parquet").exists()
    with pytest.raises(Falsified, match=r"data\.parquet"):
        store.verify_staged(artifact)
    with pytest.raises(Falsified, match=r"data\.parquet"):
        store.seal([artifact], retain_days=1)
    with pytest.raises(ClientError, match="404"):
        store._client.head_object(Bucket="sealed", Key=blob_key(artifact.sha256))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", ""])
def test_names_stay_inside_the_folder(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of its folder"):
        store.get(Artifact(name, "0" * 64, 1), tmp_path)


def test_missing_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = Artifact("nothing", sha256_bytes(secrets.token_bytes(8)), 8)
    with pytest.raises(StoreError, match="NoSuchKey"):
        store.get(artifact, tmp_path)
    with pytest.raises(StoreError, match="not staged"):
        store.seal([artifact], retain_days=1)


def test_first_writer_wins(store: ArtifactStore) -> None:
    key = f"runs/{secrets.token_hex(4)}/prepare/1/result.json"
    documents = [f'{{"writer": {i}}}'.encode() for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: store.write_once(key, data), documents))
    winners = [i for i, (_, created) in enumerate(answers) if created]
    assert len(winners) == 1
    assert {stored for stored, _ in answers} == {documents[winners[0]]}
    assert store.read(key) == documents[winners[0]]
    assert store.read_json(key) == {"writer": winners[0]}
    assert store.list(key.rsplit("/", 1)[0]) == [key]


def test_documents_that_are_not_there(store: ArtifactStore) -> None:
    assert store.read_json("runs/none") is None
    with pytest.raises(InputError, match="no such document"):
        store.read("runs/none")
    assert store.list("runs/none/") == []


def test_addresses_for_data_sources(store: ArtifactStore, tmp_path: Path) -> None:
    prefix = f"s3://staging/incoming-{secrets.token_hex(4)}/"
    for month in ("2024-02", "2024-01"):
        store.write_once(f"{prefix.removeprefix('s3://staging/')}{month}.csv", month.encode())
    assert store.list(prefix) == [prefix + "2024-01.csv", prefix + "2024-02.csv"]
    assert store.list(prefix, limit=1) == [prefix + "2024-01.csv"]
    store.download(store.list(prefix)[-1], tmp_path / "latest.csv")
    assert (tmp_path / "latest.csv").read_text() == "2024-02"


def test_seal_locks_once_and_extends_but_never_shortens(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put(fresh_file(tmp_path), "policy.json")
    [first] = store.seal([artifact], retain_days=2)
    assert datetime.fromisoformat(first.retain_until) > datetime.now(UTC) + timedelta(days=2)

    seen = requests_of(store)
    assert store.seal([artifact], retain_days=2) == [first]
    assert store.seal([artifact], retain_days=1) == [first], "a shorter wish changes nothing"
    assert not {"before-send.s3.CopyObject", "before-send.s3.PutObjectRetention"} & set(seen)

    [longer] = store.seal([artifact], retain_days=3)
    assert longer.version_id == first.version_id
    assert longer.retain_until > first.retain_until
    assert "before-send.s3.CopyObject" not in seen


def test_sealed_version_cannot_be_deleted(store: ArtifactStore) -> None:
    sealed = store.seal_bytes(secrets.token_bytes(100), "release.dsse.json", retain_days=1)
    assert store.seal_bytes(b"", "empty", retain_days=1).artifact.size == 0
    key = blob_key(sealed.artifact.sha256)
    for options in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(ClientError, match=r"AccessDenied|WORM"):
            store._client.delete_object(Bucket="sealed", Key=key, VersionId=sealed.version_id, **options)


def test_the_server_is_write_once(settings: S3Settings) -> None:
    checks = prove_write_once(settings)
    assert [c for c in checks if not c.ok] == []
    assert len(checks) == 10


def test_a_bucket_without_lock_is_found_out(settings: S3Settings) -> None:
    bucket = f"unlocked-{secrets.token_hex(4)}"
    connect(settings).create_bucket(Bucket=bucket)
    pretender = S3Settings(settings.endpoint, settings.access_key, settings.secret_key, sealed=bucket)
    with pytest.raises(StoreError):
        ArtifactStore(pretender).seal_bytes(b"data", "record", retain_days=1)


def test_step_credentials_reach_staging_only(
    store: ArtifactStore, step_settings: S3Settings, tmp_path: Path
) -> None:
    step = ArtifactStore(step_settings)
    artifact = step.put(fresh_file(tmp_path), "out.bin")
    assert step.get(artifact, tmp_path / "back").exists()
    assert step.list(f"sha256/{artifact.sha256}") == [blob_key(artifact.sha256)]
    store.seal([artifact], retain_days=1)
    for attempt in (
        lambda: step.seal([artifact], retain_days=1),
        lambda: step.seal_bytes(b"forged", "release", retain_days=1),
        lambda: step.get(artifact, tmp_path / "sealed", sealed=True),
        lambda: step.list("s3://sealed/sha256"),
    ):
        with pytest.raises(StoreError, match=r"AccessDenied|403") as refusal:
            attempt()
        assert step_settings.secret_key not in str(refusal.value)


def test_wrong_secret_is_refused_without_showing_it(settings: S3Settings) -> None:
    wrong = S3Settings(settings.endpoint, settings.access_key, "not-the-secret")
    with pytest.raises(StoreError) as refusal:
        ArtifactStore(wrong).ping()
    assert "not-the-secret" not in f"{refusal.value} {wrong!r}"
    assert settings.endpoint in str(refusal.value)


def test_dead_server_is_an_error_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    dead = S3Settings(f"http://127.0.0.1:{port}", "key", "hidden-secret")
    start = time.monotonic()
    with pytest.raises(StoreError, match=f"127.0.0.1:{port}") as error:
        ArtifactStore(dead).ping()
    assert time.monotonic() - start < 10
    assert "hidden-secret" not in str(error.value)


def test_a_file_that_cannot_be_written_leaves_no_half(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put(fresh_file(tmp_path), "file.bin")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (artifact.size // 2, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"out/file\.bin: cannot be written"):
            store.get(artifact, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_stream_starts_again(settings: S3Settings, store: ArtifactStore, tmp_path: Path) -> None:
    artifact = store.put(fresh_file(tmp_path, size=3_000_000), "data.bin")
    with cutting_proxy(settings.endpoint, after=1_000_000) as (endpoint, connections):
        through = ArtifactStore(S3Settings(endpoint, settings.access_key, settings.secret_key))
        path = through.get(artifact, tmp_path / "out")
    assert Artifact.of(path, name="data.bin") == artifact
    assert len(connections) == 2
    assert list(path.parent.iterdir()) == [path]


@contextmanager
def cutting_proxy(endpoint: str, *, after: int) -> Iterator[tuple[str, list[int]]]:
    """Passes bytes to the real server and cuts the first connection once it answered ``after`` bytes."""
    url = urlsplit(endpoint)
    connections: list[int] = []

    def pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if limit is not None and passed >= limit:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                connections.append(len(connections))
                server = socket.create_connection((str(url.hostname), int(url.port or 80)))
                limit = after if len(connections) == 1 else None
                for ends in ((client, server, None), (server, client, limit)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        listener.shutdown(socket.SHUT_RDWR)
