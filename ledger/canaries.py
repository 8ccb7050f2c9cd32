"""Judges a canary by what the ledger has of its arms, under the rule that its policy declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from routewright.engine.policy import CanaryCondition, CompiledPolicy, CompiledRollout

from .connection import open_in_memory
from .replay.estimates import (
    Arms,
    CanaryRule,
    CanaryVerdict,
    Condition,
    Metric,
    canary_verdict,
    rollout_arms,
)
from .views import DEFAULT_CURRENCY, Holding, selected

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TAKEN: Final = "canary_decisions"
_ROWS: Final = "canary_rows"
_COUNTED: Final = "canary_counted"
_REAL: Final = (
    f"CREATE OR REPLACE TEMP VIEW {_ROWS} AS SELECT * EXCLUDE (simulated) FROM {_COUNTED} WHERE NOT simulated"
)

_MOST_UNKNOWN: Final = 0.01
"""The share of an arm's decisions whose cost may be unknown: what nobody knows may be what is dear."""

_METRICS: Final = (
    Metric("success", "success", low=0, high=1),
    Metric("cost", "cost", better="lower"),
    Metric("latency_ms", "latency_ms", better="lower"),
)


@dataclass(frozen=True, slots=True)
class JudgedCanary:
    """The verdict on a canary, how many decisions each arm has, and for how many of them the cost is unknown.

    ``simulated`` decisions of it are in no other number.
    """

    verdict: CanaryVerdict
    decisions: Mapping[str, int]
    unknown_costs: Mapping[str, int]
    simulated: int


def judge_canary(connection: DuckDBPyConnection, policy: CompiledPolicy, *, since_us: int) -> JudgedCanary:
    """Judge the canary of ``policy`` by its real decisions from ``since_us`` on. See ``Ledger.judge_canary``."""
    rollout, candidate = _canary_of(policy)
    _take_rows(connection, policy, candidate, since_us)
    return _judged(connection, rollout)


def canary_without_ledger(policy: CompiledPolicy) -> JudgedCanary:
    """The same where nothing has been recorded yet."""
    rollout, _ = _canary_of(policy)
    with open_in_memory() as connection:
        columns = "row BIGINT, arm VARCHAR, unit VARCHAR, success DOUBLE, latency_ms DOUBLE, cost DOUBLE"
        connection.execute(f"CREATE TEMP TABLE {_COUNTED} ({columns}, simulated BOOLEAN)")
        connection.execute(_REAL)
        return _judged(connection, rollout)


def _canary_of(policy: CompiledPolicy) -> tuple[CompiledRollout, CompiledPolicy]:
    rollout = policy.rollout
    if rollout is None or rollout.mode != "canary" or rollout.candidate is None:
        raise ValueError(f"policy `{policy.name}` has no canary, or was compiled without its candidate")
    return rollout, rollout.candidate


def _judged(connection: DuckDBPyConnection, rollout: CompiledRollout) -> JudgedCanary:
    counts = connection.execute(
        f"SELECT arm, count(*), count(*) FILTER (cost IS NULL) FROM {_ROWS} GROUP BY arm"
    ).fetchall()
    [(simulated,)] = connection.execute(f"SELECT count(*) FROM {_COUNTED} WHERE simulated").fetchall()
    decisions, unknown = ({arm: 0 for arm in ("control", "candidate")} for _ in range(2))
    for arm, count, without_cost in counts:
        decisions[arm], unknown[arm] = count, without_cost
    rule = CanaryRule(
        abort_when=tuple(map(canary_condition, rollout.abort_when)),
        promote_when=tuple(map(canary_condition, rollout.promote_when)),
    )
    asked = {one.metric for one in (*rule.abort_when, *rule.promote_when)}
    if any(unknown[arm] > _MOST_UNKNOWN * decisions[arm] for arm in decisions):
        asked.discard("cost")
    arms: dict[str, Arms] = {
        metric.name: rollout_arms(connection, _ROWS, metric) for metric in _METRICS if metric.name in asked
    }
    return JudgedCanary(canary_verdict(rule, arms), decisions, unknown, simulated)


def canary_condition(declared: CanaryCondition) -> Condition:
    """A condition as estimates know it, whose text reads as in ``cost above 1.2 times the control's``."""
    return Condition(declared.metric, declared.is_, declared.times, declared.plus)


def _take_rows(
    connection: DuckDBPyConnection, policy: CompiledPolicy, candidate: CompiledPolicy, since_us: int
) -> None:
    """Make ``canary_rows``, as ``rollout_arms`` takes them, of the real decisions that chance gave to either arm.

    They are in the order of their ingestion, to which what ends later is only added. What was drawn as a whole is told
    by where it fell: equal values of the key fall at one point.
    """
    # A rule about costs is refused where there is more than one.
    currencies = policy.catalog.currencies | candidate.catalog.currencies
    flat = selected("decisions_flat", Holding({"c": sorted(currencies) or [DEFAULT_CURRENCY]}))
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {_TAKEN} AS
        WITH arms AS (
            SELECT part, value->>'arm' AS arm, value->>'key' AS key
            FROM parts
            WHERE (kind = 'arm') AND ((value->>'mode') = 'canary')
                AND ((value->'control'->>'digest') = $control) AND ((value->'candidate'->>'digest') = $candidate)
                AND ((value->>'probability')::DOUBLE > 0) AND ((value->>'probability')::DOUBLE < 1)
        )
        SELECT d.rowid AS row, d.decision_id, a.arm,
            CASE WHEN a.key IS NOT NULL THEN CAST(d.arm_point AS VARCHAR) END AS unit
        FROM decision_rows AS d JOIN arms AS a ON (a.part = d.arm_part)
        WHERE d.at_us >= $since
        """,
        {"control": policy.digest, "candidate": candidate.digest, "since": since_us},
    )
    only = f"(decision_id IN (SELECT decision_id FROM {_TAKEN}))"
    connection.execute(
        # Under the names of what the view reads: else it would put together all that the ledger holds.
        f"""
        CREATE OR REPLACE TEMP TABLE {_COUNTED} AS
        WITH attempt_rows AS MATERIALIZED (SELECT * FROM main.attempt_rows WHERE {only}),
        decision_records AS (SELECT * FROM main.decision_records WHERE {only}),
        imported_attempts AS (SELECT * FROM main.imported_attempts WHERE false),
        imported_decisions AS (SELECT * FROM main.imported_decisions WHERE false)
        SELECT t.row, t.arm, t.unit, f.answered::DOUBLE AS success, f.latency_ms::DOUBLE AS latency_ms,
            CASE WHEN f.unknown_cost_calls = 0 THEN coalesce(f.known_cost_c, 0)::DOUBLE END AS cost,
            f.simulated
        FROM {_TAKEN} AS t JOIN ({flat}) AS f ON (CAST(f.decision_id AS UUID) = t.decision_id)
        WHERE f.executed OR (f.outcome <> 'routed')
        """
    )
    connection.execute(_REAL)
