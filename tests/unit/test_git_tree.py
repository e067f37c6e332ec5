"""The tree id of a tar is git's own, and only a tar of exactly these files has it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from drl.artifact import Artifact
from drl.errors import Falsified
from drl.record.git_tree import tree_of_tar
from drl.steps import source_code

IDENTITY = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Names whose order depends on git's rule, modes, a link, an empty and a long-named file."""
    folder = tmp_path / "repository"
    files = {
        "a.txt": b"file",
        "a/inner": b"sorts after a.txt",
        "a-b": b"",
        "drl/run.py": b"#!/usr/bin/env python\n",
        "docs/größe 字.md": "Größe\r\n".encode(),
        f"deep/{'long-' * 30}/{'name-' * 20}": b"\0\xff",
        "requirements.lock": b"numpy==1\n",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "drl/run.py").chmod(0o755)
    (folder / "link").symlink_to("a/inner")
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def archive(repository: Path) -> bytes:
    command = ["git", "-C", str(repository), "archive", "--format=tar", "HEAD"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def tree(data: bytes) -> str:
    return tree_of_tar(io.BytesIO(data), where="source.tar")


def test_it_is_what_git_says(repository: Path) -> None:
    assert tree(archive(repository)) == git(repository, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("change", ["content", "mode", "name", "more", "less", "link"])
def test_any_change_gives_another_tree(repository: Path, change: str) -> None:
    before = tree(archive(repository))
    changes: dict[str, Callable[[], object]] = {
        "content": lambda: (repository / "a.txt").write_bytes(b"filf"),
        "mode": lambda: (repository / "a.txt").chmod(0o755),
        "name": lambda: (repository / "a.txt").rename(repository / "b.txt"),
        "more": lambda: (repository / "new").write_bytes(b""),
        "less": lambda: (repository / "a-b").unlink(),
        "link": lambda: ((repository / "link").unlink(), (repository / "link").symlink_to("a.txt")),
    }
    changes[change]()
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "two")
    assert tree(archive(repository)) != before


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("../evil")], "no name of a git tree"),
        ([member("/etc/passwd")], "no name of a git tree"),
        ([member("a//b")], "no name of a git tree"),
        ([member(".git/hooks/post-checkout")], "no name of a git tree"),
        ([member("x/" * 70 + "y")], "no name of a git tree"),
        ([member("a"), member("a")], "there twice"),
        ([member("a/b"), member("a")], "there twice"),
        ([member("a"), member("a/b")], "lies below a file"),
        ([member("a"), member("b", tarfile.LNKTYPE, "a")], "neither a plain file"),
        ([member("a", tarfile.CHRTYPE)], "neither a plain file"),
        ([member("a", tarfile.FIFOTYPE)], "neither a plain file"),
        ([member("empty", tarfile.DIRTYPE)], "an empty folder"),
    ],
)
def test_what_no_git_tree_holds_is_refused(members: list[tarfile.TarInfo], reason: str) -> None:
    with pytest.raises(Falsified, match=reason):
        tree(tar_of(*((m, b"") for m in members)))


@pytest.mark.parametrize("data", [b"", b"not a tar" * 100, b"\x1f\x8b\x08" + bytes(509)])
def test_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(Falsified, match=r"source\.tar: not a tar"):
        tree(data)


def test_a_cut_tar_is_refused(repository: Path) -> None:
    data = tar_of((member("a"), bytes(5000)))
    with pytest.raises(Falsified):
        tree(data[:3000])


# ------------------------------------------------------------------------------------ what resolve freezes


@pytest.fixture
def here(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(source_code, "REPOSITORY", repository)
    return repository


def test_a_clean_tree_is_archived_and_the_archive_is_its_tree(here: Path, tmp_path: Path) -> None:
    identity = source_code.code_identity(archive_into=tmp_path)
    assert identity == {
        "commit": git(here, "rev-parse", "HEAD"),
        "tree": git(here, "rev-parse", "HEAD^{tree}"),
        "dirty": False,
        "from": "git",
        "archive": Artifact.of(tmp_path / "source.tar").to_json(),
    }
    again = tmp_path / "again"
    again.mkdir()
    assert source_code.code_identity(archive_into=again)["archive"] == identity["archive"]


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("drl/run.py", True),
        ("drl/untracked.py", True),
        ("operators/untracked.py", True),
        ("plugins/untracked.py", True),
        ("requirements.lock", True),
        ("dags/mine.yaml", False),
        ("a.txt", False),
    ],
)
def test_dirty_is_what_can_change_a_result(here: Path, name: str, dirty: bool) -> None:
    (here / name).parent.mkdir(exist_ok=True)
    (here / name).write_bytes(b"changed")
    assert source_code.code_identity(archive_into=None)["dirty"] is dirty


def test_git_rules_that_would_change_the_archive_are_refused(here: Path, tmp_path: Path) -> None:
    (here / ".gitattributes").write_text("a.txt export-ignore\n")
    git(here, "add", "-A")
    git(here, "commit", "-q", "-m", "attributes")
    with pytest.raises(Falsified, match="holds the tree"):
        source_code.code_identity(archive_into=tmp_path)


def test_an_image_build_leaves_the_same_identity(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, work = tmp_path / "image", tmp_path / "work"
    work.mkdir()
    source_code.write_stamp(image)
    built = json.loads((image / "build.json").read_bytes())
    monkeypatch.setattr(source_code, "REPOSITORY", image)
    assert source_code.code_identity(archive_into=work) == built | {"from": "image build"}
    assert Artifact.of(work / "source.tar").to_json() == built["archive"]


def test_a_stamp_with_another_archive_is_refused(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_code.write_stamp(tmp_path / "image")
    (tmp_path / "image/source.tar").write_bytes(tar_of((member("other"), b"")))
    monkeypatch.setattr(source_code, "REPOSITORY", tmp_path / "image")
    with pytest.raises(Falsified, match="holds the tree"):
        source_code.code_identity(archive_into=tmp_path)


def test_without_git_and_stamp_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_code, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_code.code_identity(archive_into=tmp_path) == {
        "commit": None,
        "tree": None,
        "dirty": None,
        "from": "unknown",
        "archive": None,
    }


def test_the_image_build_can_call_it(tmp_path: Path) -> None:
    root = Path(source_code.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "drl.steps.source_code", str(tmp_path)],
        cwd=root,
        env=os.environ,
        check=True,
        timeout=60,
    )
    stamp = json.loads((tmp_path / "build.json").read_bytes())
    assert stamp["tree"] == tree((tmp_path / "source.tar").read_bytes())
