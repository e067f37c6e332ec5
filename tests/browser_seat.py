"""Airflow on servers of its own with one small pipeline, and a real browser, logged in."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from airflow_server import AirflowServer
from playwright.sync_api import Error, FrameLocator, Locator, Page, sync_playwright

from drl.local.airflow_home import admin_login
from drl.local.stack import Stack

REPOSITORY = Path(__file__).resolve().parents[1]
SCREENSHOTS = Path(os.environ.get("DRL_SCREENSHOTS", REPOSITORY / ".drl" / "screenshots"))
DAG = "shown"
PATIENCE = 90_000
"""Milliseconds to wait for what should be on a page; the machine may have much else to do."""
# Chromium drops requests when an address of the machine comes or goes, as pods of a Kubernetes here do.
_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"


@pytest.fixture(scope="module")
def server() -> Iterator[AirflowServer]:
    """Airflow in a home of its own, with a pipeline that asks a person."""
    with tempfile.TemporaryDirectory(prefix="drl-browser-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        bundle = Path(folder) / "more"
        _write_pipeline(bundle / "dags")
        server = AirflowServer(Path(folder) / "home", bundle)
        try:
            server.drl("stack", "up")
            server.start(300)
            server.log_in()
            yield server
        finally:
            server.stop()
            Stack.at(server.home).reset()


def _write_pipeline(folder: Path) -> None:
    folder.mkdir(parents=True)
    value = yaml.safe_load((REPOSITORY / "dags" / "cartpole.yaml").read_text())
    value |= {"pipeline": DAG, "registration": {"model": DAG}}
    value["training"] |= {"time_steps": 6144, "seeds": [11], "checkpoint_every": 2}
    value["evaluation"]["episodes"] = 20
    value["promotion"] |= {"require_approval": True, "approvers": ["admin"]}
    (folder / f"{DAG}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    (folder / f"{DAG}.py").write_text((REPOSITORY / "dags" / "cartpole.py").read_text())


@dataclass
class Seat:
    """Somebody in front of a browser.

    Attributes:
        page: the tab that they look at.
        base: address of Airflow.
        problems: errors on the console, and exceptions that no script caught.
    """

    page: Page
    base: str
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Keep what goes wrong from now on."""
        self.page.on(
            "console", lambda m: m.type == "error" and self._problem(f"{m.text} {m.location['url']}")
        )
        self.page.on("pageerror", lambda error: self._problem(str(error)))

    def _problem(self, words: str) -> None:
        if _NETWORK_CHANGED not in words:
            self.problems.append(words)

    def go(self, path: str) -> None:
        """Open a page of Airflow."""
        for attempt in range(5):
            try:
                self.page.goto(f"{self.base}/{path}")
                return
            except Error as error:
                if _NETWORK_CHANGED not in str(error) or attempt == 4:
                    raise
                time.sleep(1)

    def log_in(self, user: str, password: str) -> None:
        """Fill in the form."""
        self.go("")
        self.page.fill("input[name=username]", user)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.link("Dags").wait_for()

    def link(self, name: str) -> Locator:
        """A link or button of Airflow's navigation."""
        either = self.page.get_by_role("link", name=name, exact=True)
        return either.or_(self.page.get_by_role("button", name=name, exact=True)).first

    def frame(self, heading: str) -> FrameLocator:
        """The frame with a page of ours, once it shows a heading."""
        frame = self.page.frame_locator("iframe")
        frame.get_by_role("heading", name=heading).first.wait_for()
        return frame

    def run(self, run_id: str, route: str = "") -> None:
        """Open a run, or a tab of it."""
        self.go(f"dags/{DAG}/runs/{quote(run_id, safe='')}" + (f"/plugin/{route}" if route else ""))

    def keep(self, name: str, **options: Any) -> None:
        """Keep a picture of what is to be seen."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's program."""
    found = os.environ.get("DRL_CHROMIUM") or shutil.which("chromium")
    assert found, "Chromium is missing: run tests/browser/install_chromium.sh as root, or set DRL_CHROMIUM"
    return found


@pytest.fixture(scope="module")
def seat(server: AirflowServer, chromium: str) -> Iterator[Seat]:
    """A browser with the admin logged in."""
    with sync_playwright() as playwright:
        # Its own sandbox wants a user namespace, which root and many containers do not have.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1360, "height": 900}, bypass_csp=False)
        context.set_default_timeout(PATIENCE)
        seat = Seat(context.new_page(), f"http://127.0.0.1:{server.port}")
        seat.log_in(*admin_login(server.home))
        seat.watch()
        yield seat
        browser.close()


@pytest.fixture(scope="module")
def asked(server: AirflowServer, seat: Seat) -> str:
    """A run that was triggered through the form with a changed setting, and waits for a person; its id."""
    deadline = time.monotonic() + 120
    while not server.ask("GET", f"dags/{DAG}").ok:
        assert time.monotonic() < deadline, "the pipeline is not parsed"
        time.sleep(1)
    seat.go(f"dags/{DAG}")
    seat.page.get_by_test_id("trigger-dag-button").click()
    form = seat.page.get_by_role("dialog")
    form.locator("[name=element_time_steps]").fill("7168")
    seat.keep("trigger")
    form.get_by_role("button", name="Trigger", exact=True).click()
    seat.page.wait_for_url("**/runs/**")
    [run] = server.runs(DAG)
    deadline = time.monotonic() + 300
    while not server.waits_for_a_person(DAG, run["dag_run_id"]):
        assert time.monotonic() < deadline, server.tasks(DAG, run["dag_run_id"])
        time.sleep(0.5)
    return str(run["dag_run_id"])


@pytest.fixture(scope="module")
def approved(server: AirflowServer, seat: Seat, asked: str) -> str:
    """The same run after somebody said yes in the interface, at its end."""
    seat.go(f"dags/{DAG}/runs/{quote(asked, safe='')}/tasks/approve/required_actions")
    comment = seat.page.locator("[name=element_comment]").first
    comment.fill("The gap is large enough.")
    comment.press("Tab")
    seat.page.get_by_test_id("hitl-option-Approve").first.click()
    server.wait(DAG, asked, 300)
    return asked
