"""``drl airflow standalone``: Airflow's components under one command that leaves none of them behind.

The components are those of Airflow's own ``standalone``. That is not used because a SIGTERM to it orphans all
of them, it opens two log servers on every network interface, and it holds 150 MB for itself.
Here each component, with the tasks and steps that it started, is watched by ``drl.steps.supervise``: it ends
when this process asks, and when this process is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from drl.errors import ConflictError, StoreError
from drl.local import ports, probes
from drl.local.home import Home
from drl.local.orphans import end_orphans, only_airflow

# Tasks write their logs where the api-server reads them, so nobody has to serve them.
COMPONENTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "api-server": ("api-server",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
START_TIMEOUT = 180.0
"""Seconds until all components are healthy; 20 to 30 are usual, most of them imports."""
STOP_TIMEOUT = 30.0
"""Seconds until a component's supervisor has ended all that it watches; it kills what does not end in ten."""


@dataclass(frozen=True)
class Component:
    """A running component."""

    name: str
    supervisor: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1500:]


def run_components(
    environment: Mapping[str, str], home: Home, greet: Callable[[str], None], say: Callable[[str], None]
) -> None:
    """Start all components, call ``greet`` with the address when they are healthy, and wait to be stopped.

    What a killed Airflow of this home left behind is ended first. Returns after SIGINT (Ctrl-C), SIGTERM or
    SIGHUP, when nothing of them is left. Tasks that were at work are ended; the next start takes up their
    runs, and a training goes on from its last checkpoint.

    Args:
        environment: from :func:`drl.local.airflow_home.airflow_environment`.
        home: keeps the components' logs.
        greet: gets the address of the web interface.
        say: told what was ended.

    Raises:
        ConflictError: Airflow runs in this home already, or its port is taken.
        StoreError: a component ended by itself, or was not healthy in time; the others are ended too.
    """
    with only_airflow(home):
        if left := end_orphans(home):
            say(f"airflow: ended {len(left)} processes that a killed one had left behind")
        _run(environment, home, greet)


def _run(environment: Mapping[str, str], home: Home, greet: Callable[[str], None]) -> None:
    address = environment["AIRFLOW__API__BASE_URL"]
    port = int(environment["AIRFLOW__API__PORT"])
    if not ports.is_free(port):
        raise ConflictError(
            f"port {port} of Airflow's web interface is taken",
            remedy=f"Look at {address}, and end what answers there.",
        )
    asked = _AskedToStop()
    with asked.listening(), _started(environment, home) as components:
        deadline = time.monotonic() + START_TIMEOUT
        while not asked and not healthy(address):
            _refuse_dead(components)
            if time.monotonic() > deadline:
                tails = "\n".join(f"{c.name}, {c.log}:\n{c.tail()}" for c in components)
                raise StoreError(
                    f"Airflow is not healthy after {START_TIMEOUT:.0f} s: {health(address)}\n{tails}",
                    remedy="Read the logs above; a machine under heavy load may need a second try.",
                )
            time.sleep(0.25)
        if not asked:
            greet(address)
        while not asked:
            _refuse_dead(components)
            time.sleep(0.25)


def health(address: str) -> dict[str, str | None]:
    """Status of each component as Airflow sees it; empty while its api-server does not answer."""
    status, body = probes.http(f"{address}/api/v2/monitor/health")
    if status != 200:
        return {}
    return {name: value["status"] for name, value in json.loads(body).items() if value}


def healthy(address: str) -> bool:
    """Whether Airflow calls all its components healthy."""
    seen = health(address)
    return len(seen) == len(COMPONENTS) and set(seen.values()) == {"healthy"}


class _AskedToStop:
    """True once a signal came."""

    def __init__(self) -> None:
        self._came = False

    def __bool__(self) -> bool:
        return self._came

    @contextmanager
    def listening(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True


@contextmanager
def _started(environment: Mapping[str, str], home: Home) -> Iterator[list[Component]]:
    components: list[Component] = []
    try:
        for name in COMPONENTS:
            components.append(_start(name, environment, home))
        yield components
    finally:
        for component in components:
            if component.supervisor.stdin:
                component.supervisor.stdin.close()  # the supervisor ends what it watches
        for component in components:
            _wait(component)


def _start(name: str, environment: Mapping[str, str], home: Home) -> Component:
    with home.open_log(f"airflow-{name}") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "drl.steps.supervise", sys.executable, "-m", "airflow", *COMPONENTS[name]],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others in order
        )
    return Component(name, supervisor, home.log(f"airflow-{name}"))


def _wait(component: Component) -> None:
    try:
        component.supervisor.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(component.supervisor.pid, signal.SIGKILL)
        component.supervisor.wait()


def _refuse_dead(components: list[Component]) -> None:
    for component in components:
        status = component.supervisor.poll()
        if status is not None:
            raise StoreError(
                f"Airflow's {component.name} ended with status {status}:\n{component.tail()}",
                remedy=f"Read {component.log}, then start again.",
            )
