"""Fuzz what reads a stranger's bytes: python tests/fuzz/parsers.py [SECONDS] [TARGET ...], by `make fuzz`.

Each target runs in a process of its own, for a bounded time, from the files of the format's vector. A parser
may refuse with an error of the project, and where the verifier turns errors of wrong shapes into findings,
with these; anything else, a hang or a giant allocation ends the run, which prints it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

with atheris.instrument_imports(include=["drl.record", "drl.verification", "drl.policy", "rfc8785", "yaml"]):
    import numpy as np
    from tampering import MemoryFiles

    from drl.artifact import Artifact
    from drl.digest import canonical_json, sha256_bytes
    from drl.errors import DrlError
    from drl.evaluation.episodes import Episodes
    from drl.policy.forward import NumpyPolicy
    from drl.record.dsse import parse_canonical, read_unverified
    from drl.record.files import ZipFiles
    from drl.record.git_tree import tree_of_tar
    from drl.record.key_files import load_public
    from drl.verification.ledger_view import KeptAccount
    from drl.verification.record import Record
    from drl.verification.schemas import check_predicate
    from drl.verification.trust import parse_trust

VECTOR = TESTS / "vectors" / "record-v1.zip"
# What drl.verification.findings turns into a finding: values of another shape than a record's.
SHAPES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
SCRATCH = Path(tempfile.mkdtemp(prefix="drl-fuzz-"))


def canonical(data: bytes) -> None:
    """Accepted JSON is written again as the same bytes."""
    if canonical_json(parse_canonical(data, what="input")) != data:
        raise AssertionError("accepted bytes that are not the canonical form")


def dsse(data: bytes) -> None:
    """A statement that is read is checked against its schema."""
    statement = read_unverified(data)
    check_predicate(statement, name="input")


def archive(data: bytes) -> None:
    """Every member is read whole, and is as long as it says."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.write(descriptor, data)
        files = ZipFiles(descriptor, where="input")
        for name in files.names():
            if len(files.read(name)) != files.size(name):
                raise AssertionError(f"{name}: another size than it says")
    finally:
        os.close(descriptor)


def trust(data: bytes) -> None:
    """A trust policy is YAML of a closed schema."""
    parse_trust(data.decode("utf-8", "replace"), where="input")


def account(data: bytes) -> None:
    """The ledger's account."""
    KeptAccount.from_json(parse_canonical(data, what="input"))


def npy(data: bytes) -> None:
    """An array of actions or held-out rows."""
    digest = sha256_bytes(data)
    path = Record(MemoryFiles({f"sha256/{digest}": data}), SCRATCH).array(
        Artifact("x.npy", digest, len(data))
    )
    try:
        np.load(path, allow_pickle=False)
    finally:
        path.unlink()
        path.parent.rmdir()


def policy(data: bytes) -> None:
    """``policy.json`` and ``policy.safetensors``, after four bytes with the length of the first."""
    length = int.from_bytes(data[:4], "big")
    (SCRATCH / "policy.json").write_bytes(data[4 : 4 + length])
    (SCRATCH / "policy.safetensors").write_bytes(data[4 + length :])
    NumpyPolicy.load(SCRATCH)


def episodes(data: bytes) -> None:
    """The kept returns."""
    (SCRATCH / "episodes.jsonl").write_bytes(data)
    Episodes.read(SCRATCH / "episodes.jsonl")


def tar(data: bytes) -> None:
    """A source archive."""
    tree_of_tar(io.BytesIO(data), where="input")


def key(data: bytes) -> None:
    """A public key."""
    load_public(data, where="input")


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[type[Exception], ...]]] = {
    "canonical": (canonical, (DrlError,)),
    "dsse": (dsse, (DrlError,)),
    "archive": (archive, (DrlError,)),
    "trust": (trust, (DrlError,)),
    "account": (account, (DrlError, *SHAPES)),
    "npy": (npy, (DrlError, *SHAPES)),
    "policy": (policy, (DrlError,)),
    "episodes": (episodes, (DrlError, *SHAPES)),
    "tar": (tar, (DrlError,)),
    "key": (key, (DrlError,)),
}
"""Name to parser and the errors that it may raise."""


def seeds(target: str) -> Iterator[bytes]:
    """Honest inputs, from the vector."""
    with zipfile.ZipFile(VECTOR) as record:
        contents = {name: record.read(name) for name in record.namelist()}
    if target == "archive":
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", method) as small:
                for name in ("resolved.json", "closing.json"):
                    small.writestr(zipfile.ZipInfo(name), contents[name], method)
            yield packed.getvalue()
    elif target == "trust":
        yield VECTOR.with_suffix(".trust.yaml").read_bytes()
    elif target == "policy":
        described = next(v for v in contents.values() if b"drl.policy/1" in v and v.startswith(b"{"))
        for data in contents.values():
            if b'"dtype":"F32"' in data[:400]:
                yield len(described).to_bytes(4, "big") + described + data
    elif target == "npy":
        yield from (data for data in contents.values() if data.startswith(b"\x93NUMPY"))
    elif target == "episodes":
        yield next(data for data in contents.values() if data.startswith(b'{"actor"'))
    elif target == "tar":
        yield source_tar()
    elif target == "key":
        yield from (data for name, data in contents.items() if name.startswith("keys/"))
    else:
        ending = {"dsse": ".dsse.json", "account": "account.json"}.get(target, ".json")
        yield from (data for name, data in contents.items() if name.endswith(ending))


def source_tar() -> bytes:
    """An archive of two files."""
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive_:
        for name in ("a/b.py", "c.py"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive_.addfile(member, io.BytesIO(b"x=1"))
    return packed.getvalue()


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target in this process; does not come back."""
    parse, expected = TARGETS[target]

    def one(data: bytes) -> None:
        with contextlib.suppress(*expected):
            parse(data)

    atheris.Setup([target, *arguments], one)
    atheris.Fuzz()


def main(seconds: int, targets: list[str]) -> int:
    """Fuzz every target for a while; 1 when one of them found something."""
    failed = []
    for target in targets or list(TARGETS):
        with tempfile.TemporaryDirectory() as folder:
            for number, seed in enumerate(seeds(target)):
                (Path(folder) / f"seed-{number}").write_bytes(seed)
            options = [
                *(f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", "-timeout=20"),
                *("-rss_limit_mb=2048", "-max_len=65536"),
            ]
            done = subprocess.run(
                [sys.executable, __file__, "--one", target, folder, *options], capture_output=True, text=True
            )
        ran = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+)", done.stderr, re.MULTILINE)[-1:] or [("0", "0")]
        outcome = "FOUND SOMETHING" if done.returncode else "nothing found"
        print(f"{target:10} {outcome}: {int(ran[0][0]):,} inputs, {ran[0][1]} places covered", flush=True)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-2000:])
            failed.append(target)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(int((sys.argv[1:] or ["30"])[0]), sys.argv[2:]))
