"""A throw-away anvil for each test, and one PostgreSQL for all of them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from eth_account import Account

from drl.local.anvil_package import fetch
from drl.local.home import Home
from drl.local.postgres import Postgres
from drl.stores.chain import ChainSettings, Ledger
from drl.stores.chain_sender import Patience

CHAIN_ID = 31337


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Anvil:
    """One anvil process, which a test may stop, kill, start again and give orders to."""

    def __init__(self, program: Path, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(str(program), "--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(CHAIN_ID)),
            *("--accounts", "0", "--state", str(folder / "state.json"), "--preserve-historical-states"),
            *("--quiet", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                self.rpc("eth_chainId")
                return
            time.sleep(0.02)
        raise TimeoutError("anvil does not answer")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=10)
            self._process = None

    def rpc(self, method: str, *parameters: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = requests.post(self.url, json=body, timeout=10).json()
        assert "error" not in answer, answer
        return answer["result"]

    def fund(self, private_key: str) -> str:
        address = str(Account.from_key(private_key).address)
        self.rpc("anvil_setBalance", address, hex(100 * 10**18))
        return address


@pytest.fixture(scope="session")
def anvil_program(_shared_downloads: None) -> Path:
    return fetch(Home.at().cache, print)


@pytest.fixture
def anvil(anvil_program: Path, tmp_path: Path) -> Iterator[Anvil]:
    server = Anvil(anvil_program, tmp_path)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def private_key() -> str:
    return "0x" + secrets.token_hex(32)


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A PostgreSQL of these tests' own, or the one that DRL_POSTGRES_URI names."""
    if os.environ.get("DRL_POSTGRES_URI"):
        yield os.environ["DRL_POSTGRES_URI"]
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "data", {"main": free_port()}, password=secrets.token_hex(16))
        server.prepare(print)
        account = server.account
        process = subprocess.Popen(
            server.command(),
            env=server.system_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **({"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}),
        )
        try:
            while not server.answers():
                assert process.poll() is None, "PostgreSQL ended"
                time.sleep(0.05)
            server.initialise()
            yield server.uri("drl", driver="")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)


@pytest.fixture
def connect(postgres_uri: str) -> Callable[[], Any]:
    return lambda: psycopg2.connect(postgres_uri)


@pytest.fixture
def settings(anvil: Anvil, private_key: str) -> ChainSettings:
    anvil.fund(private_key)
    return ChainSettings(
        rpc_url=anvil.url,
        chain_id=CHAIN_ID,
        private_key=private_key,
        patience=Patience(timeout=20, raise_fees_after=1, poll=0.05),
    )


@pytest.fixture
def ledger(settings: ChainSettings, connect: Callable[[], Any]) -> Ledger:
    made = Ledger(settings, connect)
    made.deploy()
    return made


@pytest.fixture
def another(settings: ChainSettings, connect: Callable[[], Any]) -> Callable[..., Ledger]:
    """Makes further ledgers of the same signer, as other processes would, with settings changed."""
    return lambda **changes: Ledger(replace(settings, **changes), connect)


def start_child(settings: ChainSettings, postgres_uri: str, boundary: str, *calls: list[Any]) -> Any:
    """Start ``chain_child.py``, which makes the calls and is killed at the boundary."""
    environment = os.environ | {
        "DRL_EVM_RPC_URL": settings.rpc_url,
        "DRL_EVM_CHAIN_ID": str(settings.chain_id),
        "DRL_EVM_PRIVATE_KEY": settings.private_key,
        "DRL_POSTGRES_URI": postgres_uri,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    program = [sys.executable, str(Path(__file__).with_name("chain_child.py"))]
    return subprocess.Popen(
        [*program, boundary, *map(json.dumps, calls)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
