"""The servers that tests talk to: real ones, in a throw-away home, one stack for each worker's session."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from drl.local.stack import Stack

REPOSITORY = Path(__file__).resolve().parents[1]


class SharedServers(LoadScopeScheduling):
    """Tests that share servers go to one worker, so that these are started once; the rest one by one.

    With two workers one begins with the embedded stack and goes on with the cluster, the other has Airflow's.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return {"browser": "airflow", "dags": "airflow", "stack": "stack", "cluster": "cluster"}.get(
            folder, nodeid
        )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedServers:
    """How tests are divided among the workers of ``-n``."""
    return SharedServers(config, log)


@pytest.fixture(scope="session", autouse=True)
def _shared_downloads() -> None:
    """Fetch anvil once for all homes, not once for each."""
    os.environ.setdefault("DRL_CACHE", str(REPOSITORY / ".drl" / "cache"))


@pytest.fixture
def stack_home() -> Iterator[Path]:
    """A home of the test's own; whatever it left running there is stopped, and its data are deleted."""
    yield from _throw_away_home()


@pytest.fixture(scope="session")
def stack(_shared_downloads: None) -> Iterator[Stack]:
    """One running stack for the worker's whole session, stopped at its end even after failures.

    Tests share it: use names of your own (prefixes, labels, experiments, pipelines), and leave the servers
    running.
    """
    for home in _throw_away_home():
        stack = Stack.at(home)
        stack.up()
        yield stack


def _throw_away_home() -> Iterator[Path]:
    # Not pytest's tmp_path: its parents are closed to other users, and PostgreSQL under root is one.
    with tempfile.TemporaryDirectory(prefix="drl-stack-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            Stack.at(home).reset()
