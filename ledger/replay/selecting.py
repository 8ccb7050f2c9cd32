"""Selects the decisions that are replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from routewright.engine.report import EPOCH

from ..conditions import choose_where
from ..errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHOSEN: Final = "replay_chosen"
"""The temporary table of the ids of what is replayed, where a condition of the user's chooses them."""

_IMPORTED: Final = ("imported_decisions",)
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
            raise InputError(f"a share of `{self.sample:g}` cannot be taken", help="above 0 and at most 1")


ALL_REAL: Final = Selection()
"""All decisions of one's own that were executed and real."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The decisions that are replayed, as conditions on a table with their columns."""

    where: str
    parameters: tuple[object, ...]
    tables: tuple[str, ...] = ("decision_rows", "decisions_1")
    """Where they stand."""

    @property
    def is_import(self) -> bool:
        """Whether they were imported."""
        return self.tables == _IMPORTED

    def rows_of(self, table: str, columns: str = "*") -> str:
        """The rows of ``table`` that are replayed."""
        return f"SELECT {columns} FROM {table} WHERE {self.where}"

    def _all(self, columns: str) -> str:
        return " UNION ALL ".join(self.rows_of(table, columns) for table in self.tables)

    @property
    def _given(self) -> list[object]:
        return [*self.parameters] * len(self.tables)

    def count(self, connection: DuckDBPyConnection) -> int:
        """How many they are."""
        [[count]] = connection.execute(f"SELECT count(*) FROM ({self._all('1')})", self._given).fetchall()
        return int(count)

    def period(self, connection: DuckDBPyConnection) -> tuple[datetime | None, datetime | None]:
        """When the first and the last of them were made."""
        [found] = connection.execute(
            f"SELECT min(at_us), max(at_us) FROM ({self._all('at_us')})", self._given
        ).fetchall()
        first, last = (None if at_us is None else EPOCH + timedelta(microseconds=at_us) for at_us in found)
        return first, last


def choose(connection: DuckDBPyConnection, selection: Selection) -> Chosen:
    """The rows of a selection. Raises InputError for a condition of the user's that is none."""
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
        _check_import(connection, selection.import_name)
        conditions.append('("import" = ?)')
        parameters.append(selection.import_name)
    else:
        conditions.append("(mode NOT IN ('shadow', 'dry_run'))")
        conditions.append(f"(decision_id {'' if selection.simulated else 'NOT '}IN ({_SIMULATED}))")
    if selection.where is not None:
        _choose_where(connection, selection)
        conditions.append(f"(decision_id IN (SELECT decision_id FROM {CHOSEN}))")
    chosen = Chosen(" AND ".join(conditions), tuple(parameters))
    return chosen if selection.import_name is None else replace(chosen, tables=_IMPORTED)


def _check_import(connection: DuckDBPyConnection, name: str) -> None:
    names = [
        one for (one,) in connection.execute('SELECT DISTINCT "import" FROM imports ORDER BY ALL').fetchall()
    ]
    if name not in names:
        there = (
            f"imports: {', '.join(names)}" if names else "`routewright ledger import` imports logs of others"
        )
        raise InputError(f"the ledger has no import `{name}`", help=there)


_SIMULATED: Final = """
SELECT decision_id FROM attempt_rows WHERE simulated UNION SELECT decision_id FROM decision_rows WHERE simulated
"""


def why_none(connection: DuckDBPyConnection, selection: Selection) -> Iterator[str]:
    """Why a selection has no decision: what there would be without its bounds, and of the other kind of work."""
    if selection.import_name is not None:
        yield f"no request of the import `{selection.import_name}` {' and '.join(_wanted(selection))}"
        return
    others = {kind: Selection(simulated=kind) for kind in (False, True)}
    counts = {kind: choose(connection, one).count(connection) for kind, one in others.items()}
    kind = selection.simulated
    if not any(counts.values()):
        yield "the ledger has no decision yet: run a task first"
    if counts[kind]:
        such = "such decision" if counts[kind] == 1 else "such decisions"
        yield f"the ledger has {counts[kind]:,} {such}, but none that {' and '.join(_wanted(selection))}"
    elif counts[not kind] and not kind:
        yield f"the ledger has no real work, and {_decisions(counts[True], 'simulated')}, which --simulated replays"
    elif counts[not kind]:
        yield f"the ledger has no simulated work, and {_decisions(counts[False], 'real')}"


def _wanted(selection: Selection) -> Iterator[str]:
    if (selection.since, selection.until) != (None, None):
        yield "was made in this time"
    if selection.where is not None:
        yield "fits the condition"
    if selection.sample < 1:
        yield "is in the sample"


def _decisions(count: int, kind: str) -> str:
    return f"{count:,} {kind} decision{'' if count == 1 else 's'}"


def _choose_where(connection: DuckDBPyConnection, selection: Selection) -> None:
    """Note the ids of the decisions of which a condition of the user's is true."""
    own = selection.import_name is None and not selection.simulated
    view = "decisions_flat" if own else "all_decisions_flat"
    choose_where(
        connection,
        f"CREATE OR REPLACE TEMP TABLE {CHOSEN} AS",
        f"SELECT decision_id::UUID AS decision_id FROM main.{view} WHERE",
        selection.where or "",
    )
