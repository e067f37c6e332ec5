"""Settings: read from the environment, and silent about secrets."""

from __future__ import annotations

import pytest

from drl.errors import InputError
from drl.stores.settings import GraphSettings, RegistrySettings, S3Settings

ENVIRONMENT = {
    "DRL_S3_ENDPOINT": "http://127.0.0.1:9000",
    "DRL_S3_ACCESS_KEY": "operator",
    "DRL_S3_SECRET_KEY": "s3-secret",
    "DRL_BOLT_URI": "bolt://127.0.0.1:7687",
    "DRL_BOLT_USER": "neo4j",
    "DRL_BOLT_PASSWORD": "bolt-secret",
    "DRL_MLFLOW_URI": "http://127.0.0.1:5000",
}
OPTIONAL = ("DRL_S3_REGION", "DRL_S3_STAGING", "DRL_S3_SEALED", "DRL_BOLT_DATABASE")
KINDS = (S3Settings, GraphSettings, RegistrySettings)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in OPTIONAL:
        monkeypatch.delenv(name, raising=False)


def test_read_with_defaults() -> None:
    s3 = S3Settings.from_environment()
    assert (s3.endpoint, s3.access_key, s3.secret_key) == ("http://127.0.0.1:9000", "operator", "s3-secret")
    assert (s3.region, s3.staging, s3.sealed) == ("us-east-1", "staging", "sealed")
    assert GraphSettings.from_environment().database == "neo4j"
    assert RegistrySettings.from_environment().uri == "http://127.0.0.1:5000"


def test_optional_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPTIONAL:
        monkeypatch.setenv(name, name.lower())
    s3 = S3Settings.from_environment()
    assert (s3.region, s3.staging, s3.sealed) == ("drl_s3_region", "drl_s3_staging", "drl_s3_sealed")
    assert GraphSettings.from_environment().database == "drl_bolt_database"


@pytest.mark.parametrize("name", ENVIRONMENT)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=name):
        [kind.from_environment() for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_in_repr(kind: type[S3Settings | GraphSettings | RegistrySettings]) -> None:
    assert "secret" not in repr(kind.from_environment())


@pytest.mark.parametrize("name", ["DRL_S3_ENDPOINT", "DRL_BOLT_URI", "DRL_MLFLOW_URI"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{scheme}://user:hunter2@host:1", "carries a user name or a password"),
        ("ftp://hunter2", "not an address"),
        ("hunter2:9000", "not an address"),
    ],
)
def test_addresses_are_checked_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value.format(scheme="bolt" if "BOLT" in name else "http"))
    with pytest.raises(InputError, match=message) as error:
        [kind.from_environment() for kind in KINDS]
    assert "hunter2" not in str(error.value)
