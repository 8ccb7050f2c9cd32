"""Shows the ledger's metrics at a glance: how much work, latency, success, fallbacks and cost."""

from __future__ import annotations

import json
from datetime import datetime, time
from pathlib import Path
from typing import Any, Final, Literal

from routewright.ledger import QueryResult, Question, now_in, shipped_questions, to_json

from .ask import answer, print_shown, tell_imported, tell_simulated
from .invocation import command_line
from .opened import ledger_at
from .options import AskFlags
from .shown import shown
from .sql import count_imported, count_simulated, tell_about
from .writer import writer

DAILY: Final = "daily"
"""The question about all work, whose sums stand above the metrics."""

METRICS: Final = ("latency", "success", "fallbacks", "cost")
"""The questions that are asked, each with a row for every model, team or day."""


_ANY: Final = {
    False: "SELECT 1 FROM decisions_flat LIMIT 1",
    True: "SELECT 1 FROM all_decisions_flat WHERE simulated LIMIT 1",
}
"""Whether there is any work, by whether it is simulated."""


def print_stats(
    path: Path | None,
    since: str,
    by: Literal["model", "team", "user", "rule", "day"],
    *,
    simulated: bool,
    timezone: str,
    format: Literal["text", "json"],
) -> None:
    """Print the metrics of the time since ``since``."""
    how = AskFlags(timezone=timezone)
    now = now_in(timezone)
    first_day = "whole" if by == "day" else "part"
    with ledger_at(path, create=False) as opened:
        asked = []
        for name in (DAILY, *METRICS):
            question = shipped_questions()[name]
            given = {"since": since, "by": by, "first_day": first_day}
            values = question.values({one: given[one] for one in question.shape.parameters}, now=now)
            asked.append((question, values, answer(opened, question, values, how, simulated=simulated)))
        hidden = 0 if simulated else count_simulated(opened)
        is_empty = not asked[0][2].rows
        has_older = is_empty and bool(opened.query(_ANY[simulated]).rows)
        imported = count_imported(opened) if is_empty and not simulated else 0
    since_then = asked[0][1]["since"]
    assert isinstance(since_then, datetime)
    if first_day == "whole":
        since_then = datetime.combine(since_then.astimezone(now.tzinfo).date(), time.min, now.tzinfo)
    if format == "json":
        told: dict[str, Any] = {"since": since_then.isoformat(), "by": by, "simulated": simulated}
        writer.json_value(
            told | {question.name: json.loads(to_json(result)) for question, _, result in asked}
        )
    else:
        what = "simulated work" if simulated else "real work"
        writer.text(f"{what} since {since_then:%Y-%m-%d %H:%M} {timezone}, by {by}")
        _print(asked)
    if has_older:
        writer.note("nothing was decided in this time; look further back:")
        writer.note(f"  {command_line('ledger', 'stats', '--since', 'all')}")
    elif is_empty:
        writer.note(f"the ledger has no {'simulated' if simulated else 'real'} work: run a task first")
    tell_imported(imported)
    tell_simulated(hidden)
    tell_about(opened, asked[0][2], how)


def _print(asked: list[tuple[Question, dict[str, Any], QueryResult]]) -> None:
    for question, values, result in asked:
        if not result.rows:
            continue
        if question.name == DAILY:
            writer.text(_sums(result))
            continue
        writer.text()
        writer.heading(question.shape.question)
        print_shown(shown(question, result, values))


def _sums(daily: QueryResult) -> str:
    sums = {name: sum(row[index] for row in daily.rows) for index, name in enumerate(daily.columns) if index}
    parts = [
        f"{sums['decisions']:,} {'decision' if sums['decisions'] == 1 else 'decisions'}",
        f"{sums['answered']:,} answered",
        f"{sums['decisions'] - sums['answered'] - sums['no_model']:,} not answered",
        f"{sums['no_model']:,} without a model to go to",
    ]
    return f"{', '.join(parts)}; {sums['fell_back']:,} fell back"
