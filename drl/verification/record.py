"""A record as a verifier holds it: files by name, statements whose signatures hold, documents, named files.

Nothing here is believed before it was checked; what could not be read is missing for whoever asks for it,
and says so.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from drl.artifact import Artifact
from drl.digest import canonical_json, require_sha256
from drl.errors import Falsified, Undetermined
from drl.record.dsse import parse_canonical
from drl.record.files import RecordFiles
from drl.record.promotions import FOLDER
from drl.record.roots import artifacts_root
from drl.record.statement import MODEL_SIGNATURE, SLSA_PROVENANCE, predicate_type
from drl.spec import PipelineSpec, parse_pipeline

ENVELOPE, NOTE = ".dsse.json", ".note.json"
RELEASE = "release.dsse.json"
RUN_STATEMENTS = ("intent", "prepare", "validation", "train", "evaluate", "evaluation", "approval", "model")
STEPS = ("prepare", "train", "evaluate")
KINDS = (
    {name: SLSA_PROVENANCE for name in STEPS}
    | {
        name: predicate_type(name)
        for name in ("intent", "validation", "evaluation", "approval", "release", "promotion")
    }
    | {f"{FOLDER}{name}": predicate_type(name) for name in ("release", "promotion")}
    | {"model": MODEL_SIGNATURE}
)
"""Predicate type of each statement whose file name says what it is."""
POLICY_FILES = ("policy.json", "policy.onnx", "policy.safetensors")
DATA_FILES = frozenset(
    {
        "train.parquet",
        "validation.parquet",
        "test.parquet",
        "test.npy",
        "demonstrations.parquet",
        "rejected.parquet",
    }
)

_MIB = 1 << 20
_DOCUMENT_LIMIT = 64 * _MIB
_FILE_LIMIT = 1024 * _MIB
_HEADER_LIMIT = 10_000
_BEFORE_HEADER = 10  # bytes: magic, version, length of the header
# numpy reads headers as Python source, whose parser raises much; only what numpy itself writes gets there.
_NUMBERS = rb"'[<|][bifu]\d{1,2}'"
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': (?:%s|\[(?:\('[^'\\\n]{1,200}', %s\)(?:, )?){1,64}\]), "
    rb"'fortran_order': (?:False|True), 'shape': \((?:\d{1,15}(?:, \d{1,15})*,?)?\), \} *\n"
    % (_NUMBERS, _NUMBERS),
    re.DOTALL,
)


@dataclass(frozen=True)
class Envelope:
    """A statement that is canonical and whose signatures hold under keys that were at hand.

    Attributes:
        name: file name in the record.
        sha256: digest of its bytes.
        statement: the in-toto statement, of its schema.
        keys: ids of the keys that signed, sorted.
    """

    name: str
    sha256: str
    statement: dict[str, Any]
    keys: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The predicate's type."""
        return str(self.statement["predicateType"])

    @property
    def predicate(self) -> dict[str, Any]:
        """The predicate."""
        value: dict[str, Any] = self.statement["predicate"]
        return value

    @property
    def subjects(self) -> dict[str, str]:
        """Digests of the subjects by name; Falsified when they are not sorted, each once."""
        return named_digests(self.statement["subject"], where=self.name)

    @property
    def key(self) -> str:
        """The first key that signed, for CLAIMED."""
        return self.keys[0]


class Record:
    """One record under verification.

    Args:
        files: where its files are.
        scratch: an empty folder of the verifier's own; files go there under names of ours.
    """

    def __init__(self, files: RecordFiles, scratch: Path) -> None:
        self.files = files
        self.names = frozenset(files.names())
        self.envelopes: dict[str, Envelope] = {}
        self._scratch = scratch

    @property
    def own(self) -> list[Envelope]:
        """Statements about this run: all but those below ``champion/``."""
        return [e for name, e in self.envelopes.items() if not name.startswith(FOLDER)]

    def statement(self, name: str) -> Envelope:
        """The statement called ``name``; Undetermined when it is missing, false or of another type."""
        found = self.envelopes.get(f"{name}{ENVELOPE}")
        if found is None or not self.has(name):
            raise Undetermined(
                f"rests on {name}{ENVELOPE}, which is missing or was found false",
                remedy="see what the checks 1, 2 and 4 say about it",
            )
        return found

    def has(self, name: str) -> bool:
        """Whether the statement called ``name`` is there, holds, and is of the type that its name says."""
        found = self.envelopes.get(f"{name}{ENVELOPE}")
        return found is not None and KINDS.get(name, found.kind) == found.kind

    def document(self, name: str) -> dict[str, Any]:
        """A canonical JSON document of the record by file name; Falsified when it is none."""
        return parse_canonical(self.files.read(name, limit=_DOCUMENT_LIMIT), what=name)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The frozen run as the signed intent embeds it."""
        value: dict[str, Any] = self.statement("intent").predicate["resolved"]
        return value

    @cached_property
    def spec(self) -> PipelineSpec:
        """The frozen pipeline; InputError when it does not fit the schema of a pipeline file."""
        return parse_pipeline(self.resolved["spec"], path=Path("resolved.json, spec"))

    @property
    def champion(self) -> dict[str, Any] | None:
        """The champion that the intent names (``version``, ``model_root``, ``files`` …), or None."""
        value: dict[str, Any] | None = self.resolved["champion"]
        return value

    @cached_property
    def evidence(self) -> dict[str, Artifact]:
        """Everything the steps made, by name (``evaluate/episodes.jsonl``), as the release lists it."""
        return resources(self.statement("release").predicate["evidence"]["resources"], where="evidence")

    @cached_property
    def policy(self) -> dict[str, Artifact]:
        """The released policy's files by name."""
        return resources(self.statement("release").predicate["policy"]["resources"], where="policy")

    @cached_property
    def champion_files(self) -> dict[str, Artifact]:
        """The champion's policy files by name; empty without a champion."""
        listed = self.champion["files"] if self.champion else []
        return {a.name: a for a in map(Artifact.from_json, listed)}

    def named(self) -> dict[str, list[str]]:
        """Digest of every file that the release and the intent name, with the names they give it."""
        found: dict[str, list[str]] = {}
        for name, artifact in (
            *self.policy.items(),
            *self.evidence.items(),
            *((f"champion/{n}", a) for n, a in self.champion_files.items()),
        ):
            found.setdefault(artifact.sha256, []).append(name)
        return found

    def made(self, name: str) -> Artifact:
        """The file ``name`` (``evaluate/episodes.jsonl``) of the evidence; Falsified when it names none."""
        if name not in self.evidence:
            raise Falsified(f"the release names no {name}", remedy="ask for a complete record of the run")
        return self.evidence[name]

    def travelled(self, artifact: Artifact) -> bool:
        """Whether the bytes are in the record."""
        return f"sha256/{artifact.sha256}" in self.names

    def read(self, artifact: Artifact) -> bytes:
        """The bytes of a small named file, with its digest checked."""
        return self.path(artifact, "document").read_bytes()

    def json(self, name: str) -> dict[str, Any]:
        """The canonical JSON of a file that the evidence names."""
        return parse_canonical(self.read(self.made(name)), what=name)

    def json_list(self, name: str) -> list[dict[str, Any]]:
        """The canonical JSON list of a file that the evidence names."""
        held = parse_canonical(b'{"list":%s}' % self.read(self.made(name)), what=name)
        value = held["list"]
        if len(held) != 1 or not isinstance(value, list):
            raise Falsified(f"{name} is not a JSON list", remedy="ask for the record again")
        return value

    def path(self, artifact: Artifact, call_it: str) -> Path:
        """A copy of a named file in a folder of ours, with size and digest checked.

        Args:
            call_it: file name of the copy; never taken from the record.

        Raises:
            Falsified: missing, or other bytes.
        """
        folder = self._scratch / require_sha256(artifact.sha256, where="a named file")
        target = folder / call_it
        if target.exists():
            return target
        name, digest = f"sha256/{artifact.sha256}", hashlib.sha256()
        if self.files.size(name) > _FILE_LIMIT:
            raise Undetermined(
                f"{name}: more than {_FILE_LIMIT // _MIB} MiB, which this verifier does not read",
                remedy="check this file on a machine with more memory and a larger limit",
            )
        folder.mkdir(exist_ok=True)
        with self.files.open(name) as source, target.open("wb") as copy:
            while piece := source.read(_MIB):
                digest.update(piece)
                copy.write(piece)
        if digest.hexdigest() != artifact.sha256:
            target.unlink()
            raise Falsified(f"{name}: the bytes have another digest", remedy="ask for the record again")
        return target

    def policy_folder(self, files: dict[str, Artifact]) -> Path:
        """A folder of ours with the three files of a policy."""
        folder = self._scratch / f"policy-{artifacts_root(files.values())}"
        folder.mkdir(exist_ok=True)
        for name in POLICY_FILES:
            copy = folder / name
            if not copy.exists():
                copy.hardlink_to(self.path(files[name], name))
        return folder

    def array(self, artifact: Artifact) -> Path:
        """A copy of an ``.npy`` file that holds exactly the plain numbers that its header says.

        Raises:
            Falsified: objects, or a header that promises another size.
        """
        path = self.path(artifact, "array.npy")
        with path.open("rb") as stream:
            header = _NPY_HEADER.match(stream.read(_HEADER_LIMIT))
            if header is None or int.from_bytes(header[1], "little") != header.end() - _BEFORE_HEADER:
                raise Falsified(
                    f"{artifact.name}: not the .npy header 1.0 of plain numbers", remedy="write it with numpy"
                )
            stream.seek(0)
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER_LIMIT)
            count = 1
            for length in shape:
                count *= length
            promised = stream.tell() + count * dtype.itemsize
        if promised != path.stat().st_size:
            raise Falsified(
                f"{artifact.name}: {dtype} of shape {shape} in {path.stat().st_size} bytes",
                remedy="ask for the record again",
            )
        return path


def resources(listed: list[dict[str, Any]], *, where: str) -> dict[str, Artifact]:
    """Artifacts by name of a list of in-toto resource descriptors, sorted by name, each once.

    Raises:
        Falsified: not sorted, or a name twice.
    """
    named_digests(listed, where=where)
    return {
        r["name"]: Artifact(r["name"], r["digest"]["sha256"], int(r["annotations"]["size"])) for r in listed
    }


def named_digests(listed: list[dict[str, Any]], *, where: str) -> dict[str, str]:
    """SHA-256 by name; Falsified unless the names are sorted by code point, each once."""
    names = [item["name"] for item in listed]
    if names != sorted(set(names)):
        raise Falsified(f"{where}: names not sorted, or one twice", remedy="ask for the record again")
    return {item["name"]: item["digest"]["sha256"] for item in listed}


def same_json(left: Any, right: Any) -> bool:
    """Whether two values have the same canonical JSON."""
    return canonical_json(left) == canonical_json(right)
