"""Enters rows into the log, in the transaction that inserts them. Nothing here ends a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from .logged import ATTEMPTS, DECISIONS, DECISIONS_1, OUTCOMES, PARTS, POLICIES, Logged

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_AT_ONCE: Final = 5_000

_NEXT: Final = "SELECT coalesce(max(leaf) + 1, 0) FROM log_leaves"

_ENTER: Final = """
INSERT INTO log_leaves
SELECT leaf, ?, substr(digits, 1, 32)::UUID, number, unhex(substr(digits, 33, 64))
FROM (
    SELECT
        unnest(from_json_strict(?, '["BIGINT"]')) AS leaf,
        unnest(string_split(?, ' ')) AS digits,
        unnest(from_json_strict(?, '["INTEGER"]')) AS number
)
"""


def enter(connection: DuckDBPyConnection, logged: Logged, rows: Sequence[Sequence[Any]]) -> None:
    """Append the leaves of rows, in their order; each row is what ``logged.selected`` gives of it.

    A row that is there already, and has changed as its end was recorded late, gets one more leaf.
    """
    if not rows:
        return
    found = connection.execute(_NEXT).fetchone()
    assert found is not None
    leaves = [logged.leaf(row) for row in rows]
    places = range(found[0], found[0] + len(leaves))
    digits = " ".join([(leaf.id + leaf.digest).hex() for leaf in leaves])
    numbers = [leaf.number for leaf in leaves]
    connection.execute(_ENTER, [int(logged.kind), json.dumps(list(places)), digits, json.dumps(numbers)])


def enter_older(connection: DuckDBPyConnection) -> None:
    """Enter what an earlier version has recorded.

    Texts of policies come first, in the order in which they were first seen, and then parts by their numbers. Decisions
    of version 1 follow by their ids. Then come those of each writer, by their numbers, beginning with the writer whose
    first one is the oldest. Up to 5,000 decisions come together, and their attempts after them. Outcomes come last, by
    their ids.
    """
    for logged, order in ((POLICIES, "first_seen_us, kind, digest"), (PARTS, "part")):
        sql = f"SELECT {logged.selected} FROM {logged.table} ORDER BY {order}"
        enter(connection, logged, connection.execute(sql).fetchall())
    for page in _pages(connection, DECISIONS_1, "TRUE", [], "decision_id"):
        _enter_decisions(connection, DECISIONS_1, page)
    writers = connection.execute(
        "SELECT writer FROM decision_rows GROUP BY writer ORDER BY min(decision_id), writer"
    ).fetchall()
    for (writer,) in writers:
        for page in _pages(connection, DECISIONS, "writer = ?", [writer], "entry"):
            _enter_decisions(connection, DECISIONS, page)
    for page in _pages(connection, OUTCOMES, "TRUE", [], "outcome_id"):
        enter(connection, OUTCOMES, page)


def _enter_decisions(
    connection: DuckDBPyConnection, logged: Logged, decisions: Sequence[Sequence[Any]]
) -> None:
    enter(connection, logged, decisions)
    places = {row[0]: place for place, row in enumerate(decisions)}
    sql = f"""
    SELECT {ATTEMPTS.selected} FROM attempt_rows
    WHERE (decision_id BETWEEN ?::UUID AND ?::UUID) AND list_contains(?::UUID[], decision_id)
    """
    attempts = connection.execute(sql, [min(places), max(places), list(places)]).fetchall()
    enter(connection, ATTEMPTS, sorted(attempts, key=lambda row: (places[row[0]], row[1])))


def _pages(
    connection: DuckDBPyConnection, logged: Logged, condition: str, parameters: Sequence[object], key: str
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in the order of ``key``, some at a time: the connection is used meanwhile."""
    at = list(logged.values).index(key)
    column = f"{logged.table}.{key}"  # and not the text that stands for it
    after, last = "TRUE", list[object]()
    while page := connection.execute(
        f"SELECT {logged.selected} FROM {logged.table} WHERE ({condition}) AND ({after}) "
        f"ORDER BY {column} LIMIT {_AT_ONCE}",
        [*parameters, *last],
    ).fetchall():
        yield page
        after = f"{column} > ?{'' if key == 'entry' else '::UUID'}"
        last = [page[-1][at]]
