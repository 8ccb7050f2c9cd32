"""Baselines to hold a candidate against: everything to the cheapest, to the best, or a random mix of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from math import isclose
from typing import TYPE_CHECKING, Final, Literal

from .estimating import estimate
from .judging import LEAST_UNITS
from .relations import Metric, Relations, quoted
from .result import MetricEstimates

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_numbers: Final = count()


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a policy that looks at nothing would have had.

    ``shares`` are its actions with their probabilities, ``estimates`` those of the metrics, in their order. No
    constraint is asked: where the log could not take an action, the decision counts as without support.
    """

    name: Literal["cheapest", "best", "random mix"]
    shares: tuple[tuple[str, float], ...]
    estimates: tuple[MetricEstimates, ...]


def baselines(
    connection: DuckDBPyConnection,
    relations: Relations,
    metrics: Sequence[Metric],
    *,
    cost: Metric,
    best_by: Metric,
    same_cost_as: float | None = None,
    level: float = 0.95,
) -> tuple[Baseline, ...]:
    """Estimate everything to the action with the lowest mean ``cost``, everything to the best by ``best_by``, and
    with ``same_cost_as``, a mean cost, the random mix of these two that costs as much, if it is between them and
    both are known of all decisions.

    The actions are picked by weighted means, among those that tell as much as ``LEAST_UNITS`` rows; if there are
    none, there are no baselines. Logged rows without an action count for none. They are of the same decisions as
    estimates of ``relations``.
    """
    cheapest = _first(connection, relations, replace(cost, better="lower"))
    best = _first(connection, relations, best_by)
    if cheapest is None or best is None:
        return ()
    wanted = [*metrics, *(each for each in (cost,) if each not in metrics)]

    def to(name: Literal["cheapest", "best", "random mix"], *shares: tuple[str, float]) -> Baseline:
        with _target(connection, relations, shares) as target:
            found = estimate(connection, replace(relations, target=target), wanted, level=level)
        return Baseline(name, shares, found)

    made = [to("cheapest", (cheapest, 1.0)), to("best", (best, 1.0))]
    low, high = (each.estimates[wanted.index(cost)].all.value for each in made)
    if (
        same_cost_as is not None
        and low is not None
        and high is not None
        and low < same_cost_as < high
        and not (isclose(low, same_cost_as) or isclose(high, same_cost_as))
        and all(one.estimates[wanted.index(cost)].all.is_whole() for one in made)
    ):
        share = (same_cost_as - low) / (high - low)
        made.append(to("random mix", (cheapest, 1 - share), (best, share)))
    return tuple(replace(each, estimates=each.estimates[: len(metrics)]) for each in made)


@contextmanager
def _target(
    connection: DuckDBPyConnection, relations: Relations, shares: Sequence[tuple[str, float]]
) -> Iterator[str]:
    """A temporary view in which every row of the target goes to these actions."""
    name = f"estimate_baseline_{next(_numbers)}"
    connection.execute(f"CREATE TEMP TABLE {name}_shares (action VARCHAR, probability DOUBLE)")
    try:
        connection.executemany(f"INSERT INTO {name}_shares VALUES (?, ?)", [list(share) for share in shares])
        connection.execute(
            f"CREATE TEMP VIEW {name} AS SELECT row, action, probability "
            f"FROM (SELECT DISTINCT row FROM {quoted(relations.target)}), {name}_shares"
        )
        yield name
    finally:
        connection.execute(f"DROP VIEW IF EXISTS temp.{name}")
        connection.execute(f"DROP TABLE temp.{name}_shares")


def _first(connection: DuckDBPyConnection, relations: Relations, metric: Metric) -> str | None:
    """The action with the best mean, each outcome weighted by how often such an outcome was logged."""
    column = quoted(metric.column)
    known = (
        ""
        if relations.known is None
        else f"UNION ALL SELECT action, 1, {column} FROM {quoted(relations.known)}"
    )
    found = connection.execute(
        f"""
        WITH outcomes AS (
            SELECT action, CASE WHEN propensity > 0 AND propensity <= 1 THEN 1 / propensity ELSE 1 END AS weight,
                {column}::DOUBLE AS y
            FROM {quoted(relations.logged)} {known}
        )
        SELECT action FROM outcomes WHERE isfinite(y) AND action IS NOT NULL GROUP BY action
        HAVING sum(weight) ** 2 / sum(weight * weight) >= {LEAST_UNITS}
        ORDER BY sum(weight * y) / sum(weight) {"ASC" if metric.better == "lower" else "DESC"}, action LIMIT 1
        """
    ).fetchone()
    return None if found is None else str(found[0])
