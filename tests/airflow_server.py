"""``drl airflow standalone`` as a process of a test's own, and Airflow's REST API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import requests
from airflow_api import AirflowApi
from clean_code import clean_code

from drl.local.airflow_home import AirflowSecrets, admin_login


class AirflowServer(AirflowApi):
    """Airflow's components in a home, started by the command that people use."""

    def __init__(self, home: Path, bundle: Path) -> None:
        super().__init__()
        self.home = home
        self.screen = home / "screen.log"
        self._environment = os.environ | {"DRL_HOME": str(home), "DRL_BUNDLES": str(bundle)}
        self.process: subprocess.Popen[bytes] | None = None
        self.started_within = 0.0

    def drl(self, *arguments: str) -> str:
        """Run ``drl`` to its end; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "drl", *arguments],
            cwd=clean_code(),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def start(self, timeout: float = 120) -> None:
        """Start the components and wait until it says where to look."""
        begin = time.monotonic()
        with self.screen.open("wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "drl", "airflow", "standalone"],
                cwd=clean_code(),
                env=self._environment,
                stdout=screen,
                stderr=screen,
            )
        while "Ctrl-C" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - begin < timeout, self.said
            time.sleep(0.1)
        self.started_within = time.monotonic() - begin

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal and wait for the end; returns the exit status, None when it was never started."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def said(self) -> str:
        """What is on the screen."""
        return self.screen.read_text()

    @property
    def processes(self) -> list[psutil.Process]:
        """All processes below it."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    @property
    def steps(self) -> list[psutil.Process]:
        """Those that do the work of a step."""
        with suppress(psutil.NoSuchProcess):
            return [p for p in self.processes if "step" in (p.as_dict(["cmdline"])["cmdline"] or ())]
        return []

    @property
    def port(self) -> int:
        return AirflowSecrets.of(self.home / "airflow").ports["api"]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, password: str | None = None) -> requests.Response:
        """Ask for a token as the home's admin."""
        user, kept = admin_login(self.home)
        return self.log_in_as(user, password or kept)
