"""How drl-api is set: one frozen dataclass, read from ``DRL_API_*`` variables or from one YAML file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from drl.errors import InputError
from drl.stores.settings import require_address

PREFIX = "DRL_API_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ApiSettings:
    """Everything that can be set; a variable is the field's name in capitals behind ``DRL_API_``.

    Attributes:
        policies: names of registered models, separated by commas in a variable.
        trust: the trust policy that every record must satisfy.
        mlflow: address of the registry; also ``DRL_MLFLOW_URI``.
        state: folder for the policies' files and for decisions that were not shipped yet.
        alias: of the model version that is served.
        host: address to listen on; another than loopback wants ``keys``.
        port: to listen on.
        keys: file of the API keys; None lets everybody in who reaches the loopback address.
        watch_seconds: between two looks at the alias and at the servers behind.
        prove_seconds: between two proofs of the policy that is served.
        limit_seconds: how long one proof may take.
        body_bytes: largest request.
        batch_rows: most observations in a request.
        requests_per_second: of one key, 0 for no limit; twice as many may come at once.
        decisions: ``s3://BUCKET/PREFIX`` where decisions go as Parquet; None logs none.
        decisions_seconds: between two shipments.
        decisions_bytes: most that waits on the disk while the bucket is away; then the oldest go.
        drift_steps: most time steps played to learn what observations to expect, 0 for none.
    """

    policies: tuple[str, ...]
    trust: Path
    mlflow: str
    state: Path
    alias: str = "champion"
    host: str = "127.0.0.1"
    port: int = 8770
    keys: Path | None = None
    watch_seconds: float = 5.0
    prove_seconds: float = 300.0
    limit_seconds: float = 600.0
    body_bytes: int = 1 << 20
    batch_rows: int = 4096
    requests_per_second: float = 0.0
    decisions: str | None = None
    decisions_seconds: float = 60.0
    decisions_bytes: int = 256 << 20
    drift_steps: int = 20_000

    def __post_init__(self) -> None:
        if not self.policies:
            raise _unusable("policies", "no policy is named", "name a registered model")
        for name in (*self.policies, self.alias):
            if not _NAME.fullmatch(name):
                raise _unusable(
                    "policies", f"{name!r} is no name of a model or alias", "use A-Z a-z 0-9 . _ -"
                )
        if len(set(self.policies)) != len(self.policies):
            raise _unusable("policies", "a policy is named twice", "name each once")
        require_address(self.mlflow, where="mlflow", schemes=("http", "https"))
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < math.inf:  # not a number is neither
                raise _unusable(name, f"{getattr(self, name)}", f"give at least {least}")
        if not 0 <= self.port <= 65535:
            raise _unusable("port", str(self.port), "give 0 to 65535")
        if self.decisions is not None and not _BUCKET.fullmatch(self.decisions):
            raise _unusable("decisions", repr(self.decisions), "give s3://BUCKET/PREFIX")
        if self.keys is None and self.host not in _LOOPBACK:
            raise _unusable(
                "keys", f"none, and {self.host} is reached from outside", "make some: drl-api key"
            )

    @classmethod
    def from_environment(cls, **given: Any) -> ApiSettings:
        """Read ``DRL_API_*``; ``given`` values that are not None come first."""
        found = {
            k.removeprefix(PREFIX).lower(): v for k, v in os.environ.items() if k.startswith(PREFIX) and v
        }
        return cls._of(found | _present(given), where="{name}", label=lambda n: PREFIX + n.upper())

    @classmethod
    def from_file(cls, path: Path, **given: Any) -> ApiSettings:
        """Read a YAML mapping of the fields; ``given`` values that are not None come first."""
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read: {error}", remedy="give a YAML file") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}: not a mapping", remedy="write NAME: VALUE lines; see docs/serving.md")
        return cls._of(value | _present(given), where=str(path), label=lambda n: f"{path}: {n}")

    @classmethod
    def _of(cls, found: Mapping[str, Any], *, where: str, label: Callable[[str], str]) -> ApiSettings:
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(found) - set(known)):
            raise InputError(f"{label(unknown[0])}: no such setting", remedy=f"one of {', '.join(known)}")
        values = dict(found)
        values.setdefault("mlflow", os.environ.get("DRL_MLFLOW_URI"))
        values = {name: _parsed(label(name), name, value) for name, value in _present(values).items()}
        missing = [n for n, f in known.items() if f.default is MISSING and n not in values]
        if missing:
            raise InputError(
                f"{label(missing[0])} is not set", remedy="set it; docs/serving.md lists all settings"
            )
        return cls(**values)


_LEAST: dict[str, float] = {
    "watch_seconds": 0.05,
    "prove_seconds": 1,
    "limit_seconds": 1,
    "body_bytes": 64,
    "batch_rows": 1,
    "requests_per_second": 0,
    "decisions_seconds": 0.05,
    "decisions_bytes": 1 << 20,
    "drift_steps": 0,
}
_PATHS = ("trust", "keys", "state")
_WHOLE = ("port", "body_bytes", "batch_rows", "decisions_bytes", "drift_steps")
_NUMBERS = ("watch_seconds", "prove_seconds", "limit_seconds", "requests_per_second", "decisions_seconds")


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", ())}


def _parsed(label: str, name: str, value: Any) -> Any:
    try:
        if name == "policies":
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(str(part).strip() for part in parts if str(part).strip())
        if name in _PATHS:
            return Path(value).expanduser()
        if name in _WHOLE:
            return int(str(value))
        return float(value) if name in _NUMBERS else str(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{label}: {value!r}", remedy="give a value of its kind; see docs/serving.md"
        ) from error


def _unusable(name: str, found: str, remedy: str) -> InputError:
    return InputError(f"drl-api, setting {name}: {found}", remedy=remedy)
