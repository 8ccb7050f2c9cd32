"""Keeps what is recorded of a decision apart until it has ended, and makes rows of it then.

Decisions and attempts are never updated, so a decision becomes a row only when nothing more can come of it: when an
entry says so, or when its writer is gone. A call of a writer that is gone, whose end nobody has recorded, was lost: its
cost is unknown. If its end is recorded after all, because the writer only seemed to be gone, the end takes the place of
the lost attempt.

Works on the table ``entries`` that ``take_apart`` makes. Nothing here opens a file or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .writing import Entry, drop_entries, insert_attempts, insert_decisions, parsed_entries, take_apart

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# A decision ends with the entry that says so, and one without intents with itself.
_ENDING: Final = """
CREATE OR REPLACE TEMP TABLE ending AS
SELECT DISTINCT decision_id FROM entries
WHERE decision_id IS NOT NULL
    AND (e.ended IS NOT NULL OR (record IS NOT NULL AND coalesce(len(e.intents), 0) = 0))
"""

_KEEP: Final = (
    """
CREATE OR REPLACE TEMP TABLE going_on AS
SELECT DISTINCT decision_id FROM entries ANTI JOIN ending USING (decision_id) WHERE decision_id IS NOT NULL
""",
    """
INSERT INTO in_flight
SELECT ?, entry, decision_id, beside, record FROM entries SEMI JOIN going_on USING (decision_id)
""",
    "DELETE FROM entries USING going_on WHERE entries.decision_id = going_on.decision_id",
)

_NO_ENTRIES: Final = "CREATE OR REPLACE TEMP TABLE entries AS " + parsed_entries(
    "SELECT * FROM in_flight LIMIT 0"
)

_OF_DECISIONS: Final = (
    "CREATE OR REPLACE TEMP TABLE ending AS SELECT DISTINCT unnest(?::UUID[]) AS decision_id"
)

# Mostly nothing is: asking first takes a tenth of the time.
_IS_IN_FLIGHT: Final = "SELECT 1 FROM in_flight SEMI JOIN ending USING (decision_id) LIMIT 1"

_BRING_BACK: Final = (
    "INSERT INTO entries " + parsed_entries("SELECT * FROM in_flight SEMI JOIN ending USING (decision_id)"),
    "DELETE FROM in_flight USING ending WHERE in_flight.decision_id = ending.decision_id",
)

_SAID: Final = """
CREATE OR REPLACE TEMP TABLE said AS
SELECT a.decision_id AS decision_id, a.number AS number FROM (SELECT unnest(e.attempts) AS a FROM entries)
"""

# Entries without the decision's own: it is a row already, since its writer had seemed to be gone.
_LATE: Final = """
CREATE OR REPLACE TEMP TABLE late AS
SELECT decision_id, max(e.ended.answered_attempt) AS answered_attempt
FROM entries ANTI JOIN (SELECT decision_id FROM entries WHERE record IS NOT NULL) USING (decision_id)
WHERE decision_id IS NOT NULL
GROUP BY decision_id
"""

_REPLACE: Final = (
    """
DELETE FROM attempts USING said, late
WHERE status = 'lost' AND attempts.decision_id = late.decision_id
    AND attempts.decision_id = said.decision_id AND attempts.number = said.number
""",
    """
UPDATE decisions SET answered_attempt = late.answered_attempt FROM late
WHERE decisions.decision_id = late.decision_id AND late.answered_attempt IS NOT NULL
""",
)

_LOST: Final = """
CREATE OR REPLACE TEMP TABLE lost AS
SELECT * FROM (SELECT unnest(i) FROM (SELECT unnest(e.intents) AS i FROM entries))
ANTI JOIN said USING (decision_id, number)
"""

_ADD_LOST: Final = (
    # An end may have been found before its beginning, where a file is damaged.
    "DELETE FROM lost USING attempts WHERE lost.decision_id = attempts.decision_id AND lost.number = attempts.number",
    "INSERT INTO attempts BY NAME SELECT *, 'lost' AS status, false AS cached_answer FROM lost",
)


def insert_ended(connection: DuckDBPyConnection, writer: str, batch: Sequence[tuple[int, Entry]]) -> None:
    """Insert the rows of every decision that a writer's numbered entries end, and keep its other entries.

    Policies are inserted at once. Raises as ``insert`` does.
    """
    take_apart(connection, batch)
    connection.execute(_ENDING)
    find, keep, leave_out = _KEEP
    connection.execute(find)
    if connection.execute("FROM going_on LIMIT 1").fetchone() is not None:
        connection.execute(keep, [writer])
        connection.execute(leave_out)
    _finish(connection)


def end_decisions(connection: DuckDBPyConnection, decision_ids: Sequence[str]) -> None:
    """Insert the rows of decisions in flight whose writer is gone. Raises as ``insert`` does."""
    connection.execute(_NO_ENTRIES)
    connection.execute(_OF_DECISIONS, [list(decision_ids)])
    _finish(connection)


def writers_in_flight(connection: DuckDBPyConnection) -> list[str]:
    """The writers of what is in flight."""
    return [name for (name,) in connection.execute("SELECT DISTINCT writer FROM in_flight").fetchall()]


def decisions_in_flight(connection: DuckDBPyConnection, writers: Sequence[str]) -> list[str]:
    """The ids of the writers' decisions in flight."""
    sql = "SELECT DISTINCT decision_id::VARCHAR FROM in_flight WHERE writer IN (SELECT unnest(?::VARCHAR[]))"
    return [id for (id,) in connection.execute(sql, [list(writers)]).fetchall()]


def reject_in_flight(connection: DuckDBPyConnection, decision_id: str, at_us: int, error: str) -> None:
    """Move what is in flight of a decision to the entries that cannot be rows."""
    connection.execute(
        "INSERT INTO rejected SELECT writer, entry, ?, ?, beside, record FROM in_flight WHERE decision_id = ?::UUID",
        [at_us, error, decision_id],
    )
    connection.execute("DELETE FROM in_flight WHERE decision_id = ?::UUID", [decision_id])


def _finish(connection: DuckDBPyConnection) -> None:
    """Insert the rows of the decisions in ``ending``: what is in ``entries``, and what was in flight of them."""
    if connection.execute(_IS_IN_FLIGHT).fetchone() is not None:
        for statement in _BRING_BACK:
            connection.execute(statement)
    insert_decisions(connection)
    connection.execute(_SAID)
    connection.execute(_LATE)
    if connection.execute("FROM late LIMIT 1").fetchone() is not None:
        for statement in _REPLACE:
            connection.execute(statement)
    insert_attempts(connection)
    connection.execute(_LOST)
    if connection.execute("FROM lost LIMIT 1").fetchone() is not None:
        for statement in _ADD_LOST:
            connection.execute(statement)
    drop_entries(connection)
