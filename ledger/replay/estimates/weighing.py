"""Says of each action that the candidate may take in a row whether its outcome is measured, may be estimated, or
has no support, and with which importance weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

from .relations import Metric, Relations, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FOLDS: Final = 5
"""Into which units are dealt, by the hash of their name."""

UNIT: Final = "CASE WHEN l.unit IS NULL THEN hash(l.row) ELSE hash(l.unit) END"

_numbers: Final = count()


class Weighed:
    """Temporary tables of a connection, dropped at the end of ``weighed``.

    ``pairs`` has a row for each row and action that the candidate may take: ``unit``, ``context``, ``action``,
    ``mass`` (the candidate's probability), ``kind`` (``measured``, ``random`` or ``none``), ``weight`` (of random pairs
    that the log took, else 0), and for metric number N ``vN``, the
    outcome of this action where it is known, and ``lN``, the outcome that was logged.
    ``each_by_itself`` is whether each unit has one row and each row one action, so that nothing needs to be grouped.
    ``impossible`` is how many logged probabilities cannot be those of an action that was taken.
    ``given`` is what the candidate's probabilities of a row add up to on average, and at least and at most.
    ``logged`` has ``unit``, ``context``, ``action`` and ``lN`` of each row of the log.
    """

    def __init__(self, connection: DuckDBPyConnection, metrics: Sequence[Metric]) -> None:
        number = next(_numbers)
        self.connection = connection
        self.metrics = tuple(metrics)
        self.impossible = 0
        self.given, self.least_given, self.most_given = 1.0, 1.0, 1.0
        self.each_by_itself = False
        self.pairs = f"estimate_{number}_pairs"
        self.logged = f"estimate_{number}_logged"
        self.model = f"estimate_{number}_model"
        self.units = f"estimate_{number}_units"

    def drop(self, *tables: str) -> None:
        for table in tables:
            self.connection.execute(f"DROP TABLE IF EXISTS temp.{table}")


@contextmanager
def weighed(
    connection: DuckDBPyConnection, relations: Relations, metrics: Sequence[Metric]
) -> Iterator[Weighed]:
    """The weighed rows of these relations."""
    made = Weighed(connection, metrics)
    try:
        connection.execute(f"CREATE TEMP TABLE {made.logged} AS {_logged(relations, metrics)}")
        connection.execute(f"CREATE TEMP TABLE {made.pairs} AS {_pairs(made, relations, metrics)}")
        _look(made, relations)
        yield made
    finally:
        made.drop(made.logged, made.pairs, made.model, made.units)


def _logged(relations: Relations, metrics: Sequence[Metric]) -> str:
    values = "".join(f", {_number('l', metric)} AS l{at}" for at, metric in enumerate(metrics))
    return (
        f"SELECT l.row, {UNIT} AS unit, l.context, l.action, l.propensity::DOUBLE AS propensity{values} "
        f"FROM {quoted(relations.logged)} AS l WHERE l.row IN (SELECT row FROM {quoted(relations.target)})"
    )


def _number(table: str, metric: Metric) -> str:
    """A metric's value, NULL where it is none that can be added."""
    value = f"{table}.{quoted(metric.column)}::DOUBLE"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def _pairs(made: Weighed, relations: Relations, metrics: Sequence[Metric]) -> str:
    """The kind of a pair in this order: known beside; taken by a policy that drew nothing, or by one of which no
    probability was logged; taken or open to a policy that drew; else without support.
    """
    numbers = range(len(metrics))
    logged = "".join(f", l.l{at}" for at in numbers)
    values = "".join(
        f", CASE WHEN known THEN k{at} WHEN taken THEN l{at} END AS v{at}, l{at}" for at in numbers
    )
    if relations.known is None:
        is_known, known = "false", ""
        beside = "".join(f", NULL::DOUBLE AS k{at}" for at in numbers)
    else:
        is_known = "k.row IS NOT NULL"
        known = f"LEFT JOIN {quoted(relations.known)} AS k ON k.row = t.row AND k.action = t.action"
        beside = "".join(f", {_number('k', metric)} AS k{at}" for at, metric in enumerate(metrics))
    if relations.support is None:
        support = f"SELECT DISTINCT context, action FROM {made.logged} WHERE propensity > 0"
    else:
        support = f"SELECT DISTINCT context, action FROM {quoted(relations.support)}"
    return f"""
    WITH support AS ({support}),
    joined AS (
        SELECT l.unit, l.context, t.action, t.probability::DOUBLE AS mass, l.propensity, l.action = t.action AS taken,
            {is_known} AS known, s.action IS NOT NULL AS open{logged}{beside}
        FROM {made.logged} AS l
        JOIN {quoted(relations.target)} AS t ON t.row = l.row
        {known}
        LEFT JOIN support AS s ON s.action = t.action AND s.context IS NOT DISTINCT FROM l.context
        WHERE t.probability > 0
    ),
    judged AS (
        SELECT *, CASE
            WHEN known OR (taken AND (propensity IS NULL OR propensity = 1)) THEN 'measured'
            WHEN propensity > 0 AND propensity < 1 AND (open OR taken) THEN 'random'
            ELSE 'none' END::ENUM ('measured', 'random', 'none') AS kind
        FROM joined
    )
    SELECT unit, context, action, mass, kind,
        CASE WHEN kind = 'random' AND taken THEN mass / propensity ELSE 0 END AS weight{values}
    FROM judged
    """


def _look(made: Weighed, relations: Relations) -> None:
    """What is true of all rows together."""
    found = made.connection.execute(
        f"""
        SELECT (SELECT count(*) FROM {made.pairs}), count(*), count(*) FILTER (NOT (propensity > 0 AND propensity <= 1))
        FROM {made.logged}
        """
    ).fetchone()
    assert found is not None
    pairs, rows, made.impossible = found
    units = made.connection.execute(f"SELECT count(unit) FROM {quoted(relations.logged)}").fetchone()
    made.each_by_itself = pairs == rows and units == (0,)
    one_each = f"SELECT probability::DOUBLE AS total FROM {quoted(relations.target)}"
    split = f"SELECT sum(probability::DOUBLE) AS total FROM {quoted(relations.target)}"
    of_log = f"WHERE row IN (SELECT row FROM {made.logged})"
    given = made.connection.execute(
        "SELECT avg(total), min(total), max(total) "
        f"FROM ({f'{one_each} {of_log} AND probability > 0' if pairs == rows else f'{split} {of_log} GROUP BY row'})"
    ).fetchone()
    if given is not None and given[0] is not None:
        made.given, made.least_given, made.most_given = given
