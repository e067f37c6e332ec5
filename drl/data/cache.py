"""Files kept by their digest, so that a second run needs no network.

The default folder is the one the embedded servers' downloads live in as well: ``$DRL_CACHE``, else ``cache``
below ``$DRL_HOME``, else the user's cache folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from drl.digest import sha256_file


class DigestCache:
    """Files under ``folder / sha256``; whatever is found there is digested again before it is trusted."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or _default_folder()) / "sources"

    def find(self, sha256: str) -> Path | None:
        """The kept file, or None; a file whose bytes have changed since is thrown away."""
        path = self.folder / sha256
        if not path.is_file():
            return None
        if sha256_file(path) != sha256:
            path.unlink(missing_ok=True)
            return None
        return path

    def keep(self, path: Path, sha256: str) -> Path:
        """Copy ``path``, whose digest the caller has checked, in; two writers at once do no harm."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".writing-")
        try:
            with os.fdopen(handle, "wb") as target, path.open("rb") as source:
                shutil.copyfileobj(source, target)
            os.replace(temporary, self.folder / sha256)
        except BaseException:
            os.unlink(temporary)
            raise
        return self.folder / sha256


def _default_folder() -> Path:
    for variable, below in (("DRL_CACHE", ""), ("DRL_HOME", "cache"), ("XDG_CACHE_HOME", "drl")):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / below
    return Path.home() / ".cache" / "drl"
