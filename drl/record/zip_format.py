"""The members of a zip file, read so strictly that no two programs can see different files in it.

``zipfile`` is lenient on purpose: it takes what it finds in the central directory and forgives the rest. A
record comes from a stranger, so here everything must agree: local headers with the central directory, both
with the end record, and all of it with the file's length. Only what is needed is allowed: stored and deflated
members, one disk, no encryption, no comment, no bytes between members. Names are judged in
``drl.record.files``.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from drl.errors import Falsified

STORED, DEFLATED = 0, 8
MOST_MEMBERS = 50_000
_MOST_DIRECTORY = 32 << 20

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ZIP64_EXTRA, _UNICODE_EXTRAS = 1, (0x7075, 0x6375)
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIPTOR = 1 << 3
_DESCRIPTOR_SIZES = (12, 16, 20, 24)


@dataclass(frozen=True)
class Member:
    """One member whose headers agree.

    Attributes:
        name: as the zip spells it, not judged yet; ends with ``/`` for a folder.
        method: :data:`STORED` or :data:`DEFLATED`.
        start: offset of its data in the file.
        packed: length of its data in the file.
        size: length of the file that it unpacks to, as the headers claim.
    """

    name: str
    method: int
    start: int
    packed: int
    size: int


@dataclass(frozen=True)
class _Entry:
    """What the central directory says about a member."""

    name: bytes
    flags: int
    method: int
    header: int
    packed: int
    size: int


def read_members(descriptor: int, *, where: str) -> list[Member]:
    """Members of the zip open at ``descriptor``, in the order of the file.

    Args:
        descriptor: of a regular file, open for reading; its position is neither used nor moved.
        where: what to call the file in errors.

    Raises:
        Falsified: the file is no zip, or any two statements in it disagree.
    """
    reader = _Reader(descriptor, where)
    count, directory, start = _end(reader)
    entries = sorted(_entries(reader, count, directory, start), key=lambda entry: entry.header)
    return list(_members(reader, entries, start))


class _Reader:
    """Exact reads at offsets, and refusals that name the file."""

    def __init__(self, descriptor: int, where: str) -> None:
        self.descriptor = descriptor
        self.where = where
        self.length = os.fstat(descriptor).st_size

    def at(self, offset: int, size: int) -> bytes:
        if offset < 0 or offset + size > self.length:
            raise self.refusal("a header points outside the file")
        data = os.pread(self.descriptor, size, offset)
        if len(data) != size:
            raise self.refusal("the file ends early")
        return data

    def refusal(self, reason: str, name: bytes | None = None) -> Falsified:
        member = f": {name.decode('ascii', 'backslashreplace')!r}" if name is not None else ""
        return Falsified(
            f"{self.where}{member}: {reason}",
            remedy="do not unpack this file; ask whoever sent it for the zip that `drl record export` wrote",
        )


def _end(reader: _Reader) -> tuple[int, int, int]:
    """Number of members, length and offset of the central directory."""
    offset = reader.length - _END.size
    if offset < 0:
        raise reader.refusal("not a zip file")
    signature, disk, first, here, count, size, start, comment = _END.unpack(reader.at(offset, _END.size))
    if signature != b"PK\5\6" or comment:
        raise reader.refusal("not a zip file that ends with its end record, without a comment")
    if disk or first or here != count:
        raise reader.refusal("a zip file of several disks")
    end = offset
    if offset >= _END64_LOCATOR.size:
        locator = reader.at(offset - _END64_LOCATOR.size, _END64_LOCATOR.size)
        if locator.startswith(b"PK\6\7"):
            end, *wide = _end64(reader, offset - _END64_LOCATOR.size, locator)
            for narrow, full, marker in zip((count, size, start), wide, (_U16, _U32, _U32), strict=True):
                if narrow not in (marker, full):
                    raise reader.refusal("the zip64 end record and the end record disagree")
            count, size, start = wide
    if start + size != end:
        raise reader.refusal("the central directory does not end where the end record begins")
    if count > MOST_MEMBERS or size > _MOST_DIRECTORY:
        raise reader.refusal(f"{count} members in {size} bytes of directory; {MOST_MEMBERS} are allowed")
    return count, size, start


def _end64(reader: _Reader, offset: int, locator: bytes) -> tuple[int, int, int, int]:
    """Offset of the zip64 end record, and the count, size and start that it gives."""
    _, disk, at, disks = _END64_LOCATOR.unpack(locator)
    record = _END64.unpack(reader.at(at, _END64.size))
    signature, length, _, _, here_disk, first, here, count, size, start = record
    if signature != b"PK\6\6" or length != _END64.size - 12 or at + _END64.size != offset:
        raise reader.refusal("the zip64 end record is not where its locator says")
    if disk or disks > 1 or here_disk or first or here != count:
        raise reader.refusal("a zip file of several disks")
    return at, count, size, start


def _entries(reader: _Reader, count: int, size: int, start: int) -> Iterator[_Entry]:
    directory, offset = reader.at(start, size), 0
    for _ in range(count):
        if offset + _CENTRAL.size > size:
            raise reader.refusal("the central directory has fewer members than the end record says")
        fields = _CENTRAL.unpack_from(directory, offset)
        signature, _, _, flags, method, _, _, _, packed, full, names, extras, comments = fields[:13]
        disk, _, attributes, header = fields[13:]
        following = offset + _CENTRAL.size + names + extras + comments
        if signature != b"PK\1\2" or following > size:
            raise reader.refusal("the central directory is broken")
        name = directory[offset + _CENTRAL.size :][:names]
        extra = directory[offset + _CENTRAL.size + names :][:extras]
        if comments:
            raise reader.refusal("a comment", name)
        if disk:
            raise reader.refusal("a member on another disk", name)
        _require_plain(reader, name, flags, method, attributes)
        full, packed, header = _widen(reader, name, extra, (full, packed, header))
        yield _Entry(name, flags, method, header, packed, full)
        offset = following
    if offset != size:
        raise reader.refusal("the central directory has more members than the end record says")


def _require_plain(reader: _Reader, name: bytes, flags: int, method: int, attributes: int) -> None:
    kind = stat.S_IFMT(attributes >> 16)
    folder = name.endswith(b"/")
    if flags & _ENCRYPTED:
        raise reader.refusal("encrypted", name)
    if method not in (STORED, DEFLATED):
        raise reader.refusal(f"compression method {method}; only stored and deflated are allowed", name)
    if kind == stat.S_IFLNK:
        raise reader.refusal("a symbolic link", name)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise reader.refusal("not a regular file", name)


def _widen(reader: _Reader, name: bytes, extra: bytes, narrow: tuple[int, ...]) -> list[int]:
    """32-bit fields with those that say "see the zip64 field" replaced, which must hold exactly these."""
    wanted = sum(value == _U32 for value in narrow)
    wide = iter(_zip64_values(reader, name, extra, wanted))
    return [next(wide) if value == _U32 else value for value in narrow]


def _zip64_values(reader: _Reader, name: bytes, extra: bytes, wanted: int) -> tuple[int, ...]:
    found: tuple[int, ...] = ()
    offset = 0
    while offset + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, offset)
        body = extra[offset + 4 :][:size]
        if len(body) != size:
            break
        if kind in _UNICODE_EXTRAS:
            raise reader.refusal("a second name in an extra field", name)
        if kind == _ZIP64_EXTRA:
            if found or size != 8 * wanted:
                raise reader.refusal("its zip64 field does not fit its header", name)
            found = struct.unpack(f"<{wanted}Q", body)
        offset += 4 + size
    if offset != len(extra):
        raise reader.refusal("its extra fields are broken", name)
    if len(found) != wanted:
        raise reader.refusal("its zip64 field is missing", name)
    return found


def _members(reader: _Reader, entries: list[_Entry], end: int) -> Iterator[Member]:
    """Check each local header and that members lie one after another, with nothing between."""
    expected = 0
    gaps: tuple[int, ...] = (0,)
    for entry in entries:
        _require_gap(reader, entry.header - expected, gaps, entry.name)
        start = _data_start(reader, entry)
        expected = start + entry.packed
        gaps = _DESCRIPTOR_SIZES if entry.flags & _DESCRIPTOR else (0,)
        name = entry.name.decode("ascii", "surrogateescape")
        yield Member(name, entry.method, start, entry.packed, entry.size)
    _require_gap(reader, end - expected, gaps, b"central directory")


def _require_gap(reader: _Reader, gap: int, allowed: tuple[int, ...], name: bytes) -> None:
    if gap < 0:
        raise reader.refusal("overlaps the member before it", name)
    if gap not in allowed:
        raise reader.refusal(f"{gap} bytes before it belong to no member", name)


def _data_start(reader: _Reader, entry: _Entry) -> int:
    header = _LOCAL.unpack(reader.at(entry.header, _LOCAL.size))
    signature, _, flags, method, _, _, _, packed, size, names, extras = header
    variable = reader.at(entry.header + _LOCAL.size, names + extras)
    if signature != b"PK\3\4" or variable[:names] != entry.name:
        raise reader.refusal("its own header has another name", entry.name)
    if flags != entry.flags or method != entry.method:
        raise reader.refusal("its own header disagrees with the central directory", entry.name)
    size, packed = _widen(reader, entry.name, variable[names:], (size, packed))
    later = bool(flags & _DESCRIPTOR) and (size, packed) == (0, 0)
    if (size, packed) != (entry.size, entry.packed) and not later:
        raise reader.refusal("its own header gives another size than the central directory", entry.name)
    if entry.method == STORED and entry.size != entry.packed:
        raise reader.refusal("stored, and yet of two sizes", entry.name)
    return entry.header + _LOCAL.size + names + extras
