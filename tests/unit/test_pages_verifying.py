"""*Verify now*: a child process that says what it finds as it finds it, and is always ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from drl.local.ports import choose
from drl.pages import verifying
from drl.pages.verify_run import Question
from drl.pages.verifying import events
from drl.stores.settings import S3Settings


def question(**changes: Any) -> Question:
    """About a store that nobody serves."""
    address = f"http://127.0.0.1:{choose(set())}"
    known = {
        "run": "pole/run-1",
        "store": S3Settings(address, "key", "hidden"),
        "rpc_url": address,
        "first_block": 0,
        "trust": None,
        "seconds": 60,
    }
    return Question(**(known | changes))


def parsed(stream: Iterator[str]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for text in stream:
        event, data, *rest = text.split("\n")
        assert rest == ["", ""]
        found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_question_survives_its_way_and_hides_what_is_secret() -> None:
    asked = question(trust={"format": "x"})
    assert Question.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert "hidden" not in repr(asked)
    assert asked.rpc_url not in repr(asked).replace(repr(asked.store), "")


def test_a_store_that_is_away_is_said_to_be() -> None:
    [(event, value)] = parsed(events(question()))
    assert event == "problem"
    assert "S3" in value["message"]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import time; time.sleep(60)", "took longer"),
        ("import sys; sys.exit(3)", "status 3"),
    ],
)
def test_a_verifier_that_gives_no_result_is_said_to(
    monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    alarm = "import signal; signal.alarm(1);"
    monkeypatch.setattr(verifying, "_COMMAND", [verifying._COMMAND[0], "-c", alarm + program])
    [(event, value)] = parsed(events(question()))
    assert event == "problem"
    assert says in value["message"]


def test_one_verification_at_a_time_and_a_reader_who_leaves_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    program = 'import time; print(\'{"event":"tell","line":"hashing files"}\', flush=True); time.sleep(60)'
    monkeypatch.setattr(verifying, "_COMMAND", [verifying._COMMAND[0], "-c", program])
    first = events(question())
    assert parsed(iter([next(first)])) == [("tell", {"line": "hashing files"})]
    [(event, value)] = parsed(events(question()))
    assert event == "problem"
    assert "Another verification is under way" in value["message"]
    leaving = threading.Thread(target=first.close)  # type: ignore[attr-defined]
    leaving.start()
    leaving.join(10)
    assert not leaving.is_alive()
    again = events(question())
    assert "event: tell" in next(again)
    again.close()  # type: ignore[attr-defined]
