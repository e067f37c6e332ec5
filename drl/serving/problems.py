"""Refusals of requests: RFC 9457 problem documents, each with a remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.responses import Response

from drl.errors import DrlError

MEDIA_TYPE = "application/problem+json"


class Refused(DrlError):
    """A request that is not answered.

    Args:
        status: of HTTP.
        message: what is wrong with it.
        remedy: what the caller can do.
        reasons: why, in more sentences.
        headers: to be sent along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        remedy: str,
        reasons: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.reasons = tuple(reasons)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The problem document."""
        value = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "remedy": self.remedy,
            "reasons": list(self.reasons),
        }
        return Response(
            json.dumps(value), status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE
        )
