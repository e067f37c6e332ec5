"""A policy as an MLflow model: the ONNX flavour around the policy's own file, without any pickle."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drl.errors import InputError

if TYPE_CHECKING:
    from mlflow.tracking.client import MlflowClient

_SERVED_WITH = ("numpy", "onnxruntime")
MODEL_ROOT = "drl.model_root"


def log_onnx_model(
    client: MlflowClient, onnx_file: Path, run_id: str, model_root: str, input_example: np.ndarray | None
) -> str:
    """Upload the model to the run and return its MLflow identifier; on a retry, that of the first time.

    The folder holds ``model.onnx`` byte for byte as the policy's, the signature, the example as JSON and the
    requirements pinned to what is installed.

    Args:
        client: of the tracking server.
        onnx_file: the policy's ONNX file.
        run_id: the MLflow run.
        model_root: digest of the policy, by which a retry finds the model.
        input_example: observations [batch, D] float32; one of zeros if none.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    found = client.search_logged_models(
        [experiment], f"source_run_id = '{run_id}' and tags.`{MODEL_ROOT}` = '{model_root}'"
    )
    ready = [model for model in found if model.status == LoggedModelStatus.READY]
    if ready:
        return str(ready[0].model_id)
    # One that a killed task left pending is completed: its files are simply uploaded again.
    logged = (
        found[0]
        if found
        else client.create_logged_model(
            experiment, name="policy", source_run_id=run_id, tags={MODEL_ROOT: model_root}
        )
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        about = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=run_id,
        )
        _save(folder, onnx_file, about, input_example)
        client.log_model_artifacts(logged.model_id, str(folder))
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def _save(folder: Path, onnx_file: Path, about: object, input_example: np.ndarray | None) -> None:
    import mlflow.onnx
    import onnx
    import onnxruntime
    from mlflow.models import infer_signature

    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    [observation], names = session.get_inputs(), [output.name for output in session.get_outputs()]
    width = observation.shape[1]
    example = np.zeros((1, width), np.float32) if input_example is None else input_example.astype(np.float32)
    if example.ndim != 2 or example.shape[1] != width:
        raise InputError(
            f"input_example: shape {example.shape}, the policy takes [batch, {width}]",
            remedy="give a few observations, one a row",
        )
    outputs = dict(zip(names, session.run(names, {observation.name: example}), strict=True))
    mlflow.onnx.save_model(
        onnx.load(onnx_file),
        str(folder),
        mlflow_model=about,
        signature=infer_signature(example, outputs),
        input_example=example,
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _SERVED_WITH],
        onnx_execution_providers=["CPUExecutionProvider"],
        onnx_session_options={
            "intra_op_num_threads": 1,
            "inter_op_num_threads": 1,
            "execution_mode": "sequential",
        },
        save_as_external_data=False,
    )
    # The flavour writes the graph anew; the digest is of the policy's own file.
    shutil.copyfile(onnx_file, folder / "model.onnx")
