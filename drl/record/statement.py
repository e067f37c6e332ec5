"""in-toto Statement v1: what is said (predicate) about which bytes (subject)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drl.artifact import Artifact
from drl.digest import canonical_json, require_sha256
from drl.errors import InputError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
MODEL_SIGNATURE = "https://model_signing/signature/v1.0"

# Every identifier of our own starts here: predicate types, build types and builders.
NAMESPACE = "urn:drl:"


def predicate_type(name: str) -> str:
    """Identifier of one of our predicate types, e.g. ``urn:drl:predicate:intent:v1``."""
    return f"{NAMESPACE}predicate:{name}:v1"


def build_type(step: str) -> str:
    """Identifier of a step's build type in SLSA provenance, e.g. ``urn:drl:build:train:v1``."""
    return f"{NAMESPACE}build:{step}:v1"


def builder_id(placement: str) -> str:
    """Identifier of what ran a step, e.g. ``urn:drl:builder:subprocess:v1``."""
    return f"{NAMESPACE}builder:{placement}:v1"


@dataclass(frozen=True)
class Subject:
    """The bytes a statement is about: a name for people and a SHA-256."""

    name: str
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact) -> Subject:
        """The subject for a file."""
        return cls(artifact.name, artifact.sha256)

    def to_json(self) -> dict[str, Any]:
        """An in-toto resource descriptor; a malformed digest raises InputError."""
        return {"name": self.name, "digest": {"sha256": require_sha256(self.sha256, where=self.name)}}


def statement(subjects: list[Subject], kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    """A statement as JSON, subjects sorted by name.

    Args:
        subjects: at least one, each name once.
        kind: the ``predicateType``.
        predicate: its JSON value, already in the form that its schema asks for.

    Raises:
        InputError: no subject, a name twice, or a value that has no canonical JSON form.
    """
    names = [s.name for s in subjects]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"subjects {names} of a {kind} statement", remedy="name at least one subject, and each once"
        )
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [s.to_json() for s in sorted(subjects, key=lambda s: s.name)],
        "predicateType": kind,
        "predicate": predicate,
    }
    canonical_json(value)
    return value
