"""Small questions to loopback servers, with the standard library only: they decide what ``healthy`` means."""

from __future__ import annotations

import base64
import json
import socket
import urllib.error
import urllib.request
from typing import Any

# Loopback is never asked through a proxy, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(
    url: str, *, body: Any = None, login: tuple[str, str] | None = None, timeout: float = 2.0
) -> tuple[int, bytes]:
    """Ask ``url`` and return the HTTP status and the answer's body; status 0 when nobody answered.

    Args:
        url: an ``http://127.0.0.1`` address.
        body: posted as JSON when not None.
        login: user and password for basic authentication.
        timeout: seconds.
    """
    request = urllib.request.Request(url)  # noqa: S310  # callers pass loopback addresses only
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if login is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    try:
        with _opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def json_rpc(url: str, method: str, *params: Any, timeout: float = 2.0) -> Any:
    """Call a JSON-RPC 2.0 method and return its result; None when there is no (good) answer."""
    status, body = http(
        url, body={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, timeout=timeout
    )
    if status != 200:
        return None
    try:
        return json.loads(body).get("result")
    except (ValueError, AttributeError):
        return None


def bolt_handshake(host: str, port: int, timeout: float = 2.0) -> bool:
    """Tell whether a Bolt server agrees on protocol 5.0 to 5.4 or 4.4 (Bolt handshake specification)."""
    versions = bytes(
        [0, 4, 4, 5, 0, 0, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0]
    )  # newest, versions below it, minor, major
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(b"\x60\x60\xb0\x17" + versions)
            answer = connection.recv(4)
    except OSError:
        return False
    return len(answer) == 4 and answer != b"\0\0\0\0"
