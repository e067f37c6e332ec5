"""``python -m drl.pages.verify_run``: verify a stored run, and say every finding as soon as it is there.

Reads one JSON object from standard input and writes JSON lines to standard output. A process of its own, so
that a verification ends when it takes too long, and takes no time from whoever serves the pages.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from drl.errors import DrlError
from drl.pages.run_record import stored_record
from drl.stores.ledger_view import ledger_at
from drl.stores.settings import S3Settings
from drl.verification.trust import TrustPolicy
from drl.verification.verify import Means, verify_record

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Question:
    """What is to be verified, and with what.

    Round trip: ``Question.from_json(q.to_json()) == q``.

    Attributes:
        run: key of the run.
        store: where its record lies.
        rpc_url: JSON-RPC address of a node.
        first_block: a block at or before the contract's creation.
        trust: the trust policy as JSON, None for nobody.
        seconds: how long it may take.
    """

    run: str
    store: S3Settings
    rpc_url: str = field(repr=False)
    first_block: int
    trust: dict[str, Any] | None
    seconds: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes; it holds credentials."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Question:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**value, "store": S3Settings(**value["store"])})


def main() -> int:
    """Answer the question on standard input; nobody waits longer than it says."""
    os.nice(10)
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        question = Question.from_json(json.load(sys.stdin))
        signal.alarm(question.seconds)
        try:
            verify(question, out)
        except DrlError as error:
            say(out, "problem", {"message": error.message, "remedy": error.remedy})
        except _MALFORMED as error:
            message = f"a stored document is malformed ({type(error).__name__}: {error})"
            say(out, "problem", {"message": message, "remedy": "compare the journal with the release"})
    return 0


def verify(question: Question, out: TextIO) -> None:
    """Verify, and say what is found.

    Raises:
        DrlError: as the stores and the chain do.
    """
    trust = None if question.trust is None else TrustPolicy.model_validate(question.trust)
    finality = trust.ledger.finality if trust and trust.ledger else "instant"
    view = ledger_at(question.rpc_url, question.first_block)
    # Nothing is handed on from here, so data that must not be are looked at too.
    record = stored_record(question.run, question.store, view, finality, held_out=True)
    means = Means(
        trust=trust,
        open_ledger=view,
        tell=lambda line: say(out, "tell", {"line": line}),
        heard=lambda finding: say(out, "finding", finding.to_json()),
    )
    result = verify_record(record, means).to_json()
    del result["findings"]
    say(out, "result", {**result, "reasons": [*result["reasons"], *record.unread]})


def say(out: TextIO, event: str, value: dict[str, Any]) -> None:
    """Write an event as a line."""
    out.write(json.dumps({"event": event, **value}) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
