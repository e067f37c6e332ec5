"""How fast the files of a record are hashed, against ``sha256sum`` on the same bytes in the same run.

Writes a record of 1 GiB (three large files and many small ones) as ``drl record export`` writes it, reads it once
into the page cache, then lets both hash it in turn, three times. Prints medians, the ratio of speeds, and the
memory that our process used at most. Run: python benchmarks/record_hashing.py [--mib 1024]
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from drl.record.export import Piece, blob_name, write_zip
from drl.record.files import MIB

ROUNDS = 3
OURS = """
import resource, sys
from pathlib import Path
from drl.record.files import open_record, sha256_of
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_record(Path(sys.argv[1])) as files:
    for name in files.names():
        sha256_of(files, name)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def pieces(mib: int) -> list[Piece]:
    """Three large files that fill most of it, and a hundred small ones."""
    block = random.Random(1).randbytes(MIB)
    large = [(mib - 10) // 3] * 3
    sizes = [*(size * MIB for size in large), *[MIB // 10] * 100]
    return [
        Piece(blob_name(f"{number:064x}"), size, partial(_Repeated, block, size))
        for number, size in enumerate(sizes)
    ]


class _Repeated(io.RawIOBase):
    """``size`` bytes made of one block again and again."""

    def __init__(self, block: bytes, size: int) -> None:
        self._block = block
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), len(self._block), self._left)
        buffer[:count] = self._block[:count]
        self._left -= count
        return count


def seconds(command: list[str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    mib = parser.parse_args().mib
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.record.zip"
        write_zip(path, pieces(mib))
        theirs, ours, memory = [], [], []
        commands = ["sha256sum", str(path)], [sys.executable, "-c", OURS, str(path)]
        seconds(commands[0])
        for _ in range(ROUNDS):
            theirs.append(seconds(commands[0])[0])
            taken, printed = seconds(commands[1])
            ours.append(taken)
            memory.append(int(printed) / 1024)
    size = mib / 1024
    their, our = statistics.median(theirs), statistics.median(ours)
    print(
        "| record, GiB | sha256sum, s | ours with the start of Python, s | ratio of speeds | memory beyond start, MiB |"
    )
    print("|---|---|---|---|---|")
    print(f"| {size:.2f} | {their:.2f} | {our:.2f} | {their / our:.2f} | {max(memory):.1f} |")


if __name__ == "__main__":
    main()
