"""Reads what both arms of a rollout have shown from a relation of a DuckDB connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .relations import Metric, quoted
from .sequences import MOST_WEIGHT, TUNED_FOR, Arms, BoundedArm, BoundedArms, SummedArm, SummedArms

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def rollout_arms(connection: DuckDBPyConnection, relation: str, metric: Metric) -> Arms:
    """What the arms of a rollout have shown of a metric.

    ``relation(row BIGINT, arm VARCHAR, unit VARCHAR, …)`` names a table or view with a row for each request: numbers in
    the order of their coming, ``control`` or ``candidate``, what was drawn as a whole (NULL: each request by itself),
    and a column for the metric. Rows whose metric was not measured, and other arms, are left out.

    Where the metric has a range and no row has a unit, these are ``BoundedArms``, else ``SummedArms``. Raises
    ValueError where a value is outside the range.
    """
    value = f"{quoted(metric.column)}::DOUBLE"
    rows = f"SELECT row, arm, unit, {value} AS y FROM {quoted(relation)} WHERE isfinite({value})"
    if metric.range is None:
        return _summed(connection, rows)
    low, high = metric.range
    found = connection.execute(
        f"SELECT count(unit), count(*) FILTER (y NOT BETWEEN ? AND ?) FROM ({rows})", [low, high]
    ).fetchone()
    assert found is not None
    if found[1]:
        raise ValueError(f"{found[1]} values of `{metric.name}` are outside its range, {low:g} to {high:g}")
    return _summed(connection, rows) if found[0] else _bounded(connection, rows, low, high)


def _summed(connection: DuckDBPyConnection, rows: str) -> SummedArms:
    found = connection.execute(
        f"""
        SELECT arm, count(*), sum(n), sum(s), sum(n * n), sum(n * s), sum(s * s)
        FROM (
            SELECT arm, count(*)::DOUBLE AS n, sum(y) AS s
            FROM ({rows}) GROUP BY arm, unit, CASE WHEN unit IS NULL THEN row END
        ) GROUP BY arm
        """
    ).fetchall()
    arms = {arm: SummedArm(*sums) for arm, *sums in found}
    return SummedArms(arms.get("control", SummedArm()), arms.get("candidate", SummedArm()))


def _bounded(connection: DuckDBPyConnection, rows: str, low: float, high: float) -> BoundedArms:
    """``BoundedArm.plus``, for all rows at once."""
    before = "OVER (PARTITION BY arm ORDER BY row ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    found = connection.execute(
        f"""
        WITH scaled AS (SELECT arm, row, (y - $low) / ($high - $low) AS x FROM ({rows})),
        counted AS (
            SELECT arm, row, x, row_number() OVER (PARTITION BY arm ORDER BY row) AS t,
                coalesce(sum(x) {before}, 0) AS total
            FROM scaled
        ),
        centred AS (
            SELECT *, (0.5::DOUBLE + total) / t AS mean_before, ((0.5::DOUBLE + total + x) / (t + 1) - x) ** 2 AS square
            FROM counted
        ),
        spread AS (
            SELECT *, (0.25::DOUBLE + coalesce(sum(square) {before}, 0)) / t AS variance_before FROM centred
        ),
        weighted AS (
            SELECT *, least(sqrt(2 * ln(2 / $tuned) / (variance_before * t * ln(1 + t))), $most) AS weight FROM spread
        )
        SELECT arm, count(*), sum(x), sum(square), sum(weight), sum(weight * x),
            sum((x - mean_before) ** 2 * (-ln(1 - weight) - weight))
        FROM weighted GROUP BY arm
        """,
        {"low": low, "high": high, "tuned": TUNED_FOR, "most": MOST_WEIGHT},
    ).fetchall()
    arms = {arm: BoundedArm(low, high, *sums) for arm, *sums in found}
    nothing = BoundedArm(low, high)
    return BoundedArms(arms.get("control", nothing), arms.get("candidate", nothing))
