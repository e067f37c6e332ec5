"""Airflow's interface as a person uses it: trigger, approve, look at what came of it, follow it, verify."""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow_server import AirflowServer
from browser_axe import grave_problems, program
from browser_seat import DAG, Seat
from playwright.sync_api import Frame

from drl.record.files import open_record
from drl.steps.journal import run_key
from drl.verification.findings import Label
from drl.verification.verify import Means, verify_record

CACHE = Path(__file__).resolve().parents[2] / ".drl" / "cache"
QUICK = 0.5
VERIFIED = 240_000
"""Milliseconds that a verification may take, which lets everything else go first."""


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility checker."""
    return program(CACHE)


def ours(seat: Seat) -> Frame:
    """The frame with a page of ours."""
    return next(frame for frame in seat.page.frames if "/drl/" in frame.url)


# ------------------------------------------------------------------------------------------------ a run


def test_the_run_has_what_was_changed_in_the_form(server: AirflowServer, asked: str) -> None:
    conf = server.get(f"dags/{DAG}/dagRuns/{asked}")["conf"]
    assert conf["time_steps"] == 7168


def test_a_run_that_waits_is_shown_with_its_evaluation_and_without_a_promotion(
    seat: Seat, asked: str
) -> None:
    seat.run(asked, "drl_run")
    page = seat.frame(DAG)
    assert "not ended" in page.locator("ol.stages li", has_text="approve").inner_text()
    assert page.get_by_role("heading", name="Evaluation").is_visible()
    assert page.locator("#ledger tbody tr").count() == 1


def test_the_page_of_an_approved_run_shows_all_of_it(seat: Seat, approved: str, axe: str) -> None:
    seat.run(approved, "drl_run")
    page = seat.frame(DAG)
    assert page.locator(".verdict strong").inner_text().endswith("PROMOTE")
    assert page.get_by_text("The gap is large enough.").is_visible()
    assert page.locator("#learning svg").is_visible()
    assert page.locator("#evaluation svg").is_visible()
    assert page.locator("#ledger tbody tr th").all_inner_texts() == ["opened", "closed", "promotion"]
    page.get_by_text("1 run opened; closed: 1 PROMOTE, 0 HOLD, 0 REJECT; none left open").wait_for()
    assert grave_problems(ours(seat), axe) == []
    seat.keep("run")


def test_verify_shows_every_check_as_it_runs(seat: Seat, approved: str, axe: str) -> None:
    seat.run(approved, "drl_run")
    page = seat.frame(DAG)
    page.get_by_role("button", name="Verify now").click()
    page.locator("#checks li").first.wait_for()
    page.locator("#checks .result", has_text="Level 3: evaluation replayed").wait_for(timeout=VERIFIED)
    marks = page.locator("#checks li .mark").all_inner_texts()
    assert len(marks) > 20
    assert set(marks) == {"RECOMPUTED", "CLAIMED", "NOT CHECKED"}
    assert page.get_by_role("button", name="Verify now").is_enabled()
    page.locator("#verify").scroll_into_view_if_needed()
    assert grave_problems(ours(seat), axe) == []
    seat.keep("verify")


def test_the_record_is_downloaded_and_verifies(seat: Seat, approved: str, tmp_path: Path) -> None:
    seat.run(approved, "drl_run")
    page = seat.frame(DAG)
    with seat.page.expect_download() as download:
        page.get_by_role("link", name="Download the record").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == f"{DAG}-v1.record.zip"
    with open_record(path) as record:
        result = verify_record(record, Means(offline=True))
    assert (result.level, result.exit_code) == (3, 2)
    assert not [finding for finding in result.findings if finding.label == Label.FALSE]


# --------------------------------------------------------------------------------------------- lineage


def test_the_graph_leads_from_thing_to_thing(seat: Seat, approved: str, axe: str) -> None:
    seat.run(approved, "drl_lineage")
    page = seat.frame(f"model: {DAG}")
    assert grave_problems(ours(seat), axe) == []
    seat.keep("lineage")
    node = page.locator(".graph a", has_text="promotion statement").first
    node.focus()
    lit = page.locator("path.edge.lit")
    assert lit.count() > 0
    node.press("Enter")
    page.get_by_role("heading", name="promotion statement: promotion.dsse.json").wait_for()
    made_of = page.locator("section", has_text="Made of").locator("tbody th").all_inner_texts()
    assert DAG in made_of
    page.locator(".graph a", has_text="ledger note").first.click()
    page.get_by_role("heading", name=re.compile("ledger note")).wait_for()
    page.get_by_role("link", name=re.compile("chain: transaction")).click()
    page.locator("#ledger").wait_for()


def test_what_a_model_is_part_of_is_its_blast_radius(seat: Seat, approved: str) -> None:
    seat.run(approved, "drl_lineage")
    page = seat.frame(f"model: {DAG}")
    after = page.locator("section", has=page.get_by_role("heading", name=re.compile("Blast radius")))
    kinds = set(after.locator("tbody tr td:nth-child(2)").all_inner_texts())
    assert {"evaluate", "model version", "promotion statement", "release statement"} <= kinds
    page.get_by_role("link", name="4 steps").click()
    page.locator("a[aria-current=true]", has_text="4 steps").wait_for()


# ------------------------------------------------------------------------------- all runs, links, colours


def test_all_runs_are_one_click_away(seat: Seat, approved: str, axe: str) -> None:
    seat.go("")
    seat.link("DRL").click()
    page = seat.frame("Policies and runs")
    champion = page.get_by_role("region", name="Champions").locator("tbody tr").inner_text()
    assert "not audited" in champion
    assert page.locator("svg.spark").count() == 1
    assert grave_problems(ours(seat), axe) == []
    seat.keep("overview")
    page.get_by_role("region", name="Recent runs").get_by_role("link").first.click()
    seat.frame(DAG).locator(".verdict").wait_for()


def test_the_pages_follow_the_colours_of_airflow(seat: Seat, approved: str, axe: str) -> None:
    seat.run(approved, "drl_run")
    seat.frame(DAG)
    seat.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    frame = ours(seat)
    frame.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert frame.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert grave_problems(frame, axe) == []
    seat.keep("run-dark")


def test_the_report_is_shown_and_may_do_nothing(seat: Seat, approved: str) -> None:
    seat.run(approved, "drl_evaluation")
    page = seat.page.frame_locator("iframe")
    page.get_by_role("heading", name="Against the others").wait_for()
    assert page.locator("script").count() == 0


@pytest.mark.parametrize(
    ("task", "name", "ends"),
    [
        ("train", "Result", "#learning"),
        ("evaluate", "Result", ""),
        ("close_run", "Transaction", "#ledger"),
        ("register_model", "MLflow", "/versions/1"),
        ("record_lineage", "Lineage", ""),
    ],
)
def test_tasks_link_to_what_they_made(
    server: AirflowServer, approved: str, task: str, name: str, ends: str
) -> None:
    links = server.get(f"dags/{DAG}/dagRuns/{quote(approved, safe='')}/taskInstances/{task}/links")
    address = links["extra_links"][name]
    assert address.endswith(ends)
    if not address.startswith("http"):
        assert server.page(address.lstrip("/")).status_code == 200


def test_a_link_outside_opens_a_window_of_its_own(seat: Seat, approved: str) -> None:
    seat.run(approved, "drl_run")
    page = seat.frame(DAG)
    with seat.page.context.expect_page() as opened:
        page.get_by_role("link", name="its page in MLflow").click()
    assert f"/#/models/{DAG}/versions/1" in opened.value.url
    opened.value.close()


# ------------------------------------------------------------------------------------ over HTTP, at last


def test_nothing_is_shown_to_strangers(server: AirflowServer, approved: str) -> None:
    run = run_key(DAG, approved)
    for path in (
        *("", "static/pages.js", f"run/{run}", f"account/{run}", f"lineage/{run}", f"verify/{run}"),
        *(f"file/{run}/evaluate/report.html", f"statement/{run}/release", f"report/{run}", f"record/{run}"),
    ):
        answer = server.page(f"drl/{path}", headers={"Authorization": ""})
        assert answer.status_code == 401, path
        assert DAG not in answer.text


def test_files_are_handed_out_as_they_were_sealed(server: AirflowServer, approved: str) -> None:
    run = run_key(DAG, approved)
    policy = server.page(f"drl/file/{run}/train/seed-0/policy.onnx")
    assert policy.headers["Content-Disposition"] == "attachment; filename*=UTF-8''policy.onnx"
    assert "sandbox" in policy.headers["Content-Security-Policy"]
    statement = server.page(f"drl/statement/{run}/release").json()
    assert statement["signatures"]
    for missing in (f"file/{run}/train/nothing", f"statement/{run}/nothing", f"run/{DAG}/never", "static/x"):
        assert server.page(f"drl/{missing}").status_code == 404


def test_pages_hold_no_secret(server: AirflowServer, approved: str) -> None:
    run = run_key(DAG, approved)
    secrets = [
        line.partition("=")[2].strip("'\"")
        for line in server.drl("stack", "env").splitlines()
        if re.search("KEY|SECRET|PASSWORD", line.partition("=")[0])
    ]
    assert secrets
    for path in ("", f"run/{run}", f"account/{run}", f"lineage/{run}", f"record/{run}"):
        answer = server.page(f"drl/{path}")
        assert answer.ok
        assert not [secret for secret in secrets if secret and secret.encode() in answer.content]


def test_a_page_takes_less_than_half_a_second(server: AirflowServer, approved: str) -> None:
    for path in ("", f"run/{run_key(DAG, approved)}"):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            assert server.page(f"drl/{path}").ok
            times.append(time.perf_counter() - begin)
        print(f"/drl/{path}: median {1000 * statistics.median(times):.0f} ms")
        assert min(times) < QUICK


def test_nothing_went_wrong_on_the_console(seat: Seat, approved: str) -> None:
    assert seat.problems == []
