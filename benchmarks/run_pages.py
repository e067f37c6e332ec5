"""How long the pages in Airflow's interface take with one run in the store, and with a thousand.

One small run is made for real, in a throw-away home; the others are copies of its journal.

Run: python benchmarks/run_pages.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from airflow_runs import Records
from airflow_server import AirflowServer

from drl.local.stack import Stack
from drl.steps.journal import run_key

COPIES, LOADS, LIMIT = 999, 20, 0.5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="drl-pages-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        bundle = Path(folder) / "more"
        bundle.mkdir()
        server = AirflowServer(Path(folder) / "home", bundle)
        try:
            server.drl("stack", "up")
            server.start(300)
            server.log_in()
            _measure(server)
        finally:
            server.stop()
            Stack.at(server.home).reset()


def _measure(server: AirflowServer) -> None:
    server.pause("cartpole", False)
    run_id = server.trigger("cartpole", time_steps=4096, seeds=1)
    server.wait("cartpole", run_id)
    run = run_key("cartpole", run_id)
    print("| page | runs in the store | first load, ms | median of the next 20, ms | slowest, ms |")
    print("|---|---|---|---|---|")
    _pages(server, {"all runs": "", "a run": f"run/{run}", "lineage": f"lineage/{run}"}, 1)
    last = _copy(Records(Stack.at(server.home)), run)
    _pages(server, {"all runs": "", "a run": f"run/{last}", "lineage": f"lineage/{run}"}, COPIES + 1)


def _copy(records: Records, run: str) -> str:
    """Write the run's journal again under other names, each a little newer; returns the last one's key."""
    journal = records.journal(run)
    documents = {name: journal.read(name) for name in journal.names()}
    newest = int(records.documents.list("index/", limit=1)[0].rpartition("/")[2])

    def write(number: int) -> str:
        copy = f"{run}-{number}"
        for name, data in documents.items():
            records.documents.write_once(f"journal/{copy}/{name}", data)
        records.documents.write_once(f"index/{newest - number:013d}", copy.encode())
        return copy

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(write, range(1, COPIES + 1)))[-1]


def _pages(server: AirflowServer, pages: dict[str, str], runs: int) -> None:
    for name, path in pages.items():
        first, *times = [_load(server, path) for _ in range(LOADS + 1)]
        median, slowest = statistics.median(times), max(times)
        print(
            f"| {name} | {runs:,} | {1000 * first:.0f} | {1000 * median:.0f} | {1000 * slowest:.0f} |",
            flush=True,
        )
        if median > LIMIT:
            raise SystemExit(f"{name}: {median:.2f} s is more than {LIMIT} s")


def _load(server: AirflowServer, path: str) -> float:
    begin = time.perf_counter()
    answer = server.page(f"drl/{path}")
    if not answer.ok:
        raise SystemExit(f"drl/{path}: {answer.status_code} {answer.text[:300]}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
