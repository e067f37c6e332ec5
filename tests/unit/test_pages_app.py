"""The pages' application without Airflow's server: what it answers where a stored file is no text."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from by_path import module_at
from fastapi.testclient import TestClient
from page_runs import Memory, Shown

from drl.artifact import Artifact
from drl.pages.journals import Journals
from drl.pages.render import Site
from operators import pages

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "drl_plugin.py"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    return module_at(PLUGIN)


class NoText(Journals):
    """Every file of a run holds bytes that are no UTF-8."""

    def file(self, artifact: Artifact) -> bytes:
        return b"<p>\xff</p>"


@pytest.mark.parametrize("page", ["report/pole/run-1", "run/pole/run-1"])
def test_a_page_made_of_what_is_no_text_says_so(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    documents = Memory()
    Shown().write(documents)
    monkeypatch.setattr(pages, "journals", lambda: NoText(documents, Memory()))
    monkeypatch.setattr(pages, "site", Site)
    monkeypatch.setitem(plugin.app.dependency_overrides, plugin._MAY_SEE_RUN.dependency, lambda: None)
    answer = TestClient(plugin.app).get(f"/{page}")
    assert answer.status_code == 400
    assert "is not UTF-8 text" in answer.text
