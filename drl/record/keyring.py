"""Which keys a deployment has signed with, in which role, from when until when: the file ``keys.json``.

Public keys only. An earlier key stays in it, so that what it signed can still be verified; a revoked one does
not count any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from securesystemslib.signer import SSlibKey

from drl.errors import InputError
from drl.record.key_files import load_public

Role = Literal["steps", "release", "approval"]
ROLES: tuple[Role, ...] = get_args(Role)
FORMAT = "drl.keys/1"


def now() -> str:
    """This second in UTC, RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class KeyEntry:
    """A key in a role.

    Attributes:
        role: what it signs.
        key_id: its id.
        where: URI of the private key; for an earlier key, where it was.
        public: the public key in PEM.
        since: first day and time of its use.
        until: when its successor took over; None for the current key.
        revoked: from when on it is not to be trusted; None when it is.
    """

    role: Role
    key_id: str
    where: str
    public: str
    since: str
    until: str | None = None
    revoked: str | None = None

    @property
    def key(self) -> SSlibKey:
        """The public key; InputError when the key ring says another id."""
        key = load_public(self.public.encode(), where=f"key ring, {self.role} key {self.key_id[:12]}")
        if key.keyid != self.key_id:
            raise InputError(
                f"key ring: the public key of {self.key_id[:12]} has the id {key.keyid[:12]}",
                remedy="restore keys.json from its backup",
            )
        return key


class Keyring:
    """The key ring in a folder.

    Args:
        folder: of ``keys.json``; where it cannot be written (a mounted secret), what lies there counts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "keys.json"

    @property
    def writable(self) -> bool:
        """Whether new keys can be noted."""
        return os.access(self.folder, os.W_OK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the ring against other processes until the block ends or this process dies."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def entries(self) -> list[KeyEntry]:
        """All keys, the oldest of each role first.

        Raises:
            InputError: the file is damaged.
        """
        try:
            value: Any = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError:
            value = None
        try:
            if value["format"] != FORMAT:
                raise KeyError(value["format"])
            return [KeyEntry(**entry) for entry in value["keys"]]
        except (TypeError, KeyError) as error:
            raise InputError(
                f"{self.path}: not a key ring ({type(error).__name__})",
                remedy="restore it from its backup: without it, earlier keys are unknown",
            ) from error

    def current(self, role: Role) -> KeyEntry | None:
        """The key that signs in a role now."""
        return next((e for e in self.entries() if e.role == role and e.until is None), None)

    def trusted(self, role: Role) -> list[SSlibKey]:
        """The current and the earlier keys of a role, without those that were revoked."""
        return [e.key for e in self.entries() if e.role == role and e.revoked is None]

    def find(self, key_id: str) -> KeyEntry:
        """The entry of a key, by its id or the beginning of it.

        Raises:
            InputError: none, or more than one.
        """
        found = [e for e in self.entries() if e.key_id.startswith(key_id)]
        if len(found) != 1 or len(key_id) < 8:
            raise InputError(
                f"{len(found)} keys begin with {key_id!r}",
                remedy="give eight or more characters of a key id that `drl keys list` shows",
            )
        return found[0]

    def begin(self, entry: KeyEntry) -> None:
        """Make ``entry`` the current key of its role; the one before it ends now."""
        ended = [
            replace(e, until=entry.since) if e.role == entry.role and e.until is None else e
            for e in self.entries()
        ]
        self._write([*ended, entry])

    def revoke(self, key_id: str, since: str) -> None:
        """Note that a key is not to be trusted from ``since`` on; the first such note stays."""
        self._write(
            [replace(e, revoked=e.revoked or since) if e.key_id == key_id else e for e in self.entries()]
        )

    def _write(self, entries: list[KeyEntry]) -> None:
        text = json.dumps({"format": FORMAT, "keys": [asdict(e) for e in entries]}, indent=1)
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
