"""One root error, always with a remedy; *false* and *could not tell* are types.

The command line turns the types into exit codes: 1 for something that is wrong or false, 2 for what could
not be found out.
"""

from __future__ import annotations


class DrlError(Exception):
    """Root of every error that this project raises on purpose.

    Args:
        message: what is wrong, naming the file, the field and the value seen.
        remedy: what the reader can do about it, as an imperative sentence.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  what to do: {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (Airflow's task runner); keyword-only arguments need help there.
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(kind: type[DrlError], message: str, remedy: str) -> DrlError:
    return kind(message, remedy=remedy)


class InputError(DrlError):
    """A file, a field or an option given by the user is unusable as it stands."""


class DataError(DrlError):
    """The data are not what the pipeline declares: digest, cleaning rule, expectation or split."""


class StepError(DrlError):
    """A step (prepare, train, evaluate) could not end its work."""


class Falsified(DrlError):
    """A check found something false: bytes, a signature, a claim or an order of events."""


class ConflictError(DrlError):
    """The state found contradicts the state wanted: another writer was first."""


class Undetermined(DrlError):
    """A question could not be answered: a server is out of reach or an optional package is missing."""

    exit_code = 2


class StoreError(Undetermined):
    """An outside system (S3, graph, chain, registry, database) is unreachable or refused."""


class Missing(StoreError):
    """A store answered, and does not hold what was asked for; asking again will not help."""
