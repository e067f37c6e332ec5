"""Airflow's environment of a home: closed to others, free of another Airflow's settings."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from drl.errors import ConflictError, InputError
from drl.local.airflow_components import run_components
from drl.local.airflow_home import admin_login, airflow_environment, password_file
from drl.local.home import Home

REPOSITORY = Path(__file__).parents[2]
BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"


def environment(home: Path, **inherited: str) -> dict[str, str]:
    return airflow_environment(home, REPOSITORY, {}, inherited)


def test_settings_of_another_airflow_are_left_out(tmp_path: Path) -> None:
    made = environment(tmp_path, AIRFLOW__CORE__FERNET_KEY="theirs", AIRFLOW_HOME="/theirs", LANG="C")
    assert "theirs" not in " ".join(made.values())
    assert made["LANG"] == "C"


def test_keys_and_ports_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    assert environment(tmp_path) == environment(tmp_path)


def test_the_password_is_in_no_variable_and_its_file_is_closed(tmp_path: Path) -> None:
    made = environment(tmp_path)
    user, password = admin_login(tmp_path)
    assert password not in " ".join(made.values())
    assert json.loads(password_file(tmp_path).read_text()) == {user: password}
    assert [p for p in (tmp_path / "airflow").iterdir() if p.stat().st_mode & 0o077] == []


def test_further_folders_become_bundles(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    made = environment(tmp_path / "home", DRL_BUNDLES=str(tmp_path / "mine"))
    bundles = {b["name"]: b["kwargs"]["path"] for b in json.loads(made[BUNDLES])}
    assert bundles == {"drl": str(REPOSITORY), "mine": str(tmp_path / "mine")}


@pytest.mark.parametrize("name", ["missing", "drl"])
def test_a_wrong_bundle_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "drl").mkdir()
    with pytest.raises(InputError, match=name):
        environment(tmp_path / "home", DRL_BUNDLES=str(tmp_path / name))


def test_a_second_airflow_in_the_same_home_is_refused(tmp_path: Path) -> None:
    made = environment(tmp_path)
    with socket.create_server(("127.0.0.1", int(made["AIRFLOW__API__PORT"]))):
        with pytest.raises(ConflictError, match="is taken") as caught:
            run_components(made, Home.at(tmp_path), print, print)
        assert made["AIRFLOW__API__BASE_URL"] in caught.value.remedy
    assert not (tmp_path / "log").exists()
