"""What a tar may hold, and what is refused."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from drl.errors import Falsified
from drl.tar_files import unpack


def tar_of(path: Path, *members: tuple[str, bytes, int, str]) -> Path:
    """A tar of members: kind, content, mode and name; of a link the content is where it leads."""
    with tarfile.open(path, "w") as tar:
        for kind, content, mode, name in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, mode
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content.decode()
                tar.addfile(member)
    return path


def test_what_was_packed_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "run").write_bytes(b"#!/bin/sh\n")
    (source / "a" / "run").chmod(0o755)
    (source / "a" / "b" / "data").write_bytes(bytes(range(256)) * 1000)
    (source / "link").symlink_to("a/run")
    unpack(Path(shutil.make_archive(str(tmp_path / "packed"), "tar", source)), tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b" / "data").read_bytes() == bytes(range(256)) * 1000
    assert (tmp_path / "out" / "a" / "run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "a" / "b" / "data").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out" / "link").readlink() == Path("a/run")


FILE, LINK, HARD, DEVICE = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [(FILE, b"x", 0o644, "../out-of-it")],
        [(FILE, b"x", 0o644, "a/../../out-of-it")],
        [(FILE, b"x", 0o644, "/absolute")],
        [(LINK, b"../elsewhere", 0o777, "link")],
        [(LINK, b"/etc/passwd", 0o777, "link")],
        [(LINK, b".", 0o777, "here"), (LINK, b"here/../..", 0o777, "up"), (FILE, b"x", 0o644, "up/file")],
        [
            (LINK, b"a/b/../..", 0o777, "up"),
            (LINK, b".", 0o777, "a"),
            (tarfile.DIRTYPE, b"", 0o755, "b"),
        ],
        [(HARD, b"/etc/passwd", 0o644, "hard")],
        [(DEVICE, b"", 0o644, "device")],
        [(FILE, b"x", 0o644, "twice"), (FILE, b"y", 0o644, "twice")],
        [(LINK, b"later", 0o777, "file"), (FILE, b"x", 0o644, "file")],
    ],
)
def test_what_is_or_leads_outside_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes, int, str]]
) -> None:
    tar = tar_of(tmp_path / "bad.tar", *members)
    with pytest.raises(Falsified, match=r"bad\.tar cannot be unpacked"):
        unpack(tar, tmp_path / "into")
    assert {path.name for path in tmp_path.iterdir()} == {"bad.tar", "into"}


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(Falsified, match="cannot be unpacked"):
        unpack(tmp_path / "bad.tar", tmp_path / "into")
