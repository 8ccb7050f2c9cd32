"""Commits what was put together as rows, and keeps what cannot be rows with the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import to_json

from .assembling import Assembler, Flight
from .connection import commit
from .errors import LedgerError
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
from .version_1 import decode, record_digest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")


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
            values = json.loads(beside)
            flights[decision_id] = Flight(writer, entry, decision_id, values["row"])
            for name, calls in (
                ("attempts", flights[decision_id].attempts),
                ("intents", flights[decision_id].intents),
            ):
                calls.update({one["number"]: one for one in values[name]})
    return Assembler(flights.values(), lambda digest: known_part(connection, digest))


def store(connection: DuckDBPyConnection, assembler: Assembler, marks: Mapping[str, int]) -> None:
    """Commit what waits in the assembler, each decision as rows, as in flight or as rejected.

    ``marks`` says up to which number each writer's entries are in.
    """

    def rows(_: Sequence[None]) -> None:
        _insert_shared(connection, assembler)
        _insert_ended(connection, assembler.ended)
        _keep_flights(connection, assembler)
        for writer, number in marks.items():
            mark(connection, writer, number)

    if _refusal(connection, [None], rows) is not None:
        _store_apart(connection, assembler, marks)
    for waiting in (assembler.ended, assembler.policies, assembler.states, assembler.touched):
        waiting.clear()
    assembler.new_parts.clear()


def _store_apart(connection: DuckDBPyConnection, assembler: Assembler, marks: Mapping[str, int]) -> None:
    """Commit the same piece by piece, since something in it cannot be stored.

    It is done again from the beginning where it is interrupted: what is there already is then left as it is.
    """

    def reject(what: Callable[[T], tuple[str, int, object, str | None]]) -> Callable[[T, str], None]:
        def one(item: T, why: str) -> None:
            writer, number, values, record = what(item)
            reject_entry(connection, writer, number, why, to_json(values).decode(), record)

        return one

    _in_halves(
        connection,
        assembler.policies,
        lambda part: insert_policies(connection, [policy for _, _, policy in part]),
        reject(lambda one: (one[0], one[1], one[2], None)),
    )
    _in_halves(
        connection,
        assembler.states,
        lambda part: insert_states(connection, part),
        reject(lambda one: (one[0], one[1], one, None)),
    )
    connection.execute("BEGIN")
    insert_parts(connection, assembler.new_parts.values())
    commit(connection)
    _in_halves(
        connection,
        assembler.ended,
        lambda part: _insert_ended(connection, part),
        reject(lambda one: (one.writer, one.entry, _flight_values(one), _record_of(one))),
    )
    connection.execute("BEGIN")
    _keep_flights(connection, assembler)
    for writer, number in marks.items():
        mark(connection, writer, number)
    commit(connection)


def reject_entry(
    connection: DuckDBPyConnection, writer: str, number: int, why: str, text: str, record: str | None
) -> None:
    """Keep what cannot be a row, with the reason."""
    values = [writer, number, _now_us(), why, text, record]
    connection.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)", values)


def mark(connection: DuckDBPyConnection, writer: str, number: int, *, damaged: int = 0) -> None:
    """Say that the entries up to ``number`` are in; what was said before of more, and of damage, stays."""
    before = connection.execute(
        "DELETE FROM writers WHERE writer = ? RETURNING entries, damaged_bytes", [writer]
    ).fetchone()
    if before is not None:
        number, damaged = max(number, before[0]), damaged + before[1]
    connection.execute("INSERT INTO writers VALUES (?, ?, ?, ?)", [writer, number, _now_us(), damaged])


def _insert_shared(connection: DuckDBPyConnection, assembler: Assembler) -> None:
    insert_policies(connection, [policy for _, _, policy in assembler.policies])
    insert_parts(connection, assembler.new_parts.values())
    insert_states(connection, assembler.states)


def _insert_ended(connection: DuckDBPyConnection, ended: Sequence[Flight]) -> None:
    """Insert decisions that have ended. One that is there already stays as it is, and its attempts are completed.

    Raises LedgerError for one that is there with another record.
    """
    digests = known_digests(connection, [one.decision_id for one in ended])
    new = []
    for one in ended:
        if one.decision is None:
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


def _record_of(flight: Flight) -> str | None:
    """The text of a record of version 1."""
    return None if flight.decision is None else flight.decision.get("record")


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
        [to_json(_flight_values(one)).decode() for one in flights],
        [_record_of(one) for one in flights],
    )
    connection.execute(
        """
        INSERT INTO in_flight
        SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[])::UUID, unnest(?::VARCHAR[]),
            unnest(?::VARCHAR[])
        """,
        columns,
    )


def _flight_values(flight: Flight) -> dict[str, Any]:
    return {
        "row": flight.decision,
        "attempts": list(flight.attempts.values()),
        "intents": list(flight.intents.values()),
    }


def _in_halves(
    connection: DuckDBPyConnection,
    batch: Sequence[T],
    rows: Callable[[Sequence[T]], object],
    reject: Callable[[T, str], object],
) -> None:
    """Commit ``rows`` of a batch; where something in it cannot be stored, of its halves, down to single ones."""
    if not batch:
        return
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
