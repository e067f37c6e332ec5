"""The measured tables of ``docs/security.md``: how they are written, read and compared.

    python tests/security_tables.py

measures everything again and writes the tables into the document. ``tests/unit/test_tamper_*.py`` compare
samples of the suites with them, ``tests/soak`` the whole.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lying_owner import LIES, Outcome, tell
from record_factory import AT, InventedLedger, Made, built, trust_text, write_prices
from tampering import Files, MemoryFiles, Row, files_in, measure, tampers

from drl.record.ledger import Entry
from drl.record.predicates import reproduction_statement
from drl.verification.result import Result
from drl.verification.trust import TrustPolicy, parse_trust
from drl.verification.verify import Means, verify_record

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "security.md"


@dataclass(frozen=True)
class SmallRecord:
    """An honest record of the factory, and a second one of the pipeline, from which parts are taken.

    Attributes:
        files: all bytes.
        other: those of another run with another policy.
        entries: of the ledger.
        trust: of the verifier.
    """

    files: Files
    other: Files
    entries: list[Entry]
    trust: TrustPolicy

    def verify(self, files: Files, *, offline: bool = False) -> Result:
        """Level 2, asking the ledger unless offline."""
        asked = None if offline else InventedLedger(self.entries)
        means = Means(trust=self.trust, open_ledger=asked, level=2, offline=offline)
        return verify_record(MemoryFiles(files), means)


def small_records(folder: Path) -> list[SmallRecord]:
    """The tables' records: one that was approved and promoted, and one with data, rejected."""
    prices = write_prices(folder / "prices.csv")
    promoted = {
        "spec": lambda spec: spec["promotion"].update(require_approval=True),
        "approval": "approved",
        "champion": -1.0,
        "since": reproduced_since,
    }
    return [
        _record(folder / "promoted", "{level: 2, verdict: PROMOTE}", promoted),
        _record(folder / "rejected", "{level: 2}", {"prices": prices}),
    ]


def reproduced_since(made: Made) -> dict[str, tuple[dict[str, Any], str]]:
    """What was noted of the champion's run after its promotion."""
    value = reproduction_statement(
        release=made.release,
        model="cartpole",
        root=made.root,
        outcome="identical",
        reproduced=made.root,
        test=None,
        first_difference=None,
        environment={},
        started=AT,
        finished=AT,
    )
    return {"reproduction-1": (value, "reproduction")}


def _record(folder: Path, minimum: str, knobs: dict[str, Any]) -> SmallRecord:
    honest = built(folder / "record", **knobs)
    another = knobs | {"resolved": _second_run, "directions": (-1.0, 0.9)}
    pipelines = f"[{honest.spec.pipeline}]"
    return SmallRecord(
        files_in(folder / "record"),
        files_in(built(folder / "other", **another).folder),
        honest.entries,
        parse_trust(trust_text(pipelines=pipelines, minimum=minimum), where="trust"),
    )


def _second_run(resolved: dict[str, Any]) -> None:
    resolved["run"] += "-again"


def tamper_table(rows: dict[str, Row]) -> str:
    """One line for each kind of tamper."""
    lines = [
        "| what is done to the record | distinct tampers | found FALSE first by check |",
        "|---|---:|---|",
    ]
    lines += [f"| {kind} | {row.count} | {tamper_checks(row)} |" for kind, row in rows.items()]
    lines.append(f"| **all** | **{sum(row.count for row in rows.values()):,}** | |")
    return "\n".join(lines)


def tamper_checks(row: Row) -> str:
    """Checks that found tampers, and which could not be told."""
    found = ", ".join(map(str, sorted(row.false)))
    if row.untold:
        checks = sorted({check for checks in row.untold.values() for check in checks})
        found += f"; {len(row.untold)} not told: NOT CHECKED {', '.join(map(str, checks))}, exit 2"
    return found.removeprefix("; ")


def lie_table(outcomes: dict[str, Outcome]) -> str:
    """One line for each lie."""
    lines = ["| what the owner does | with the ledger asked | offline | what it takes |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {outcome.online} | {outcome.offline} | {LIES[name].takes} |"
        for name, outcome in outcomes.items()
    ]
    return "\n".join(lines)


def section(name: str) -> str:
    """A measured table as the document has it."""
    return _parts(name)[1].strip()


def _parts(name: str) -> tuple[str, str, str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"<!-- {name}: measured -->\n")
    table, _, after = rest.partition(f"<!-- {name}: end -->")
    return before, table, after


def write(name: str, table: str) -> None:
    """Put a table into the document."""
    before, _, after = _parts(name)
    text = f"{before}<!-- {name}: measured -->\n{table}\n<!-- {name}: end -->{after}"
    DOCUMENT.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, and write both tables."""
    with tempfile.TemporaryDirectory() as folder:
        rows: dict[str, Row] = {}
        for small in small_records(Path(folder)):
            measure(tampers(small.files, small.other), small.files, small.verify, rows)
        write("tampers", tamper_table(rows))
        write("lies", lie_table({name: tell(name, Path(folder)) for name in LIES}))


if __name__ == "__main__":
    sys.exit(main())
