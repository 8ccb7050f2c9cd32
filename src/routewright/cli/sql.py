"""Asks the ledger in SQL, and prints the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from routewright.ledger import Ledger, LedgerError, QueryResult, to_csv, to_json, to_table

from .opened import ledger_at, print_notices
from .options import AskFlags
from .statement import statement_of, values_of
from .writer import writer


def ask_and_print(argument: str | None, how: AskFlags) -> None:
    """Run one statement and print its rows."""
    statement, values = statement_of(argument, how.file), values_of(how.param or [])
    with ledger_at(how.ledger, create=False) as opened, _reported_under(statement.source):
        result = opened.query(
            statement.sql,
            values,
            max_rows=how.max_rows,
            timeout_s=how.timeout,
            max_memory_mb=how.max_memory,
            max_disk_mb=how.max_disk,
        )
    _print(result, how.format)
    print_notices(opened)
    if result.truncated:
        writer.note(f"stopped after row {how.max_rows}: there are more, see --max-rows")


def print_rows(opened: Ledger, statement: str) -> None:
    """Run one statement and print its rows as a table."""
    _print(opened.query(statement), "table")
    print_notices(opened)


@contextmanager
def _reported_under(source: str) -> Iterator[None]:
    """Mistakes are reported under the name of where the statement is."""
    try:
        yield
    except LedgerError as error:
        if error.problem is not None:
            error.problem = replace(error.problem, source=source)
        raise


def _print(result: QueryResult, format: str) -> None:
    if format == "json":
        writer.json(to_json(result))
    elif format == "csv":
        writer.csv(to_csv(result))
    else:
        header, rows = to_table(result)
        writer.table(header, rows)
        if not rows:
            writer.remark("no rows")
