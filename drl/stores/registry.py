"""The model registry: MLflow's versions and aliases, and the runs they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException

from drl.artifact import Artifact
from drl.errors import ConflictError, InputError, StoreError
from drl.stores.mlflow_model import MODEL_ROOT, log_onnx_model
from drl.stores.tracking import RUN_KEY, RunTracker, quotable

CHAMPION = "champion"
FILES = "drl.files"
_POLICY_FILES = ("policy.json", "policy.onnx", "policy.safetensors")
_READY_SECONDS = 30


@dataclass(frozen=True)
class ChampionInfo:
    """The model version that the alias ``champion`` points to.

    Attributes:
        model: name of the registered model.
        version: its number.
        model_root: digest of the policy.
        run_key: the pipeline run that registered it.
        files: the policy's files by digest, to be fetched from the artifact store.
    """

    model: str
    version: int
    model_root: str
    run_key: str
    files: tuple[Artifact, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the five attributes."""
        return {**vars(self), "files": [artifact.to_json() for artifact in self.files]}


class ModelRegistry(RunTracker):
    """Model versions and the champion alias. Idempotent: what a killed task made is found by its tags."""

    def register_onnx(
        self,
        model: str,
        policy_folder: Path,
        run_id: str,
        *,
        tags: Mapping[str, str],
        input_example: np.ndarray | None = None,
    ) -> int:
        """Register ``policy.onnx`` as a model version that ``mlflow models serve`` serves.

        Args:
            model: name of the registered model, made if need be.
            policy_folder: holds the policy's three files.
            run_id: the MLflow run it belongs to.
            tags: of the version: ``drl.run_key`` and ``drl.model_root`` at least. ``drl.files`` (JSON list of
                the policy's artifacts) is added. Of one run and one model root there is one version.
            input_example: observations [batch, D] float32, for signature and example; one of zeros if none.

        Returns:
            The version's number; on a retry that of the first time.

        Raises:
            InputError: a tag is missing, or the example is not of the policy's shape.
        """
        for name in (RUN_KEY, MODEL_ROOT):
            if not tags.get(name):
                raise InputError(f"tags of {model}: {name} is missing", remedy="name run and model root")
        files = [Artifact.of(policy_folder / name) for name in _POLICY_FILES]
        complete = {FILES: json.dumps([artifact.to_json() for artifact in files]), **tags}
        with self.refusals(f"registering {model}"):
            version = self._find_version(model, run_id, tags[MODEL_ROOT])
            if version is None:
                model_id = log_onnx_model(
                    self._client, policy_folder / "policy.onnx", run_id, tags[MODEL_ROOT], input_example
                )
                self._ensure_model(model)
                self._client.create_model_version(
                    model,
                    f"models:/{model_id}",
                    run_id=run_id,
                    tags=complete,
                    model_id=model_id,
                    await_creation_for=_READY_SECONDS,
                )
                version = self._find_version(model, run_id, tags[MODEL_ROOT])
        if version is None:
            raise StoreError(
                f"MLflow at {self.settings.uri} does not find the version of {model} that it made",
                remedy="try again; if it stays so, look at the server's log",
            )
        return version

    def version_by_root(self, model: str, model_root: str) -> int | None:
        """The first version of ``model`` with these bytes, None when there is none."""
        with self.refusals(f"versions of {model}"):
            return self._find_version(model, None, model_root)

    def alias(self, model: str, alias: str = CHAMPION) -> int | None:
        """The version that an alias points to, None when the model or the alias is not there."""
        with self.refusals(f"aliases of {model}"):
            try:
                version = self._client.get_registered_model(model).aliases.get(alias)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
        return None if version is None else int(version)

    def models(self) -> list[str]:
        """Names of all registered models, sorted."""
        with self.refusals("registered models"):
            names, token = [], None
            while token is None or token:
                page = self._client.search_registered_models(page_token=token)
                names += [str(model.name) for model in page]
                token = page.token or ""
        return sorted(names)

    def set_champion(self, model: str, version: int | None, *, expected: int | None) -> bool:
        """Move the champion alias to ``version``, None for nowhere, if it still points to ``expected``.

        MLflow has no compare-and-set: the caller holds a lock.

        Returns:
            Whether the alias points to ``version`` now, also when an earlier try had moved it.
        """
        current = self.alias(model)
        if current == version:
            return True
        if current != expected:
            return False
        with self.refusals(f"moving the alias of {model}"):
            if version is None:
                self._client.delete_registered_model_alias(model, CHAMPION)
            else:
                self._client.set_registered_model_alias(model, CHAMPION, str(version))
        return True

    def champion(self, model: str) -> ChampionInfo | None:
        """The champion with its digests, None when there is none.

        Raises:
            ConflictError: the alias points to a version that no pipeline registered.
        """
        version = self.alias(model)
        if version is None:
            return None
        with self.refusals(f"version {version} of {model}"):
            tags = self._client.get_model_version(model, str(version)).tags
        missing = sorted({RUN_KEY, MODEL_ROOT, FILES} - set(tags))
        if missing:
            raise ConflictError(
                f"MLflow at {self.settings.uri}: {model} version {version} lacks {', '.join(missing)}",
                remedy="point the alias to a version that a pipeline registered, or remove the alias",
            )
        files = tuple(Artifact.from_json(item) for item in json.loads(tags[FILES]))
        return ChampionInfo(model, version, tags[MODEL_ROOT], tags[RUN_KEY], files)

    def _find_version(self, model: str, run_id: str | None, model_root: str) -> int | None:
        wanted = f"name = '{quotable(model)}' and tags.`{MODEL_ROOT}` = '{quotable(model_root)}'"
        if run_id is not None:
            wanted += f" and run_id = '{quotable(run_id)}'"
        return min((int(v.version) for v in self._client.search_model_versions(wanted)), default=None)

    def _ensure_model(self, model: str) -> None:
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
