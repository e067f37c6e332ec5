"""Checkpoints in a real S3 store: lost bytes cost one checkpoint, a store out of reach costs none."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoint_series import exchange_store, filled, resumed

from drl.errors import Missing, StoreError
from drl.stores.s3 import ArtifactStore
from drl.stores.s3_client import connect
from drl.stores.sealing import blob_key
from drl.stores.settings import S3Settings
from drl.training.chain import Writer


@pytest.fixture
def settings(stack: Any) -> S3Settings:
    e = stack.environment()
    return S3Settings(e["DRL_S3_ENDPOINT"], e["DRL_S3_ACCESS_KEY"], e["DRL_S3_SECRET_KEY"])


def test_the_one_before_is_taken_when_the_bytes_of_the_newest_are_gone(
    settings: S3Settings, tmp_path: Path
) -> None:
    store, run = ArtifactStore(settings), f"tiny/{secrets.token_hex(4)}"
    filled(exchange_store(store, tmp_path, "1-aa", run=run), tmp_path / "made", {}, {}, {})
    pointers = store.list(f"runs/{run}/train/checkpoints/seed-0/")
    newest = json.loads(store.read(pointers[-1]))
    connect(settings).delete_object(Bucket="staging", Key=blob_key(newest["sha256"]))

    state, folder, said = resumed(exchange_store(store, tmp_path, "2-bb", run=run))
    assert folder is not None
    assert (state.iteration, state.writer) == (4, Writer("2", "b", 4, 1))
    assert "seed-0: checkpoint 6 refused: " in said
    assert "NoSuchKey" in said

    connect(settings).delete_object(Bucket="staging", Key=pointers[-1])
    assert resumed(exchange_store(store, tmp_path, "3-cc", run=run))[0].writer.refused == 0


def test_a_store_that_refuses_is_not_taken_for_lost_bytes(settings: S3Settings, tmp_path: Path) -> None:
    run = f"tiny/{secrets.token_hex(4)}"
    filled(exchange_store(ArtifactStore(settings), tmp_path, "1-aa", run=run), tmp_path / "made", {})
    stranger = ArtifactStore(replace(settings, secret_key="wrong"))
    with pytest.raises(StoreError) as caught:
        resumed(exchange_store(stranger, tmp_path, "2-bb", run=run))
    assert not isinstance(caught.value, Missing)
