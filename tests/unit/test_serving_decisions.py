"""Logged decisions while their bucket is away: bounded in memory and on the disk, what is lost is counted."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drl.errors import StoreError
from drl.serving import backlog, decisions, ship
from drl.serving.decisions import Decision, DecisionLog
from drl.serving.proof import Target

TARGET = Target("pole", 1, "ab" * 32, "pole/run-1")
DISK_BYTES = 1 << 20


class Bucket:
    """A stand-in for the child that ships."""

    def __init__(self) -> None:
        self.away = False
        self.rows: list[dict[str, Any]] = []

    def __call__(self, module: str, question: Any, *, seconds: float) -> Any:
        if self.away:
            raise StoreError("the bucket is away", remedy="wait")
        found = [json.loads(line) for f in question["files"] for line in Path(f).read_text().splitlines()]
        self.rows += found
        return {"rows": len(found)}

    def requests(self) -> list[int]:
        return [int(row["request"]) for row in self.rows]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(decisions, "run_child", bucket)
    return bucket


def decision(number: int, rows: int = 1) -> Decision:
    observations = np.full((rows, 4), number, np.float32)
    return Decision(0.0, str(number), TARGET, None, observations, np.zeros(rows, np.int64))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_queue_that_nobody_empties_is_bounded_in_bytes(tmp_path: Path, bucket: Bucket) -> None:
    small, large = decision(0), decision(0, rows=4096)
    log = DecisionLog(tmp_path, "s3://b", disk_bytes=64 << 20, queue_bytes=2 * large.size)
    for number in range(5):
        log.add(decision(number, rows=4096))
    assert (log.waiting(), log.dropped) == (2 * large.size, 3 * 4096)
    log.add(decision(5))
    assert (log.waiting(), log.dropped) == (large.size + small.size, 4 * 4096)
    log.ship()
    assert bucket.requests() == [4] * 4096 + [5], "the newest are kept"
    assert log.waiting() == 0


def test_a_disk_that_fills_while_the_bucket_is_away_is_bounded_in_bytes(
    tmp_path: Path, bucket: Bucket
) -> None:
    log = DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES)
    bucket.away = True
    for number in range(20):
        for _ in range(500):
            log.add(decision(number))
        log.ship()
        assert on_disk(tmp_path) <= DISK_BYTES
    assert log.trouble == "the bucket is away"
    assert log.waiting() == on_disk(tmp_path) > DISK_BYTES // 2
    bucket.away = False
    log.ship()
    assert (log.trouble, log.shipped + log.dropped) == (None, 20 * 500)
    assert bucket.requests() == sorted(bucket.requests())
    assert set(bucket.requests()) == set(range(min(bucket.requests()), 20)), "the oldest went"
    assert log.dropped > 0
    assert list(tmp_path.iterdir()) == []


def test_why_a_child_could_not_ship_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: object) -> None:
        raise StoreError("no bucket nowhere", remedy="make it")

    for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY"):
        monkeypatch.setenv(f"DRL_S3_{name}", "http://127.0.0.1:9")
    monkeypatch.setattr(ship.os, "nice", lambda _: 0)
    monkeypatch.setattr(ship, "connect", refused)
    monkeypatch.setattr(ship.sys, "stdin", io.StringIO('{"files": [], "to": "s3://nowhere/x"}'))
    assert ship.main() == StoreError.exit_code
    assert capsys.readouterr() == ("", "no bucket nowhere")


def test_a_long_queue_becomes_several_files(tmp_path: Path, bucket: Bucket) -> None:
    log = DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES)
    bucket.away = True
    for _ in range(2000):
        log.add(decision(7))
    log.ship()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) > 1
    assert max(sizes) < DISK_BYTES // 4 + 1000, "a quarter, and at most one decision more"


def test_what_an_earlier_process_left_is_shipped_and_its_drafts_go(tmp_path: Path, bucket: Bucket) -> None:
    bucket.away = True
    before = DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES)
    before.add(decision(1))
    before.close()
    (tmp_path / "1-ab.part").write_text('{"half')
    bucket.away = False
    DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES).ship()
    assert bucket.requests() == [1]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_told_and_counted(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log = DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES)
    log.add(decision(1))
    log.ship()
    log.add(decision(2, rows=3))
    with monkeypatch.context() as patch:
        patch.setattr(backlog.os, "replace", full)
        log.ship()
    assert log.trouble == "the disk takes no decisions: No space left on device"
    assert (log.dropped, log.shipped, list(tmp_path.iterdir())) == (3, 1, [])
    assert "No space left" in capsys.readouterr().err


def test_ending_beside_a_shipment_under_way_keeps_what_is_queued(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(module: str, question: Any, *, seconds: float) -> Any:
        begun.set()
        assert go_on.wait(30)
        return bucket(module, question, seconds=seconds)

    monkeypatch.setattr(decisions, "run_child", slow)
    log = DecisionLog(tmp_path, "s3://b", disk_bytes=DISK_BYTES)
    log.add(decision(1))
    shipping = threading.Thread(target=log.ship)
    shipping.start()
    assert begun.wait(30)
    log.add(decision(2))
    log.close()
    assert len(list(tmp_path.iterdir())) == 2, "one under way, one for the next process"
    go_on.set()
    shipping.join(30)
    assert sorted(bucket.requests()) == [1, 2], "the same loop found it after all"
    assert log.trouble is None
