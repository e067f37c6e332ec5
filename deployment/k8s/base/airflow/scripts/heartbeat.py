"""Probe: exit code 0 if the component of this pod has a fresh heartbeat in Airflow's database, else 1.

``airflow jobs check`` answers the same question and imports Airflow for it: ten seconds of a processor.

Usage: ``heartbeat.py DagProcessorJob|TriggererJob``
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

import psycopg2

FRESH_SECONDS = 60
QUERY = """
SELECT count(*) FROM job
WHERE job_type = %s AND state = 'running' AND split_part(hostname, '.', 1) = %s
  AND latest_heartbeat > now() - make_interval(secs => %s)
"""


def main(job_type: str) -> int:
    """Look once."""
    address = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with (
        contextlib.closing(psycopg2.connect(address, connect_timeout=5)) as session,
        session.cursor() as cursor,
    ):
        cursor.execute(QUERY, (job_type, socket.gethostname(), FRESH_SECONDS))
        row = cursor.fetchone()
    return 0 if row and row[0] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
