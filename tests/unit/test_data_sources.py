"""Sources by digest: the right bytes or a clear refusal, and nothing kept of the wrong ones."""

import shutil
import zipfile

import pytest

from drl.data.cache import DigestCache
from drl.data.sources import describe, fetch, resolve_latest
from drl.data.web import without_secrets
from drl.data.wheel import extract_member
from drl.digest import sha256_bytes, sha256_file
from drl.errors import DataError, InputError
from drl.spec import FileSource, HttpsSource, S3Source, WheelSource

DATA = b"t,p\n1,2\n"
RIGHT, WRONG = sha256_bytes(DATA), "0" * 64


class FolderStore:
    """A source store whose buckets are folders of this machine."""

    def __init__(self, root):
        self.root = root
        self.downloads = 0

    def list(self, prefix):
        below = self.root / prefix.removeprefix("s3://")
        return sorted(f"s3://{p.relative_to(self.root).as_posix()}" for p in below.rglob("*") if p.is_file())

    def download(self, uri, path):
        self.downloads += 1
        shutil.copyfile(self.root / uri.removeprefix("s3://"), path)


@pytest.fixture
def cache(tmp_path):
    return DigestCache(tmp_path / "cache")


@pytest.fixture
def into(tmp_path):
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def file_source(path="data.csv", sha256=RIGHT):
    return FileSource(kind="file", path=path, sha256=sha256)


def test_a_file_relative_to_the_pipeline(tmp_path, into):
    (tmp_path / "data.csv").write_bytes(DATA)
    fetched = fetch(file_source(), into, base=tmp_path, s3=None)
    assert fetched.path.read_bytes() == DATA
    assert fetched.path.parent == into
    assert (fetched.sha256, fetched.description) == (RIGHT, "data.csv")


def test_other_bytes_are_refused_and_not_kept(tmp_path, into):
    (tmp_path / "data.csv").write_bytes(DATA)
    with pytest.raises(DataError, match=f"expected sha256 {WRONG}, seen {RIGHT}"):
        fetch(file_source(sha256=WRONG), into, base=tmp_path, s3=None)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize(("path", "message"), [("gone.csv", "no such file"), (".", "a folder")])
def test_a_vanished_file_is_named(tmp_path, into, path, message):
    with pytest.raises(DataError, match=f"{tmp_path}.*{message}"):
        fetch(file_source(path), into, base=tmp_path, s3=None)


def test_latest_of_a_folder_is_the_name_that_sorts_last(tmp_path, into):
    folder = tmp_path / "incoming"
    folder.mkdir()
    with pytest.raises(DataError, match="a folder without files"):
        resolve_latest(file_source("incoming", "latest"), base=tmp_path, s3=None)
    (folder / "2024-02.csv").write_bytes(DATA)
    (folder / "2024-01.csv").write_bytes(b"older, though written later")
    (folder / ".2024-03.csv.part").write_bytes(b"an upload that is not finished")
    (folder / "2024-09").mkdir()
    exact = resolve_latest(file_source("incoming", "latest"), base=tmp_path, s3=None)
    assert exact == file_source("incoming/2024-02.csv", RIGHT)
    assert fetch(exact, into, base=tmp_path, s3=None).path.read_bytes() == DATA
    assert resolve_latest(exact, base=tmp_path, s3=None) is exact


def test_latest_names_no_bytes_and_cannot_be_fetched(tmp_path, into):
    with pytest.raises(InputError, match="sha256 is `latest`"):
        fetch(file_source(sha256="latest"), into, base=tmp_path, s3=None)


def test_s3_latest_below_a_prefix_and_one_download_for_both(tmp_path, into, cache):
    store = FolderStore(tmp_path / "buckets")
    folder = tmp_path / "buckets" / "prices" / "nl"
    folder.mkdir(parents=True)
    source = S3Source(kind="s3", uri="s3://prices/nl/", sha256="latest")
    with pytest.raises(DataError, match="s3://prices/nl/: no object below"):
        resolve_latest(source, base=tmp_path, s3=store, cache=cache)
    (folder / "2023.csv").write_bytes(b"older")
    (folder / "2024.csv").write_bytes(DATA)
    exact = resolve_latest(source, base=tmp_path, s3=store, cache=cache)
    assert exact == S3Source(kind="s3", uri="s3://prices/nl/2024.csv", sha256=RIGHT)
    assert fetch(exact, into, base=tmp_path, s3=store, cache=cache).path.read_bytes() == DATA
    assert store.downloads == 1


def test_s3_with_another_digest_is_refused_and_not_cached(tmp_path, into, cache):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.csv").write_bytes(DATA)
    source = S3Source(kind="s3", uri="s3://bucket/a.csv", sha256=WRONG)
    with pytest.raises(DataError, match=f"s3://bucket/a.csv: expected sha256 {WRONG}, seen {RIGHT}"):
        fetch(source, into, base=tmp_path, s3=FolderStore(tmp_path), cache=cache)
    assert list(into.iterdir()) == []
    assert not cache.folder.exists()


def test_s3_without_a_store_says_what_to_start(tmp_path, into, cache):
    source = S3Source(kind="s3", uri="s3://bucket/a.csv", sha256=RIGHT)
    with pytest.raises(InputError, match="no artifact store"):
        fetch(source, into, base=tmp_path, s3=None, cache=cache)


def test_a_damaged_cache_entry_is_fetched_again(tmp_path, into, cache):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.csv").write_bytes(DATA)
    store, source = FolderStore(tmp_path), S3Source(kind="s3", uri="s3://bucket/a.csv", sha256=RIGHT)
    for expected_downloads in (1, 1):
        fetch(source, into, base=tmp_path, s3=store, cache=cache)
        assert store.downloads == expected_downloads
    (cache.folder / RIGHT).write_bytes(b"damaged")
    assert fetch(source, into, base=tmp_path, s3=store, cache=cache).path.read_bytes() == DATA
    assert store.downloads == 2
    assert [p.name for p in cache.folder.iterdir()] == [RIGHT]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"DRL_CACHE": "/c", "DRL_HOME": "/h"}, "/c/sources"),
        ({"DRL_HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/cache/sources"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/drl/sources"),
        ({"HOME": "/u"}, "/u/.cache/drl/sources"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, folder):
    for name in ("DRL_CACHE", "DRL_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(DigestCache().folder) == folder


# ------------------------------------------------------------------------------------------- wheel


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("thing/__init__.py", "raise RuntimeError('imported')\n")
        archive.writestr("thing/data/prices.csv", DATA * 1000)
        archive.writestr("../../outside.csv", DATA)
        archive.writestr("thing/folder/", "")
    return path


def wheel_source(path, member="thing/data/prices.csv"):
    return WheelSource(kind="wheel", package="thing", version="1.0", sha256=sha256_file(path), member=member)


def test_one_member_comes_out_of_a_cached_wheel_without_network(wheel, into, cache, monkeypatch):
    cache.keep(wheel, sha256_file(wheel))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    fetched = fetch(wheel_source(wheel), into, base=into, s3=None, cache=cache)
    assert fetched.path == into / "prices.csv"
    assert fetched.path.read_bytes() == DATA * 1000
    assert [p.name for p in into.iterdir()] == ["prices.csv"]
    assert fetched.description == "thing/data/prices.csv in the wheel thing==1.0"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("thing/prices.csv", r"not in wheel thing==1.0, which has \['thing/data/prices.csv'"),
        ("thing/folder/", "a folder"),
    ],
)
def test_a_missing_member_is_answered_with_those_alike(wheel, into, member, message):
    with pytest.raises(DataError, match=message):
        extract_member(wheel, wheel_source(wheel, member), into)


def test_a_member_never_leaves_the_folder(wheel, into):
    path = extract_member(wheel, wheel_source(wheel, "../../outside.csv"), into)
    assert path == into / "outside.csv"
    assert not (into.parent.parent / "outside.csv").exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_corrupt_wheel_is_refused_and_nothing_is_left(wheel, into, damage):
    source, data = wheel_source(wheel), bytearray(wheel.read_bytes())
    start = data.index(b"thing/data/prices.csv") + len("thing/data/prices.csv")
    damaged = {
        "cut": data[:-30],
        "flip": data[:start] + b"\xff" * 20 + data[start + 20 :],
        "text": b"no zip",
    }[damage]
    wheel.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match="not a readable wheel"):
        extract_member(wheel, source, into)
    assert list(into.iterdir()) == []


def test_addresses_are_shown_without_credentials():
    url = "https://user:secret@example.org:8443/a/b.csv?token=secret#secret"
    assert without_secrets(url) == "https://example.org:8443/a/b.csv"
    assert describe(HttpsSource(kind="https", url=url, sha256=WRONG)) == "https://example.org:8443/a/b.csv"
