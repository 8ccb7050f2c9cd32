"""Asks the ledger, and prints what it answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from routewright.engine.report import money_text
from routewright.ledger import Ledger, TailRow, to_csv, to_json, to_table

from .opened import ledger_at, print_notices
from .writer import writer


def print_newest(path: Path | None, count: int, format: Literal["table", "json"]) -> None:
    """Print the newest decisions, the oldest of them first."""
    with ledger_at(path, create=False) as opened:
        rows = opened.tail(count)
    print_notices(opened)
    if format == "json":
        writer.json_value(list(map(asdict, rows)))
        return
    header = ["time (UTC)", "outcome", "rule", "target", "answered by", "attempts", "status", "took", "cost"]
    writer.table(header, list(map(_tail_row, rows)))


def print_result(
    opened: Ledger,
    statement: str,
    *,
    format: Literal["table", "csv", "json"] = "table",
    max_rows: int = 10_000,
    timeout_s: float = 60.0,
) -> None:
    """Run one statement and print its rows."""
    result = opened.query(statement, max_rows=max_rows, timeout_s=timeout_s)
    if format == "json":
        writer.json(to_json(result))
    elif format == "csv":
        writer.csv(to_csv(result))
    else:
        header, rows = to_table(result)
        writer.table(header, rows)
        if not rows:
            writer.remark("no rows")
    print_notices(opened)
    if result.truncated:
        writer.note(f"stopped after row {max_rows}: there are more, see --max-rows")


def _tail_row(row: TailRow) -> list[str]:
    unknown = row.unknown_cost_attempts
    if row.status is None:
        cost = ""
    elif row.known_cost_nano is None and unknown < row.attempts:
        cost = "in two currencies"
    elif row.currency is not None and row.known_cost_nano is not None:
        cost = "at least " if row.cost_is_least else ""
        cost += f"{money_text(row.known_cost_nano, 6)} {row.currency}"
        cost += f" + {unknown} unknown" if unknown else ""
    else:
        cost = "unknown" if unknown else "0"
    return [
        row.decided_at.isoformat(sep=" ", timespec="seconds"),
        row.outcome,
        row.matched_rule or "",
        row.target or "",
        row.answered_by or "",
        str(row.attempts),
        _status(row),
        "" if row.latency_ms is None else f"{row.latency_ms:.0f} ms",
        cost,
    ]


def _status(row: TailRow) -> str:
    if row.mode == "shadow":
        return "shadow"
    return (row.status or "not executed") + (", simulated" if row.simulated else "")
