"""The files of a record, wherever they are, read as what a stranger sent.

A record is a set of files by POSIX name (``docs/record.md``, section 2) in a zip, in a folder, or below an
S3 prefix. Nothing is unpacked to disk, nothing inside is followed or opened in turn, and what a file claims
about itself (its size, its name) is a limit and not a promise: a reader never gets more than that. Every
refusal is :class:`~drl.errors.Falsified` and names the file and the reason.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol

from drl.errors import Falsified, InputError
from drl.record.zip_format import MOST_MEMBERS, STORED, Member, read_members

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MIB = 1 << 20
MOST_BYTES = 1 << 40
_BUFFER = 1 << 18
_LONGEST_NAME = 255
_COMPONENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
# Real text compresses tenfold or so; deflate cannot do better than 1032. Small files are let through.
_MOST_RATIO, _RATIO_FROM = 200, MIB


class RecordFiles(Protocol):
    """Read-only files of a record by POSIX name; nothing is trusted, nothing is unpacked to disk."""

    def names(self) -> list[str]:
        """Every file's name, sorted by code point."""

    def size(self, name: str) -> int:
        """Length in bytes; Falsified when there is no such file."""

    def read(self, name: str, *, limit: int = 16 * MIB) -> bytes:
        """The whole file; Falsified when it is missing or larger than ``limit``."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A stream of the file, in constant memory; never yields more than ``size(name)``."""


@contextmanager
def open_record(path: Path) -> Iterator[RecordFiles]:
    """The files of the zip or folder at ``path``.

    Raises:
        InputError: there is nothing at ``path`` that could be read.
        Falsified: the zip or the folder is not what a record may be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", remedy="give the path of a record: a zip or a folder"
        ) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            yield FolderFiles(descriptor, where=str(path))
        elif stat.S_ISREG(mode):
            yield ZipFiles(descriptor, where=path.name)
        else:
            raise InputError(f"{path}: neither a file nor a folder", remedy="give a zip or a folder")
    finally:
        os.close(descriptor)


def sha256_of(files: RecordFiles, name: str) -> str:
    """SHA-256 of one file of a record, in constant memory.

    Raises:
        Falsified: there is no such file, or it has not as many bytes as it claims.
    """
    digest = hashlib.sha256()
    with files.open(name) as stream:
        while chunk := stream.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def require_names(names: Iterable[str], *, where: str) -> list[str]:
    """The names of a record's files, sorted, if each is safe and no two could be taken for each other.

    A name is a relative POSIX path of ASCII letters, digits, ``.``, ``_`` and ``-``; no part of it begins
    with a dot.

    Raises:
        Falsified: for the first name that is not, or that is there twice, also in another case.
    """
    seen: dict[str, str] = {}
    for count, name in enumerate(names, start=1):
        if count > MOST_MEMBERS:
            raise _refusal(where, f"more than {MOST_MEMBERS} files")
        if (reason := _name_fault(name)) is not None:
            raise _refusal(where, reason, name)
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise _refusal(where, f"cannot be told from {other!r} where case does not count", name)
        if len(seen) != count:
            raise _refusal(where, "there twice", name)
    for name in seen:
        for folder in PurePosixPath(name).parents:
            if str(folder) in seen:
                raise _refusal(where, f"a file, and the folder of {seen[name]!r}", seen[str(folder)])
    return sorted(seen.values())


def _name_fault(name: str) -> str | None:
    if len(name) > _LONGEST_NAME:
        return f"a name of more than {_LONGEST_NAME} characters"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute name"
    if "\\" in name:
        return "a backslash in a name"
    parts = name.split("/")
    if ".." in parts or "." in parts:
        return "a name that leads out of the record"
    if not all(_COMPONENT.fullmatch(part) for part in parts):
        return "a name with something else than ASCII letters, digits, '.', '_' and '-'"
    return None


def require_limit(name: str, size: int, limit: int, *, where: str) -> None:
    """Refuse to read a whole file that is larger than ``limit`` bytes."""
    if size > limit:
        raise _refusal(where, f"{size} bytes; at most {limit} are read of a file of this kind", name)


def missing(name: str, *, where: str) -> Falsified:
    """The refusal of a name that the record has not."""
    return _refusal(where, "not in the record", name)


def read_exactly(stream: BinaryIO, name: str, size: int, *, where: str) -> bytes:
    """All of a stream that must hold ``size`` bytes."""
    data = stream.read(size)
    if len(data) != size:
        raise _refusal(where, f"ends after {len(data)} of {size} bytes", name)
    return data


class ListedFiles(ABC):
    """What every kind of :class:`RecordFiles` shares: names and sizes that are known beforehand.

    Args:
        where: what to call the record in errors.
        sizes: length in bytes of each file by name.
    """

    def __init__(self, where: str, sizes: dict[str, int]) -> None:
        self._where = where
        self._sizes = sizes
        if (total := sum(sizes.values())) > MOST_BYTES:
            raise _refusal(where, f"{total} bytes in all; at most {MOST_BYTES} are read")

    def names(self) -> list[str]:
        """Every file's name, sorted by code point."""
        return sorted(self._sizes)

    def size(self, name: str) -> int:
        """Length in bytes; Falsified when there is no such file."""
        if name not in self._sizes:
            raise missing(name, where=self._where)
        return self._sizes[name]

    def read(self, name: str, *, limit: int = 16 * MIB) -> bytes:
        """The whole file; Falsified when it is missing or larger than ``limit``."""
        size = self.size(name)
        require_limit(name, size, limit, where=self._where)
        with self.open(name) as stream:
            return read_exactly(stream, name, size, where=self._where)

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A stream of the file; never yields more than ``size(name)``."""


class ZipFiles(ListedFiles):
    """Files of a zip. Stored members are read straight from the file, deflated ones through zlib.

    Args:
        descriptor: of the zip; stays open, and belongs to the caller.
        where: what to call the zip in errors.
    """

    def __init__(self, descriptor: int, *, where: str) -> None:
        members = read_members(descriptor, where=where)
        for member in members:
            _require_honest(member, where)
        files = [m for m in members if not m.name.endswith("/")]
        folders = [m.name.removesuffix("/") for m in members if m.name.endswith("/")]
        require_names([m.name for m in files], where=where)
        require_names(folders, where=where)
        if both := {m.name.lower() for m in files}.intersection(f.lower() for f in folders):
            raise _refusal(where, "a file and a folder", min(both))
        super().__init__(where, {m.name: m.size for m in files})
        self._descriptor = descriptor
        self._members = {m.name: m for m in files}

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A stream of the file, in constant memory; never yields more than ``size(name)``."""
        self.size(name)
        member = self._members[name]
        packed = _Slice(self._descriptor, member.start, member.packed, _Place(self._where, name))
        raw = packed if member.method == STORED else _Inflated(packed, member.size, packed.place)
        with io.BufferedReader(raw, _BUFFER) as stream:
            yield stream


class FolderFiles(ListedFiles):
    """Files of a folder. Links are refused, also where one takes a file's place while we read.

    Args:
        descriptor: of the folder; stays open, and belongs to the caller.
        where: what to call the folder in errors.
    """

    def __init__(self, descriptor: int, *, where: str) -> None:
        sizes: dict[str, int] = {}
        for name, size in _walk(descriptor, "", where):
            sizes[name] = size
            if len(sizes) > MOST_MEMBERS:
                raise _refusal(where, f"more than {MOST_MEMBERS} files")
        require_names(sizes, where=where)
        super().__init__(where, sizes)
        self._descriptor = descriptor

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A stream of the file, in constant memory; never yields more than ``size(name)``."""
        size = self.size(name)
        *folders, last = name.split("/")
        descriptor = os.dup(self._descriptor)
        try:
            for part, kind in [*((f, os.O_DIRECTORY) for f in folders), (last, os.O_NONBLOCK)]:
                inner = _open_below(descriptor, part, kind, _Place(self._where, name))
                os.close(descriptor)
                descriptor = inner
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                raise _refusal(self._where, "changed while the record was being read", name)
            raw = _Slice(descriptor, 0, size, _Place(self._where, name))
            with io.BufferedReader(raw, _BUFFER) as stream:
                yield stream
        finally:
            os.close(descriptor)


class _Place:
    """Where a stream comes from, for its refusals."""

    def __init__(self, where: str, name: str) -> None:
        self.where = where
        self.name = name

    def refusal(self, reason: str) -> Falsified:
        return _refusal(self.where, reason, self.name)


class _Slice(io.RawIOBase):
    """``size`` bytes of an open file from ``start`` on; several slices may be read at once."""

    def __init__(self, descriptor: int, start: int, size: int, place: _Place) -> None:
        self.place = place
        self._descriptor = descriptor
        self._next = start
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._left:
            return 0
        wanted = memoryview(buffer).cast("B")[: self._left]
        count = os.preadv(self._descriptor, [wanted], self._next)
        if count == 0:
            raise self.place.refusal("the file ends early")
        self._next += count
        self._left -= count
        return count


class _Inflated(io.RawIOBase):
    """What deflated bytes unpack to: exactly ``size`` bytes, or a refusal."""

    def __init__(self, packed: _Slice, size: int, place: _Place) -> None:
        self._packed = packed
        self._left = size
        self._place = place
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        wanted = memoryview(buffer).cast("B")
        data = self._some(max(1, min(len(wanted), self._left)))
        if len(data) > self._left:
            raise self._place.refusal("unpacks to more bytes than its header says")
        if not data and self._left:
            raise self._place.refusal("unpacks to fewer bytes than its header says")
        wanted[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def _some(self, most: int) -> bytes:
        """Between one and ``most`` bytes; none only at the end, where nothing may be left over."""
        while not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._packed.read(_BUFFER)
            try:
                data = self._zlib.decompress(packed, most)
            except zlib.error as error:
                raise self._place.refusal("broken compression") from error
            if data:
                return data
            if not packed and not self._zlib.eof:
                raise self._place.refusal("broken compression: it has no end")
        if self._zlib.unused_data or self._packed.read(1):
            raise self._place.refusal("bytes after the end of its compression")
        return b""


def _require_honest(member: Member, where: str) -> None:
    if member.name.endswith("/") and (member.size or member.packed):
        raise _refusal(where, "a folder with bytes of its own", member.name)
    if member.size > _RATIO_FROM and member.size > _MOST_RATIO * member.packed:
        raise _refusal(where, f"unpacks to more than {_MOST_RATIO} times its bytes", member.name)


def _walk(descriptor: int, prefix: str, where: str) -> Iterator[tuple[str, int]]:
    """Name and size of each regular file; anything but files and folders is refused."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = prefix + entry.name
            if (reason := _name_fault(name)) is not None:
                raise _refusal(where, reason, name)
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                inner = _open_below(descriptor, entry.name, os.O_DIRECTORY, _Place(where, name))
                try:
                    yield from _walk(inner, f"{name}/", where)
                finally:
                    os.close(inner)
            elif stat.S_ISREG(found.st_mode):
                yield name, found.st_size
            else:
                kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
                raise _refusal(where, kind, name)


def _open_below(folder: int, name: str, flags: int, place: _Place) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        raise place.refusal(f"cannot be read: {error.strerror}") from error


def _refusal(where: str, reason: str, name: str | None = None) -> Falsified:
    shown = "" if name is None else f": {name.encode('ascii', 'backslashreplace').decode()!r}"
    return Falsified(
        f"{where}{shown}: {reason}",
        remedy="do not use these files; ask whoever sent them for the zip that `drl record export` wrote",
    )
