"""The model root: one digest for the three files of a policy."""

from __future__ import annotations

from pathlib import Path

from drl.digest import sha256_file
from drl.errors import InputError
from drl.record.roots import resources_root

FILES = ("policy.json", "policy.onnx", "policy.safetensors")


def model_root(folder: Path) -> str:
    """SHA-256 over the concatenated raw SHA-256 digests of the policy's files, sorted by name.

    This is how OpenSSF model-signing computes the digest of a manifest's subject.

    Raises:
        InputError: one of the three files is missing, or there are others.
    """
    found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    policy = [name for name in found if name.startswith("policy.")]
    if policy != sorted(FILES):
        raise InputError(
            f"{folder}: policy files {policy}, expected {sorted(FILES)}",
            remedy="give the folder of one policy",
        )
    return resources_root((name, sha256_file(folder / name)) for name in FILES)
