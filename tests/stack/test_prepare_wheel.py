"""Wheels by the real pip, from a folder that serves as its index: the right one, or a reason."""

import os
import shutil
import zipfile

import pytest

from drl.data.cache import DigestCache
from drl.data.sources import fetch
from drl.digest import sha256_file
from drl.errors import DataError, StoreError
from drl.spec import WheelSource

DATA = "t,p\n1,2\n"
METADATA = """\
Metadata-Version: 2.1
Name: thing
Version: {}
Requires-Dist: no-such-dependency
Requires-Python: >=99
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build(folder, version):
    path = folder / f"thing-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", "raise RuntimeError('imported')\n")
        archive.writestr("thing/prices.csv", DATA)
        archive.writestr(f"thing-{version}.dist-info/METADATA", METADATA.format(version))
        archive.writestr(f"thing-{version}.dist-info/WHEEL", WHEEL)
        archive.writestr(f"thing-{version}.dist-info/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    build(folder, "1.0")
    build(folder, "2.0")
    return folder


def get(tmp_path, sha256, version="1.0"):
    source = WheelSource(
        kind="wheel", package="thing", version=version, sha256=sha256, member="thing/prices.csv"
    )
    return fetch(source, tmp_path / "into", base=tmp_path, s3=None, cache=DigestCache(tmp_path / "cache"))


def test_a_member_by_digest_and_again_when_the_index_is_gone(index, tmp_path):
    digest = sha256_file(index / "thing-1.0-py3-none-any.whl")
    assert get(tmp_path, digest).path.read_text() == DATA
    shutil.rmtree(index)
    assert get(tmp_path, digest).path.read_text() == DATA


def test_a_wheel_with_another_digest_is_refused_and_not_kept(index, tmp_path):
    wanted, seen = "0" * 64, sha256_file(index / "thing-1.0-py3-none-any.whl")
    with pytest.raises(DataError, match=f"expected a wheel with sha256 {wanted}, the index has {seen}"):
        get(tmp_path, wanted)
    assert not (tmp_path / "cache").exists()


def test_a_missing_version_is_answered_with_those_there(index, tmp_path):
    with pytest.raises(DataError, match=r"wheel thing==3\.0: the index has no such version, only 1\.0, 2\.0"):
        get(tmp_path, "0" * 64, version="3.0")


def test_an_index_out_of_reach_is_no_verdict_about_the_data(tmp_path, index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:s3cret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(StoreError, match=r"wheel thing==1\.0: pip could not download it") as caught:
        get(tmp_path, "0" * 64)
    assert "s3cret" not in str(caught.value)
