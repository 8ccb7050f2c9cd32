"""Inserts what was put together as rows, many at a time: rows go to DuckDB as JSON texts, which it parses by type.

Measured: ``executemany`` is fifty times slower, and lists as parameters three times. Nothing here opens a file or ends
a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from . import version_1
from .assembling import NewPart
from .columns import ATTEMPT_TYPES, DECISION_TYPES, POLICY_TYPES, STATE_TYPES
from .errors import LedgerError
from .flights import Flight
from .proof.entering import enter
from .proof.logged import ATTEMPTS, DECISIONS, DECISIONS_1, PARTS, POLICIES, Logged
from .state_as_of import ONLY, StateChange

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# Strict, since a number that does not fit its column would otherwise silently become NULL.


def rows_of(types: Mapping[str, Any]) -> str:
    """SQL for rows given as a list of JSON texts, each parsed alone."""
    return f"""SELECT unnest(r) FROM (
        SELECT from_json_strict(row, '{json.dumps(types)}') AS r FROM (SELECT unnest(?::VARCHAR[]) AS row)
    )"""


_PART_TYPES: Final = {"place": "BIGINT", "kind": "VARCHAR", "digest": "VARCHAR", "value": "VARCHAR"}

_INSERT_PARTS: Final = f"""
INSERT INTO parts BY NAME
SELECT (SELECT coalesce(max(part), 0) FROM parts) + row_number() OVER (ORDER BY place) AS part, kind, digest, value
FROM ({rows_of(_PART_TYPES)}) AS given
WHERE NOT EXISTS (SELECT 1 FROM parts WHERE parts.digest = given.digest)
RETURNING {PARTS.selected}
"""

_INSERT_DECISIONS: Final = f"""
INSERT INTO decision_rows BY NAME
SELECT
    * REPLACE (features::VARIANT AS features, unhex(digest) AS digest),
    coalesce(tags['team'], features ->> '$.team') AS team,
    coalesce(tags['user'], features ->> '$.user') AS "user"
FROM ({rows_of(DECISION_TYPES)})
RETURNING {DECISIONS.selected}
"""

_PART_NUMBERS: Final = "SELECT digest, part FROM parts WHERE list_contains(?::VARCHAR[], digest)"

_INSERT_ATTEMPTS: Final = f"""
INSERT INTO attempt_rows BY NAME
SELECT * FROM ({rows_of(ATTEMPT_TYPES)}) AS given
WHERE NOT EXISTS (
    SELECT 1
    FROM attempt_rows
    WHERE (attempt_rows.decision_id = given.decision_id)
        AND (attempt_rows.number = given.number)
        AND (attempt_rows.decision_id BETWEEN ?::UUID AND ?::UUID)
)
RETURNING {ATTEMPTS.selected}
"""

_INSERT_POLICIES: Final = f"""
INSERT INTO policies BY NAME
SELECT DISTINCT ON (kind, digest) * FROM ({rows_of(POLICY_TYPES)}) ANTI JOIN policies USING (kind, digest)
RETURNING {POLICIES.selected}
"""

_LAST_STATES: Final = {
    "model": """
SELECT model, max_by(model_states, entry) FROM model_states WHERE writer = ? GROUP BY model
""",
    "memory": "SELECT backend, max_by(memory_states, entry) FROM memory_states WHERE writer = ? GROUP BY backend",
}


def insert_policies(connection: DuckDBPyConnection, policies: Sequence[Mapping[str, Any]]) -> int:
    """Insert texts that the ledger lacks; return their number."""
    return _enter(connection, POLICIES, _INSERT_POLICIES, [_texts(policies, POLICY_TYPES)]) if policies else 0


def insert_parts(connection: DuckDBPyConnection, parts: Iterable[NewPart]) -> None:
    """Insert parts that the ledger lacks, with numbers of their own."""
    rows = [
        {"place": place, "kind": part.kind, "digest": part.digest, "value": part.text}
        for place, part in enumerate(parts)
    ]
    if rows:
        _enter(connection, PARTS, _INSERT_PARTS, [_texts(rows, _PART_TYPES)])


def known_part(connection: DuckDBPyConnection, digest: str) -> str | None:
    """The text of a part; None where the ledger lacks it."""
    found = connection.execute("SELECT value FROM parts WHERE digest = ?", [digest]).fetchone()
    return None if found is None else str(found[0])


KnownStates = dict[str, dict[tuple[str, str], Mapping[str, Any]]]
"""What the tables hold last of the state: by writer, then by kind and id."""


def insert_states(
    connection: DuckDBPyConnection, states: Sequence[StateChange], known_states: KnownStates
) -> None:
    """Insert changes of the state, without those that change nothing.

    ``known_states`` is read for each writer when it first comes, and kept up to date: if the transaction is rolled
    back, it must be cleared.
    """
    for writer in {one.writer for one in states} - known_states.keys():
        known_states[writer] = _last_states(connection, writer)
    rows: dict[str, list[Mapping[str, Any]]] = {"model": [], "memory": []}
    for (writer, entry, kind, id, _), values in _each(states, known_states):
        known = known_states[writer]
        if known.get((kind, id), {}) == values:
            continue
        known[kind, id] = values
        name = "model" if kind == "model" else "backend"
        rows[kind].append({"writer": writer, "entry": entry, name: id, **values})
    for kind, found in rows.items():
        if found:
            sql = f"INSERT INTO {kind}_states BY NAME {rows_of(STATE_TYPES[kind])}"
            connection.execute(sql, [_texts(found, STATE_TYPES[kind])])


def _each(
    states: Sequence[StateChange], known_states: KnownStates
) -> Iterator[tuple[StateChange, Mapping[str, Any]]]:
    """The changes with their values, and one for each thing of which nothing is known since ``ONLY`` others are."""
    try:
        # All texts at once take half as long.
        parsed = json.loads(f"[{','.join([one.text or '{}' for one in states])}]")
        pairs = list(zip(states, parsed, strict=True))
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"what was known of a model cannot be read: {error}") from error
    for one, values in pairs:
        if one.kind != ONLY:
            yield one, values
            continue
        left = set(map(tuple, values))
        known = known_states[one.writer]
        for kind, id in [key for key, before in known.items() if before and key not in left]:
            yield one._replace(kind=kind, id=id), {}


def _last_states(connection: DuckDBPyConnection, writer: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for kind, sql in _LAST_STATES.items():
        for id, row in connection.execute(sql, [writer]).fetchall():
            found[kind, id] = state_values(kind, row)
    return found


def state_values(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a row of a state stands for, as a record has them; empty where nothing was known."""
    values = {
        name: value for name, value in row.items() if name not in ("writer", "entry", "model", "backend")
    }
    if all(value is None for value in values.values()):
        return {}
    added = ("health_detail", "loaded", "load_ms", "memory_bytes") if kind == "model" else ()
    return {name: value for name, value in values.items() if value is not None or name not in added}


def insert_decisions(connection: DuckDBPyConnection, decisions: Sequence[Mapping[str, Any]]) -> None:
    """Insert decisions, those of version 1 too. Their parts are there."""
    rows = [one for one in decisions if "record" not in one]
    if rows:
        _enter(connection, DECISIONS, _INSERT_DECISIONS, [_decision_texts(connection, rows)])
    older = [one for one in decisions if "record" in one]
    if older:
        beside = [
            {name: value for name, value in one.items() if name not in ("id", "record")} for one in older
        ]
        texts = [_texts(beside, version_1.BESIDE_TYPES), [one["record"] for one in older]]
        _enter(connection, DECISIONS_1, f"{version_1.INSERT} RETURNING {DECISIONS_1.selected}", texts)


def _decision_texts(connection: DuckDBPyConnection, decisions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Decisions as texts, with the numbers of their parts in place of the digests."""
    names = ("policy_part", "plan_part", "arm_part")
    digests = {one[name] for one in decisions for name in names} - {None}
    numbers = dict(connection.execute(_PART_NUMBERS, [list(digests)]).fetchall())
    numbers[None] = None
    missing = dict.fromkeys(DECISION_TYPES)
    texts = []
    for one in decisions:
        row = {**missing, **one}
        for name in names:
            row[name] = numbers[row[name]]
        features = row.pop("features")
        if not isinstance(features, str):  # of what is in flight since an earlier version
            features = to_json(features).decode()
        texts.append(f'{to_json(row).decode()[:-1]},"features":{features}}}')
    return texts


def insert_attempts(connection: DuckDBPyConnection, attempts: Sequence[Mapping[str, Any]]) -> int:
    """Insert attempts that the ledger lacks; return their number."""
    if not attempts:
        return 0
    ids = [one["decision_id"] for one in attempts]
    return _enter(
        connection, ATTEMPTS, _INSERT_ATTEMPTS, [_texts(attempts, ATTEMPT_TYPES), min(ids), max(ids)]
    )


def insert_late(connection: DuckDBPyConnection, flight: Flight) -> None:
    """Insert what is said of a decision that is a row already, since its writer had seemed to be gone.

    The end of a call takes the place of the attempt that was taken for lost.
    """
    for number in flight.attempts:
        connection.execute(
            "DELETE FROM attempt_rows WHERE (status = 'lost') AND (decision_id = ?::UUID) AND (number = ?)",
            [flight.decision_id, number],
        )
    insert_attempts(connection, flight.calls())
    if flight.answered is not None:
        for logged in (DECISIONS, DECISIONS_1):
            sql = f"UPDATE {logged.table} SET answered_attempt = ? WHERE decision_id = ?::UUID"
            of = [flight.answered, flight.decision_id]
            _enter(connection, logged, f"{sql} RETURNING {logged.selected}", of)


def known_digests(connection: DuckDBPyConnection, ids: Sequence[str]) -> dict[str, str]:
    """The record's digest of each of the decisions that the ledger has."""
    found: dict[str, str] = {}
    for table, digest in (
        ("decision_rows", "lower(hex(digest))"),
        ("decisions_1", "substr(record_digest, 8)"),
    ):
        found.update(select_ids(connection, f"decision_id::VARCHAR, {digest}", table, ids))
    return found


def select_ids(
    connection: DuckDBPyConnection, columns: str, table: str, ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    """``columns`` of the rows of ``table`` whose decision id is one of ``ids`` (canonical UUIDs)."""
    if not ids:
        return []
    # The bounds skip most of a large table: ids are sorted by time, and so are the rows.
    return connection.execute(
        f"""
        SELECT {columns} FROM {table}
        WHERE (decision_id BETWEEN ?::UUID AND ?::UUID)
          AND (decision_id IN (SELECT unnest(from_json_strict(?, '["UUID"]'))))
        """,
        [min(ids), max(ids), json.dumps(list(ids))],
    ).fetchall()


def _texts(rows: Iterable[Mapping[str, Any]], types: Mapping[str, Any]) -> list[str]:
    """Rows as texts, with the columns of ``types``; what a row lacks is NULL."""
    missing = dict.fromkeys(types)
    return [to_json(row if len(row) == len(types) else {**missing, **row}).decode() for row in rows]


def _enter(
    connection: DuckDBPyConnection, logged: Logged, statement: str, parameters: Sequence[object]
) -> int:
    """Run a statement that returns what it has written, and enter that into the log; return how many rows it was."""
    rows = connection.execute(statement, parameters).fetchall()
    enter(connection, logged, rows)
    return len(rows)


def inserted(connection: DuckDBPyConnection, statement: str, parameters: Sequence[object] = ()) -> int:
    """Run an INSERT; return how many rows it inserted."""
    found = connection.execute(statement, parameters).fetchone()
    assert found is not None
    return int(found[0])
