"""A record read with other people's libraries alone: securesystemslib, in-toto-attestation, model-signing.

    python read_record.py FOLDER

Runs in ``.venv/other-tools``, where this project is not installed. Prints as JSON what was read; whatever a
library refuses ends it with that library's error.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from model_signing import hashing
from model_signing._signing.signing import Verifier
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

PROVENANCE = "https://slsa.dev/provenance/v1"


class EnvelopeVerifier(Verifier):
    """The place that model-signing leaves for other kinds of keys: its own take no Ed25519."""

    def __init__(self, keys: list[SSlibKey]) -> None:
        self._keys = keys

    def _verify_signed_content(self, signature: Envelope) -> tuple[str, bytes]:
        signature.verify(self._keys, 1)
        return signature.payload_type, signature.payload


def main(folder: Path) -> dict[str, Any]:
    """Read everything that the libraries know."""
    keys = [public_key(path) for path in sorted((folder / "keys").iterdir())]
    paths = sorted(folder.rglob("*.dsse.json"))
    envelopes = {path.relative_to(folder).as_posix(): Envelope.from_dict(read(path)) for path in paths}
    for envelope in envelopes.values():
        envelope.verify(keys, len(envelope.signatures))
    statements = {name: json.loads(envelope.payload) for name, envelope in envelopes.items()}
    for statement in statements.values():
        Statement.copy_from_pb(ParseDict(statement, StatementMessage())).validate()
    provenance = {n: s["predicate"] for n, s in statements.items() if s["predicateType"] == PROVENANCE}
    built = {name: ParseDict(predicate, Provenance()) for name, predicate in provenance.items()}
    signed = EnvelopeVerifier(keys).verify(envelopes["model.dsse.json"])
    with tempfile.TemporaryDirectory() as policy:
        for resource in statements["release.dsse.json"]["predicate"]["policy"]["resources"]:
            blob = folder / "sha256" / resource["digest"]["sha256"]
            shutil.copyfile(blob, Path(policy) / resource["name"])
        hashed = hashing.Config().hash(Path(policy))
    if hashed != signed:
        raise ValueError("the policy's files are not those of the model's signature")
    return {
        "envelopes": list(envelopes),
        "builders": {name: message.run_details.builder.id for name, message in built.items()},
        "model": [descriptor.identifier for descriptor in signed.resource_descriptors()],
    }


def public_key(path: Path) -> SSlibKey:
    """The key in a record's PEM file, under the id that the file has."""
    return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()), path.stem)


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_bytes())


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
