"""Settings of drl-api: one error for each, from variables and from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drl.errors import InputError
from drl.serving.prove import serving_trust
from drl.serving.settings import ApiSettings
from drl.verification.trust import load_trust

GOOD = {"policies": "a,b", "trust": "/t.yaml", "mlflow": "http://localhost:5000", "state": "/s"}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(f"DRL_API_{name.upper()}", value)
    return monkeypatch


def test_variables_file_and_arguments_say_the_same(variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variables.setenv("DRL_API_BATCH_ROWS", "16")
    found = ApiSettings.from_environment(port=9)
    assert (found.policies, found.batch_rows, found.port) == (("a", "b"), 16, 9)
    path = tmp_path / "api.yaml"
    path.write_text(
        "policies: [a, b]\ntrust: /t.yaml\nmlflow: http://localhost:5000\nstate: /s\nbatch_rows: 16\n"
    )
    assert ApiSettings.from_file(path, port=9) == found


def test_the_registry_is_the_deployments_where_nothing_else_is_said(variables: pytest.MonkeyPatch) -> None:
    variables.delenv("DRL_API_MLFLOW")
    variables.setenv("DRL_MLFLOW_URI", "http://registry:5000")
    assert ApiSettings.from_environment().mlflow == "http://registry:5000"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("POLICIES", "", "DRL_API_POLICIES is not set"),
        ("POLICIES", "a,a", "named twice"),
        ("POLICIES", "a/b", "no name of a model"),
        ("TRUST", "", "DRL_API_TRUST is not set"),
        ("MLFLOW", "ftp://x", "not an address"),
        ("MLFLOW", "http://user:secret@x", "carries a user name"),
        ("PORT", "eighty", "DRL_API_PORT: 'eighty'"),
        ("PORT", "70000", "setting port"),
        ("BATCH_ROWS", "0", "setting batch_rows"),
        ("WATCH_SECONDS", "0", "setting watch_seconds"),
        ("PROVE_SECONDS", "nan", "setting prove_seconds"),
        ("DECISIONS", "http://x", "setting decisions"),
        ("HOST", "0.0.0.0", "setting keys"),
        ("COLOUR", "red", "DRL_API_COLOUR: no such setting"),
    ],
)
def test_one_clear_error_each(variables: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    variables.setenv(f"DRL_API_{name}", value)
    with pytest.raises(InputError, match=words) as caught:
        ApiSettings.from_environment()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "policies: [", "colour: red\n"])
def test_files_that_are_no_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"api\.yaml"):
        ApiSettings.from_file(path)


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    fields: dict[str, Any] = ApiSettings.__dataclass_fields__
    assert not [name for name in fields if f"`DRL_API_{name.upper()}`" not in text]


def test_the_pods_settings_are_settings_and_its_trust_policy_trusts_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(__file__).parents[2] / "deployment" / "k8s" / "base" / "api"
    for line in (folder / "settings.env").read_text().splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    assert ApiSettings.from_environment().host == "0.0.0.0"
    trust = serving_trust(load_trust(folder / "trust.yaml"))
    assert {key.id for key in trust.keys} == {"0" * 64}
