"""API keys and rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from drl.errors import InputError
from drl.serving.access import KeyRing, Rates, digest_of, new_key
from drl.serving.command import app


def ring(path: Path, *entries: object) -> KeyRing:
    path.write_text(yaml.safe_dump({"keys": list(entries)}))
    return KeyRing.load(path)


def entry(name: str = "trading", **changes: object) -> dict[str, object]:
    return {"name": name, "roles": ["act"], "sha256": digest_of(name)} | changes


def test_a_drawn_key_is_found_by_what_its_file_has(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["key", "trading", "--role", "act", "--role", "read"])
    assert shown.exit_code == 0, shown.output
    drawn = shown.stderr.split()[-1]
    path = tmp_path / "keys.yaml"
    path.write_text(shown.stdout)
    assert drawn not in shown.stdout
    found = KeyRing.load(path).find(drawn)
    assert found is not None
    assert (found.name, found.roles) == ("trading", {"act", "read"})
    assert KeyRing.load(path).find(new_key()) is None
    assert KeyRing.load(path).find("") is None


def test_keys_are_long_and_never_the_same() -> None:
    drawn = {new_key() for _ in range(100)}
    assert len(drawn) == 100
    assert min(map(len, drawn)) >= 47


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([entry(roles=["admin"])], "roles"),
        ([entry(roles=[])], "roles"),
        ([entry(sha256="ab")], "sha256"),
        ([entry(name="a b")], "name"),
        ([entry(more=1)], "wants name, roles and sha256"),
        ([entry(), entry()], "twice"),
        ([], "no list"),
    ],
)
def test_key_files_that_are_refused(tmp_path: Path, wrong: list[object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ring(tmp_path / "keys.yaml", *wrong)


def test_an_unknown_role_is_refused_before_a_key_is_shown() -> None:
    shown = CliRunner().invoke(app, ["key", "trading", "--role", "admin"])
    assert shown.exit_code == 1
    assert "drl_" not in shown.output


def test_rates_let_bursts_through_and_then_one_at_a_time() -> None:
    now = [0.0]
    rates = Rates(2.0, clock=lambda: now[0])
    assert [rates.wait("a") for _ in range(4)] == [0.0] * 4
    assert rates.wait("a") == pytest.approx(0.5)
    assert rates.wait("b") == 0.0
    now[0] = 0.5
    assert rates.wait("a") == 0.0
    assert rates.wait("a") > 0


def test_no_rate_is_no_limit_and_strangers_cannot_fill_the_memory() -> None:
    free = Rates(0.0)
    assert not any(free.wait("a") for _ in range(1000))
    rates = Rates(1.0)
    for number in range(20_000):
        rates.wait(str(number))
    assert len(rates._buckets) <= 10_000
