"""A record from a stranger: what is honest is read, everything else is refused by file and reason."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drl.errors import Falsified, InputError
from drl.record import files as record_files
from drl.record import zip_format
from drl.record.files import open_record, sha256_of

RANDOM = os.urandom(300_000)
FILES = {
    "resolved.json": b"{}",
    f"sha256/{hashlib.sha256(RANDOM).hexdigest()}": RANDOM,
    "notes/rollback-1.dsse.json": b"[1,2]\n" * 40,
    "empty": b"",
}


class Unseekable(io.BytesIO):
    """Makes zipfile write sizes behind the data, as a pipe does."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError


def zipped(
    files: dict[str, bytes] = FILES,
    *,
    method: int = zipfile.ZIP_STORED,
    into: io.BytesIO | None = None,
    change: Callable[[zipfile.ZipInfo], object] = lambda _: None,
    force_zip64: bool = False,
) -> bytes:
    made = into or io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            change(info)
            with archive.open(info, "w", force_zip64=force_zip64) as member:
                member.write(data)
    return made.getvalue()


def read_all(path: Path) -> dict[str, bytes]:
    with open_record(path) as files:
        for name in files.names():
            with files.open(name) as stream:
                data = stream.read()
            assert len(data) == files.size(name)
            assert sha256_of(files, name) == hashlib.sha256(data).hexdigest()
        return {name: files.read(name) for name in files.names()}


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "a.record.zip"
    path.write_bytes(data)
    return path


def refused(path: Path, reason: str) -> None:
    with pytest.raises(Falsified, match=reason) as refusal:
        read_all(path)
    assert path.name in str(refusal.value)


# ---------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    "data",
    [
        zipped(),
        zipped(method=zipfile.ZIP_DEFLATED),
        zipped(into=Unseekable()),
        zipped(into=Unseekable(), method=zipfile.ZIP_DEFLATED),
        zipped(force_zip64=True),
        zipped({"notes/": b"", "sha256/": b"", **FILES}),
    ],
    ids=["stored", "deflated", "stream", "deflated stream", "zip64", "with folders"],
)
def test_every_honest_zip_is_read(tmp_path: Path, data: bytes) -> None:
    assert read_all(stored(tmp_path, data)) == FILES


def test_a_folder_is_read(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "nothing in it").mkdir()
    with pytest.raises(Falsified, match="something else than ASCII letters"):
        read_all(tmp_path)
    (tmp_path / "nothing in it").rmdir()
    assert read_all(tmp_path) == FILES


def test_names_are_sorted_and_sizes_known(tmp_path: Path) -> None:
    with open_record(stored(tmp_path, zipped())) as files:
        assert files.names() == sorted(FILES)
        assert {name: files.size(name) for name in files.names()} == {n: len(d) for n, d in FILES.items()}


def test_a_file_may_be_read_in_lines_and_two_at_once(tmp_path: Path) -> None:
    with (
        open_record(stored(tmp_path, zipped(method=zipfile.ZIP_DEFLATED))) as files,
        files.open("notes/rollback-1.dsse.json") as one,
        files.open("notes/rollback-1.dsse.json") as other,
    ):
        assert next(iter(one)) == next(iter(other)) == b"[1,2]\n"
        assert len(list(one)) == 39


def test_an_archive_inside_is_a_file_like_any_other(tmp_path: Path) -> None:
    inner = zipped({"../../evil": b"x"})
    assert read_all(stored(tmp_path, zipped({"inner.zip": inner}))) == {"inner.zip": inner}


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_what_is_missing_or_too_large_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "big").write_bytes(bytes(1001))
    path = tmp_path / "f" if kind == "folder" else stored(tmp_path, zipped({"big": bytes(1001)}))
    with open_record(path) as files:
        assert len(files.read("big", limit=1001)) == 1001
        with pytest.raises(Falsified, match=r"'big': 1001 bytes; at most 1000 are read"):
            files.read("big", limit=1000)
        for ask in (files.size, files.read, files.open):
            with pytest.raises(Falsified, match="'other': not in the record"):
                ask("other").__enter__()  # type: ignore[operator]


def test_no_path_and_no_file_are_told_apart_from_falsehood(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.zip", Path("/dev/null")):
        with pytest.raises(InputError), open_record(path):
            pass


# ----------------------------------------------------------------------------------------------------- names

NAMES = {
    "../evil": "leads out of the record",
    "sha256/../../evil": "leads out of the record",
    "./a": "leads out of the record",
    "/etc/passwd": "an absolute name",
    "C:/evil": "an absolute name",
    "..\\evil": "a backslash",
    "a//b": "something else than ASCII",
    ".hidden": "something else than ASCII",
    "a b": "something else than ASCII",
    "a\nb": "something else than ASCII",
    "größe": "something else than ASCII",
    "gro\u0308ße": "something else than ASCII",
    "a" * 256: "more than 255 characters",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_name_is_refused_in_a_zip(tmp_path: Path, name: str) -> None:
    refused(stored(tmp_path, zipped({"good": b"", name: b"x"})), NAMES[name])


@pytest.mark.parametrize("name", [n for n in NAMES if "/" not in n and len(n) < 256])
def test_a_bad_name_is_refused_in_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    refused(tmp_path, NAMES[name])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    refused(stored(tmp_path, zipped({"abc": b"x"}).replace(b"abc", b"a\xffc")), "something else than ASCII")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / os.fsdecode(b"a\xff")).write_bytes(b"x")
    refused(folder, "something else than ASCII")


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    refused(stored(tmp_path, zipped({"abc": b"x"}).replace(b"abc", b"a\0c")), "something else than ASCII")


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    data = zipped({"one": b"x", "two": b"y"}).replace(b"two", b"one")
    refused(stored(tmp_path, data), "'one': there twice")


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    refused(stored(tmp_path, zipped({"Note": b"x", "note": b"y"})), "cannot be told from 'Note'")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "Note").touch()
    (folder / "note").touch()
    refused(folder, "cannot be told from")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a", "A/b"), ("a", "a/")])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    refused(
        stored(tmp_path, zipped(dict.fromkeys(names, b""))), "a file, and the folder of|a file and a folder"
    )


def test_a_second_name_in_an_extra_field_is_refused(tmp_path: Path) -> None:
    def rename(info: zipfile.ZipInfo) -> None:
        info.extra = struct.pack("<2HBL", 0x7075, 9, 1, 0) + b"evil"

    refused(stored(tmp_path, zipped({"good": b"x"}, change=rename)), "a second name")


# ----------------------------------------------------------------------------------------- what a zip may be


def kind(mode: int) -> Callable[[zipfile.ZipInfo], object]:
    return lambda info: setattr(info, "external_attr", mode << 16)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "a symbolic link"),
        (stat.S_IFIFO, "not a regular file"),
        (stat.S_IFCHR, "not a regular file"),
        (stat.S_IFDIR | 0o755, "not a regular file"),
    ],
)
def test_only_regular_files_are_read(tmp_path: Path, mode: int, reason: str) -> None:
    refused(stored(tmp_path, zipped({"link": b"/etc/passwd"}, change=kind(mode))), f"'link': {reason}")


def test_a_folder_with_bytes_is_refused(tmp_path: Path) -> None:
    refused(stored(tmp_path, zipped({"a/": b"hidden"})), "'a/': a folder with bytes of its own")


def both_headers(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """Set a field of the first member in its own header and in the central directory."""
    made = bytearray(data)
    start = data.index(b"PK\1\2")
    made[local : local + len(value)] = value
    made[start + central : start + central + len(value)] = value
    return bytes(made)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    refused(stored(tmp_path, both_headers(zipped(), 6, 8, b"\1\0")), "'resolved.json': encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    refused(stored(tmp_path, zipped(method=method)), f"compression method {method}")


END = struct.Struct("<4s4H2LH")


def with_end(data: bytes, **changes: int) -> bytes:
    fields = dict(
        zip(
            ("signature", "disk", "first", "here", "count", "size", "start", "comment"),
            END.unpack(data[-22:]),
            strict=True,
        )
    )
    return data[:-22] + END.pack(*(fields | changes).values())


def local_field(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def overlapping() -> bytes:
    """Two entries of the central directory that both point to the first member."""
    data = bytearray(zipped({"one": b"x" * 9, "two": b"y" * 9}))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = bytes(4)
    return bytes(data)


def with_member_comment() -> bytes:
    """A comment of four bytes behind the last entry of the central directory."""
    data = bytearray(zipped())
    entry = data.rindex(b"PK\1\2")
    data[entry + 32 : entry + 34] = struct.pack("<H", 4)
    end = bytes(data[-22:])
    (size,) = struct.unpack("<L", end[12:16])
    return bytes(data[:-22]) + b"evil" + end[:12] + struct.pack("<L", size + 4) + end[16:]


PLAIN = zipped()
BROKEN = {
    "empty": (b"", "not a zip file"),
    "no zip": (b"x" * 1000, "not a zip file"),
    "cut": (PLAIN[:-1], "not a zip file"),
    "begun elsewhere": (b"#!/bin/sh\n" + PLAIN, "does not end where the end record begins"),
    "comment": (zipped()[:-2] + b"\4\0evil", "not a zip file"),
    "comment of a member": (with_member_comment(), "a comment"),
    "two ends": (PLAIN + PLAIN[-22:], "does not end where the end record begins"),
    "two disks": (with_end(PLAIN, disk=1), "several disks"),
    "fewer members": (with_end(PLAIN, here=5, count=5), "fewer members than the end record says"),
    "more members": (with_end(PLAIN, here=3, count=3), "more members than the end record says"),
    "outside": (with_end(PLAIN, size=2**31, start=2**31), "does not end where"),
    "another name inside": (local_field(PLAIN, 30, b"approved.json"), "its own header has another name"),
    "another method inside": (local_field(PLAIN, 8, b"\x08\0"), "disagrees with the central directory"),
    "another size inside": (local_field(PLAIN, 18, b"\1\0\0\0"), "another size than the central"),
    "overlapping": (overlapping(), "its own header has another name|overlaps the member"),
    "two sizes": (both_headers(PLAIN, 22, 24, b"\xff\xff\xff\0"), "stored, and yet of two sizes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_zip_that_can_be_read_two_ways_is_refused(tmp_path: Path, name: str) -> None:
    data, reason = BROKEN[name]
    refused(stored(tmp_path, data), reason)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Fifield's better zip bomb: each member's data reaches over the members behind it."""
    inner = zipped({"b": b"y" * 50})
    length = inner.index(b"PK\1\2")
    outer = bytearray(zipped({"a": inner[:length]}))
    directory = outer.index(b"PK\1\2")
    header = 30 + 1
    entry = bytearray(outer[directory:-22])
    entry[46:47] = b"b"
    entry[20:28] = struct.pack("<2L", 50, 50)
    entry[16:20] = inner[14:18]
    entry[42:46] = struct.pack("<L", header)
    outer = outer[:-22] + entry + outer[-22:]
    data = with_end(bytes(outer), here=2, count=2, size=2 * len(entry))
    refused(stored(tmp_path, data), "'b': overlaps the member before it")


def test_bytes_between_members_are_refused(tmp_path: Path) -> None:
    data = zipped({"one": b"x", "two": b"y"})
    second = data.index(b"PK\3\4", 4)
    made = bytearray(data[:second] + b"hidden" + data[second:])
    entry = made.index(b"PK\1\2", made.index(b"PK\1\2") + 1)
    made[entry + 42 : entry + 46] = struct.pack("<L", second + 6)
    start = END.unpack(data[-22:])[6]
    refused(stored(tmp_path, with_end(bytes(made), start=start + 6)), "6 bytes before it belong to no member")


# ----------------------------------------------------------------------------------------------------- zip64


def with_zip64_end(data: bytes, *, count: int = 4, at: int | None = None) -> bytes:
    _, _, _, _, _, size, start, _ = END.unpack(data[-22:])
    end = len(data) - 22
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end if at is None else at, 1)
    return data[:end] + record + locator + data[end:]


def test_a_zip64_end_that_agrees_is_read(tmp_path: Path) -> None:
    assert read_all(stored(tmp_path, with_zip64_end(PLAIN))) == FILES
    assert read_all(stored(tmp_path, with_end(with_zip64_end(PLAIN), count=0xFFFF, here=0xFFFF))) == FILES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_zip64_end(PLAIN, count=3), "the zip64 end record and the end record disagree"),
        (with_zip64_end(PLAIN, at=0), "not where its locator says"),
        (with_zip64_end(PLAIN, at=2**62), "points outside the file"),
        (
            with_end(with_zip64_end(PLAIN, count=2**60), count=0xFFFF, here=0xFFFF),
            f"members in .* {zip_format.MOST_MEMBERS} are allowed",
        ),
    ],
)
def test_zip64_ends_that_lie_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    refused(stored(tmp_path, data), reason)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (struct.pack("<2H", 1, 0), "zip64 field does not fit|disagree|zip64 field is missing"),
        (struct.pack("<2H2Q", 1, 16, 2**40, 2**40), "does not fit its header"),
        (struct.pack("<2HQ", 1, 200, 0), "extra fields are broken"),
        (b"\1", "extra fields are broken"),
    ],
)
def test_zip64_fields_that_lie_are_refused(tmp_path: Path, extra: bytes, reason: str) -> None:
    wide = zipped({"a": b"x"}, change=lambda info: setattr(info, "extra", extra))
    if extra == struct.pack("<2H", 1, 0):
        wide = both_headers(wide, 22, 24, b"\xff\xff\xff\xff")
    refused(stored(tmp_path, wide), reason)


# ----------------------------------------------------------------------------------------------------- bombs


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    data = zipped({"bomb": bytes(50 << 20)}, method=zipfile.ZIP_DEFLATED)
    assert len(data) < 60_000
    refused(stored(tmp_path, data), "'bomb': unpacks to more than 200 times its bytes")


def test_what_unpacks_to_more_than_it_says_is_cut_off(tmp_path: Path) -> None:
    text = b"some text " * 100_000
    honest = zipped({"text": text}, method=zipfile.ZIP_DEFLATED)
    lying = both_headers(honest, 22, 24, struct.pack("<L", 10_000))
    with open_record(stored(tmp_path, lying)) as files, files.open("text") as stream:
        assert files.size("text") == 10_000
        assert len(stream.read(9_000)) == 9_000
        with pytest.raises(Falsified, match="'text': unpacks to more bytes than its header says"):
            stream.read()


def test_what_unpacks_to_less_than_it_says_is_refused(tmp_path: Path) -> None:
    honest = zipped({"text": b"some text " * 1000}, method=zipfile.ZIP_DEFLATED)
    lying = both_headers(honest, 22, 24, struct.pack("<L", 20_000))
    refused(stored(tmp_path, lying), "'text': unpacks to fewer bytes than its header says")


def test_broken_compression_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"text": os.urandom(1000)}, method=zipfile.ZIP_DEFLATED))
    data[34 : 34 + 20] = b"\xff" * 20
    refused(stored(tmp_path, bytes(data)), "'text': broken compression")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (zip_format, record_files):
        monkeypatch.setattr(module, "MOST_MEMBERS", 3)
    refused(stored(tmp_path, zipped()), "4 members in .* 3 are allowed")
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(4):
        (folder / f"f{number}").touch()
    refused(folder, "more than 3 files")


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "MOST_BYTES", 1000)
    refused(stored(tmp_path, zipped()), "bytes in all; at most 1000 are read")


def test_a_giant_directory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_format, "_MOST_DIRECTORY", 100)
    refused(stored(tmp_path, zipped()), "bytes of directory")


# --------------------------------------------------------------------------------------------------- folders


def test_links_and_devices_in_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name, make in {
        "file-link": lambda path: path.symlink_to("/etc/passwd"),
        "folder-link": lambda path: path.symlink_to(tmp_path / "outside"),
        "dangling-link": lambda path: path.symlink_to("nowhere"),
        "fifo": os.mkfifo,
        "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    }.items():
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        make(folder / name)
        refused(folder, f"'{name}': (a symbolic link|not a regular file)")


def test_a_file_that_changes_behind_our_back_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    (folder / "sha256").mkdir(parents=True)
    (folder / "sha256" / "a").write_bytes(b"long enough")
    (folder / "b").write_bytes(b"b")
    with open_record(folder) as files:
        (folder / "b").write_bytes(b"bb")
        with pytest.raises(Falsified, match="'b': changed while"):
            files.read("b")
        (folder / "b").unlink()
        (folder / "b").symlink_to("/etc/passwd")
        with pytest.raises(Falsified, match="'b': cannot be read"):
            files.read("b")
        (folder / "sha256").rename(tmp_path / "moved")
        (folder / "sha256").symlink_to(tmp_path / "moved")
        with pytest.raises(Falsified, match="'sha256/a': cannot be read"):
            files.read("sha256/a")


def test_a_zip_that_is_cut_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, zipped())
    with open_record(path) as files:
        os.truncate(path, 1000)
        with pytest.raises(Falsified, match="the file ends early"):
            sha256_of(files, next(n for n in files.names() if n.startswith("sha256/")))


# ------------------------------------------------------------------------------------------------- any bytes

SMALL = {"a.json": b"{}" * 20, "sha256/b": bytes(range(200)), "empty": b""}


@settings(max_examples=400, deadline=None)
@given(
    original=st.sampled_from(
        [zipped(SMALL), zipped(SMALL, method=zipfile.ZIP_DEFLATED), zipped(SMALL, into=Unseekable())]
    ),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 10**6),
)
def test_whatever_the_bytes_are_nothing_else_happens(
    original: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(original[: len(original) - (cut % len(original)) * (cut % 2)])
    for place, value in changes:
        if data:
            data[place % len(data)] = value
    descriptor = os.memfd_create("zip")
    try:
        os.write(descriptor, data)
        files = record_files.ZipFiles(descriptor, where="a.zip")
        for name in files.names():
            with files.open(name) as stream:
                assert len(stream.read()) == files.size(name)
    except Falsified:
        pass
    finally:
        os.close(descriptor)
