"""Encodes rows as entries, and has DuckDB parse entries into the ledger's tables, many at a time.

Measured: ``executemany`` is fifty times slower, and filling the columns of decisions in Python five times slower.
Nothing here opens a file or ends a transaction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import to_json

from routewright.engine.record import Attempt, columns_of

from .columns import decision_columns, entry_types, record_types
from .errors import LedgerError
from .rows import AttemptRow, DecisionEnd, DecisionRow, IntentRow, PolicyRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_NOT_STORED: Final = set(Attempt._fields) - {column.name for column in columns_of(Attempt)}

_NO_LOCATION: Final = re.compile(r'"simulated":(?:true|false)(?!,"location":)')
"""Where an earlier version went on without a location; no text holds it, as its quotes would have backslashes."""

_BATCH_CHARACTERS: Final = 16 * 1024 * 1024
"""About so much text is handed to DuckDB at once; it takes several times that in memory."""

# Strict, since a number that does not fit its column would otherwise silently become NULL. Each entry is parsed alone:
# in one joined array, a text with more than one value would give later entries the records of others.


def parsed_entries(given: str) -> str:
    """SQL for the rows of the table ``entries``: those of ``given``, their parts, and the decision that each is of."""
    return f"""
SELECT
    entry, beside, record, e,
    coalesce(
        e.decision.decision_id, e.ended.decision_id, e.intents[1].decision_id, e.attempts[1].decision_id
    ) AS decision_id
FROM (SELECT entry, beside, record, from_json_strict(beside, '{json.dumps(entry_types())}') AS e FROM ({given}))
"""


_TAKE_APART: Final = "CREATE OR REPLACE TEMP TABLE entries AS " + parsed_entries(
    "SELECT unnest(?::BIGINT[]) AS entry, unnest(?::VARCHAR[]) AS beside, unnest(?::VARCHAR[]) AS record"
)

_EMPTY: Final = """
SELECT count(*) FROM entries
WHERE record IS NULL AND e.ended IS NULL AND coalesce(len(e.intents), 0) = 0
    AND (e.decision IS NOT NULL OR (coalesce(len(e.attempts), 0) = 0 AND coalesce(len(e.policies), 0) = 0))
"""

_DECISIONS: Final = f"""
INSERT INTO decisions BY NAME
SELECT {decision_columns()}
FROM (
    SELECT decision_id, e.decision AS d, record, from_json_strict(record, '{json.dumps(record_types())}') AS r
    FROM entries
    WHERE record IS NOT NULL
)
LEFT JOIN (
    SELECT decision_id, max(e.ended.answered_attempt) AS answered_attempt
    FROM entries
    WHERE e.ended IS NOT NULL
    GROUP BY decision_id
) AS ended USING (decision_id)
"""

_REPEATED: Final = """
WITH given AS (SELECT e.decision.decision_id AS id FROM entries WHERE record IS NOT NULL)
SELECT id::VARCHAR FROM given GROUP BY id HAVING count(*) > 1
UNION ALL
SELECT decision_id::VARCHAR
FROM decisions
WHERE decision_id BETWEEN (SELECT min(id) FROM given) AND (SELECT max(id) FROM given)
  AND decision_id IN (SELECT id FROM given)
"""

_ATTEMPTS: Final = (
    "INSERT INTO attempts BY NAME SELECT unnest(a) FROM (SELECT unnest(e.attempts) AS a FROM entries)"
)

_POLICIES: Final = """
INSERT INTO policies BY NAME
SELECT DISTINCT ON (kind, digest) * FROM (SELECT unnest(p) FROM (SELECT unnest(e.policies) AS p FROM entries))
ANTI JOIN policies USING (kind, digest)
"""


def record_digest(record: str) -> str:
    """``sha256:`` and the SHA-256 of the text in UTF-8."""
    return "sha256:" + hashlib.sha256(record.encode()).hexdigest()


class Entry(NamedTuple):
    """What is stored together: a decision's record, and as JSON what stands beside it (see ``entry_of``).

    The record stays apart, as quoting it inside of other JSON would cost more than all else. It is None where an
    entry adds to a decision that was recorded before.
    """

    metadata: str
    record: str | None


def entry_of(
    decision: DecisionRow | None,
    attempts: Sequence[AttemptRow] = (),
    policies: Sequence[PolicyRow] = (),
    intents: Sequence[IntentRow] = (),
    end: DecisionEnd | None = None,
) -> Entry:
    """The rows as one entry. Raises LedgerError for what JSON cannot hold."""
    try:
        metadata = {
            "decision": None if decision is None else _beside(decision),
            "attempts": [_stored(row) for row in attempts],
            "policies": [row._asdict() for row in policies],
            "intents": [{"decision_id": row.decision_id, **row.intent._asdict()} for row in intents],
            "ended": None if end is None else end._asdict(),
        }
        encoded = to_json(metadata).decode()  # in half the time of Python's own encoder
        if "NaN" in encoded or "Infinity" in encoded:
            json.loads(encoded, parse_constant=_refuse)  # it lets numbers through that are none in JSON
        return Entry(encoded, None if decision is None else decision.record)
    except ValueError as error:  # what it raises, and what Unicode raises, are such
        why = str(error).removeprefix("Error serializing to JSON: ")
        raise LedgerError(f"a row holds what the ledger cannot store: {why}; nothing was written") from error


def insert(connection: DuckDBPyConnection, entries: Sequence[Entry]) -> tuple[int, int, int]:
    """Insert ``entries`` in order; return how many policies, decisions and attempts were inserted.

    Policies that the ledger has are skipped. Raises LedgerError for a decision that it has, and for an entry without a
    row. The caller checks that attempts are new.
    """
    policies = decisions = attempts = 0
    for batch in _batches(entries):
        policies += take_apart(connection, list(enumerate(batch)))
        decisions += insert_decisions(connection)
        attempts += insert_attempts(connection)
    drop_entries(connection)
    return policies, decisions, attempts


def take_apart(connection: DuckDBPyConnection, batch: Sequence[tuple[int, Entry]]) -> int:
    """Make the table ``entries`` of a numbered batch, and insert its policies; return how many were new."""
    columns = (
        [number for number, _ in batch],
        [_completed(entry.metadata) for _, entry in batch],
        [entry.record for _, entry in batch],
    )
    connection.execute(_TAKE_APART, columns)
    if connection.execute(_EMPTY).fetchone() != (0,):
        raise LedgerError("an entry holds no row, or a decision without its record")
    return _inserted(connection, _POLICIES)


def insert_decisions(connection: DuckDBPyConnection) -> int:
    """Insert the decisions of the table ``entries``; return their number. Raises LedgerError for one that is there."""
    repeated = connection.execute(_REPEATED).fetchone()
    if repeated is not None:
        raise LedgerError(f"decision `{repeated[0]}` is in the ledger already")
    return _inserted(connection, _DECISIONS)


def insert_attempts(connection: DuckDBPyConnection) -> int:
    """Insert the attempts of the table ``entries``; return their number."""
    return _inserted(connection, _ATTEMPTS)


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
        WHERE decision_id BETWEEN ?::UUID AND ?::UUID
          AND decision_id IN (SELECT unnest(from_json_strict(?, '["UUID"]')))
        """,
        [min(ids), max(ids), json.dumps(list(ids))],
    ).fetchall()


def drop_entries(connection: DuckDBPyConnection) -> None:
    """Drop the table ``entries`` while its transaction is open: else committing writes it all once more."""
    connection.execute("DROP TABLE IF EXISTS entries")


def _inserted(connection: DuckDBPyConnection, statement: str) -> int:
    found = connection.execute(statement).fetchone()
    assert found is not None
    return int(found[0])


def _completed(metadata: str) -> str:
    """An entry of an earlier version with what entries have by now."""
    if metadata.endswith("]}"):  # from before there were intents
        metadata = f'{metadata[:-1]},"intents":[],"ended":null}}'
    return _NO_LOCATION.sub(r'\g<0>,"location":null,"host":null', metadata)


def _refuse(number: str) -> None:
    raise ValueError(f"`{number}` is no number in JSON")


def _beside(row: DecisionRow) -> dict[str, Any]:
    values = row._asdict()
    del values["record"]
    for name, tag in row.tags.items():
        if type(name) is not str or type(tag) is not str:
            raise ValueError(f"the tag `{name!r}: {tag!r}` is no text")
    values["tags"] = dict(row.tags)
    return values


def _stored(row: AttemptRow) -> dict[str, Any]:
    values = row.attempt._asdict()
    for name in _NOT_STORED:
        del values[name]
    return {"decision_id": row.decision_id, **values}


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.metadata) + len(entry.record or "")
        if size > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
