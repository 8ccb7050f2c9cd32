"""Reads the newest decisions, and those that come after them, with what came of each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .results import TailRow
from .views import Holding, decisions_select, selected

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SLACK_US: Final = 60_000_000
"""Another process's clock, and what waits to be written, may be that late."""

_ALL: Final = 2**62
"""No ledger has as many decisions."""


@dataclass(frozen=True, slots=True)
class TailFilter:
    """Which decisions are shown: those that fit everything that is given.

    ``model`` was the target or was called; ``status`` is that of the answer, or the outcome of a decision without one.
    ``simulated`` is whether no model was asked; both are shown where it is None.
    """

    model: str | None = None
    policy: str | None = None
    team: str | None = None
    status: str | None = None
    rule: str | None = None
    since: datetime | None = None
    simulated: bool | None = None


_OF_DECISION: Final = {
    "policy": "d.policy_name = $policy",
    "rule": "d.matched_rule = $rule",
    "since": "make_timestamptz(d.at_us) >= $since",
    "model": "(d.target = $model OR d.decision_id IN ("
    "SELECT decision_id FROM main.attempt_rows WHERE model_id = $model))",
    "not_before": "d.at_us >= $not_before",
}
_OF_RESULT: Final = {
    "team": "team = $team",
    "status": "coalesce(status, outcome) = $status",
    "simulated": "simulated = $simulated",
}

# The view's text is used: any user may replace the view in the file, or shadow one of its functions with a macro. Here
# it reads the decisions that fit and their attempts alone, under the names of the tables.
_TAIL: Final = """
WITH fit AS MATERIALIZED (SELECT decision_id FROM ({decisions}) AS d WHERE true{of_decision}{newest_first}),
decision_records AS NOT MATERIALIZED (SELECT * FROM ({decisions}) WHERE decision_id IN (SELECT decision_id FROM fit)),
attempt_rows AS NOT MATERIALIZED (SELECT * FROM main.attempt_rows WHERE decision_id IN (SELECT decision_id FROM fit)),
all_decisions_flat AS ({view}),
flat AS (
    SELECT *, decision_id::UUID AS id FROM all_decisions_flat
    WHERE import IS NULL{of_result} ORDER BY decided_at DESC, decision_id DESC LIMIT $most
),
spent AS (
    SELECT
        a.decision_id AS id,
        count(*) AS attempts,
        CASE WHEN NOT bool_or(status = 'lost')
            THEN (max(started_at_us + total_us) - min(started_at_us)) / 1000 END AS latency_ms,
        list((currency, cost_nano))
            FILTER (currency IS NOT NULL AND cost_nano IS NOT NULL AND (cost_nano <> 0 OR status = 'ok')) AS known,
        count(*) FILTER (cost_nano IS NULL) AS unknown,
        coalesce(bool_or(cost_source = 'lower_bound'), false) AS is_least
    FROM attempt_rows AS a
    GROUP BY a.decision_id
)
SELECT decision_id, decided_at, operation, outcome, mode, policy_name, matched_rule, target, answered_by, status,
       coalesce(attempts, 0), spent.latency_ms, known, coalesce(unknown, 0),
       CASE WHEN executed THEN simulated END, coalesce(is_least, false), team, trace_id
FROM flat LEFT JOIN spent USING (id)
ORDER BY decided_at, decision_id
"""

_NEWEST_FIRST: Final = " ORDER BY at_us DESC, decision_id DESC LIMIT $most"


def newest(
    connection: DuckDBPyConnection, most: int, where: TailFilter, *, not_before_us: int | None = None
) -> list[TailRow]:
    """The newest decisions that fit, at most so many, oldest first."""
    given: dict[str, Any] = {field.name: getattr(where, field.name) for field in fields(where)}
    given["not_before"] = not_before_us
    given = {name: value for name, value in given.items() if value is not None}
    of_decision, of_result = (
        "".join(f" AND {condition}" for name, condition in conditions.items() if name in given)
        for conditions in (_OF_DECISION, _OF_RESULT)
    )
    statement = _TAIL.format(
        view=selected("decisions_flat", Holding(currencies={})),
        decisions=decisions_select(),
        of_decision=of_decision,
        of_result=of_result,
        newest_first="" if of_result else _NEWEST_FIRST,
    )
    rows = connection.execute(statement, {**given, "most": min(max(0, most), _ALL)}).fetchall()
    names = [field.name for field in fields(TailRow)]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [TailRow(**values | {"known_cost": _by_currency(values["known_cost"] or ())}) for values in found]


def _by_currency(costs: Sequence[tuple[str, int]]) -> dict[str, Decimal]:
    """The sums of costs in nano-units, in whole units."""
    found: dict[str, Decimal] = {}
    for currency, nano in sorted(costs):
        found[currency] = found.get(currency, Decimal(0)) + Decimal(nano).scaleb(-9)
    return found


class InFlight(NamedTuple):
    """A decision whose calls are under way: its id, when it was made, and the models that are being called."""

    decision_id: str
    made_at: datetime
    models: tuple[str, ...]


# Between two calls a decision has none under way, and has not ended.
_IN_FLIGHT: Final = """
SELECT f.decision_id::VARCHAR, coalesce(list(calls.model_id ORDER BY number) FILTER (model_id IS NOT NULL), [])
FROM (SELECT DISTINCT decision_id FROM main.in_flight) AS f
LEFT JOIN ({view}) AS calls ON calls.decision_id::UUID = f.decision_id
GROUP BY f.decision_id ORDER BY f.decision_id
"""


def in_flight(connection: DuckDBPyConnection) -> list[InFlight]:
    """The decisions whose calls are under way, the oldest first."""
    rows = connection.execute(
        _IN_FLIGHT.format(view=selected("in_flight_calls", Holding(currencies={})))
    ).fetchall()
    return [InFlight(id, _made_at(id), tuple(models)) for id, models in rows]


@dataclass(frozen=True, slots=True)
class Followed:
    """What a look at the ledger gives: decisions that have come and those under way, both the oldest first."""

    rows: Sequence[TailRow]
    in_flight: Sequence[InFlight]


class Tail:
    """Follows the ledger: the first ``look`` gives the newest decisions, each later one what has come since.

    A decision is recorded when it has ended, which may be long after it was made. So what comes is looked for among
    those that were made since the oldest that was under way at the last look.
    """

    def __init__(self, most: int, where: TailFilter) -> None:
        self._most, self._where = most, where
        self._not_before_us: int | None = None
        self._seen: set[str] = set()

    def look(self, connection: DuckDBPyConnection) -> Followed:
        """What has come since the last look, and what is under way."""
        before_us = self._not_before_us
        under_way = in_flight(connection)
        oldest = [_us(one.made_at) for one in under_way[:1]]
        self._not_before_us = min([time.time_ns() // 1000, *oldest]) - _SLACK_US
        if before_us is None:
            rows = newest(connection, self._most, self._where)
            recent = newest(connection, _ALL, self._where, not_before_us=self._not_before_us)
        else:
            recent = newest(connection, _ALL, self._where, not_before_us=before_us)
            rows = [row for row in recent if row.decision_id not in self._seen]
        self._seen = {row.decision_id for row in recent if _us(row.decided_at) >= self._not_before_us}
        return Followed(rows, under_way)


def _made_at(id: str) -> datetime:
    """The time in a UUID of version 7 (RFC 9562): its first 48 bits are milliseconds since 1970."""
    return datetime.fromtimestamp((uuid.UUID(id).int >> 80) / 1000, UTC)


def _us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
