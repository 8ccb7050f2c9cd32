"""Commits a writer's entries as rows, and keeps those that cannot be rows with the reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from .connection import commit
from .errors import LedgerError
from .in_flight import decisions_in_flight, end_decisions, insert_ended, reject_in_flight
from .writing import Entry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


def store(connection: DuckDBPyConnection, writer: str, batch: Sequence[tuple[int, Entry]]) -> None:
    """Commit a batch of a writer's numbered entries, each as rows, as in flight or as rejected."""

    def rows(part: Sequence[tuple[int, Entry]]) -> None:
        insert_ended(connection, writer, part)
        mark(connection, writer, part[-1][0])

    def reject(one: tuple[int, Entry], refusal: str) -> None:
        number, entry = one
        values = [writer, number, _now_us(), refusal, entry.metadata, entry.record]
        connection.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)", values)
        mark(connection, writer, number)

    _in_halves(connection, batch, rows, reject)


def end_writers(connection: DuckDBPyConnection, writers: Sequence[str]) -> None:
    """Commit what is in flight of writers that are gone: calls whose end they have not recorded were lost."""

    def rows(ids: Sequence[str]) -> None:
        end_decisions(connection, ids)

    def reject(decision_id: str, refusal: str) -> None:
        reject_in_flight(connection, decision_id, _now_us(), refusal)

    ids = decisions_in_flight(connection, writers)
    if ids:
        _in_halves(connection, ids, rows, reject)


def mark(connection: DuckDBPyConnection, writer: str, number: int, *, damaged: int = 0) -> None:
    """Say that the entries up to ``number`` are in; what was said before of more, and of damage, stays."""
    before = connection.execute(
        "DELETE FROM writers WHERE writer = ? RETURNING entries, damaged_bytes", [writer]
    ).fetchone()
    if before is not None:
        number, damaged = max(number, before[0]), damaged + before[1]
    connection.execute("INSERT INTO writers VALUES (?, ?, ?, ?)", [writer, number, _now_us(), damaged])


def _in_halves(
    connection: DuckDBPyConnection,
    batch: Sequence[T],
    rows: Callable[[Sequence[T]], object],
    reject: Callable[[T, str], object],
) -> None:
    """Commit ``rows`` of a batch; where something in it cannot be stored, of its halves, down to single ones."""
    refusal = _refusal(connection, batch, rows)
    if refusal is None:
        return
    if len(batch) > 1:
        half = len(batch) // 2
        _in_halves(connection, batch[:half], rows, reject)
        _in_halves(connection, batch[half:], rows, reject)
        return
    connection.execute("BEGIN")
    reject(batch[0], refusal)
    commit(connection)


def _refusal(
    connection: DuckDBPyConnection, batch: Sequence[T], rows: Callable[[Sequence[T]], object]
) -> str | None:
    """Why the batch cannot be stored, whoever tries; None when it has been. Other errors are raised."""
    import duckdb

    connection.execute("BEGIN")
    try:
        rows(batch)
        commit(connection)
    except (LedgerError, duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
        connection.execute("ROLLBACK")
        return str(error)
    return None


def _now_us() -> int:
    return time.time_ns() // 1_000
