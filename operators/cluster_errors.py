"""Answers of the Kubernetes API as errors of ours: refused, or to be asked again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from drl.errors import StoreError


class OutOfReach(StoreError):
    """The API server does not answer, is ill, or asks to be left alone for a while: ask again."""


def may_pass(status: int | None) -> bool:
    """Whether an answer is about the API server, which is ill or busy, and not about what it was asked."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or not 400 <= (status or 0) < 500


@contextmanager
def told(what: str, *, remedy: str) -> Iterator[None]:
    """Turn what the Kubernetes client raises within the block into an error with a remedy.

    Args:
        what: what was asked for, as the error names it.
        remedy: what a person can do where the API server refuses.

    Raises:
        OutOfReach: asking again may help.
        StoreError: the API server refuses.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        answer = f"{what}: the API server answers {error.status} {error.reason}"
        if may_pass(error.status):
            raise OutOfReach(answer, remedy="clear this task once the API server is well") from error
        raise StoreError(answer, remedy=remedy) from error
    except HTTPError as error:
        raise OutOfReach(
            f"{what}: the API server does not answer ({type(error).__name__})",
            remedy="clear this task once it does",
        ) from error
