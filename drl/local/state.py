"""``stack.json``: ports, credentials and processes of one stack, readable by its owner alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drl.errors import InputError
from drl.local.processes import ProcessRecord
from drl.local.seaweedfs import S3Key

FORMAT = "drl.stack/1"


@dataclass(frozen=True)
class Credentials:
    """Random secrets, made once for each home."""

    postgres_password: str = field(repr=False)
    bolt_password: str = field(repr=False)
    s3_operator: S3Key
    s3_step: S3Key
    s3_mlflow: S3Key
    s3_signing_key: str = field(repr=False)
    evm_private_key: str = field(repr=False)
    evm_address: str

    @classmethod
    def random(cls) -> Credentials:
        """Draw new ones; the EVM address belongs to the private key."""
        from eth_account import Account

        private_key = "0x" + secrets.token_hex(32)
        return cls(
            postgres_password=secrets.token_hex(24),
            bolt_password=secrets.token_hex(24),
            s3_operator=_s3_key(),
            s3_step=_s3_key(),
            s3_mlflow=_s3_key(),
            s3_signing_key=secrets.token_hex(32),
            evm_private_key=private_key,
            evm_address=Account.from_key(private_key).address,
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Credentials:
        """Read what :func:`dataclasses.asdict` wrote."""
        keys = {name: S3Key(**value[name]) for name in ("s3_operator", "s3_step", "s3_mlflow")}
        return cls(**{**value, **keys})


@dataclass
class State:
    """What is known of a stack between two commands."""

    credentials: Credentials
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> State | None:
        """Read the state; None when there is none yet.

        Raises:
            InputError: the file is not a whole state of this format.
        """
        try:
            value = json.loads(path.read_bytes())
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']!r}, expected {FORMAT!r}")
            return cls(
                credentials=Credentials.from_json(value["credentials"]),
                ports=value["ports"],
                processes={
                    name: ProcessRecord(**{**record, "command": tuple(record["command"])})
                    for name, record in value["processes"].items()
                },
            )
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror}",
                remedy="Run as the user who started the stack, or set DRL_HOME to a folder of yours.",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            # Only the kind of error is named: its text could quote a secret from the file.
            raise InputError(
                f"{path} is damaged or of another format ({type(error).__name__})",
                remedy="Restore it from a backup, or begin anew by deleting the whole folder.",
            ) from None

    def save(self, path: Path) -> None:
        """Write the state whole or not at all, for its owner alone (mode 0600)."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        write_private(path, text)

    def redact(self, text: str) -> str:
        """Return ``text`` with every secret of this stack replaced by ``***``."""
        for secret in _strings(asdict(self.credentials)):
            text = text.replace(secret, "***")
        return text


def write_private(path: Path, text: str) -> None:
    """Write ``text`` atomically to a file of mode 0600."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _s3_key() -> S3Key:
    return S3Key(access=secrets.token_hex(10), secret=secrets.token_hex(20))


def _strings(value: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _strings(item)
        elif key != "evm_address":
            found.append(item)
    return found
