"""Other people's tools read a record: envelopes, SLSA provenance, the OpenSSF model signature."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from record_factory import build_record, write_prices

from drl.digest import canonical_json
from drl.record.dsse import read_unverified

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / ".venv" / "other-tools" / "bin" / "python"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return build_record(tmp_path / "record", prices=write_prices(tmp_path / "prices.csv"))


def read(record: Path) -> subprocess.CompletedProcess[str]:
    assert PYTHON.exists(), f"{PYTHON} is missing; run: make .venv/other-tools/.installed"
    return subprocess.run(
        [PYTHON, HERE / "read_record.py", record], capture_output=True, text=True, timeout=120, check=False
    )


def test_every_envelope_every_provenance_and_the_model_are_read(record: Path) -> None:
    done = read(record)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["envelopes"] == sorted(path.name for path in record.glob("*.dsse.json"))
    steps = ("evaluate", "prepare", "train")
    assert said["builders"] == {f"{step}.dsse.json": "urn:drl:builder:subprocess:v1" for step in steps}
    assert said["model"] == ["policy.json", "policy.onnx", "policy.safetensors"]


def test_other_weights_are_refused(record: Path) -> None:
    listed = read_unverified((record / "release.dsse.json").read_bytes())["predicate"]["policy"]["resources"]
    digest = next(r["digest"]["sha256"] for r in listed if r["name"] == "policy.safetensors")
    weights = record / "sha256" / digest
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = read(record)
    assert done.returncode == 1
    assert "the policy's files are not those of the model's signature" in done.stderr


def test_a_signature_of_another_statement_is_refused(record: Path) -> None:
    model, release = (json.loads((record / f"{n}.dsse.json").read_bytes()) for n in ("model", "release"))
    forged = canonical_json(model | {"signatures": release["signatures"]})
    (record / "model.dsse.json").write_bytes(forged)
    done = read(record)
    assert done.returncode == 1
    assert "VerificationError" in done.stderr
