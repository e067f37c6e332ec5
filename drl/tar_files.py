"""Unpacking a tar whose maker need not be trusted, on every Python that this package runs on.

The safe filters of :mod:`tarfile` came with Python 3.11.4; Debian 12, and so the images, has 3.11.2.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from drl.errors import Falsified


def unpack(archive: Path, into: Path) -> None:
    """Unpack files, folders and links, each once, and nothing that is or leads outside ``into``.

    Of a file's rights only "may be executed" is kept, of its owner nothing.

    Raises:
        Falsified: a member is something else, or it is no tar.
    """
    into.mkdir(parents=True, exist_ok=True)
    root = into.resolve()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                _unpack_member(tar, member, root)
        _require_inside(root)  # a later member can change where an earlier link leads
    except (tarfile.TarError, OSError) as error:
        raise Falsified(f"{archive.name} cannot be unpacked: {error}", remedy="do not use it") from error


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    name = PurePosixPath(member.name)
    path = root / name
    place = path if member.isdir() else path.parent
    inside = not name.is_absolute() and ".." not in name.parts and place.resolve().is_relative_to(root)
    if inside and member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif inside and member.isfile() and not member.issparse():  # a sparse file grows to any size
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            shutil.copyfileobj(_content(tar, member), target)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
    elif inside and member.issym() and (path.parent / member.linkname).resolve().is_relative_to(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(member.linkname)
    else:
        raise tarfile.TarError(f"member {member.name!r} is or leads outside, or is no file, folder or link")


def _require_inside(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise tarfile.TarError(f"link {path.relative_to(root)} leads outside")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.TarError(f"member {member.name!r} has no content")
    return content
