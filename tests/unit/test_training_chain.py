"""The chain of checkpoints: round trip, and every change found."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drl.errors import Falsified
from drl.training import chain
from drl.training.chain import Link, Writer


def links(count: int = 3) -> list[Link]:
    made: list[Link] = []
    for iteration in range(1, count + 1):
        digest, parent = f"{iteration:064x}", chain.next_parent(made)
        made.append(Link(7, iteration, 100 * iteration, digest, parent, digest, "1", "here", 0, 0))
    return made


def test_lines_come_back() -> None:
    assert chain.from_bytes(chain.to_bytes(links()), where="chain") == links()
    assert chain.from_bytes(b"", where="chain") == []
    assert links()[0].parent == chain.FIRST_PARENT


def changed(field: str, number: int) -> list[Link]:
    made = links()
    value = "f" * 64 if isinstance(getattr(made[number], field), str) else 9
    made[number] = replace(made[number], **{field: value})
    return made


@pytest.mark.parametrize("field", ["seed", "iteration", "time_steps", "weights", "parent"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_field_breaks_the_chain(field: str, number: int) -> None:
    with pytest.raises(Falsified, match=r"chain:[123]: does not follow"):
        chain.from_bytes(chain.to_bytes(changed(field, number)), where="chain")


@pytest.mark.parametrize("field", ["folder", "attempt", "node", "begun", "refused"])
def test_how_a_checkpoint_came_about_is_no_part_of_what_it_is(field: str) -> None:
    other = changed(field, 1)
    assert other != links()
    assert chain.from_bytes(chain.to_bytes(other), where="chain") == other
    assert [link.digest for link in other] == [link.digest for link in links()]


def test_the_chain_digest_is_of_the_five_members_that_the_document_names() -> None:
    link = links(1)[0]
    written = (
        b'{"iteration":1,"parent":"' + b"0" * 64 + b'","seed":7,"time_steps":100,"weights":"' + b"0" * 63
    )
    assert link.digest == hashlib.sha256(written + b'1"}').hexdigest()


def test_splices_tell_who_wrote_what() -> None:
    second = [replace(link, attempt="2", node="there", begun=2, refused=1) for link in links(4)[2:]]
    told = chain.splices([*links(4)[:2], *second])
    assert [(s.seed, s.writer, s.first, s.last) for s in told] == [
        (7, Writer("1", "here"), 1, 2),
        (7, Writer("2", "there", 2, 1), 3, 4),
    ]
    assert chain.splices([]) == []


def test_several_seeds_in_one_file() -> None:
    other = [replace(links(1)[0], seed=8)]
    data = chain.to_bytes(links()) + chain.to_bytes(other)
    assert chain.by_seed(data, where="file") == {7: links(), 8: other}
    with pytest.raises(Falsified, match="do not stand together"):
        chain.by_seed(data + chain.to_bytes(links(1)), where="file")


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
        lambda lines: [lines[0].replace(b'"seed":7', b'"seed":"7"')],
        lambda lines: [lines[0].replace(b'"seed":7', b'"seed":true')],
        lambda lines: [lines[0].replace(b'"attempt":"1"', b'"attempt":1')],
        lambda lines: [lines[0].replace(b'"seed":7', b'"seed":-7')],
        lambda lines: [lines[0], lines[1].replace(b'"seed":7', b'"seed":8')],
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
    link = replace(links(1)[0], folder=chain.folder_digest(tmp_path))
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
