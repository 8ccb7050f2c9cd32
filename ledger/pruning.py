"""Prunes the tables of a ledger: drops what was decided before a month, and puts that on record.

The bytes of dropped rows are gone from the tables then, and not from the file: ``rewriting`` takes care of that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic_core import to_json

from .errors import InputError
from .inserting import rows_of
from .proof.entering import enter
from .proof.leaf import Kind, named_id
from .proof.logged import PRUNINGS
from .pruned import DROPPED, PRUNED_LEAVES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DECISIONS: Final = """(
    SELECT decision_id, at_us, shadow_of FROM main.decision_rows
    UNION ALL
    SELECT decision_id, at_us, shadow_of FROM main.decisions_1
)"""

_OLDER: Final = f"""
SELECT d.decision_id, d.at_us FROM {_DECISIONS} AS d
LEFT JOIN {_DECISIONS} AS executed ON executed.decision_id = d.shadow_of
WHERE coalesce(executed.at_us, d.at_us) < {{before_us}}
"""
"""The decisions that are pruned; a shadow goes with the decision that was executed."""

_LEAVES: Final = f"""
SELECT leaf FROM log_leaves
WHERE (
    ((kind IN {DROPPED[:2]}) AND (id IN (SELECT decision_id FROM ({_OLDER}))))
    OR ((kind = {int(Kind.OUTCOME)}) AND (id IN (
        SELECT outcome_id FROM outcomes WHERE decision_id IN (SELECT decision_id FROM ({_OLDER}))
    )))
) AND (leaf NOT IN (SELECT leaf FROM ({PRUNED_LEAVES})))
"""

_IMPORTED: Final = """
SELECT "import", decision_id, coalesce(d.at_us, began_us) AS at_us, calls
FROM main.imported_decisions AS d
LEFT JOIN (
    SELECT "import", decision_id, min(started_at_us) AS began_us, count(*) AS calls
    FROM main.imported_attempts GROUP BY ALL
) USING ("import", decision_id)
WHERE coalesce(d.at_us, began_us) < {before_us}
"""


class PrunedMonth(NamedTuple):
    """How much of a month, such as ``2026-07``, is pruned; ``imported`` are requests that another router served."""

    month: str
    decisions: int
    attempts: int
    outcomes: int
    imported: int


class Pruned(NamedTuple):
    """What was pruned, or would be: all that was decided before ``before``, by month in UTC, the oldest first.

    ``policies`` are the names and digests of those under which no decision is left. ``bytes`` is by how much the file
    has become smaller, or about how much it would. ``checkpoint`` is the size of the log under the checkpoint that
    covers what was pruned, None where nothing of one's own was.
    """

    before: date
    months: tuple[PrunedMonth, ...]
    policies: tuple[tuple[str, str], ...]
    bytes: int
    checkpoint: int | None = None


def first_of_month(text: str) -> date:
    """The day that is written as ``2026-08`` or ``2026-08-01``. Raises InputError for what is no month."""
    try:
        return date.fromisoformat(text if text.count("-") > 1 else f"{text}-01")
    except ValueError:
        raise InputError(f"`{text}` is not a month", help="give one as in `2026-08`") from None


def months_ago(months: int, now: datetime) -> date:
    """The first day of the month that was so many months before that of ``now``, in UTC."""
    at = now.astimezone(UTC)
    years, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    return date(max(years, 1), month + 1, 1)


def beginning_us(before: date) -> int:
    """When a month begins in UTC. Raises InputError for another day than the first, and for one that is to come."""
    at = datetime(before.year, before.month, before.day, tzinfo=UTC)
    if before.day != 1:
        raise InputError(
            f"`{before}` is not the first day of a month; nothing was pruned",
            help=f"months are pruned whole: `{before:%Y-%m}` is the nearest",
        )
    if at > datetime.now(UTC):
        raise InputError(f"`{before:%Y-%m}` has not begun; nothing was pruned")
    return int(at.timestamp()) * 1_000_000


def leaves_of(before_us: int) -> str:
    """SQL that holds for the leaves of what is pruned, but for those of parts."""
    return f"leaf IN ({_LEAVES.format(before_us=before_us)})"


def plan(connection: DuckDBPyConnection, before: date) -> Pruned:
    """What ``prune`` would prune. Nothing changes."""
    before_us = beginning_us(before)
    older, imported = (sql.format(before_us=before_us) for sql in (_OLDER, _IMPORTED))
    months = connection.execute(_MONTHS.format(older=older, imported=imported)).fetchall()
    policies = connection.execute(_POLICIES.format(older=older)).fetchall()
    found = tuple(PrunedMonth(*row) for row in months)
    return Pruned(before, found, tuple(policies), _bytes(connection, before_us) if found else 0)


_MONTHS: Final = """
SELECT strftime(make_timestamp(at_us), '%Y-%m') AS month, count(*) FILTER (NOT is_imported),
    coalesce(sum(attempts) FILTER (NOT is_imported), 0)::BIGINT, coalesce(sum(outcomes), 0)::BIGINT,
    count(*) FILTER (is_imported)
FROM (
    SELECT at_us, false AS is_imported, attempts, outcomes
    FROM ({older}) AS d
    LEFT JOIN (SELECT decision_id, count(*) AS attempts FROM main.attempt_rows GROUP BY ALL) USING (decision_id)
    LEFT JOIN (SELECT decision_id, count(*) AS outcomes FROM main.outcomes GROUP BY ALL) USING (decision_id)
    UNION ALL
    SELECT at_us, true, NULL, NULL FROM ({imported})
)
GROUP BY month ORDER BY month
"""

_POLICIES: Final = """
SELECT p.value->>'$.policy.name' AS name, p.value->>'$.policy.digest' AS digest
FROM (
    SELECT policy_part FROM main.decision_rows GROUP BY policy_part
    HAVING bool_and(decision_id IN (SELECT decision_id FROM ({older})))
) JOIN main.parts AS p ON p.part = policy_part
ORDER BY ALL
"""


def _bytes(connection: DuckDBPyConnection, before_us: int) -> int:
    """About how much smaller the file would be: of each table's blocks the share of its rows that would go, and those
    that nothing is in.
    """
    older, imported = (sql.format(before_us=before_us) for sql in (_OLDER, _IMPORTED))
    total = 0.0
    for table, ids in {
        **dict.fromkeys(("decision_rows", "decisions_1", "attempt_rows", "outcomes"), older),
        **dict.fromkeys(("imported_decisions", "imported_attempts", "imported_outcomes"), imported),
    }.items():
        share = f"SELECT avg((decision_id IN (SELECT decision_id FROM ({ids})))::INTEGER) FROM main.{table}"
        blocks = f"SELECT block_id, additional_block_ids FROM pragma_storage_info('main.{table}')"
        sql = f"""
        SELECT coalesce(({share}), 0) * count(DISTINCT block)
        FROM (SELECT unnest(list_append(additional_block_ids, block_id)) AS block FROM ({blocks})) WHERE block >= 0
        """
        [(found,)] = connection.execute(sql).fetchall()
        total += found
    sql = "SELECT sum(block_size * (? + free_blocks)) FROM pragma_database_size() WHERE total_blocks > 0"
    [(found,)] = connection.execute(sql, [total]).fetchall()
    return int(found or 0)


def prune(connection: DuckDBPyConnection, before_us: int, checkpoint: str, reason: str | None) -> None:
    """Drop what is older in the transaction that is open; ``checkpoint`` is a note that covers all of it."""
    older, imported = (sql.format(before_us=before_us) for sql in (_OLDER, _IMPORTED))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE prune_decisions AS {older}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE prune_imported AS {imported}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE prune_leaves AS {_LEAVES.format(before_us=before_us)}")
    [(since_us,)] = connection.execute("SELECT min(at_us) FROM prune_decisions").fetchall()
    for table in ("decision_rows", "decisions_1", "attempt_rows", "outcomes"):
        connection.execute(
            f"DELETE FROM {table} WHERE decision_id IN (SELECT decision_id FROM prune_decisions)"
        )
    for table in ("imported_decisions", "imported_attempts", "imported_outcomes"):
        connection.execute(
            f'DELETE FROM {table} WHERE ("import", decision_id) IN (SELECT "import", decision_id FROM prune_imported)'
        )
    connection.execute("DELETE FROM rejected WHERE at_us < ?", [before_us])
    if since_us is None:
        return
    for table, id in (("model_states", "model"), ("memory_states", "backend")):
        connection.execute(_STATES.format(table=table, id=id))
    _drop_parts(connection)
    row = {
        "pruning_id": str(uuid.uuid4()),
        "since_us": since_us,
        "before_us": before_us,
        "leaves": connection.execute(_RANGES).fetchall(),
        "checkpoint": checkpoint,
        "at_us": time.time_ns() // 1_000,
        "reason": reason,
    }
    enter(connection, PRUNINGS, connection.execute(_INSERT, [[to_json(row).decode()]]).fetchall())


# A decision went by the last row of each model up to its own entry: that of the oldest that is left stays.
_STATES: Final = """
CREATE OR REPLACE TEMP TABLE prune_oldest AS
SELECT writer, min(entry) AS entry
FROM (SELECT writer, entry FROM decision_rows UNION ALL SELECT writer, entry FROM in_flight)
GROUP BY writer;
DELETE FROM {table} AS s
WHERE (writer NOT IN (SELECT writer FROM prune_oldest)) OR EXISTS (
    SELECT 1 FROM (
        SELECT writer, {id} AS id, max(state.entry) AS entry
        FROM {table} AS state JOIN prune_oldest USING (writer)
        WHERE state.entry <= prune_oldest.entry
        GROUP BY ALL
    ) AS kept
    WHERE (kept.writer = s.writer) AND (kept.id = s.{id}) AND (s.entry < kept.entry)
);
"""

_UNUSED: Final = """
SELECT part, kind, digest FROM parts
WHERE (part NOT IN (
    SELECT policy_part FROM decision_rows
    UNION SELECT plan_part FROM decision_rows
    UNION SELECT arm_part FROM decision_rows WHERE arm_part IS NOT NULL
)) AND (digest NOT IN (SELECT unnest(regexp_extract_all(beside, 'sha256:[0-9a-f]{64}')) FROM in_flight))
"""
"""Parts that no record has, nor one whose decision is under way."""


def _drop_parts(connection: DuckDBPyConnection) -> None:
    unused = connection.execute(_UNUSED).fetchall()
    ids = [str(uuid.UUID(bytes=named_id(kind, digest))) for _, kind, digest in unused]
    connection.execute(
        f"""
        INSERT INTO prune_leaves SELECT leaf FROM log_leaves
        WHERE (kind = {int(Kind.PART)}) AND (id IN (SELECT unnest(?::VARCHAR[])::UUID))
            AND (leaf NOT IN (SELECT leaf FROM ({PRUNED_LEAVES})))
        """,
        [ids],
    )
    parts: Sequence[int] = [part for part, _, _ in unused]
    connection.execute("DELETE FROM parts WHERE part IN (SELECT unnest(?::INTEGER[]))", [parts])


_RANGES: Final = f"""
SELECT min(leaf), max(leaf)
FROM (
    SELECT leaf, goes, row_number() OVER (ORDER BY leaf) - row_number() OVER (PARTITION BY goes ORDER BY leaf) AS island
    FROM (
        SELECT leaf, leaf IN (SELECT leaf FROM prune_leaves) AS goes FROM log_leaves WHERE kind IN {DROPPED}
    )
)
WHERE goes GROUP BY island ORDER BY ALL
"""

_PRUNING: Final = {
    "pruning_id": "UUID",
    "since_us": "BIGINT",
    "before_us": "BIGINT",
    "leaves": [["BIGINT"]],
    "checkpoint": "VARCHAR",
    "at_us": "BIGINT",
    "reason": "VARCHAR",
}

_INSERT: Final = f"INSERT INTO prunings BY NAME {rows_of(_PRUNING)} RETURNING {PRUNINGS.selected}"
