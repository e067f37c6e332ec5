"""The git tree that a tar holds, computed without git: so that anybody can check a source archive.

``git archive`` writes a commit's tree as a tar. A tree's id is a SHA-1 over names, modes and contents, so the
same id comes out of the tar again, and only out of a tar of exactly these files.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from drl.errors import Falsified

_MOST_MEMBERS = 100_000
_DEEPEST = 64
_CHUNK = 1 << 20

_FILE, _PROGRAM, _LINK, _FOLDER = b"100644", b"100755", b"120000", b"40000"


@dataclass
class _Tree:
    """A folder: leaves by name as (mode, id), and folders by name."""

    leaves: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    folders: dict[bytes, _Tree] = field(default_factory=dict)

    def digest(self) -> bytes:
        """The tree's id; git sorts folders as if their names ended with a slash."""
        entries = [(name, name, mode, sha1) for name, (mode, sha1) in self.leaves.items()]
        entries += [(name + b"/", name, _FOLDER, tree.digest()) for name, tree in self.folders.items()]
        body = b"".join(mode + b" " + name + b"\0" + sha1 for _, name, mode, sha1 in sorted(entries))
        return _object_id(b"tree", body)


def tree_of_tar(stream: BinaryIO, *, where: str) -> str:
    """The id of the git tree that an uncompressed tar holds, as ``git rev-parse COMMIT^{tree}`` prints it.

    Args:
        stream: the tar; read once from front to back, nothing is unpacked.
        where: what to call it in errors.

    Raises:
        Falsified: no tar, or one that holds what no git tree can: a file twice, a device, a hard link, an
            empty folder, a name that leads out.
    """
    root, folders = _Tree(), set[tuple[bytes, ...]]()
    try:
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
            for count, member in enumerate(tar, start=1):
                if count > _MOST_MEMBERS:
                    raise _refusal(where, f"more than {_MOST_MEMBERS} members")
                path = _path(member, where)
                if member.isdir():
                    folders.add(path)
                else:
                    _add(root, path, _leaf(tar, member, where), where)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise _refusal(where, f"not a tar that can be read: {error}") from error
    for path in folders:
        if not _is_folder(root, path):
            raise _refusal(where, f"{_shown(path)}: an empty folder, which git does not keep")
    return root.digest().hex()


def _path(member: tarfile.TarInfo, where: str) -> tuple[bytes, ...]:
    name = member.name.encode("utf-8", "surrogateescape")
    path = tuple(name.split(b"/"))
    if len(path) > _DEEPEST or any(part in (b"", b".", b"..", b".git") for part in path) or b"\0" in name:
        raise _refusal(where, f"{_shown(path)}: no name of a git tree")
    return path


def _leaf(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> tuple[bytes, bytes]:
    """Mode and id of a file or a symbolic link."""
    if member.issym():
        return _LINK, _object_id(b"blob", member.linkname.encode("utf-8", "surrogateescape"))
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise _refusal(where, f"{member.name!r}: neither a plain file, a folder nor a symbolic link")
    content = tar.extractfile(member)
    if content is None:
        raise _refusal(where, f"{member.name!r}: no content")
    mode = _PROGRAM if member.mode & 0o100 else _FILE
    return mode, _blob_id(content, member.size)


def _add(root: _Tree, path: tuple[bytes, ...], leaf: tuple[bytes, bytes], where: str) -> None:
    *parents, name = path
    tree = root
    for parent in parents:
        if parent in tree.leaves:
            raise _refusal(where, f"{_shown(path)}: lies below a file")
        tree = tree.folders.setdefault(parent, _Tree())
    if name in tree.leaves or name in tree.folders:
        raise _refusal(where, f"{_shown(path)}: there twice")
    tree.leaves[name] = leaf


def _is_folder(root: _Tree, path: tuple[bytes, ...]) -> bool:
    tree: _Tree | None = root
    for part in path:
        tree = tree.folders.get(part) if tree else None
    return tree is not None


def _blob_id(content: IO[bytes], size: int) -> bytes:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def _object_id(kind: bytes, body: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0" % (kind, len(body)) + body, usedforsecurity=False).digest()


def _shown(path: tuple[bytes, ...]) -> str:
    return repr(b"/".join(path).decode("utf-8", "backslashreplace"))


def _refusal(where: str, reason: str) -> Falsified:
    return Falsified(
        f"{where}: {reason}",
        remedy="take the archive from the record again; `git archive --format=tar COMMIT` makes a good one",
    )
