"""How long `drl lineage rebuild` takes: everything in the graph made again from the journals in S3.

Run: drl stack up; PYTHONPATH=tests python benchmarks/lineage_rebuild.py [--runs 1000]

The journals are those that the tests write, in ten pipelines, one run in ten promoted, in a bucket of their own;
the graph is an empty database of its own on the embedded server. Both stay behind: `drl stack reset` ends them.
Each figure is a whole process, from start to exit.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bolt_servers import empty_database
from lineage_runs import JournalRun, signer, write_run

from drl.local.stack import Stack
from drl.stores.s3 import ArtifactStore
from drl.stores.s3_client import connect
from drl.stores.settings import S3Settings

PIPELINES, PROMOTED, THREADS = 10, 10, 8


def journal_run(number: int) -> JournalRun:
    verdict = "PROMOTE" if number // PIPELINES % PROMOTED == 0 else "HOLD"
    return JournalRun(f"pipeline_{number % PIPELINES}", number // PIPELINES + 1, verdict=verdict)


def fill(settings: S3Settings, runs: int) -> int:
    """Write the journals; returns how many documents that makes."""
    connect(settings).create_bucket(Bucket=settings.sealed)
    documents = ArtifactStore(replace(settings, staging=settings.sealed))
    for role in ("steps", "release"):
        signer(role)
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda number: write_run(documents, journal_run(number)), range(runs)):
            pass
    return len(documents.list(""))


def timed(*arguments: str) -> tuple[float, str]:
    """Seconds of a `drl lineage` command, and its last line."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "drl", "lineage", *arguments], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, done.stdout.splitlines()[-1]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=1000)
    runs = arguments.parse_args().runs
    stack = Stack.at()
    names = {name: value for name, value in stack.environment().items() if name.startswith("DRL_")}
    os.environ.update(names | {"DRL_S3_SEALED": f"lineage-{secrets.token_hex(4)}"})
    os.environ["DRL_BOLT_DATABASE"] = empty_database("embedded", stack).database
    documents = fill(S3Settings.from_environment(), runs)
    print(
        f"{runs:,} runs in {documents:,} documents\n\n| command | seconds | runs/s |\n|---|---:|---:|",
        flush=True,
    )
    for command in (("rebuild",), ("rebuild", "--check")):
        seconds, last = timed(*command)
        print(f"| `drl lineage {' '.join(command)}` | {seconds:.1f} | {runs / seconds:.0f} |", flush=True)
        print(last, file=sys.stderr)


if __name__ == "__main__":
    main()
