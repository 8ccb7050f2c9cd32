"""Conditions that users write in SQL, as a part of a statement of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .asking import placed
from .errors import InputError, LedgerError
from .limits import Limits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SOURCE: Final = "where"
"""Mistakes in a condition are reported under this name."""

_WHAT: Final = "a condition is one expression in SQL, such as `team = 'research'`"


def choose_where(connection: DuckDBPyConnection, before: str, select: str, condition: str) -> None:
    """Run the statement ``before`` with the rows of ``select`` of which ``condition`` is true.

    Both stand on one line, and ``select`` ends where a condition in parentheses can follow. Raises InputError, with the
    place in the condition, for one that is none.
    """
    if not condition.strip():
        raise InputError(_WHAT)
    # The condition has lines of its own, so that its mistakes keep their place. In parentheses it is an expression, and
    # without them it can be read only if it does not close those: both together are one expression.
    for text in (f"{select} (\n{condition}\n)", f"SELECT 1 WHERE\n{condition}\n"):
        with _placed(text, condition):
            if len(connection.extract_statements(text)) != 1:
                raise InputError(_WHAT)
    text = f"{before} {select} (\n{condition}\n)"
    with _placed(text, condition):
        connection.execute(text)


@contextmanager
def _placed(sql: str, condition: str) -> Iterator[None]:
    """Mistakes have their place in the condition, which begins in the second line of the statement."""
    try:
        with placed(sql, Limits()):
            yield
    except LedgerError as error:
        problem, lines = error.problem, condition.split("\n")
        if problem is None or problem.line is None:
            raise
        line = problem.line - 1
        if line > len(lines):
            error.problem = replace(
                problem,
                message="the condition ends within an expression",
                source=_SOURCE,
                line=len(lines),
                column=len(lines[-1].rstrip()) + 1,
                source_line=lines[-1],
                width=1,
            )
        else:
            error.problem = replace(problem, source=_SOURCE, line=line) if line > 0 else None
        raise
