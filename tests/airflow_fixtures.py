"""A bundle of tiny pipelines on the session's stack, run by real Airflow or operator by operator."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow_runs import AirflowBundle, Records, write_pipeline
from clean_code import clean_code

from drl.local.stack import Stack
from drl.steps import source_code
from drl.steps.request import StepResult


@pytest.fixture(scope="session")
def bundle(stack: Stack) -> Iterator[AirflowBundle]:
    """A throw-away bundle for ``airflow dags test``."""
    with tempfile.TemporaryDirectory(prefix="drl-bundle-") as folder:
        yield AirflowBundle(stack, Path(folder))


@pytest.fixture(scope="session")
def records(stack: Stack) -> Records:
    """What runs leave in the buckets."""
    return Records(stack)


@pytest.fixture(scope="module")
def airflow_here(bundle: AirflowBundle) -> Iterator[AirflowBundle]:
    """Airflow's settings and connections in this process, for operators that are executed here."""
    with _settings_of(bundle):
        yield bundle


@pytest.fixture(scope="session")
def recorded(bundle: AirflowBundle) -> dict[str, StepResult]:
    """What the steps of a tiny run answered; their outputs stay in the store by digest."""
    with _settings_of(bundle):
        from operator_runs import OperatorRun

        run = OperatorRun(write_pipeline(bundle.dags, "recorded"), "recorded")
        run.execute_all()
        return {step: run.run.result(step) for step in ("train", "evaluate")}


@contextmanager
def _settings_of(bundle: AirflowBundle) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bundle.environment.items():
            if name not in os.environ or name.startswith(("AIRFLOW", "DRL_")):
                patch.setenv(name, value)
        # Airflow reads its home at its first import only; keys are looked for here whenever that was.
        patch.setenv("DRL_KEYS", str(bundle.keys))
        # These operators were imported from the working tree, of which the clean commit is a copy.
        patch.setattr(source_code, "REPOSITORY", clean_code())
        yield
