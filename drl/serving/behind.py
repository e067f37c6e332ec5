"""Are the servers behind within reach? Asked beside the serving, which goes on without them."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException

from drl.serving.settings import ApiSettings

_SECONDS = 5
_ASK_CHAIN = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()


@dataclass
class Behind:
    """Registry, store and ledger, by name; ``None`` for an address that is not set.

    Attributes:
        addresses: of each.
        up: whether each answered at the last look; empty before the first.
    """

    addresses: dict[str, str | None] = field(repr=False)
    up: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ApiSettings) -> Behind:
        """The servers of these settings and of ``DRL_S3_ENDPOINT`` and ``DRL_EVM_RPC_URL``."""
        return cls(
            {
                "registry": f"{settings.mlflow.rstrip('/')}/health",
                "store": os.environ.get("DRL_S3_ENDPOINT"),
                "ledger": os.environ.get("DRL_EVM_RPC_URL"),
            }
        )

    def look(self) -> None:
        """Ask each."""
        self.up = {name: _answers(name, address) for name, address in self.addresses.items()}

    def problems(self) -> list[str]:
        """A sentence for each that did not answer."""
        return [f"the {name} cannot be reached" for name, up in self.up.items() if not up]


def _answers(name: str, address: str | None) -> bool:
    if not address:
        return False
    body, headers = (_ASK_CHAIN, {"Content-Type": "application/json"}) if name == "ledger" else (None, {})
    request = urllib.request.Request(address, data=body, headers=headers)  # noqa: S310 - an address of ours
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310 - as above
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # a store refuses strangers, and is there
    except (OSError, ValueError, HTTPException):
        return False
