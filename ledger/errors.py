"""The error that leaves the ledger: what could not be done, what was done about it, and where."""

from __future__ import annotations

from collections.abc import Sequence

from routewright.engine.report import Problem, RoutewrightError


class LedgerError(RoutewrightError):
    """The ledger could not be opened, written or asked.

    ``help`` is advice. ``problem`` is there when a statement is at fault and its place in the text is known:
    it has line, column and the line itself, ready for ``render_problem``.
    """

    def __init__(self, message: str, *, help: str | None = None, problem: Problem | None = None) -> None:
        super().__init__(message, help=help)
        self.problem = problem


class InputError(LedgerError):
    """What was given is at fault, and not the ledger: a statement, a condition, an unknown name, a file."""


class QuestionError(RoutewrightError):
    """A saved question cannot be asked as it was: there is none of that name, or a parameter does not fit."""


class AssumptionError(RoutewrightError):
    """What a replay is to assume cannot be read, or does not fit the policy; ``problem`` has its place in the text."""

    def __init__(self, text: str, problem: Problem) -> None:
        super().__init__(f"cannot assume `{text}`: {problem.message}", help=problem.help)
        self.problem = problem


class UnknownDecisionError(InputError):
    """No decision, or more than one, has the id that was given or begins so."""


class BlockedError(LedgerError):
    """The ledger's file takes no rows now: what is recorded waits in the spool, and calls go on."""


class BusyError(BlockedError):
    """The ledger's file is open elsewhere; ``holder`` says where, as far as that is known."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message, help="close what holds it, or try again later")
        self.holder = holder


class FullError(LedgerError):
    """So much waits for the ledger's tables that nothing more is taken."""


class NotWrittenError(LedgerError):
    """A file with an answer could not be written."""


class OtherLayoutError(LedgerError):
    """A ledger whose tables are not those of this version, although their number says so."""


class ShadowedError(BlockedError):
    """Objects in the ledger's file shadow names that its SQL uses; ``statements`` drop them."""

    def __init__(self, statements: Sequence[str]) -> None:
        super().__init__(
            "the ledger has objects that shadow names that Routewright uses; nothing is written into it until they "
            f"are dropped: `{'; '.join(statements)}` in a DuckDB client, as `ledger sql` only reads"
        )
        self.statements = tuple(statements)


class SnapshotError(BlockedError):
    """The file is a snapshot of a ledger: what would be written into it would be gone with the next one."""


class ProofError(LedgerError):
    """A proof, note, key or checkpoint is not well formed, or does not prove what it should."""
