"""Who may ask what: API keys by role, and how many requests of each."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from drl.errors import InputError

Role = Literal["act", "read", "metrics"]
ROLES: tuple[Role, ...] = get_args(Role)
_PREFIX = "drl_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class ApiKey:
    """One key, as its file has it.

    Attributes:
        name: whose it is; the key's own text is nowhere.
        roles: what it may be used for.
        sha256: digest of the key. A key has 256 random bits, so that no salt and no slow hash are needed.
    """

    name: str
    roles: frozenset[Role]
    sha256: str

    @classmethod
    def from_json(cls, value: Any, *, where: str) -> ApiKey:
        """Read one entry; InputError when it is something else."""
        if not isinstance(value, dict) or set(value) != {"name", "roles", "sha256"}:
            raise InputError(
                f"{where}: wants name, roles and sha256", remedy="make it with: drl-api key NAME"
            )
        name, roles, digest = str(value["name"]), value["roles"], str(value["sha256"])
        if not _NAME.fullmatch(name):
            raise InputError(f"{where}: name {name!r}", remedy="use letters, digits and . _ -")
        if not isinstance(roles, list) or not roles or not set(map(str, roles)) <= set(ROLES):
            raise InputError(f"{where}: roles {roles!r}", remedy=f"give some of {', '.join(ROLES)}")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InputError(f"{where}: sha256 is no digest", remedy="make it with: drl-api key NAME")
        return cls(name, frozenset(roles), digest)


class KeyRing:
    """The keys that are let in."""

    def __init__(self, keys: list[ApiKey]) -> None:
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read ``keys: [...]``.

        Raises:
            InputError: it cannot be read, is malformed, empty, or names one key twice.
        """
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read", remedy="give a YAML file of keys") from error
        entries = value.get("keys") if isinstance(value, dict) and set(value) == {"keys"} else None
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{path}: no list under `keys`", remedy="make one: drl-api key NAME")
        keys = [ApiKey.from_json(entry, where=f"{path}, key {i}") for i, entry in enumerate(entries, 1)]
        if len({key.name for key in keys}) != len(keys) or len({key.sha256 for key in keys}) != len(keys):
            raise InputError(f"{path}: a key is there twice", remedy="keep one of the two")
        return cls(keys)

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, None for a stranger's; takes as long whichever it is."""
        digest = digest_of(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def new_key() -> str:
    """A key with 256 random bits, which nothing here keeps."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What a key's file has of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Rates:
    """A token bucket for each name: ``per_second`` in the long run, twice that at once.

    Args:
        per_second: requests; 0 lets everything through.
        clock: seconds that only grow.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = per_second, max(1.0, 2 * per_second), clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take one; 0 when it was there, else seconds until it will be."""
        if not self._rate:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.pop(name, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        if len(self._buckets) >= _MOST_BUCKETS:  # the one that was quiet for longest; it is full again by now
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = (tokens - 1 if allowed else tokens, now)
        return 0.0 if allowed else (1 - tokens) / self._rate
