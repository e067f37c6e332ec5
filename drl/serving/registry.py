"""The registry as drl-api asks it: MLflow's REST, three questions, nothing of MLflow imported."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from drl.errors import ConflictError, StoreError
from drl.serving.proof import Target

_API = "/api/2.0/mlflow"
_SECONDS = 10
_ANSWER_BYTES = 16 << 20
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
_ROOT, _RUN = "drl.model_root", "drl.run_key"


class RegistryClient:
    """Asks one MLflow server. A login is read from ``MLFLOW_TRACKING_USERNAME`` and ``_PASSWORD``.

    Every method raises StoreError when the server is out of reach, refuses, or answers something else.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    def version(self, model: str, alias: str) -> int | None:
        """The version that the alias of a model points to, None when there is no such alias.

        Raises:
            StoreError: also when there is no such model: a registry that lost its data says the same.
        """
        answer = self._ask("registered-models/get", name=model)
        with _reading():
            found = _aliases(answer["registered_model"])
            return int(found[alias]) if alias in found else None

    def aliases(self, alias: str) -> dict[str, int]:
        """For each model that has the alias, the version that it points to."""
        found: dict[str, int] = {}
        token = ""
        while True:
            page = self._ask("registered-models/search", max_results="1000", page_token=token)
            with _reading():
                for model in page.get("registered_models", []):
                    if alias in (pointed := _aliases(model)):
                        found[str(model["name"])] = int(pointed[alias])
                token = page.get("next_page_token", "")
            if not token:
                return found

    def target(self, model: str, version: int) -> Target:
        """What a version is said to be.

        Raises:
            ConflictError: no pipeline registered it.
        """
        answer = self._ask("model-versions/get", name=model, version=str(version))
        with _reading():
            tags = _tags(answer["model_version"])
        missing = sorted({_ROOT, _RUN} - set(tags))
        if missing:
            raise ConflictError(
                f"{model} version {version} lacks the tags {', '.join(missing)}",
                remedy="point the alias to a version that a pipeline registered",
            )
        return Target(model, version, tags[_ROOT], tags[_RUN])

    def _ask(self, question: str, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode({k: v for k, v in parameters.items() if v})
        request = urllib.request.Request(f"{self._uri}{_API}/{question}?{query}", headers=_login())  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310 - http(s), see settings
                answer: dict[str, Any] = json.loads(reply.read(_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise StoreError(
                f"the registry answers {error.code} to {question}", remedy="look at MLflow and its log"
            ) from error
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise StoreError(
                f"the registry cannot be reached: {type(reason).__name__}", remedy="start MLflow, or wait"
            ) from error
        return answer


@contextmanager
def _reading() -> Iterator[None]:
    """What is no answer of MLflow's: something else listens there."""
    try:
        yield
    except _MALFORMED as error:
        raise StoreError(
            f"the registry's answer cannot be read: {type(error).__name__}",
            remedy="is that MLflow? Look at its address",
        ) from error


def _aliases(model: dict[str, Any]) -> dict[str, str]:
    return {str(alias["alias"]): str(alias["version"]) for alias in model.get("aliases", [])}


def _tags(version: dict[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag["value"]) for tag in version.get("tags", [])}


def _login() -> dict[str, str]:
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{n}", "") for n in ("USERNAME", "PASSWORD"))
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
