"""``drl airflow``: Airflow's own command, with the bundle and the embedded stack's connections."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from drl.local.airflow_components import run_components
from drl.local.airflow_home import admin_login, airflow_environment, migrate_if_needed, password_file
from drl.local.home import Home
from drl.local.stack import Stack
from drl.local.stale_runs import begin_test_run

REPOSITORY = Path(__file__).resolve().parents[2]


def run_airflow(arguments: list[str]) -> None:
    """Replace this process by ``airflow ARGUMENTS``; ``standalone`` runs the components below this one."""
    home = Home.at()
    environment = airflow_environment(home.path, REPOSITORY, Stack.at(home.path).environment())
    migrate_if_needed(environment, _say)
    if arguments == ["standalone"]:
        _say("airflow: starting scheduler, dag-processor, api-server and triggerer")
        run_components(environment, home, lambda address: _greet(address, home), _say)
        _say("airflow: stopped")
        return
    if arguments[:2] == ["dags", "test"] and len(arguments) > 2:
        begin_test_run(environment, arguments[2])
    os.execvpe("airflow", ["airflow", *arguments], environment)  # noqa: S606 - no shell is involved


def _greet(address: str, home: Home) -> None:
    """Tell the person at the terminal how to come in; a log that others may read gets no password."""
    user, password = admin_login(home.path)
    kept = password_file(home.path)
    _say(f"airflow  {address}")
    _say(f"user     {user}")
    _say(f"password {password}  (kept in {kept})" if sys.stderr.isatty() else f"password in {kept}")
    _say(f"logs     {home.log('airflow-*')}")
    _say("stop     Ctrl-C")


def _say(line: str) -> None:
    typer.echo(line, err=True)
