"""Checkpoints are believed only whole, of this training, and made with what is here now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoint_series import checkpoint, exchange_store, filled, resumed

from drl.digest import canonical_json
from drl.errors import StoreError
from drl.steps.exchange import FolderExchange
from drl.training import chain
from drl.training.chain import Writer
from drl.training.checkpoints import CheckpointStore, FolderCheckpoints, Kept
from drl.training.surroundings import differences, surroundings


@pytest.fixture(params=["folder", "exchange"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "folder":
        return FolderCheckpoints(tmp_path / "store")
    return exchange_store(FolderExchange(tmp_path / "exchange"), tmp_path, "1-aa")


def test_the_newest_is_taken_when_it_is_good(store: CheckpointStore, tmp_path: Path) -> None:
    filled(store, tmp_path / "made", {}, {}, {})
    state, folder, said = resumed(store)
    assert folder is not None
    assert (state.iteration, state.time_steps, state.window) == (6, 600, [(3, 20.0)])
    assert [link.iteration for link in state.links] == [2, 4, 6]
    assert (state.writer, said) == (Writer("2", "b", 6, 0), "")


def test_without_checkpoints_training_begins(store: CheckpointStore) -> None:
    state, folder, said = resumed(store)
    assert (state.iteration, folder, state.writer, said) == (0, None, Writer("2", "b"), "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identity": "other"}, "a checkpoint of another pipeline, data set or seed"),
        ({"made_with": {"python": "3.12.0", "machine": "x86_64"}}, "not resumable exactly here: python"),
        ({"made_with": None}, "what it was made with is not written down"),
        ({"iteration": 5}, "state and chain name different iterations"),
        ({"window": 5}, "not a checkpoint"),
    ],
)
def test_one_that_will_not_do_is_refused_and_the_one_before_taken(
    store: CheckpointStore, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    filled(store, tmp_path / "made", {}, {}, change)
    state, folder, said = resumed(store)
    assert folder is not None
    assert (state.iteration, state.writer) == (4, Writer("2", "b", 4, 1))
    assert why in said
    assert "seed-0: checkpoint 6 refused" in said


def test_when_none_will_do_training_starts_again_and_says_so(store: CheckpointStore, tmp_path: Path) -> None:
    filled(store, tmp_path / "made", *[{"made_with": {"python": "3.12.0"}}] * 3)
    state, folder, said = resumed(store)
    assert (state.iteration, folder, state.links) == (0, None, [])
    assert state.writer == Writer("2", "b", 0, 3)
    assert "seed-0: not resumable exactly from any checkpoint: starts again from the beginning" in said


@pytest.mark.parametrize("file", ["state.json", "metrics.jsonl", chain.CHAIN_FILE])
@pytest.mark.parametrize("damage", ["changed", "emptied", "removed"])
def test_damage_is_found(tmp_path: Path, file: str, damage: str) -> None:
    store = FolderCheckpoints(tmp_path / "store")
    filled(store, tmp_path / "made", {}, {})
    path = tmp_path / "store" / "seed-0" / "00000004" / file
    data = path.read_bytes()
    path.write_bytes({"changed": data[:-3] + b"!" + data[-2:], "emptied": b"", "removed": data}[damage])
    if damage == "removed":
        path.unlink()
    assert resumed(store)[0].iteration == 2


def test_a_folder_keeps_three_and_forgets_what_was_refused(tmp_path: Path) -> None:
    home = tmp_path / "store" / "seed-0"
    store = FolderCheckpoints(tmp_path / "store")
    filled(store, tmp_path / "made", {}, {}, {}, {})
    (home / ".incoming-torn").mkdir()
    assert [kept.iteration for kept in store.kept("seed-0")] == [8, 6, 4]
    store.save("seed-0", 6, tmp_path / "made" / "2")
    assert sorted(p.name for p in home.iterdir()) == ["00000004", "00000006"]
    assert store.kept("seed-1") == []


def test_a_later_attempt_writes_beside_a_damaged_checkpoint(tmp_path: Path) -> None:
    """The name of what is refused is taken for good, as documents are written once."""
    exchange = FolderExchange(tmp_path / "exchange")
    first, second = exchange_store(exchange, tmp_path, "1-aa"), exchange_store(exchange, tmp_path, "2-bb")
    filled(first, tmp_path / "made", {}, {})
    blobs = tmp_path / "exchange" / "sha256"
    (pointer,) = (tmp_path / "exchange" / "runs").rglob("00000004-1-aa.json")
    blob = blobs / json.loads(pointer.read_bytes())["sha256"]
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert resumed(second)[0].iteration == 2
    second.save("seed-0", 4, tmp_path / "made" / "1")
    blob.unlink()
    assert resumed(exchange_store(exchange, tmp_path, "3-cc"))[0].iteration == 2
    other = checkpoint(tmp_path / "again", chain.check_folder(tmp_path / "made" / "0"), window=[[4, 1.0]])
    second = exchange_store(exchange, tmp_path, "4-dd")
    second.save("seed-0", other[-1].iteration, tmp_path / "again")
    assert resumed(exchange_store(exchange, tmp_path, "5-ee"))[0].window == [(4, 1.0)]
    pointer.write_bytes(b"nothing")
    assert resumed(exchange_store(exchange, tmp_path, "6-ff"))[0].iteration == 4


def test_a_store_out_of_reach_is_no_damage() -> None:
    class Away:
        def save(self, series: str, iteration: int, folder: Path) -> None:
            raise AssertionError

        def kept(self, series: str) -> list[Kept]:
            return [Kept(4, "there", self._fetch)]

        def _fetch(self) -> Path:
            raise StoreError("the store is away", remedy="start it")

    with pytest.raises(StoreError):
        resumed(Away())


def test_surroundings_are_what_computes() -> None:
    here = surroundings("portable")
    assert set(here["packages"]) == {"gymnasium", "numpy", "ray", "torch"}
    assert here["instructions"] is None
    assert len(surroundings("native")["instructions"]) == 64
    assert differences(json.loads(canonical_json(here)), here) == []
    assert differences(here, surroundings("native"))[0].startswith("instructions: None, now ")
