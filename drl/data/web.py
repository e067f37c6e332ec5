"""Download one https address to a file, with limits, telling what is wrong from what may pass."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from drl.errors import DataError, StoreError

SIZE_LIMIT = 4 << 30
_TIMEOUT_S = (10.0, 60.0)
_CHUNK = 1 << 20
_PASSING = (429, 500, 502, 503, 504)


def download(url: str, target: Path, *, limit: int = SIZE_LIMIT) -> None:
    """Stream ``url`` to ``target``; on any error no file is left.

    Args:
        limit: bytes after which the download is given up.

    Raises:
        DataError: the address does not exist, leads away from https, or sends more than ``limit`` bytes.
        StoreError: the server is out of reach, too slow or failing; trying later may help.
    """
    name = without_secrets(url)
    try:
        with _session() as session, session.get(url, stream=True, timeout=_TIMEOUT_S) as reply:
            _require_answer(reply, name)
            _store(reply, target, name, limit)
    except requests.exceptions.InvalidSchema:
        raise DataError(f"{name}: redirects away from https", remedy="give the final https address") from None
    except requests.RequestException as error:
        target.unlink(missing_ok=True)
        # The text of the error may repeat the address with its query, so only its kind is shown.
        raise StoreError(
            f"{name}: download failed: {type(error).__name__}",
            remedy="check the network, proxy and certificate settings, then run again",
        ) from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def without_secrets(url: str) -> str:
    """The address without user, password, query and fragment, any of which may be a credential."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _session() -> requests.Session:
    session = requests.Session()
    session.adapters.clear()  # No adapter for http: a redirect must not lead to it.
    retry = Retry(total=3, backoff_factor=0.2, status_forcelist=_PASSING, raise_on_status=False)
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session


def _require_answer(reply: requests.Response, name: str) -> None:
    if reply.status_code in _PASSING:
        raise StoreError(f"{name}: the server answered {reply.status_code}", remedy="try again later")
    if not reply.ok:
        raise DataError(
            f"{name}: the server answered {reply.status_code} {reply.reason}",
            remedy="check data.source.url; the source may have moved or need a login",
        )


def _store(reply: requests.Response, target: Path, name: str, limit: int) -> None:
    received = 0
    with target.open("wb") as stream:
        for chunk in reply.iter_content(_CHUNK):
            received += len(chunk)
            if received > limit:
                raise DataError(f"{name}: more than {limit} bytes", remedy="give a smaller file")
            stream.write(chunk)
