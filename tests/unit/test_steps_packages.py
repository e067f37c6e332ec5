"""What a run records of its packages: differences from what is meant to be there, and no others."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from drl.digest import sha256_file
from drl.steps.packages import needed, packages_against_lock

HEAVY = {"torch", "ray"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """One package as locked, one in another version, two that are missing."""
    path = tmp_path / "requirements.lock"
    path.write_text(f"numpy=={metadata.version('numpy')}\nrich==0.0.1\nNot_There==2\nneither==3\n")
    return path


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an image made of the extra ``some``, whose packages are numpy and ``not-there``."""
    described = tmp_path / "site" / "drl_pipelines-0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: drl-pipelines\nVersion: 0\nRequires-Dist: numpy\n"
        'Requires-Dist: not-there; extra == "some"\nRequires-Dist: neither; extra == "other"\n'
    )
    monkeypatch.syspath_prepend(str(described.parent))
    (tmp_path / "drl-extras").write_text("some\n")
    return tmp_path / "drl-extras"


def test_without_an_image_the_whole_lock_is_meant_to_be_here(lock: Path, tmp_path: Path) -> None:
    assert packages_against_lock(lock, tmp_path / "none") == {
        "lock_sha256": sha256_file(lock),
        "extras": None,
        "differences": {
            "rich": ["0.0.1", metadata.version("rich")],
            "Not_There": ["2", "absent"],
            "neither": ["3", "absent"],
        },
    }


def test_in_an_image_only_what_its_extras_need_can_be_missing(lock: Path, image: Path) -> None:
    assert packages_against_lock(lock, image) == {
        "lock_sha256": sha256_file(lock),
        "extras": ["some"],
        "differences": {"rich": ["0.0.1", metadata.version("rich")], "Not_There": ["2", "absent"]},
    }


def test_without_a_lock_nothing_is_said(tmp_path: Path) -> None:
    found = packages_against_lock(tmp_path / "none.lock", tmp_path / "none")
    assert found == {"lock_sha256": None, "extras": None, "differences": {}}


def test_what_the_images_are_made_of() -> None:
    assert needed(["airflow"]) & {*HEAVY, "apache-airflow", "numpy"} == {"apache-airflow", "numpy"}
    assert needed(["executor"]) & {*HEAVY, "apache-airflow", "numpy"} == {*HEAVY, "numpy"}
