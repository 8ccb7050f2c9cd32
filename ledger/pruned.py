"""What was pruned before, as it is on record: which leaves have no rows any more, and under which checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import ProofError
from .proof.checkpoint import SignedCheckpoint, parse_checkpoint
from .proof.leaf import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DROPPED: Final = tuple(int(kind) for kind in (Kind.DECISION, Kind.ATTEMPT, Kind.OUTCOME, Kind.PART))
"""The kinds of leaves whose rows are pruned: all of these in a range, and no other."""

PRUNED_LEAVES: Final = f"""
SELECT l.leaf, l.kind, l.id, l.number, p.pruning_id, p.before_us, p.at_us, p.reason
FROM log_leaves AS l
ASOF JOIN (
    SELECT pruning_id, before_us, at_us, reason, ends[1] AS first, ends[2] AS last
    FROM (SELECT pruning_id, before_us, at_us, reason, unnest(leaves) AS ends FROM prunings)
) AS p ON l.leaf >= p.first
WHERE (l.leaf <= p.last) AND (l.kind IN {DROPPED})
"""
"""The leaves whose rows were pruned, each with what its pruning says. Ranges do not overlap: no leaf is in two."""


PRUNED_DECISIONS: Final = f"""
SELECT id AS decision_id, at_us, before_us, reason, leaf FROM ({PRUNED_LEAVES}) WHERE kind = {int(Kind.DECISION)}
"""
"""The ids of decisions that were pruned, when that was and why, and before which month they were made."""


class Pruning(NamedTuple):
    """What was pruned at a time: times are microseconds since 1970 (UTC); ``last`` is the newest leaf without a row.

    ``leaf`` is that of the pruning itself, None where it has none. Numbers are of rows that were pruned.
    """

    number: int
    leaf: int | None
    last: int
    since_us: int
    before_us: int
    at_us: int
    reason: str | None
    checkpoint: str
    decisions: int
    attempts: int
    outcomes: int

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"pruning {self.number:,}"

    @property
    def signed(self) -> SignedCheckpoint:
        """The checkpoint that it has kept. Raises ProofError for one that is none, or covers not all of its leaves."""
        found = parse_checkpoint(self.checkpoint.encode())
        if found.checkpoint.size <= self.last:
            raise ProofError(f"it covers {found.checkpoint.size:,} leaves, and not leaf {self.last:,}")
        return found


_PRUNINGS: Final = f"""
SELECT row_number() OVER (ORDER BY own.leaf, p.pruning_id), own.leaf, coalesce(list_max(flatten(p.leaves)), -1),
    p.since_us, p.before_us, p.at_us, p.reason, p.checkpoint,
    coalesce(decisions, 0), coalesce(attempts, 0), coalesce(outcomes, 0)
FROM prunings AS p
LEFT JOIN log_leaves AS own ON (own.kind = {int(Kind.PRUNING)}) AND (own.id = p.pruning_id)
LEFT JOIN (
    SELECT
        pruning_id,
        count(DISTINCT id) FILTER (kind = {int(Kind.DECISION)}) AS decisions,
        count(DISTINCT (id, number)) FILTER (kind = {int(Kind.ATTEMPT)}) AS attempts,
        count(DISTINCT id) FILTER (kind = {int(Kind.OUTCOME)}) AS outcomes
    FROM ({PRUNED_LEAVES}) GROUP BY pruning_id
) AS counted USING (pruning_id)
ORDER BY 1
"""


def prunings(connection: DuckDBPyConnection) -> list[Pruning]:
    """Everything that was pruned, in the order of the log."""
    return [Pruning(*row) for row in connection.execute(_PRUNINGS).fetchall()]


def is_gone(connection: DuckDBPyConnection, decision_id: str) -> bool:
    """Whether a decision was pruned, or erased as a whole."""
    sql = f"""
    SELECT 1 FROM ({PRUNED_DECISIONS}) WHERE decision_id = $id::UUID
    UNION ALL
    SELECT 1 FROM erasures WHERE (decision_id = $id::UUID) AND (places IS NULL)
    """
    return connection.execute(sql, {"id": decision_id}).fetchone() is not None
