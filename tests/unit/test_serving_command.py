"""``drl-api serve`` says at once what keeps it from serving."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drl.serving.command import app


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRL_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("DRL_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("DRL_API_STATE", str(tmp_path / "state"))


@pytest.mark.usefixtures("stores")
def test_a_trust_policy_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["serve", "pole", "--trust", str(tmp_path / "none.yaml")])
    assert done.exit_code == 1
    assert "none.yaml: there is no trust policy" in done.output
    assert "drl trust init" in done.output


@pytest.mark.usefixtures("stores")
def test_a_port_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "trust.yaml").write_text("format: drl.trust/1\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(
            app, ["serve", "pole", "--trust", str(tmp_path / "trust.yaml"), "--port", port]
        )
    assert done.exit_code == 1
    assert f"port {port} of 127.0.0.1 cannot be listened on" in done.output
