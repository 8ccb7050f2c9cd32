"""Asks the ledger in SQL, and prints the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from routewright.ledger import Ledger, LedgerError, QueryResult, to_csv, to_json, to_table

from .opened import ledger_at, print_notices
from .options import AskFlags, StatementFlags
from .statement import statement_of, values_of
from .writer import writer


def ask_and_print(argument: str | None, where: StatementFlags, how: AskFlags) -> None:
    """Run one statement and print its rows."""
    statement, values = statement_of(argument, where.file), values_of(where.param or [])
    with ledger_at(how.ledger, create=False) as opened, _reported_under(statement.source):
        result = ask(opened, statement.sql, values, how)
    print_answer(opened, result, how)


def ask(opened: Ledger, sql: str, values: Mapping[str, object], how: AskFlags) -> QueryResult:
    """What a statement gives within the limits of a command."""
    return opened.query(
        sql,
        values,
        max_rows=how.max_rows,
        timeout_s=how.timeout,
        max_memory_mb=how.max_memory,
        max_disk_mb=how.max_disk,
    )


def print_answer(opened: Ledger, result: QueryResult, how: AskFlags) -> None:
    """Print the rows in the form of a command, and what is to be known of them."""
    _print(result, how.format)
    tell_about(opened, result, how)


def tell_about(opened: Ledger, result: QueryResult, how: AskFlags) -> None:
    """Say what is to be known of an answer: what is missing from it, and what waits."""
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
