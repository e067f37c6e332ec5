"""``drl verify``: one line for each thing looked at, then the level of proof and one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from drl.errors import DrlError, InputError, Undetermined
from drl.record.files import RecordFiles, open_record
from drl.spec import FileSource, S3Source, Source
from drl.verification.findings import LEVELS, Finding, Label
from drl.verification.ledger import Standing
from drl.verification.ledger_view import LedgerAddress, LedgerView, OpenLedger
from drl.verification.result import Result
from drl.verification.trust import load_trust
from drl.verification.verify import Means, verify_record

_STYLES = {
    Label.RECOMPUTED: "green",
    Label.CLAIMED: "yellow",
    Label.NOT_CHECKED: "yellow",
    Label.FALSE: "bold red",
}
_BESIDE = "beside the levels"


def verify(
    record: str,
    *,
    trust: Path | None,
    rpc: str | None,
    offline: bool,
    level: int | None,
    source: Path | None,
    fetch: bool,
    as_json: bool,
) -> int:
    """Verify and print.

    Args:
        record: a zip, a folder, or ``s3://BUCKET/PREFIX``.
        trust: file of the trust policy.
        rpc: JSON-RPC address of a node.
        offline: do without the ledger, and say so.
        level: level to reach; None asks for the trust policy's minimum.
        source: file of the data source.
        fetch: download the data source by its digest.
        as_json: print JSON.

    Returns:
        the exit code: 0 good, 1 false, 2 could not tell.
    """
    with _own_mistakes():
        if rpc is not None and offline:
            raise InputError("--rpc together with --offline", remedy="give one of the two")
        policy = load_trust(trust) if trust else None
    means = Means(
        trust=policy,
        open_ledger=_asking(rpc) if rpc else None,
        offline=offline,
        level=level,
        source=source,
        fetch=_fetch if fetch else None,
        tell=lambda line: typer.echo(f"… {line}", err=True),
    )
    try:
        with _own_mistakes(), _opened(record) as files:
            result = verify_record(files, means)
    except DrlError as error:
        if as_json:
            typer.echo(json.dumps(_unread(error), indent=2))
        raise
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        render(result, Console(highlight=False, soft_wrap=True))
    return result.exit_code


def _unread(error: DrlError) -> dict[str, Any]:
    """What programs are told of a record that could not be read as one: no findings."""
    nothing = Result(
        (), 0, Standing(None, "unknown", error.message), None, None, error.exit_code, (error.message,)
    )
    return {**nothing.to_json(), "sentence": error.message}


@contextmanager
def _own_mistakes() -> Iterator[None]:
    """What the verifier gave and cannot be used leaves the record's truth open: exit code 2, not 1."""
    try:
        yield
    except InputError as error:
        raise Undetermined(error.message, remedy=error.remedy) from error


def render(result: Result, console: Console) -> None:
    """Print for a person. Texts of the record are shown without control characters."""
    for title, findings in _groups(result):
        console.print()
        console.print(Text(title, style="bold"))
        for finding in findings:
            console.print(_line(finding))
    console.print()
    console.print(Text(_printable(result.sentence), style="bold"))
    if result.demo:
        console.print("Demo chain: proves no time to others.")
    for reason in result.reasons:
        console.print(Text(_printable(f"exit {result.exit_code}: {reason}"), style="dim"))


def _groups(result: Result) -> Iterator[tuple[str, list[Finding]]]:
    levelled = frozenset[int]()
    for level, (name, checks) in LEVELS.items():
        levelled |= checks
        reached = "" if level <= result.level else ": not reached"
        found = [f for f in result.findings if f.check in checks]
        if found:
            yield f"level {level}, {name}{reached}", found
    yield _BESIDE, [f for f in result.findings if f.check not in levelled]


def _line(finding: Finding) -> Text:
    line = Text("  ")
    line.append(f"{finding.label:<11}", style=_STYLES[finding.label])
    line.append(f" {finding.check:>2}  {_printable(finding.sentence)}")
    if finding.label == Label.CLAIMED:
        line.append(f"  (key {finding.key[:12]})" if finding.key else "  (unsigned)", style="dim")
    if finding.remedy and finding.label in (Label.NOT_CHECKED, Label.FALSE):
        line.append(f"  → {_printable(finding.remedy)}", style="dim")
    return line


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _opened(record: str) -> AbstractContextManager[RecordFiles]:
    return _from_store(record) if record.startswith("s3://") else open_record(Path(record))


@contextmanager
def _from_store(uri: str) -> Iterator[RecordFiles]:
    try:
        from drl.stores.record_prefix import PrefixFiles
        from drl.stores.settings import S3Settings
    except ImportError as error:
        raise Undetermined(
            f"{uri}: no package {error.name}",
            remedy="pip install -c requirements.lock '.[s3]' in a checkout of this project",
        ) from error
    yield PrefixFiles(S3Settings.from_environment(), uri)


def _asking(rpc: str) -> OpenLedger:
    def open_ledger(address: LedgerAddress) -> LedgerView:
        try:
            from drl.stores.ledger_view import ledger_at
        except ImportError as error:
            raise Undetermined(
                f"the ledger was not asked: no package {error.name}",
                remedy="pip install -c requirements.lock '.[ledger]' in a checkout of this project",
            ) from error
        return ledger_at(rpc)(address)

    return open_ledger


def _fetch(source: Source, into: Path) -> Path:
    """Download a source by its digest; never a path of this machine because a record names it."""
    if isinstance(source, FileSource | S3Source):
        raise Undetermined(
            f"the source is a {source.kind} of the owner's, which cannot be downloaded",
            remedy="ask the owner for the file and give it with --source FILE",
        )
    from drl.data.sources import fetch

    return fetch(source, into, base=into, s3=None).path
