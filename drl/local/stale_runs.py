"""Runs of ``airflow dags test`` whose process was killed: nobody will ever end them, so the next start does.

``dags test`` runs a DAG in its own process and leaves its run in state ``running`` when that process is
killed. With one active run at a time such a run would block the DAG for ever. Each test therefore holds a
lock on a file while it lives; when nobody holds it, a test run that is still ``running`` is a stale one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from drl.errors import ConflictError

_MARK_FAILED = """
UPDATE dag_run SET state = 'failed', end_date = now()
 WHERE dag_id = %s AND state = 'running' AND lower(triggered_by) = 'test'
"""


def begin_test_run(environment: Mapping[str, str], dag_id: str) -> int:
    """Mark failed what killed test processes left running of this DAG, and hold its lock from now on.

    Args:
        environment: from :func:`drl.local.airflow_home.airflow_environment`.
        dag_id: the DAG that this process is about to test.

    Returns:
        The lock's file descriptor; it is inherited over ``exec`` and released when the process ends.

    Raises:
        ConflictError: another process tests this DAG right now.
    """
    folder = Path(environment["AIRFLOW_HOME"]) / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / f"{dag_id}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConflictError(
            f"another process is testing the DAG {dag_id} right now",
            remedy="wait for it to end, or end it; two runs of one pipeline never overlap",
        ) from None
    os.set_inheritable(lock, True)
    address = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with closing(psycopg.connect(address)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_MARK_FAILED, (dag_id,))
    return lock
