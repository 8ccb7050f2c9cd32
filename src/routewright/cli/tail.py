"""Prints the newest decisions of the ledger, and those that come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from routewright.engine.report import TaskError, money_text, suggest
from routewright.ledger import (
    Followed,
    InFlight,
    Ledger,
    TailFilter,
    TailRow,
    cost_column,
    json_value,
    now_in,
    parse_moment,
)

from .opened import ledger_at, print_notices
from .options import TailFlags
from .shown import short_id
from .writer import counted, writer

_NAMES: Final[Mapping[str, str]] = {
    "model": "SELECT target FROM decision_records UNION SELECT model_id FROM attempt_rows",
    "policy": "SELECT DISTINCT policy_name FROM decision_records",
    "team": "SELECT DISTINCT team FROM decision_records",
    "status": "SELECT DISTINCT coalesce(status, outcome) FROM all_decisions_flat WHERE import IS NULL",
    "rule": "SELECT DISTINCT matched_rule FROM decision_records",
}
"""What gives the names that a filter may have, by field."""

_HEADER = ["decision", "time (UTC)", "rule", "target", "answered by", "calls", "status", "took", "cost"]


def print_tail(
    path: Path | None, count: int, flags: TailFlags, *, follow: bool, format: Literal["table", "json"]
) -> None:
    """Print the newest decisions, the oldest of them first; to ``follow``, print those that come until Ctrl-C."""
    where = _filter(flags)
    with ledger_at(path, create=False) as opened:
        if follow:
            _follow(opened, count, where, format)
            return
        found = opened.newest(count, where)
    if format == "table" and not found.rows and not found.in_flight:
        writer.note("no decision fits" if where != TailFilter() else "there is no decision yet")
        for unknown in _unknown(opened, where):
            writer.note(unknown)
    elif format == "json":
        writer.json_value([*map(_values, found.rows), *map(_under_way, found.in_flight)])
    else:
        writer.table(_HEADER, [*map(_cells, found.rows), *map(_cells_under_way, found.in_flight)])
    print_notices(opened)


def _filter(flags: TailFlags) -> TailFilter:
    """Raises TaskError for a time that is none."""
    try:
        since = None if flags.since is None else parse_moment(flags.since, now=now_in("UTC"))
    except ValueError as error:
        raise TaskError(f"--since is `{flags.since}`: expected {error}") from None
    return TailFilter(
        flags.model, flags.policy, flags.team, flags.status, flags.rule, since, flags.simulated or None
    )


def _unknown(opened: Ledger, where: TailFilter) -> Iterator[str]:
    """What is said of each name in a filter that no decision of the ledger has: it may be misspelled."""
    for what, statement in _NAMES.items():
        name = getattr(where, what)
        if name is None:
            continue
        known = [str(row[0]) for row in opened.query(statement, max_rows=None).rows if row[0] is not None]
        if name not in known:
            yield f"no decision has the {what} `{name}`: {suggest(name, known, label='there are')}"


def _follow(opened: Ledger, count: int, where: TailFilter, format: Literal["table", "json"]) -> None:
    told: set[str] = set()
    for found in opened.follow(count, where):
        writer.status("")
        for row in found.rows:
            if format == "json":
                writer.json(json.dumps(_values(row), ensure_ascii=False, default=str) + "\n")
            else:
                writer.text("  ".join(filter(None, _line(row))))
        for notice in opened.notices():
            if notice not in told:
                writer.note(notice)
        told = set(opened.notices())
        writer.status(_in_flight_text(found))


def _in_flight_text(found: Followed) -> str:
    """What is said below the newest line while calls are under way."""
    if not found.in_flight:
        return ""
    longest_s = max((datetime.now(UTC) - found.in_flight[0].made_at).total_seconds(), 0)
    for_long = f"{longest_s:.0f} s" if longest_s < 120 else f"{longest_s / 60:,.0f} min"
    first = "for" if len(found.in_flight) == 1 else "the first for"
    return f"{counted(len(found.in_flight), 'decision')} under way, {first} {for_long}"


def _line(row: TailRow) -> Sequence[str]:
    """A decision as one line of a log."""
    id, at, rule, target, by, calls, status, took, cost = _cells(row)
    where = target if by in ("", target) else f"{target}, answered by {by}"
    return [at, id, rule, f"-> {where}", status, "" if calls in "01" else f"{calls} calls", took, cost]


def _values(row: TailRow) -> dict[str, Any]:
    """A decision for JSON, with each known cost as in the views: in its currency's own place, null if there is none."""
    values = asdict(row)
    costs = {"USD": None, **values.pop("known_cost")}
    return values | {cost_column(currency): json_value(cost) for currency, cost in costs.items()}


def _under_way(one: InFlight) -> dict[str, Any]:
    return {
        "decision_id": one.decision_id,
        "decided_at": one.made_at,
        "status": "in flight",
        "called": one.models,
    }


def _cells_under_way(one: InFlight) -> list[str]:
    return [_id(one.decision_id), _time(one.made_at), "", ", ".join(one.models), "", "", "in flight", "", ""]


def _cells(row: TailRow) -> list[str]:
    return [
        _id(row.decision_id),
        _time(row.decided_at),
        row.matched_rule or "",
        row.target or row.outcome,
        row.answered_by or "",
        str(row.attempts),
        _status(row),
        "" if row.latency_ms is None else f"{row.latency_ms:.0f} ms",
        _cost(row),
    ]


def _id(id: str) -> str:
    """The id; on a terminal as much of it as ``ledger show`` needs."""
    return short_id(id) if writer.on_terminal else id


def _time(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _cost(row: TailRow) -> str:
    unknown = row.unknown_cost_calls
    if row.status is None:
        return ""
    # Nothing in one currency says nothing beside something in another.
    known = {code: cost for code, cost in row.known_cost.items() if cost} or dict(
        islice(row.known_cost.items(), 1)
    )
    if not known:
        return "unknown" if unknown else "0"
    costs = [f"{money_text(int(cost.scaleb(9)), 6 if cost else None)} {code}" for code, cost in known.items()]
    cost = f"{'at least ' if row.cost_is_least else ''}{' + '.join(costs)}"
    return f"{cost} + {unknown} unknown" if unknown else cost


def _status(row: TailRow) -> str:
    if row.mode == "shadow":
        return "shadow"
    return (row.status or "not executed") + (", simulated" if row.simulated else "")
