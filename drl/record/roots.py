"""One digest for a list of named files: the model root and the evidence root."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from drl.artifact import Artifact
from drl.digest import require_sha256
from drl.errors import InputError


def resources_root(resources: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the concatenated raw SHA-256 digests of the files, in the order of their names.

    This is how OpenSSF model-signing computes the digest of a manifest's subject. The root does not bind the
    names; the signed list of resources that always travels with it does. Names are compared by code point.

    Args:
        resources: pairs of name and SHA-256 in hexadecimal, in any order.

    Raises:
        InputError: no resources, a name given twice, or a malformed digest.
    """
    ordered = sorted(resources)
    if not ordered:
        raise InputError("a root of no resources", remedy="name at least one file")
    digest = hashlib.sha256()
    previous = None
    for name, sha256 in ordered:
        if name == previous:
            raise InputError(f"resource {name!r} is named twice", remedy="give each file one name")
        digest.update(bytes.fromhex(require_sha256(sha256, where=f"resource {name}")))
        previous = name
    return digest.hexdigest()


def artifacts_root(artifacts: Iterable[Artifact]) -> str:
    """:func:`resources_root` of artifacts."""
    return resources_root((a.name, a.sha256) for a in artifacts)
