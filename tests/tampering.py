"""What an attacker without keys can do to a record: every tamper by name, each a change of its files.

``tampers(files, other)`` gives them all; nothing here knows what a verifier says about them. ``other`` is
a second honest record of the same owner, from which statements and files are replayed.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from drl.digest import canonical_json, sha256_bytes
from drl.errors import Falsified
from drl.record.dsse import PAYLOAD_TYPE, read_unverified, sign
from drl.record.files import MIB, RecordFiles
from drl.record.key_files import key_id, public_pem
from drl.verification.findings import NEEDED, Label
from drl.verification.result import Result

ENVELOPE, NOTE = ".dsse.json", ".note.json"
Files = dict[str, bytes]
Place = tuple[str | int, ...]


class MemoryFiles:
    """A record in memory."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._bytes(name))

    def read(self, name: str, *, limit: int = 16 * MIB) -> bytes:
        data = self._bytes(name)
        if len(data) > limit:
            raise Falsified(f"{name}: {len(data)} bytes", remedy="give a smaller file")
        return data

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        yield io.BytesIO(self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        if name not in self._files:
            raise Falsified(f"{name}: not in the record", remedy="ask for the record again")
        return self._files[name]


def files_of(record: RecordFiles) -> Files:
    """All of a record's bytes."""
    return {name: record.read(name, limit=1 << 30) for name in record.names()}


def files_in(folder: Path) -> Files:
    """All bytes of a record in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@dataclass(frozen=True)
class Tamper:
    """One change.

    Attributes:
        kind: the row of the table that counts it.
        about: file, and place in it.
        change: made to a copy of the files.
    """

    kind: str
    about: str
    change: Callable[[Files], None]

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.about}"

    def apply(self, files: Files) -> Files:
        """The tampered record."""
        changed = dict(files)
        self.change(changed)
        return changed


def stranger() -> CryptoSigner:
    """A key that nobody trusts, the same in every test run."""
    private = Ed25519PrivateKey.from_private_bytes(sha256_bytes(b"stranger").encode()[:32])
    public = private.public_key()
    return CryptoSigner(private, SSlibKey.from_crypto(public, key_id(public)))


def tampers(files: Files, other: Files) -> Iterator[Tamper]:
    """Every tamper of this record, whole matrices."""
    yield from file_tampers(files, other)
    for name in sorted(n for n in files if n.endswith(ENVELOPE)):
        yield from field_tampers(name, files[name])
        yield from envelope_tampers(name, files)
    for name in sorted(n for n in files if n.endswith(".json") and not n.endswith(ENVELOPE)):
        yield from document_tampers(name, files[name])
    yield from account_tampers(files)
    yield from consistent_tampers(files)
    yield from key_tampers(files)


def file_tampers(files: Files, other: Files) -> Iterator[Tamper]:
    """Each file removed, emptied, truncated, one bit flipped, lengthened, swapped with another."""
    for name, data in sorted(files.items()):
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        yield Tamper("file removed", name, lambda f, n=name: _remove(f, n))
        yield _replaced("file emptied", name, b"")
        yield _replaced("file truncated", name, data[: max(middle, 1)])
        yield _replaced("one bit flipped", name, flipped)
        yield _replaced("a byte added", name, data + b"\n")
        if other.get(name, data) != data:
            yield _replaced("swapped with another run's", name, other[name])
    for name in sorted(n for n in files if n.endswith(NOTE)):
        both = {name, name.removesuffix(NOTE) + ENVELOPE}
        yield Tamper("note removed with its statement", name, _updates({}, both))
    blobs = sorted(n for n in files if n.startswith("sha256/"))
    for left, right in pairwise(blobs):
        yield Tamper("two files exchanged", f"{left} and {right}", lambda f, a=left, b=right: _swap(f, a, b))
    for name in (
        "sha256/" + "0" * 64,
        "notes/x.bin",
        "champion/x.json",
        "README.md",
        "release2.dsse.json",
        "sha256/x",
    ):
        yield _replaced("a file nobody names", name, b"x")


def field_tampers(name: str, stored: bytes, *, every_way: bool = True) -> Iterator[Tamper]:
    """Each leaf of a statement changed: left under the old signature, or signed by a stranger."""
    statement = read_unverified(stored)
    for number, path in enumerate(leaves(statement)):
        changed = edited(statement, path, other_value)
        place = f"{name} {shown(path)}"
        ways = (
            ("field changed, not signed again", lambda c=changed: with_payload(stored, c)),
            ("field changed, signed by a stranger", lambda c=changed: sign(c, [stranger()])),
            (
                "field changed, a stranger's signature under the owner's key id",
                lambda c=changed: posed(stored, c),
            ),
        )
        for kind, make in ways if every_way else (ways[number % len(ways)],):
            yield Tamper(kind, place, lambda f, m=make: _put_envelope(f, name, m()))


def envelope_tampers(name: str, files: Files) -> Iterator[Tamper]:
    """Members and lists of a statement moved, signatures moved and dropped, another spelling."""
    stored = files[name]
    statement, envelope = read_unverified(stored), json.loads(stored)
    for path in containers(statement):
        part = at(statement, path)
        if isinstance(part, dict):
            added = edited(statement, path, lambda d: {**d, "x": 1})
            yield _replaced("member added", f"{name} {shown(path)}", with_payload(stored, added))
            for key in part:
                less = edited(statement, path, lambda d, k=key: {m: v for m, v in d.items() if m != k})
                yield _replaced("member removed", f"{name} {shown((*path, key))}", with_payload(stored, less))
        elif len(part) > 1:
            turned = edited(statement, path, lambda items: items[::-1])
            yield _replaced("list reversed", f"{name} {shown(path)}", with_payload(stored, turned))
            for index in range(len(part)):
                less = edited(statement, path, lambda items, i=index: items[:i] + items[i + 1 :])
                yield _replaced(
                    "entry dropped", f"{name} {shown((*path, index))}", with_payload(stored, less)
                )
    signature = envelope["signatures"][0]
    for kind, signatures in (
        ("signatures dropped", []),
        ("signature doubled", [signature, signature]),
        ("signature of another statement", [_other_signature(name, files)]),
        ("key id of another key", [{**signature, "keyid": stranger().public_key.keyid}]),
    ):
        yield _replaced(kind, name, canonical_json({**envelope, "signatures": signatures}))
    yield _replaced("payload type changed", name, canonical_json({**envelope, "payloadType": "text/plain"}))
    yield _replaced("member added", f"{name} (envelope)", canonical_json({**envelope, "x": 1}))
    yield _replaced("same JSON, another spelling", name, json.dumps(envelope, indent=1).encode())
    payload = base64.urlsafe_b64encode(json.dumps(statement, indent=1).encode()).decode()
    yield _replaced(
        "same JSON, another spelling", f"{name} payload", canonical_json({**envelope, "payload": payload})
    )
    for target in sorted(n for n in files if n.endswith(ENVELOPE) and n != name):
        yield _replaced("statement replayed under another name", f"{name} as {target}", stored, at=target)


def document_tampers(name: str, stored: bytes) -> Iterator[Tamper]:
    """Each leaf of an unsigned document changed, members added, removed, another spelling."""
    value = json.loads(stored)
    for path in leaves(value):
        changed = canonical_json(edited(value, path, other_value))
        yield _replaced("unsigned document: field changed", f"{name} {shown(path)}", changed)
    for path in containers(value):
        part = at(value, path)
        if isinstance(part, dict):
            added = canonical_json(edited(value, path, lambda d: {**d, "x": 1}))
            yield _replaced("unsigned document: member added", f"{name} {shown(path)}", added)
            for key in part:
                less = edited(value, path, lambda d, k=key: {m: v for m, v in d.items() if m != k})
                place = f"{name} {shown((*path, key))}"
                yield _replaced("unsigned document: member removed", place, canonical_json(less))
    spelled = json.dumps(value, indent=1).encode()
    yield _replaced("same JSON, another spelling", name, spelled)


def account_tampers(files: Files) -> Iterator[Tamper]:
    """Entries of the account dropped, doubled and reordered."""
    account = json.loads(files["account.json"])
    entries = account["entries"]
    for index in range(len(entries)):
        for kind, changed in (
            ("account: entry dropped", entries[:index] + entries[index + 1 :]),
            ("account: entry doubled", [*entries[: index + 1], *entries[index:]]),
        ):
            stored = canonical_json({**account, "entries": changed})
            yield _replaced(kind, f"entry {index}", stored, at="account.json")
    reversed_ = canonical_json({**account, "entries": entries[::-1]})
    yield _replaced("account: entries reversed", "all", reversed_, at="account.json")
    shorter = canonical_json({**account, "entries": []})
    yield _replaced("account: entry dropped", "all of them", shorter, at="account.json")


def consistent_tampers(files: Files) -> Iterator[Tamper]:
    """What nobody signed, changed alike everywhere it stands; entries removed with their statements."""
    account = json.loads(files["account.json"])
    for name in sorted(n for n in files if n == "closing.json" or n.endswith(NOTE)):
        entry = json.loads(files[name])
        for path in leaves(entry):
            changed = edited(entry, path, other_value)
            entries = [changed if e == entry else e for e in account["entries"]]
            stored = canonical_json({**account, "entries": entries})
            new = {name: canonical_json(changed), "account.json": stored}
            yield Tamper(
                "entry changed alike in its file and the account", f"{name} {shown(path)}", _updates(new)
            )
        kept = canonical_json({**account, "entries": [e for e in account["entries"] if e != entry]})
        without = {name, name.removesuffix(NOTE) + ENVELOPE} & files.keys()
        yield Tamper(
            "entry removed with its statement and from the account",
            name,
            _updates({"account.json": kept}, without),
        )


def key_tampers(files: Files) -> Iterator[Tamper]:
    """Public keys replaced and added."""
    pem = public_pem(stranger().public_key)
    yield _replaced(
        "a stranger's key added", "under its id", pem, at=f"keys/{stranger().public_key.keyid}.pem"
    )
    for name in sorted(n for n in files if n.startswith("keys/")):
        yield _replaced("a stranger's key in place of the owner's", name, pem)


def leaves(value: Any, path: Place = ()) -> Iterator[Place]:
    """Paths of everything that holds no further values."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from leaves(part, (*path, key))
    else:
        yield path


def containers(value: Any, path: Place = ()) -> Iterator[Place]:
    """Paths of all objects and lists, the whole included."""
    if isinstance(value, dict | list):
        yield path
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from containers(part, (*path, key))


def at(value: Any, path: Place) -> Any:
    """What stands at a path."""
    for key in path:
        value = value[key]
    return value


def edited(value: Any, path: Place, change: Callable[[Any], Any]) -> Any:
    """A copy with ``change`` made at a path."""
    if not path:
        return change(value)
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = edited(value[path[0]], path[1:], change)  # type: ignore[index]
    return copy


def other_value(value: Any) -> Any:
    """Another value of the same kind, as near as can be."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    if isinstance(value, str):
        return value[:-1] + ("1" if value[-1:] == "0" else "0")
    return "x"


def shown(path: Place) -> str:
    return ".".join(map(str, path)) or "(the whole)"


def with_payload(stored: bytes, statement: Any) -> bytes:
    """The envelope with another payload under its old signatures."""
    payload = base64.b64encode(canonical_json(statement)).decode()
    return canonical_json({**json.loads(stored), "payload": payload})


def posed(stored: bytes, statement: Any) -> bytes:
    """The statement signed by a stranger who writes the owner's key id beside."""
    owner = json.loads(stored)["signatures"][0]["keyid"]
    envelope = Envelope(canonical_json(statement), PAYLOAD_TYPE, {})
    envelope.sign(stranger())
    made = envelope.to_dict()
    made["signatures"][0]["keyid"] = owner
    return canonical_json(made)


def _replaced(kind: str, about: str, data: bytes, *, at: str | None = None) -> Tamper:
    name = at or about.partition(" ")[0]
    return Tamper(kind, about, lambda files: files.update({name: data}))


def _updates(new: Files, without: Iterable[str] = ()) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        for name in without:
            del files[name]
        files.update(new)

    return change


def _put_envelope(files: Files, name: str, stored: bytes) -> None:
    """An envelope, and the stranger's public key where it is signed with it."""
    files[name] = stored
    key = stranger().public_key
    if any(s["keyid"] == key.keyid for s in json.loads(stored)["signatures"]):
        files[f"keys/{key.keyid}.pem"] = public_pem(key)


def _remove(files: Files, name: str) -> None:
    del files[name]


def _swap(files: Files, left: str, right: str) -> None:
    files[left], files[right] = files[right], files[left]


def _other_signature(name: str, files: Files) -> Any:
    other = next(n for n in sorted(files) if n.endswith(ENVELOPE) and n != name)
    return json.loads(files[other])["signatures"][0]


def distinct(listed: Iterable[Tamper], files: Files) -> Iterator[tuple[Tamper, Files]]:
    """Tampers with the record that each makes, each record once, and none that is the honest one."""
    seen = {_print(files)}
    for tamper in listed:
        changed = tamper.apply(files)
        if (made := _print(changed)) not in seen:
            seen.add(made)
            yield tamper, changed


def _print(files: Files) -> int:
    return hash(frozenset(files.items()))


def sample(listed: Iterable[Tamper], most: int) -> list[Tamper]:
    """Of each kind at most ``most``, spread evenly over all of them."""
    kinds: dict[str, list[Tamper]] = {}
    for tamper in listed:
        kinds.setdefault(tamper.kind, []).append(tamper)
    return [t for found in kinds.values() for t in found[:: -(-len(found) // most)]]


@dataclass
class Row:
    """What became of the tampers of one kind.

    Attributes:
        count: distinct tampers.
        false: how many were refused, by the first check that is FALSE, or that says that nothing stands.
        untold: tampers that ended with exit code 2, with the checks that said NOT CHECKED.
        believed: tampers that ended with exit code 0.
    """

    count: int = 0
    false: Counter[int] = field(default_factory=Counter)
    untold: dict[str, tuple[int, ...]] = field(default_factory=dict)
    believed: list[str] = field(default_factory=list)


def measure(
    listed: Iterable[Tamper], files: Files, look: Callable[[Files], Result], rows: dict[str, Row]
) -> None:
    """Verify every tampered record and count it in ``rows``, one for each kind."""
    for tamper, changed in distinct(listed, files):
        row, result = rows.setdefault(tamper.kind, Row()), look(changed)
        row.count += 1
        if result.exit_code == 1:
            false = [f.check for f in result.findings if f.label == Label.FALSE]
            row.false[min(false, default=_STANDING)] += 1
        elif result.exit_code == 2:
            row.untold[tamper.about] = tuple(
                sorted({f.check for f in result.findings if f.label == Label.NOT_CHECKED} & _TELLING)
            )
        else:
            row.believed.append(tamper.about)


_STANDING = 30
_TELLING = NEEDED - {5, 31} | {10, _STANDING}
"""Checks that can be why nothing could be told."""
