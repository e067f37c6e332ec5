"""What a verifier finds: one sentence for each thing looked at, labelled by how much is behind it.

The numbers of the checks are those of ``docs/record.md``; they are never used again for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from drl.errors import DrlError, Undetermined


class Label(StrEnum):
    """How much is behind a sentence."""

    RECOMPUTED = "RECOMPUTED"
    """Derived again here, from bytes whose digests hold or from the ledger."""
    CLAIMED = "CLAIMED"
    """Said by the key named, or by whoever handed the record over, and not derived again."""
    NOT_CHECKED = "NOT CHECKED"
    """Could not be told; the remedy says what would be needed."""
    FALSE = "FALSE"
    """Looked at, and not so."""


CHECKS: dict[int, str] = {
    1: "envelopes and signatures",
    2: "schemas",
    3: "intent and resolved run",
    4: "statements of one run, all of them",
    5: "files and roots",
    6: "opening",
    7: "closing",
    8: "training seeds",
    9: "inputs and outputs of the steps",
    10: "promotion, revocation and other notes",
    11: "account of the pipeline",
    12: "who signed",
    13: "scope of the trust policy",
    14: "decision from the kept returns",
    15: "error budget",
    16: "released seed",
    17: "evaluation statement",
    18: "outcome of the release",
    19: "policy files",
    20: "ONNX file",
    21: "champion compared with",
    22: "source code",
    23: "environment's code",
    24: "replay of the evaluation",
    25: "replay of the selection",
    26: "data step",
    27: "identity of the held-out data",
    28: "which chain, and finality",
    29: "completeness of the account",
    30: "standing today",
    31: "reproduction of the training",
    32: "validation of the data",
    33: "report",
}

LEVELS: dict[int, tuple[str, frozenset[int]]] = {
    1: ("intact and signed", frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 22, 27, 28, 29, 32})),
    2: ("decision recomputed", frozenset({14, 15, 16, 17, 18, 21})),
    3: ("evaluation replayed", frozenset({19, 20, 23, 24, 25, 26, 33})),
    4: ("training reproduced", frozenset({31})),
}
"""Name of each level of proof and the checks that it adds to the one below."""

NEEDED = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 19, 21, 24, 31})
"""Checks whose level is not reached while something about them is NOT CHECKED."""

# What reading a record of the wrong shape raises; a record is somebody else's input.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        check: number of the check.
        label: how much is behind the sentence.
        sentence: what was found.
        key: id of the key that claims it; None for other labels, and for claims that nobody signed.
        remedy: what would settle it, for NOT CHECKED and FALSE.
    """

    check: int
    label: Label
    sentence: str
    key: str | None = None
    remedy: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the attributes and the check's name."""
        return {**asdict(self), "label": str(self.label), "about": CHECKS[self.check]}


def unheard(_: Finding) -> None:
    """Tell nobody."""


class Findings:
    """Everything found so far, in order. A false finding never stops checks that do not depend on it.

    Args:
        heard: called with each finding as soon as it is there.
    """

    def __init__(self, heard: Callable[[Finding], None] = unheard) -> None:
        self.all: list[Finding] = []
        self._heard = heard

    def recomputed(self, check: int, sentence: str) -> None:
        """Add something derived again here."""
        self._add(Finding(check, Label.RECOMPUTED, sentence))

    def claimed(self, check: int, sentence: str, *, key: str | None) -> None:
        """Add something that a key says, or (None) an unsigned file."""
        self._add(Finding(check, Label.CLAIMED, sentence, key=key))

    def not_checked(self, check: int, sentence: str, *, remedy: str) -> None:
        """Add something that could not be told."""
        self._add(Finding(check, Label.NOT_CHECKED, sentence, remedy=remedy))

    def false(self, check: int, sentence: str, *, remedy: str | None = None) -> None:
        """Add something that is not so."""
        self._add(Finding(check, Label.FALSE, sentence, remedy=remedy))

    def _add(self, finding: Finding) -> None:
        self.all.append(finding)
        self._heard(finding)

    def require(self, check: int, holds: bool, sentence: str) -> bool:
        """Add a FALSE finding unless ``holds``; returns ``holds``."""
        if not holds:
            self.false(check, sentence)
        return holds

    def having(self, check: int, label: Label) -> list[Finding]:
        """Findings of a check with a label."""
        return [f for f in self.all if f.check == check and f.label == label]

    @contextmanager
    def guard(self, check: int) -> Iterator[None]:
        """Turn what goes wrong inside into a finding of ``check``: false, or could not tell."""
        try:
            yield
        except Undetermined as error:
            self.not_checked(check, error.message, remedy=error.remedy)
        except DrlError as error:
            self.false(check, error.message, remedy=error.remedy)
        except OSError as error:
            self.not_checked(check, f"this machine: {error}", remedy="mend that, and verify again")
        except _MALFORMED as error:
            self.false(check, f"{CHECKS[check]}: not of its format ({type(error).__name__}: {error})"[:300])
