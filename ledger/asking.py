"""Runs one read-only statement, limited in time and rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .errors import LedgerError
from .migrate import view_text
from .results import QueryResult, TailRow
from .sql_errors import translate_error

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


T = TypeVar("T")

MAX_ROWS: Final = 10_000
TIMEOUT_S: Final = 60.0
MAX_SQL_CHARACTERS: Final = 1_000_000

MOST_COUNTED: Final = 10_000
"""Rejected entries are counted up to this number."""

_INTERRUPT_EVERY_S = 0.05

# PIVOT is taken apart into several statements that belong together, and is then of type MULTI.
_READING: Final = frozenset({"SELECT", "EXPLAIN", "MULTI"})

# Any user may replace the view in the file, or shadow one of its functions with a macro.
_TAIL = """
WITH decisions_flat AS ({view})
SELECT decision_id::VARCHAR, decided_at, operation, outcome, mode, policy_name, matched_rule, target,
       answered_by, status, attempts, latency_ms, known_cost_nano,
       currency, unknown_cost_attempts, simulated,
       EXISTS (SELECT 1 FROM main.attempts AS a
               WHERE a.decision_id = decisions_flat.decision_id AND a.cost_source = 'lower_bound')
FROM decisions_flat
WHERE decision_id IN (SELECT decision_id FROM decisions ORDER BY at_us DESC, decision_id DESC LIMIT ?)
ORDER BY decided_at, decision_id
"""


def count_rejected(connection: DuckDBPyConnection) -> int:
    """How many entries could not be stored as rows; ``MOST_COUNTED + 1`` stands for any larger number.

    Counted without a SQL function, since a macro in the file could shadow it.
    """
    statement = f"SELECT entry FROM main.rejected LIMIT {MOST_COUNTED + 1}"
    return len(connection.execute(statement).fetchall())


def ask(connection: DuckDBPyConnection, sql: str, *, max_rows: int, timeout_s: float) -> QueryResult:
    """At most ``max_rows`` rows of what ``sql`` gives; see ``Ledger.query``. Ctrl-C raises KeyboardInterrupt."""
    if max_rows < 0:
        raise LedgerError(f"`{max_rows}` rows cannot be asked for", help="the row limit is 0 or more")
    import duckdb

    try:
        statement = _one_statement(connection, sql)
        # One row more than asked for shows whether there are more.
        rows = _interruptibly(
            connection, lambda: connection.execute(statement).fetchmany(max_rows + 1), timeout_s
        )
        described = connection.description or []
    except duckdb.InterruptException as error:
        raise LedgerError(
            f"the statement took longer than {timeout_s:g} s and was stopped",
            help="narrow it by a WHERE clause, or raise the time limit",
        ) from error
    except duckdb.Error as error:
        raise translate_error(error, sql) from error
    columns = tuple(str(column[0]) for column in described)
    types = tuple(str(column[1]) for column in described)
    return QueryResult(columns, types, tuple(rows[:max_rows]), len(rows) > max_rows)


def newest(connection: DuckDBPyConnection, n: int) -> tuple[TailRow, ...]:
    """The ``n`` newest decisions, oldest first. Ctrl-C raises KeyboardInterrupt."""
    statement = _TAIL.format(view=view_text("decisions_flat"))
    rows = _interruptibly(connection, lambda: connection.execute(statement, [max(0, n)]).fetchall(), None)
    return tuple(TailRow(*row) for row in rows)


def _one_statement(connection: DuckDBPyConnection, sql: str) -> Any:
    if len(sql) > MAX_SQL_CHARACTERS:
        raise LedgerError(f"the statement has more than {MAX_SQL_CHARACTERS} characters")
    if "\0" in sql:
        raise LedgerError("the statement has a character with the code 0")
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise LedgerError(
            "there is no statement to run"
            if not statements
            else f"one statement was expected, and there are {len(statements)}; none was run",
            help="try `SELECT * FROM decisions_flat LIMIT 10`",
        )
    [statement] = statements
    kind = statement.type.name
    if kind not in _READING:
        raise LedgerError(
            f"a statement of type `{kind}` was not run: the ledger is only read here",
            help="use SELECT, DESCRIBE, SHOW TABLES or EXPLAIN",
        )
    if statement.named_parameters:
        raise LedgerError(
            "the statement has parameters, and there are no values for them", help="write the values out"
        )
    return statement


def _interruptibly(connection: DuckDBPyConnection, work: Callable[[], T], timeout_s: float | None) -> T:
    """What ``work`` gives, interrupted at the time limit or by Ctrl-C.

    A thread does it: DuckDB misses a Ctrl-C that comes while it starts, and the thread that waits does not. The
    connection is interrupted until the work has ended, since one interrupt may fall between two steps.
    """
    done: Future[T] = Future()
    # Ctrl-C may come while the thread starts: it must do nothing until somebody is there to interrupt it.
    go = threading.Event()

    def run() -> None:
        go.wait()
        try:
            done.set_result(work())
        except BaseException as error:  # raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="ledger-statement", daemon=True).start()
    try:
        go.set()
        wait([done], timeout_s)
    finally:
        go.set()
        while not done.done():
            connection.interrupt()
            wait([done], _INTERRUPT_EVERY_S)
    return done.result()
