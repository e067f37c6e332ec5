"""The paused Terraform baseline, without AWS and without a provider."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from checkov_findings import TERRAFORM, findings
from k8s_manifests import ROOT, tool

FOLDER = TERRAFORM
ROOTS = (FOLDER, FOLDER / "environments" / "staging")
MODULES = tuple(sorted(path for path in (FOLDER / "modules").iterdir()))
OFF_BY_DEFAULT = {"network", "cluster", "neo4j"}


# In the tools' own environment, all files in one process.
PARSE = "import hcl2, json, sys; print(json.dumps({p: hcl2.loads(open(p).read()) for p in sys.argv[1:]}))"


@cache
def files() -> dict[Path, Any]:
    """Every file's blocks, each attribute as it is written."""
    paths = [str(path) for path in sorted(FOLDER.rglob("*.tf"))]
    done = subprocess.run(
        [tool("python"), "-c", PARSE, *paths], capture_output=True, text=True, timeout=120, check=True
    )
    return {Path(path): _plain(blocks) for path, blocks in json.loads(done.stdout).items()}


def _plain(value: Any) -> Any:
    """The parser wraps each attribute in a list of one, and notes lines."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else [_plain(part) for part in value]
    return value


def named(path: Path, kind: str) -> dict[str, Any]:
    """Blocks of a kind by name; resources by ``type.name``."""
    blocks = files()[path].get(kind, [])
    found: dict[str, Any] = {}
    for block in blocks if isinstance(blocks, list) else [blocks]:
        for name, body in block.items():
            if kind in ("resource", "data"):
                found |= {f"{name}.{inner}": content for inner, content in body.items()}
            else:
                found[name] = body
    return found


@pytest.fixture
def bucket() -> dict[str, Any]:
    return named(FOLDER / "modules/artifact-bucket/main.tf", "resource")


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
def test_state_is_remote_encrypted_and_locked_by_a_file(root: Path) -> None:
    settings = files()[root / "main.tf"]["terraform"]
    assert settings["backend"] == {"s3": {"encrypt": True, "use_lockfile": True}}
    assert settings["required_version"] == ">= 1.10", "the first with use_lockfile"
    assert settings["required_providers"]["aws"]["source"] == "hashicorp/aws"
    example = (root / "backend.hcl.example").read_text()
    assert re.search(r"^bucket = .*^key +=.*^region =", example, re.M | re.S)


def test_each_root_has_its_own_state() -> None:
    keys = {re.search(r'key\s*=\s*"([^"]+)"', (root / "backend.hcl.example").read_text()) for root in ROOTS}
    assert len({match[1] for match in keys if match}) == len(ROOTS)


def test_the_bucket_is_closed_to_the_public(bucket: dict[str, Any]) -> None:
    block = bucket["aws_s3_bucket_public_access_block.this"]
    switches = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[name] is True for name in switches)
    assert (
        bucket["aws_s3_bucket_ownership_controls.this"]["rule"]["object_ownership"] == "BucketOwnerEnforced"
    )


def test_the_bucket_keeps_versions_under_lock(bucket: dict[str, Any]) -> None:
    assert bucket["aws_s3_bucket.this"]["object_lock_enabled"] is True
    assert bucket["aws_s3_bucket.this"]["force_destroy"] is False
    assert bucket["aws_s3_bucket_versioning.this"]["versioning_configuration"]["status"] == "Enabled"
    retention = bucket["aws_s3_bucket_object_lock_configuration.this"]["rule"]["default_retention"]
    assert retention == {"mode": "${var.deletion_of_locks}", "days": "${var.retention_days}"}
    variables = named(FOLDER / "modules/artifact-bucket/variables.tf", "variable")
    assert variables["deletion_of_locks"]["default"] == "COMPLIANCE"
    assert (
        "deletion_of_locks" not in named(FOLDER / "environments/staging/main.tf", "module")["artifact_bucket"]
    )


def test_the_bucket_is_encrypted_with_its_own_key(bucket: dict[str, Any]) -> None:
    rule = bucket["aws_s3_bucket_server_side_encryption_configuration.this"]["rule"]
    assert rule["bucket_key_enabled"] is True
    assert rule["apply_server_side_encryption_by_default"] == {
        "sse_algorithm": "aws:kms",
        "kms_master_key_id": "${aws_kms_key.this.arn}",
    }
    assert bucket["aws_kms_key.this"]["enable_key_rotation"] is True


def test_replaced_versions_and_unfinished_uploads_go(bucket: dict[str, Any]) -> None:
    rules = bucket["aws_s3_bucket_lifecycle_configuration.this"]["rule"]
    assert {rule["id"]: rule["status"] for rule in rules} == {
        "unfinished-uploads": "Enabled",
        "replaced-versions": "Enabled",
    }
    assert not any("expiration" in rule for rule in rules), "nothing current expires"
    made = named(FOLDER / "environments/staging/main.tf", "module")["artifact_bucket"]
    assert made["noncurrent_days"] > made["retention_days"], "a lock outlives nothing that expires"


def test_requests_without_tls_are_denied(bucket: dict[str, Any]) -> None:
    for file, name in (("main.tf", "bucket"), ("logs.tf", "logs")):
        document = named(FOLDER / "modules/artifact-bucket" / file, "data")[f"aws_iam_policy_document.{name}"]
        statements = document["statement"]
        statement = next(
            s
            for s in (statements if isinstance(statements, list) else [statements])
            if s["sid"] == "OnlyOverTLS"
        )
        assert statement["effect"] == "Deny"
        assert statement["actions"] == "s3:*"
        assert len(statement["resources"]) == 2, "the bucket and its objects"
        condition = {"test": "Bool", "variable": "aws:SecureTransport", "values": "false"}
        assert statement["condition"] == condition
    assert bucket["aws_s3_bucket_policy.this"]["policy"] == "${data.aws_iam_policy_document.bucket.json}"


def test_the_rest_is_off_by_default() -> None:
    staging = FOLDER / "environments/staging"
    modules = named(staging / "main.tf", "module")
    variables = named(staging / "variables.tf", "variable")
    assert set(modules) == OFF_BY_DEFAULT | {"artifact_bucket"}
    for name in OFF_BY_DEFAULT:
        assert modules[name]["count"] == f"${{var.enable_{name} ? 1 : 0}}"
        assert variables[f"enable_{name}"]["default"] is False


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_are_given_what_they_ask_for(module: Path) -> None:
    asked = named(module / "variables.tf", "variable")
    assert all(body.get("type") and body.get("description") for body in asked.values())
    callers = [m for root in ROOTS for m in named(root / "main.tf", "module").values()]
    own = [m for m in callers if Path(m["source"]).name == module.name]
    assert own
    for given in own:
        arguments = set(given) - {"source", "count"}
        assert arguments <= set(asked)
        assert {name for name, body in asked.items() if "default" not in body} <= arguments


def test_checkov_finds_nothing_but_what_is_meant() -> None:
    found = findings()["terraform"]
    assert found.passed > 100
    assert found.unexplained() == set()
    assert found.idle() == []


def test_files_are_formatted() -> None:
    """As far as can be told without Terraform: two spaces a level, no tab, no space at the end of a line."""
    for path in FOLDER.rglob("*.tf"):
        depth, text = 0, path.read_text()
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        for number, line in enumerate(text.splitlines(), start=1):
            place = f"{path.relative_to(ROOT)}:{number}"
            assert line == line.rstrip(), place
            assert "\t" not in line, place
            code = line.split("#")[0]
            closing = len(re.match(r"[\s\])}]*", code)[0].replace(" ", ""))  # type: ignore[index]
            if code.strip():
                assert len(line) - len(line.lstrip()) == 2 * (depth - min(closing, 1)), place
            depth += min(max(_opened(code), -1), 1)


def _opened(code: str) -> int:
    return sum(code.count(c) for c in "{[(") - sum(code.count(c) for c in "}])")


@pytest.mark.skipif(
    shutil.which("terraform") is None, reason="no terraform on PATH: `terraform fmt` was not asked"
)
def test_terraform_itself_calls_the_format_right() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(FOLDER)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
