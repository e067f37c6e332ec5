"""Where data come from: a file, an S3 object, an https address or a member of a wheel, always by digest.

:func:`resolve_latest` turns ``latest`` into a digest when a run is frozen; :func:`fetch` brings exactly these
bytes to the step. Bytes with another digest are refused and not kept.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from drl.data.cache import DigestCache
from drl.digest import sha256_file
from drl.errors import DataError, DrlError, InputError
from drl.spec import FileSource, HttpsSource, S3Source, Source, WheelSource


@runtime_checkable
class SourceStore(Protocol):
    """What a source needs of an object store."""

    def download(self, uri: str, path: Path) -> None:
        """Fetch the object at ``s3://bucket/key`` to the file ``path``."""

    def list(self, prefix: str) -> list[str]:
        """Addresses ``s3://bucket/key`` below the address ``prefix``, sorted."""


@dataclass(frozen=True)
class FetchedSource:
    """Bytes that are those of the source.

    Attributes:
        path: the data file, for a wheel the unpacked member.
        sha256: digest that the source declares; for a wheel that of the wheel.
        description: the source in one line, for people, without credentials.
    """

    path: Path
    sha256: str
    description: str


def fetch(
    source: Source, into: Path, *, base: Path, s3: object | None, cache: DigestCache | None = None
) -> FetchedSource:
    """Bring the source's bytes into the folder ``into``.

    Args:
        source: with an exact digest; ``latest`` must have been resolved before.
        base: folder that relative paths start from.
        s3: a :class:`SourceStore`, for S3 sources only.
        cache: where downloads are kept by digest; None for the default one.

    Raises:
        DataError: other bytes than declared, or the source is gone or corrupt.
        StoreError: the network, the store or the package index is out of reach.
        InputError: the source still says ``latest``, or needs a store and there is none.
    """
    if source.sha256 == "latest":
        raise InputError(
            f"data.source ({describe(source)}): sha256 is `latest`, which names no bytes",
            remedy="freeze the run first, or give the digest",
        )
    into.mkdir(parents=True, exist_ok=True)
    if isinstance(source, FileSource):
        path = _copy(_existing_file(base / source.path), into, source.sha256, describe(source))
        return FetchedSource(path, source.sha256, describe(source))
    kept = _kept(source, s3, cache or DigestCache())
    if isinstance(source, WheelSource):
        from drl.data.wheel import extract_member

        return FetchedSource(extract_member(kept, source, into), source.sha256, describe(source))
    return FetchedSource(
        _copy(kept, into, source.sha256, describe(source), "source"), source.sha256, describe(source)
    )


def resolve_latest(
    source: Source, *, base: Path, s3: object | None, cache: DigestCache | None = None
) -> Source:
    """The source with an exact digest; one that has a digest already is returned unchanged.

    ``latest`` means: of a folder the file, and of an S3 prefix the object, whose name sorts last (so name
    them by date); of an https address the bytes it sends now, which the cache keeps for :func:`fetch`.

    Raises:
        DataError: nothing is there.
    """
    if source.sha256 != "latest":
        return source
    if isinstance(source, FileSource):
        newest = _last_file(base / source.path)
        relative = str(Path(source.path) / newest.name) if (base / source.path).is_dir() else source.path
        return source.model_copy(update={"path": relative, "sha256": sha256_file(newest)})
    if isinstance(source, S3Source):
        source = source.model_copy(update={"uri": _last_object(source, _require_store(s3))})
    with tempfile.TemporaryDirectory(prefix="drl-source-") as folder:
        path = _download(source, Path(folder), s3)
        sha256 = sha256_file(path)
        (cache or DigestCache()).keep(path, sha256)
    return source.model_copy(update={"sha256": sha256})


def describe(source: Source) -> str:
    """The source in one line, without anything that may be a credential."""
    if isinstance(source, WheelSource):
        return f"{source.member} in the wheel {source.package}=={source.version}"
    if isinstance(source, HttpsSource):
        from drl.data.web import without_secrets

        return without_secrets(source.url)
    return source.uri if isinstance(source, S3Source) else source.path


def _kept(source: Source, s3: object | None, cache: DigestCache) -> Path:
    found = cache.find(source.sha256)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="drl-source-") as folder:
        path = _download(source, Path(folder), s3)
        _require_digest(path, source.sha256, describe(source))
        return cache.keep(path, source.sha256)


def _download(source: Source, into: Path, s3: object | None) -> Path:
    if isinstance(source, WheelSource):
        from drl.data.wheel import download_wheel

        return download_wheel(source, into)
    target = into / "download"
    if isinstance(source, HttpsSource):
        from drl.data.web import download

        download(source.url, target)
    elif isinstance(source, S3Source):
        _require_store(s3).download(source.uri, target)
    return target


def _require_store(s3: object | None) -> SourceStore:
    if not isinstance(s3, SourceStore):
        raise InputError(
            "data.source.kind is s3 and there is no artifact store to read it from",
            remedy="start the stack (`drl stack up`) or set the DRL_S3_* variables",
        )
    return s3


def _last_object(source: S3Source, store: SourceStore) -> str:
    if not source.uri.endswith("/"):
        return source.uri
    addresses = [address for address in store.list(source.uri) if not address.endswith("/")]
    if not addresses:
        raise DataError(
            f"{source.uri}: no object below this prefix", remedy="upload data, or mend data.source.uri"
        )
    return max(addresses)


def _last_file(path: Path) -> Path:
    if path.is_dir():
        files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
        if not files:
            raise DataError(
                f"{path}: a folder without files", remedy="put data there, or mend data.source.path"
            )
        return max(files, key=lambda p: p.name)
    return _existing_file(path)


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        seen = "a folder" if path.is_dir() else "no such file"
        raise DataError(
            f"data.source.path {path}: {seen}", remedy="put the file back, or mend data.source.path"
        )
    return path


def _copy(path: Path, into: Path, sha256: str, what: str, name: str | None = None) -> Path:
    """Copy first and digest the copy, so that nobody changes the bytes between check and use."""
    target = into / (name or path.name)
    try:
        shutil.copyfile(path, target)
        _require_digest(target, sha256, what)
    except (OSError, DrlError):
        target.unlink(missing_ok=True)
        raise
    return target


def _require_digest(path: Path, sha256: str, what: str) -> None:
    seen = sha256_file(path)
    if seen != sha256:
        raise DataError(
            f"{what}: expected sha256 {sha256}, seen {seen}",
            remedy="fetch the right version, or look at the data and declare the new digest",
        )
