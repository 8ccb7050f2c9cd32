"""Stores imported calls, many at a time, and removes imports. Nothing here opens a file or ends a transaction.

A call is known by its import, its request and its own id: one that is there is left as it is, and named where it says
something else now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..columns import sql_type
from ..inserting import inserted
from .calls import Call
from .shape import TABLES, ImportedAttempt, ImportedDecision, columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def _quoted(name: str) -> str:
    """A column's name: `import` is a word of SQL."""
    return f'"{name}"'


_DECISION: Final = tuple(columns(ImportedDecision))
_ATTEMPT: Final = tuple(columns(ImportedAttempt))

# VARIANT can be cast from JSON alone.
_KINDS: Final[Mapping[str, str]] = {"features": "JSON"}
_GIVEN: Final = {
    "seq": "INTEGER",
    "place": "BIGINT",
    **{
        name: _KINDS.get(name) or sql_type(kind)
        for row in (ImportedDecision, ImportedAttempt)
        for name, (kind, _) in columns(row).items()
    },
    "outcomes": [{"metric": "VARCHAR", "value": "DOUBLE", "label": "VARCHAR"}],
}
_NOTHING: Final[Call] = dict.fromkeys(_GIVEN)  # strict parsing wants every key

_TAKE: Final = f"""
CREATE OR REPLACE TEMP TABLE given AS
SELECT unnest(call) FROM (SELECT unnest(from_json_strict(?, '{json.dumps([_GIVEN])}')) AS call)
"""

_FRESH: Final = """
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT f.* REPLACE (
    coalesce(known.calls, 0) + row_number() OVER (PARTITION BY f.decision_id ORDER BY f.seq) AS number
)
FROM (
    SELECT DISTINCT ON (g.decision_id, g.call_id) g.*
    FROM given AS g ANTI JOIN imported_attempts USING (decision_id, call_id)
    ORDER BY g.decision_id, g.call_id, g.seq
) AS f
LEFT JOIN (
    SELECT decision_id, max(number) AS calls
    FROM imported_attempts
    WHERE decision_id IN (SELECT decision_id FROM given)
    GROUP BY decision_id
) AS known ON (known.decision_id = f.decision_id)
"""

_EXPRESSIONS: Final[Mapping[str, str]] = {
    "features": "features::JSON::VARIANT",
    "feature_sources": "coalesce(feature_sources, MAP {})",
    "tags": "coalesce(tags, MAP {})",
}

_INSERT_DECISIONS: Final = f"""
INSERT INTO imported_decisions BY NAME
SELECT {", ".join(f"{_EXPRESSIONS.get(name, _quoted(name))} AS {_quoted(name)}" for name in _DECISION)}
FROM (
    SELECT DISTINCT ON (f.decision_id) f.*
    FROM fresh AS f ANTI JOIN imported_decisions USING (decision_id)
    ORDER BY f.decision_id, f.seq
)
ORDER BY seq
"""

_INSERT_ATTEMPTS: Final = f"""
INSERT INTO imported_attempts BY NAME SELECT {", ".join(map(_quoted, _ATTEMPT))} FROM fresh ORDER BY seq
"""

_INSERT_OUTCOMES: Final = """
INSERT INTO imported_outcomes BY NAME
SELECT "import", decision_id, number AS attempt, unnest(found)
FROM (SELECT "import", decision_id, number, seq, unnest(outcomes) AS found FROM fresh)
ORDER BY seq
"""

_CHANGED: Final = """
SELECT DISTINCT g.place
FROM given AS g JOIN imported_attempts AS a USING (decision_id, call_id)
WHERE a.digest <> g.digest
ORDER BY g.place
"""


class Stored(NamedTuple):
    """What a batch added, and the places of rows that were imported before and now say something else."""

    decisions: int
    calls: int
    outcomes: int
    changed: tuple[int, ...]


def store_calls(connection: DuckDBPyConnection, calls: Sequence[Call]) -> Stored:
    """Insert those of ``calls`` that are not there yet."""
    numbered = [{**_NOTHING, "seq": seq, **call} for seq, call in enumerate(calls)]
    connection.execute(_TAKE, [json.dumps(numbered)])
    connection.execute(_FRESH)
    decisions = inserted(connection, _INSERT_DECISIONS)
    attempts = inserted(connection, _INSERT_ATTEMPTS)
    outcomes = inserted(connection, _INSERT_OUTCOMES)
    changed = tuple(place for (place,) in connection.execute(_CHANGED).fetchall())
    for table in ("given", "fresh"):
        connection.execute(f"DROP TABLE {table}")
    return Stored(decisions, attempts, outcomes, changed)


def note_import(connection: DuckDBPyConnection, row: Mapping[str, Any]) -> None:
    """Insert the row of ``imports`` for a file, or bring it up to date."""
    connection.execute("DELETE FROM imports WHERE import_id = ?::UUID", [row["import_id"]])
    names = ", ".join(map(_quoted, row))
    marks = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO imports ({names}) VALUES ({marks})", list(row.values()))


def delete_import(connection: DuckDBPyConnection, name: str) -> tuple[int, int] | None:
    """Delete everything of an import; how many requests and calls that were, or None if there is no such import."""
    found = connection.execute('SELECT count(*) FROM imports WHERE "import" = ?', [name]).fetchone()
    if found == (0,):
        return None
    counts = {}
    for table in (*TABLES, "imports"):
        deleted = connection.execute(f'DELETE FROM {table} WHERE "import" = ?', [name]).fetchone()
        assert deleted is not None
        counts[table] = int(deleted[0])
    return counts["imported_decisions"], counts["imported_attempts"]
