"""Which rows are compared with the log: those of all leaves, or of some, without reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .proof.leaf import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MANY: Final = 5_000


class Fault(NamedTuple):
    """Something that is not as it was recorded, and the leaf that says so, if one does."""

    leaf: int | None
    what: str


class Scope:
    """The rows whose last leaves fulfil ``leaves``, a condition of ours in SQL on ``leaf``; by default all.

    It reads no table but those of the ledger, as it is asked on several connections.
    """

    def __init__(self, connection: DuckDBPyConnection, leaves: str | None = None) -> None:
        self.leaves = f"({leaves or 'TRUE'})"
        self._bounds: dict[int, str] | None = None
        if leaves is not None:
            sql = f"SELECT kind, min(id), max(id) FROM log_leaves WHERE {self.leaves} GROUP BY kind"
            self._bounds = {
                kind: f"BETWEEN '{first}'::UUID AND '{last}'::UUID"
                for kind, first, last in connection.execute(sql).fetchall()
            }

    def ids(self, kind: Kind, column: str) -> str:
        """SQL that holds for the ids of all rows in scope, and for few others: ids are sorted by time."""
        if self._bounds is None:
            return "(TRUE)"
        bounds = self._bounds.get(kind)
        return "(FALSE)" if bounds is None else f"({column} {bounds})"

    def decisions(self) -> str:
        """SQL on the columns of a table of decisions that holds for those in scope."""
        if self._bounds is None:
            return "(TRUE)"
        known = f"SELECT id FROM log_leaves WHERE (kind = {int(Kind.DECISION)}) AND {self.leaves}"
        return f"({self.ids(Kind.DECISION, 'decision_id')} AND (decision_id IN ({known})))"


def each_row(
    connection: DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> Iterator[tuple[Any, ...]]:
    """What a statement gives, some rows at a time."""
    result = connection.execute(sql, parameters)
    while rows := result.fetchmany(_MANY):
        yield from rows
