"""Files of JSON lines that wait on the disk, never more than so many bytes of them: the oldest go first."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path


class Backlog:
    """One folder of files.

    Args:
        folder: made where it is not there; what an earlier process left in it counts.
        most: bytes of all files together.
    """

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._most = folder, most
        for draft in folder.glob("*.part"):  # of a process that was killed while it wrote
            draft.unlink()

    def files(self) -> list[Path]:
        """Every file, the oldest first."""
        return sorted(self._folder.glob("*.jsonl"))

    def size(self) -> int:
        """Bytes of all files."""
        return sum(_size(file) for file in self.files())

    def write(self, lines: Sequence[str]) -> int:
        """Add a file, after making room for it; how many lines of older files that cost.

        Raises:
            OSError: the disk does not take it.
        """
        data = "".join(f"{line}\n" for line in lines).encode()
        lost = self._make_room(len(data))
        name = f"{time.time_ns()}-{secrets.token_hex(4)}"
        draft = self._folder / f"{name}.part"
        try:
            draft.write_bytes(data)
            os.replace(draft, self._folder / f"{name}.jsonl")
        finally:
            draft.unlink(missing_ok=True)
        return lost

    def _make_room(self, wanted: int) -> int:
        files, lost = self.files(), 0
        sizes = {file: _size(file) for file in files}
        left = sum(sizes.values())
        for file in files:
            if left + wanted <= self._most:
                break
            lost += _lines(file)
            file.unlink(missing_ok=True)
            left -= sizes[file]
        return lost


def _size(file: Path) -> int:
    """Its bytes; none once it was shipped."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _lines(file: Path) -> int:
    try:
        with file.open("rb") as opened:
            return sum(1 for _ in opened)
    except FileNotFoundError:
        return 0
