"""What was measured of recorded decisions, each once: cost by currency, latency, success and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from routewright.engine.condition import sql_text

from ..declarations import currencies
from ..views import Holding, selected
from .estimates import Metric
from .imported import NAMES
from .row_tables import CHOICES, ROWS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOGGED: Final = "replay_logged"
"""The temporary table of what the log did with each row and what came of it, as ``Relations`` has it; beside it
``target`` and ``kept`` as in ``CHOICES``, and ``may_cost_more`` where a known cost is the least that it can be."""

KNOWN_CALLS: Final = "replay_known_calls"
"""The temporary table of what each model did with requests that several were asked: ``row``, ``action``, metrics."""

_MEASURED: Final = "replay_measured"

Kind = Literal["cost", "latency", "success", "outcome"]


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that was measured of decisions: ``metric.column`` has it in ``LOGGED``.

    ``name`` is the outcome's, else the kind; that of ``metric`` is for sentences, and no other metric has it.
    ``unit`` is a currency for costs and ``ms`` for latencies. ``sql`` is the column's expression over
    ``decisions_flat``, ``d``, and ``type`` its type; ``of_call`` is the same of one imported call, ``a``, with its
    outcomes, ``o``, and ``refused`` what a decision without a target has.
    """

    kind: Kind
    name: str
    metric: Metric
    unit: str | None
    type: str
    sql: str
    of_call: str
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
        nano = f"(CASE WHEN a.currency = {sql_text(code)} THEN a.cost_nano ELSE 0 END)"
        of_call = f"(CASE WHEN a.cost_nano IS NOT NULL THEN {nano}::DECIMAL(27, 0) * 0.000000001 END)"
        found.append(Measure("cost", "cost", metric, code, "DECIMAL(27, 9)", sql, of_call, "0"))
    of_call = "(CASE WHEN a.status = 'ok' THEN a.total_us / 1000 END)"
    latency = Metric("latency in ms", "latency_ms", better="lower")
    found.append(Measure("latency", "latency", latency, "ms", "DOUBLE", "d.latency_ms", of_call, "NULL"))
    success = Metric("success", "success", low=0, high=1)
    # A log may say what became of calls, and not which of them gave the answer.
    answered = f"(CASE WHEN {_RAN} THEN coalesce(d.answered, d.status IN ('ok', 'cached'))::INTEGER END)"
    # What was skipped was no call.
    of_call = "(CASE WHEN a.status <> 'skipped' THEN (a.status IN ('ok', 'cached'))::INTEGER END)"
    found.append(Measure("success", "success", success, None, "DOUBLE", answered, of_call, "0"))
    taken = {one.metric.name for one in found}
    for name, is_truth in _outcomes(connection):
        column, (low, high) = f"outcome_{len(found)}", (0, 1) if is_truth else (None, None)
        metric = Metric(f"outcome {name}" if name in taken else name, column, low=low, high=high)
        found.append(Measure("outcome", name, metric, None, "DOUBLE", f"o.{column}", f"o.{column}", "NULL"))
    return found


def measure_rows(connection: DuckDBPyConnection, wanted: Sequence[Measure]) -> None:
    """Make ``LOGGED``, of all rows of ``ROWS``, after ``RowTables.finish``."""
    codes = {f"c{number}": [code] for number, code in enumerate(currencies(connection))}
    flat = selected("decisions_flat", Holding(codes or {"usd": ["USD"]}))
    # Where nothing says what was done, several models were asked, and nothing is of the decision as a whole.
    columns = "".join(
        f", CASE WHEN c.action IS NOT NULL THEN CAST({one.sql} AS {one.type}) END AS {one.metric.column}"
        for one in wanted
        if one.kind != "outcome"
    )
    scored = [one for one in wanted if one.kind == "outcome"]
    outcomes = "".join(
        f", CASE WHEN c.action IS NOT NULL THEN o.{one.metric.column} END AS {one.metric.column}"
        for one in scored
    )
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
        SELECT r.row, r.unit, c.context, c.action, c.propensity, c.target, c.kept,
            (d.unknown_cost_calls = 0) AND (d.lower_bound_calls > 0) AS may_cost_more{columns}{outcomes}
        FROM {ROWS} AS r
        JOIN {CHOICES} AS c
            ON (c.logged = r.logged) AND (c.target = r.target) AND (c.arm = r.arm) AND (c.other = r.other)
        LEFT JOIN ({flat}) AS d ON (CAST(d.decision_id AS UUID) = r.decision_id)
        {joined}
    """)


def measure_calls(connection: DuckDBPyConnection, wanted: Sequence[Measure]) -> None:
    """Make ``KNOWN_CALLS``, after ``LOGGED``, for imported requests that were answered by several models."""
    columns = "".join(f", CAST({one.of_call} AS {one.type}) AS {one.metric.column}" for one in wanted)
    by_call = "".join(
        f", avg(value) FILTER (metric = {sql_text(one.name)}) AS {one.metric.column}"
        for one in wanted
        if one.kind == "outcome"
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {KNOWN_CALLS} AS
        SELECT l.row, n.action{columns}
        FROM {LOGGED} AS l
        JOIN {ROWS} AS r ON (r.row = l.row)
        JOIN imported_attempts AS a ON (a.decision_id = r.decision_id)
        JOIN {NAMES} AS n ON (n.model = a.model_id)
        LEFT JOIN (
            SELECT decision_id, attempt{by_call} FROM imported_outcomes GROUP BY decision_id, attempt
        ) AS o ON (o.decision_id = a.decision_id) AND (o.attempt = a.number)
        WHERE l.action IS NULL
        QUALIFY row_number() OVER (PARTITION BY l.row, n.action ORDER BY a.number) = 1
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
            SELECT CAST(decision_id AS UUID) AS decision_id, model_id, import, unnest(map_entries(scores)) AS score
            FROM ({of_answers})
        ) AS o
        JOIN {ROWS} AS r ON (r.decision_id = o.decision_id)
        JOIN ({answered_by}) AS d ON (CAST(d.decision_id AS UUID) = o.decision_id)
        -- An imported request may have answers of several models.
        WHERE isfinite(o.score['value'])
            AND ((o.model_id IS NULL) OR (o.model_id = d.answered_by) OR (o.import IS NOT NULL))
        GROUP BY ALL
    """)
    return connection.execute(
        f"SELECT metric, bool_and(value IN (0, 1)) FROM {_MEASURED} GROUP BY metric ORDER BY count(*) DESC, metric"
    ).fetchall()
