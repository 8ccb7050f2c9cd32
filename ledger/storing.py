"""Commits what was put together as rows, and keeps what cannot be rows with the reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic_core import to_json

from .assembling import Assembler
from .connection import commit
from .errors import LedgerError
from .flights import Flight, flight_of
from .inserting import (
    insert_attempts,
    insert_decisions,
    insert_late,
    insert_parts,
    insert_policies,
    insert_states,
    known_digests,
    known_part,
)
from .pruned import is_gone
from .sql_errors import translate_error
from .state_as_of import StateChange
from .version_1 import decode, record_digest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


class Rejected(NamedTuple):
    """An entry that cannot be a row, with the reason; of version 1 the text of its record stands apart."""

    writer: str
    number: int
    why: str
    text: str
    record: str | None


class Refused(Exception):
    """What was put together cannot be stored, whoever tries, because of something in it; the message says why."""


def assembler_of(connection: DuckDBPyConnection) -> Assembler:
    """An assembler that knows what is in flight."""
    columns = "writer, entry, decision_id::VARCHAR, beside, record"
    rows = connection.execute(f"SELECT {columns} FROM in_flight ORDER BY entry").fetchall()
    flights: dict[str, Flight] = {}
    for writer, entry, decision_id, beside, record in rows:
        if beside.startswith('{"decision":'):  # of version 1: a row for each entry
            old = decode(beside, record)
            flight = flights.setdefault(decision_id, Flight(writer, entry, decision_id))
            if isinstance(old.decision, Mapping):
                flight.decision = dict(old.decision)
            flight.add(old)
        else:
            flights[decision_id] = flight_of(writer, entry, decision_id, beside)
    return Assembler(flights.values(), lambda digest: known_part(connection, digest))


def insert(connection: DuckDBPyConnection, assembler: Assembler, rejected: Sequence[Rejected] = ()) -> None:
    """Insert what waits in the assembler, in the transaction that is open. Raises Refused if that cannot be."""
    with _refusing():
        insert_policies(connection, [policy for _, _, policy in assembler.policies])
        insert_parts(connection, assembler.new_parts.values())
        insert_states(connection, assembler.states, assembler.known_states)
        _insert_ended(connection, assembler.ended)
        _reject(connection, rejected)
    _clear(assembler)


def finish(connection: DuckDBPyConnection, assembler: Assembler, marks: Mapping[str, int]) -> None:
    """Keep what has changed of decisions in flight, say up to which number each writer's entries are in, and commit."""
    with _refusing():
        _keep_flights(connection, assembler)
        for writer, number in marks.items():
            mark(connection, writer, number)
        commit(connection)
    assembler.touched.clear()


def store(
    connection: DuckDBPyConnection,
    assembler: Assembler,
    marks: Mapping[str, int] = MappingProxyType({}),
    rejected: Sequence[Rejected] = (),
) -> None:
    """``insert`` and ``finish`` in a transaction of their own; what cannot be stored is rejected by itself."""
    connection.execute("BEGIN")
    try:
        insert(connection, assembler, rejected)
        finish(connection, assembler, marks)
    except Refused:
        connection.execute("ROLLBACK")
        _store_apart(connection, assembler, rejected)
        connection.execute("BEGIN")
        finish(connection, assembler, marks)
        _clear(assembler)


def _clear(assembler: Assembler) -> None:
    assembler.ended.clear()
    assembler.policies.clear()
    assembler.states.clear()
    assembler.new_parts.clear()


def _store_apart(connection: DuckDBPyConnection, assembler: Assembler, rejected: Sequence[Rejected]) -> None:
    """Commit the same piece by piece, since something in it cannot be stored.

    It is done again from the beginning where it is interrupted: what is there already is then left as it is.
    """
    known = assembler.known_states
    known.clear()  # it may hold what was rolled back

    def insert_some(part: Sequence[StateChange]) -> None:
        try:
            insert_states(connection, part, known)
        except BaseException:
            known.clear()
            raise

    _in_halves(
        connection,
        assembler.policies,
        lambda part: insert_policies(connection, [policy for _, _, policy in part]),
        lambda one: (one[0], one[1], to_json(one[2]).decode(), None),
    )
    _in_halves(
        connection,
        assembler.states,
        insert_some,
        lambda one: (one.writer, one.entry, to_json(one).decode(), None),
    )
    connection.execute("BEGIN")
    insert_parts(connection, assembler.new_parts.values())
    commit(connection)
    _in_halves(
        connection,
        assembler.ended,
        lambda part: _insert_ended(connection, part),
        lambda one: (one.writer, one.entry, one.text, one.record),
    )
    connection.execute("BEGIN")
    _reject(connection, rejected)
    commit(connection)


def _reject(connection: DuckDBPyConnection, rejected: Sequence[Rejected]) -> None:
    """Keep what cannot be a row, with the reason."""
    for one in rejected:
        values = [one.writer, one.number, _now_us(), one.why, one.text, one.record]
        connection.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)", values)


def mark(connection: DuckDBPyConnection, writer: str, number: int, *, damaged: int = 0) -> None:
    """Say that the entries up to ``number`` are in; what was said before of more, and of damage, stays."""
    before = connection.execute(
        "DELETE FROM writers WHERE writer = ? RETURNING entries, damaged_bytes", [writer]
    ).fetchone()
    if before is not None:
        number, damaged = max(number, before[0]), damaged + before[1]
    connection.execute("INSERT INTO writers VALUES (?, ?, ?, ?)", [writer, number, _now_us(), damaged])


def _insert_ended(connection: DuckDBPyConnection, ended: Sequence[Flight]) -> None:
    """Insert decisions that have ended. One that is there already stays as it is, and its attempts are completed.

    What comes late of one that was erased or pruned meanwhile is gone with it. Raises LedgerError for one that is
    there with another record.
    """
    digests = known_digests(connection, [one.decision_id for one in ended])
    new = []
    for one in ended:
        if one.decision is None:
            if one.decision_id in digests or not is_gone(connection, one.decision_id):
                insert_late(connection, one)
            continue
        digest = _digest(one.decision)
        if one.decision_id not in digests:
            digests[one.decision_id] = digest
            new.append(one.decision)
        elif digests[one.decision_id] != digest:
            raise LedgerError(f"decision `{one.decision_id}` is in the ledger already, with another record")
    insert_decisions(connection, new)
    calls = [call for one in ended if one.decision is not None for call in one.calls()]
    # The last of those that are there twice, as what is recorded twice may have more the second time.
    insert_attempts(connection, list({(one["decision_id"], one["number"]): one for one in calls}.values()))


def _digest(decision: Mapping[str, Any]) -> str:
    return record_digest(decision["record"]) if "record" in decision else str(decision["digest"])


def _keep_flights(connection: DuckDBPyConnection, assembler: Assembler) -> None:
    """Write what has changed of decisions in flight."""
    touched = assembler.touched
    if not touched:
        return
    connection.execute("DELETE FROM in_flight WHERE list_contains(?::UUID[], decision_id)", [list(touched)])
    flights = [assembler.flights[id] for id in touched if id in assembler.flights]
    columns = (
        [one.writer for one in flights],
        [one.entry for one in flights],
        [one.decision_id for one in flights],
        [one.text for one in flights],
        [one.record for one in flights],
    )
    connection.execute(
        """
        INSERT INTO in_flight
        SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[])::UUID, unnest(?::VARCHAR[]),
            unnest(?::VARCHAR[])
        """,
        columns,
    )


def _in_halves(
    connection: DuckDBPyConnection,
    batch: Sequence[T],
    rows: Callable[[Sequence[T]], object],
    entry: Callable[[T], tuple[str, int, str, str | None]],
) -> None:
    """Commit ``rows`` of a batch; where something in it cannot be stored, of its halves, down to single ones.

    A single one is rejected: ``entry`` gives its writer, number, text and record.
    """
    if not batch:
        return
    connection.execute("BEGIN")
    try:
        with _refusing():
            rows(batch)
            commit(connection)
        return
    except Refused as refused:
        connection.execute("ROLLBACK")
        why = str(refused)
    if len(batch) > 1:
        half = len(batch) // 2
        _in_halves(connection, batch[:half], rows, entry)
        _in_halves(connection, batch[half:], rows, entry)
        return
    writer, number, text, record = entry(batch[0])
    connection.execute("BEGIN")
    _reject(connection, [Rejected(writer, number, why, text, record)])
    commit(connection)


@contextmanager
def _refusing() -> Iterator[None]:
    """Raises Refused where something cannot be stored, whoever tries; other errors pass."""
    import duckdb

    try:
        yield
    except (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
        raise Refused(str(translate_error(error))) from error
    except LedgerError as error:
        raise Refused(str(error)) from error


def _now_us() -> int:
    return time.time_ns() // 1_000
