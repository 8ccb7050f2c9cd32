"""Selects the decisions that are replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from routewright.engine.report import EPOCH

from ..asking import placed
from ..errors import LedgerError
from ..limits import Limits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHOSEN: Final = "replay_chosen"
"""The temporary table of the ids of what is replayed, where a condition of the user's chooses them."""

_SHARES: Final = 2**32


@dataclass(frozen=True, slots=True)
class Selection:
    """Which decisions are replayed: by default all that were executed and real, of one's own.

    ``since`` is the earliest time and ``until`` the first one that is too late. ``where`` is a condition in SQL on the
    columns of the view ``decisions_flat``. ``sample`` is the share to take, above 0 and at most 1: the same decisions
    each time, and those of a smaller share are among those of a larger one. ``simulated`` takes simulated decisions in
    place of real ones, ``import_name`` those of an import.
    """

    since: datetime | None = None
    until: datetime | None = None
    where: str | None = None
    sample: float = 1.0
    simulated: bool = False
    import_name: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise LedgerError(f"a share of `{self.sample:g}` cannot be taken", help="above 0 and at most 1")


ALL_REAL: Final = Selection()
"""All decisions of one's own that were executed and real."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The decisions that are replayed, as conditions on a table with their columns."""

    where: str
    parameters: tuple[object, ...]

    def rows_of(self, table: str, columns: str = "*") -> str:
        """The rows of ``table`` that are replayed."""
        return f"SELECT {columns} FROM {table} WHERE {self.where}"

    def period(self, connection: DuckDBPyConnection) -> tuple[datetime | None, datetime | None]:
        """When the first and the last of them were made."""
        both = " UNION ALL ".join(self.rows_of(table, "at_us") for table in ("decision_rows", "decisions_1"))
        [found] = connection.execute(
            f"SELECT min(at_us), max(at_us) FROM ({both})", [*self.parameters, *self.parameters]
        ).fetchall()
        first, last = (None if at_us is None else EPOCH + timedelta(microseconds=at_us) for at_us in found)
        return first, last


def choose(connection: DuckDBPyConnection, selection: Selection) -> Chosen:
    """The rows of a selection. Raises LedgerError for a condition of the user's that is none."""
    conditions = list[str]()
    parameters = list[object]()
    for operator, moment in ((">=", selection.since), ("<", selection.until)):
        if moment is not None:
            conditions.append(f"(at_us {operator} ?)")
            parameters.append((moment - EPOCH) // timedelta(microseconds=1))
    if selection.sample < 1:
        # The last digits of an id are random, and mean the same in every ledger.
        conditions.append("(('0x' || right(decision_id::VARCHAR, 8))::UINTEGER < ?)")
        parameters.append(int(selection.sample * _SHARES))
    if selection.import_name is not None:
        conditions.append('("import" = ?)')
        parameters.append(selection.import_name)
    else:
        conditions.append("(mode NOT IN ('shadow', 'dry_run'))")
        conditions.append(f"(decision_id {'' if selection.simulated else 'NOT '}IN ({_SIMULATED}))")
    if selection.where is not None:
        _choose_where(connection, selection)
        conditions.append(f"(decision_id IN (SELECT decision_id FROM {CHOSEN}))")
    return Chosen(" AND ".join(conditions), tuple(parameters))


_SIMULATED: Final = """
SELECT decision_id FROM attempt_rows WHERE simulated UNION SELECT decision_id FROM decision_rows WHERE simulated
"""


def _choose_where(connection: DuckDBPyConnection, selection: Selection) -> None:
    """Note the ids of the decisions of which a condition of the user's is true."""
    own = selection.import_name is None and not selection.simulated
    view = "decisions_flat" if own else "all_decisions_flat"
    sql = f"SELECT decision_id::UUID AS decision_id FROM main.{view} WHERE (\n{selection.where}\n)"
    with placed(None, Limits()):
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise LedgerError("a condition is one expression in SQL, such as `team = 'research'`")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {CHOSEN} AS {statements[0].query}")
