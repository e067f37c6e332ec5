"""Free loopback ports, below the range from which systems take the ports of outgoing connections."""

from __future__ import annotations

import secrets
import socket
import time

from drl.errors import Undetermined

LOW, HIGH = 11_000, 20_000
ATTEMPTS = 500


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``127.0.0.1:port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it a port in TIME_WAIT looks taken after a crash, and the servers' own ports would wander.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_free_with_companion(port: int, offset: int) -> bool:
    """Tell whether ``port`` and, when ``offset`` is not 0, ``port + offset`` are free."""
    return is_free(port) and (offset == 0 or is_free(port + offset))


def becomes_free(port: int, offset: int, patience: float) -> bool:
    """Tell whether ``port`` and its companion are free, or become so within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not (free := is_free_with_companion(port, offset)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return free


def choose(taken: set[int], offset: int = 0) -> int:
    """Choose a free port at random, not in ``taken`` and with a free companion at ``offset``."""
    for _ in range(ATTEMPTS):
        port = LOW + secrets.randbelow(HIGH - LOW)
        if port not in taken and is_free_with_companion(port, offset):
            return port
    raise Undetermined(
        f"no free loopback port between {LOW} and {HIGH} in {ATTEMPTS} attempts",
        remedy="End programs that hold ports there (see: ss -ltn), then run the command again.",
    )
