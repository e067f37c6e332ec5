"""The chain of checkpoints: round trip, and every change found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drl.errors import Falsified
from drl.training import chain
from drl.training.chain import Link


def links(count: int = 3) -> list[Link]:
    made: list[Link] = []
    for iteration in range(1, count + 1):
        digest = f"{iteration:064x}"
        made.append(Link(7, iteration, 100 * iteration, digest, digest, chain.next_parent(made)))
    return made


def test_lines_come_back() -> None:
    assert chain.from_bytes(chain.to_bytes(links()), where="chain") == links()
    assert chain.from_bytes(b"", where="chain") == []
    assert links()[0].parent == chain.FIRST_PARENT


@pytest.mark.parametrize("field", ["seed", "iteration", "time_steps", "folder", "weights", "parent"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_field_breaks_the_chain(field: str, number: int) -> None:
    changed = links()
    value = "f" * 64 if isinstance(getattr(changed[number], field), str) else 9
    changed[number] = replace(changed[number], **{field: value})
    with pytest.raises(Falsified, match=r"chain:[12]: does not follow|chain:[123]:"):
        chain.from_bytes(chain.to_bytes(changed), where="chain")


@pytest.mark.parametrize(
    "lines",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[0]],
        lambda lines: [lines[0].replace(b'"seed":7', b'"seed": 7')],
        lambda lines: [b"{}"],
        lambda lines: [b"not JSON"],
        lambda lines: [b"[]"],
    ],
)
def test_missing_moved_or_malformed_lines_are_found(lines: object) -> None:
    data = b"\n".join(lines(chain.to_bytes(links()).splitlines()))  # type: ignore[operator]
    with pytest.raises(Falsified):
        chain.from_bytes(data, where="chain")


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    link = Link(7, 1, 100, chain.folder_digest(tmp_path), "0" * 64, chain.FIRST_PARENT)
    with pytest.raises(Falsified, match="missing"):
        chain.check_folder(tmp_path)
    (tmp_path / chain.CHAIN_FILE).write_bytes(chain.to_bytes([link]))
    assert chain.check_folder(tmp_path) == [link]
    (tmp_path / "two").rename(tmp_path / "three")
    with pytest.raises(Falsified, match="not those that its chain names"):
        chain.check_folder(tmp_path)


def test_weights_digest_sees_name_type_shape_and_bytes() -> None:
    ones = np.ones((2, 3), np.float32)
    base = chain.weights_digest({"a": ones, "b": ones[0]})
    assert base == chain.weights_digest({"b": ones[0], "a": np.asfortranarray(ones)})
    others = [
        {"a": ones, "c": ones[0]},
        {"a": ones.T, "b": ones[0]},
        {"a": ones.astype(np.float64), "b": ones[0]},
    ]
    changed = ones.copy()
    changed[1, 2] = np.nextafter(np.float32(1), np.float32(2))
    for other in [*others, {"a": changed, "b": ones[0]}]:
        assert chain.weights_digest(other) != base
