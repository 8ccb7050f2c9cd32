"""Runs one read-only statement within limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from routewright.engine.report import EPOCH

from .averaged_rows import averaged_rows
from .changed_features import changed_features
from .errors import InputError
from .limits import Limits
from .portable import INTERVALS, with_types
from .results import QueryResult
from .sql_errors import ONLY_READS, mistake, translate_error
from .views import DECISION_IDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


MAX_SQL_CHARACTERS: Final = 1_000_000

_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)

_NO_SQL: Final = {"\0": "a character with the code 0", "[\ud800-\udfff]": "bytes that are no UTF-8"}
"""Characters that no statement has: half a surrogate pair stands for a byte that could not be decoded."""

MOST_COUNTED: Final = 10_000
"""Rejected entries are counted up to this number."""

# PIVOT is taken apart into several statements that belong together, and is then of type MULTI.
_READING: Final = frozenset({"SELECT", "EXPLAIN", "MULTI"})


def count_rejected(connection: DuckDBPyConnection) -> int:
    """How many entries could not be stored as rows; ``MOST_COUNTED + 1`` stands for any larger number.

    Counted without a SQL function, since a macro in the file could shadow it.
    """
    statement = f"SELECT entry FROM main.rejected LIMIT {MOST_COUNTED + 1}"
    return len(connection.execute(statement).fetchall())


def newest_at(connection: DuckDBPyConnection) -> datetime | None:
    """When the newest decision in the tables was made; None if there is none. Uses no function either."""
    # A file that is held may have an older layout, whose decisions are a table.
    found = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'decision_rows'").fetchone()
    decisions = "main.decisions" if found is None else f"({DECISION_IDS})"
    rows = connection.execute(f"SELECT at_us FROM {decisions} ORDER BY at_us DESC LIMIT 1").fetchall()
    return EPOCH + timedelta(microseconds=rows[0][0]) if rows else None


def ask(
    connection: DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, object],
    limits: Limits,
    *,
    interval_text: bool = False,
) -> QueryResult:
    """At most ``max_rows`` rows of what ``sql`` gives; see ``Ledger.query``."""
    # One row more than asked for shows whether there are more.
    most = -1 if limits.max_rows is None else limits.max_rows + 1
    with placed(sql, limits):
        statement = one_statement(connection, sql, parameters)
        executed = execute(connection, statement, dict(parameters) or None, interval_text=interval_text)
        rows = executed.fetchall() if most < 0 else executed.fetchmany(most)
        described = connection.description or []
    columns = tuple(str(column[0]) for column in described)
    types = tuple(str(column[1]) for column in described)
    kept = rows if limits.max_rows is None else rows[: limits.max_rows]
    return QueryResult(
        columns,
        types,
        tuple(kept),
        len(kept) < len(rows),
        newest_at=newest_at(connection),
        notes=notes_of(connection, sql),
    )


def notes_of(connection: DuckDBPyConnection, sql: str) -> tuple[str, ...]:
    """What else is to be known of what a statement gives."""
    return (*changed_features(connection, sql), *averaged_rows(connection, sql))


def execute(
    connection: DuckDBPyConnection, statement: Any, values: dict[str, object] | None, *, interval_text: bool
) -> DuckDBPyConnection:
    """Run a statement; with ``interval_text`` an INTERVAL is text, as DuckDB writes it."""
    executed = connection.execute(statement, values)
    if interval_text and any("INTERVAL" in str(column[1]) for column in executed.description or []):
        relation = connection.sql(statement, params=values)
        if relation is not None:
            text = with_types(relation, relation.columns, INTERVALS).sql_query()
            executed = connection.execute(text, values)
    return executed


@contextmanager
def placed(sql: str | None, limits: Limits) -> Iterator[None]:
    """Errors of DuckDB become ours: with their place in ``sql``, if they have one there."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        on_disk = "max_temp_directory_size" in str(error)
        raise (limits.too_much_disk() if on_disk else limits.too_much_memory()) from error
    except (
        duckdb.ProgrammingError,
        duckdb.DataError,
        duckdb.NotSupportedError,
        duckdb.PermissionException,
    ) as error:
        raise translate_error(error, sql, InputError) from error
    except duckdb.Error as error:
        raise translate_error(error, sql) from error


def one_statement(connection: DuckDBPyConnection, sql: str, parameters: Mapping[str, object]) -> Any:
    """The one statement in ``sql``, which reads and has the parameters that are given. Raises InputError otherwise."""
    if len(sql) > MAX_SQL_CHARACTERS:
        raise InputError(f"the statement has more than {MAX_SQL_CHARACTERS} characters")
    for character, what in _NO_SQL.items():
        if (found := re.search(character, sql)) is not None:
            raise mistake(sql, f"the statement has {what}", found.start())
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise InputError(
            "there is no statement to run"
            if not statements
            else f"one statement was expected, and there are {len(statements)}; none was run",
            help="try `SELECT * FROM decisions_flat LIMIT 10`",
        )
    [statement] = statements
    kind = _kind(statement)
    if kind not in _READING:
        raise InputError(
            f"`{kind}` was not run: {ONLY_READS}",
            help="use SELECT, DESCRIBE, SHOW TABLES or EXPLAIN",
        )
    _check_names(statement.named_parameters, parameters)
    return statement


def _kind(statement: Any) -> str:
    """DuckDB's name of what a statement is, if that reads or the statement begins with WITH; else its first word."""
    try:
        kind = str(statement.type.name)
    except ValueError:  # DuckDB has kinds that it has no name for
        kind = ""
    first = _FIRST_WORD.match(statement.query)
    return kind if kind in _READING or first is None or first[1].upper() == "WITH" else first[1].upper()


def _check_names(asked: Set[str], given: Mapping[str, object]) -> None:
    """Refuse a statement that lacks a value, and a value that it does not use. Names ignore case, as in DuckDB."""
    if any(name.isdigit() for name in asked):
        raise InputError(
            "a parameter of the statement has no name", help="write `$team`, and give a value for `team`"
        )
    used, there = ({name.lower() for name in names} for names in (asked, given))
    for name in sorted(asked):
        if name.lower() not in there:
            raise InputError(
                f"there is no value for the parameter `${name}`",
                help=f'give it one: `--param {name}=…`, in Python `{{"{name}": …}}`',
            )
    for name in given:
        if name.lower() not in used:
            raise InputError(
                f"the statement has no parameter `${name}`",
                help=f"it has: {', '.join(f'`${one}`' for one in sorted(asked))}" if asked else None,
            )
