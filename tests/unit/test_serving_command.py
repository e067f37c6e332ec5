"""Starting drl-api where it cannot start: one clear error each, before anything is served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drl.serving.command import app


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "trust.yaml").write_text("format: drl.trust/1\n")
    for name, value in {
        "DRL_S3_ENDPOINT": "http://127.0.0.1:9",
        "DRL_MLFLOW_URI": "http://127.0.0.1:9",
        "DRL_API_POLICIES": "pole",
        "DRL_API_TRUST": str(tmp_path / "trust.yaml"),
        "DRL_API_STATE": str(tmp_path / "state"),
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def error_of(*arguments: str) -> str:
    """What ``drl-api serve`` says before it ends."""
    ran = CliRunner().invoke(app, ["serve", *arguments])
    assert ran.exit_code == 1, ran.output
    assert "what to do: " in ran.stderr
    assert "Traceback" not in ran.output
    return ran.stderr


def test_a_trust_policy_that_is_not_there(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = error_of("--trust", str(tmp_path / "none.yaml"))
    assert f"error: the trust policy {tmp_path}/none.yaml cannot be read: No such file" in said
    assert "drl trust init" in said


def test_a_state_folder_that_takes_no_files(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.setenv("DRL_API_STATE", str(tmp_path / "trust.yaml" / "state"))
    assert "takes no files: Not a directory" in error_of()


def test_a_port_that_is_taken(settings: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = error_of("--port", str(port))
    assert f"port {port} of 127.0.0.1 cannot be listened on: Address already in use\n" in said


def test_a_host_that_is_not_of_this_machine(settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.setenv("DRL_API_HOST", "192.0.2.1")
    settings.setenv("DRL_API_KEYS", str(tmp_path / "keys.yaml"))
    assert "port 8770 of 192.0.2.1 cannot be listened on" in error_of()
