"""kubectl on the cluster that ``KUBECONFIG`` names, and namespaces of a test's own there."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from k8s_manifests import tool

RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}{suffix}": value
    for mode in ("enforce", "warn")
    for suffix, value in (("", "restricted"), ("-version", "latest"))
}
"""Labels of a namespace that takes no pod outside the *restricted* profile."""


@dataclass(frozen=True)
class Kubectl:
    """Calls kubectl as the user of the kubeconfig, in one namespace if one is named."""

    namespace: str | None = None

    def __call__(self, *arguments: str, text: str | None = None, timeout: float = 60) -> str:
        """What ``kubectl ARGUMENTS`` prints, given ``text`` on its standard input.

        ``timeout`` is in seconds.

        Raises:
            AssertionError: It failed; its own words are the message.
        """
        done = self.run(*arguments, text=text, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout}"
        return done.stdout

    def run(
        self, *arguments: str, text: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """The same without judging the exit status."""
        place = () if self.namespace is None else ("--namespace", self.namespace)
        return subprocess.run(
            [tool("kubectl"), *place, *arguments], input=text, capture_output=True, text=True, timeout=timeout
        )

    def json(self, *arguments: str) -> Any:
        """What ``kubectl ARGUMENTS --output json`` says."""
        return json.loads(self(*arguments, "--output", "json"))

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply objects."""
        self(
            "apply",
            "--filename",
            "-",
            text=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}),
        )

    def within(self, namespace: str) -> Kubectl:
        """The same cluster, in a namespace."""
        return Kubectl(namespace)


@contextmanager
def throw_away_namespace(kubectl: Kubectl, purpose: str) -> Iterator[str]:
    """A namespace under the *restricted* profile, removed with all that is in it.

    ``purpose`` is a word for its name: ``drl-PURPOSE-test-XXXXXX``.
    """
    name = f"drl-{purpose}-test-{secrets.token_hex(3)}"
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    try:
        eventually(lambda: kubectl.run("-n", name, "get", "serviceaccount", "default").returncode == 0, 60)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def eventually(holds: Callable[[], bool], seconds: float, every: float = 1.0) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: It did not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"did not come about within {seconds:.0f} s"
        time.sleep(every)


class PortForward:
    """A port of a pod or Service at a free port of 127.0.0.1, until it is closed or the pod goes.

    Raises:
        ForwardError: nothing is ready to answer there.
    """

    def __init__(self, namespace: str, target: str, port: int) -> None:
        self._process = subprocess.Popen(
            [tool("kubectl"), "--namespace", namespace, "port-forward", target, f":{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+) ->", line):
                self.address = f"http://127.0.0.1:{found[1]}"
                return
            said += line
        self.close()
        raise ForwardError(said)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


class ForwardError(Exception):
    """There is no pod that a port could be shown of."""
