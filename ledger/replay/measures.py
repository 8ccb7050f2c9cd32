"""What was measured of recorded decisions, each once: cost by currency, latency, success and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from routewright.engine.condition import sql_text

from ..declarations import currencies
from ..views import Holding, selected
from .estimates import Metric
from .row_tables import CHOICES, ROWS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOGGED: Final = "replay_logged"
"""The temporary table of what the log did with each row and what came of it, as ``Relations`` has it; beside it
``target`` and ``kept`` as in ``CHOICES``."""

_MEASURED: Final = "replay_measured"

Kind = Literal["cost", "latency", "success", "outcome"]


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that was measured of decisions: ``metric.column`` has it in ``LOGGED``.

    ``name`` is the outcome's, else the kind; that of ``metric`` is for sentences, and no other metric has it.
    ``unit`` is a currency for costs and ``ms`` for latencies. ``sql`` is the column's expression over
    ``decisions_flat``, ``d``, and ``type`` its type; ``refused`` is what a decision without a target has.
    """

    kind: Kind
    name: str
    metric: Metric
    unit: str | None
    type: str
    sql: str
    refused: str


_RAN: Final = "(d.executed OR (d.outcome <> 'routed'))"
"""Whether it is known what came of a decision: it was executed, or there was nothing to execute."""


def measures(connection: DuckDBPyConnection) -> list[Measure]:
    """What can be measured of the decisions in ``ROWS``: the outcomes too, the most frequent first.

    A cost is known where that of every call is: nothing is 0 because nobody knows it. Latency is that of the answer.
    """
    found = []
    for number, code in enumerate(currencies(connection)):
        # What was paid in another currency was not paid in this one.
        known = f"coalesce(d.known_cost_c{number}, 0)"
        sql = f"(CASE WHEN {_RAN} AND (d.unknown_cost_calls = 0) THEN {known} END)"
        metric = Metric(f"cost in {code}", f"cost_{number}", better="lower")
        found.append(Measure("cost", "cost", metric, code, "DECIMAL(27, 9)", sql, "0"))
    latency = Metric("latency in ms", "latency_ms", better="lower")
    found.append(Measure("latency", "latency", latency, "ms", "DOUBLE", "d.latency_ms", "NULL"))
    success = Metric("success", "success", low=0, high=1)
    answered = f"(CASE WHEN {_RAN} THEN d.answered::INTEGER END)"
    found.append(Measure("success", "success", success, None, "DOUBLE", answered, "0"))
    taken = {one.metric.name for one in found}
    for name, is_truth in _outcomes(connection):
        column, (low, high) = f"outcome_{len(found)}", (0, 1) if is_truth else (None, None)
        metric = Metric(f"outcome {name}" if name in taken else name, column, low=low, high=high)
        found.append(Measure("outcome", name, metric, None, "DOUBLE", f"o.{column}", "NULL"))
    return found


def measure_rows(connection: DuckDBPyConnection, wanted: Sequence[Measure]) -> None:
    """Make ``LOGGED``, of all rows of ``ROWS``, after ``RowTables.finish``."""
    codes = {f"c{number}": [code] for number, code in enumerate(currencies(connection))}
    flat = selected("decisions_flat", Holding(codes or {"usd": ["USD"]}))
    columns = "".join(
        f", CAST({one.sql} AS {one.type}) AS {one.metric.column}" for one in wanted if one.kind != "outcome"
    )
    scored = [one for one in wanted if one.kind == "outcome"]
    outcomes = "".join(f", o.{one.metric.column}" for one in scored)
    by_decision = "".join(
        f", any_value(value) FILTER (metric = {sql_text(one.name)}) AS {one.metric.column}" for one in scored
    )
    joined = (
        f"LEFT JOIN (SELECT decision_id{by_decision} FROM {_MEASURED} GROUP BY decision_id) AS o "
        "ON (o.decision_id = r.decision_id)"
        if scored
        else ""
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {LOGGED} AS
        SELECT r.row, r.unit, c.context, c.action, c.propensity, c.target, c.kept{columns}{outcomes}
        FROM {ROWS} AS r
        JOIN {CHOICES} AS c
            ON (c.logged = r.logged) AND (c.target = r.target) AND (c.arm = r.arm) AND (c.other = r.other)
        LEFT JOIN ({flat}) AS d ON (CAST(d.decision_id AS UUID) = r.decision_id)
        {joined}
    """)


def _outcomes(connection: DuckDBPyConnection) -> list[tuple[str, bool]]:
    """The names of the numbers that were found out about answers, and whether all are 0 or 1. Makes ``_MEASURED``, with
    their means by decision.

    What was found out about a call whose answer was not given says nothing of the decision.
    """
    of_answers = selected("outcomes_flat", Holding())
    answered_by = selected("decisions_flat", Holding())
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {_MEASURED} AS
        SELECT r.decision_id, o.score['key'] AS metric, avg(o.score['value']) AS value
        FROM (
            SELECT CAST(decision_id AS UUID) AS decision_id, model_id, unnest(map_entries(scores)) AS score
            FROM ({of_answers})
        ) AS o
        JOIN {ROWS} AS r ON (r.decision_id = o.decision_id)
        JOIN ({answered_by}) AS d ON (CAST(d.decision_id AS UUID) = o.decision_id)
        WHERE isfinite(o.score['value']) AND ((o.model_id IS NULL) OR (o.model_id = d.answered_by))
        GROUP BY ALL
    """)
    return connection.execute(
        f"SELECT metric, bool_and(value IN (0, 1)) FROM {_MEASURED} GROUP BY metric ORDER BY count(*) DESC, metric"
    ).fetchall()
