"""Prints the newest decisions of the ledger."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Literal

from routewright.engine.report import money_text
from routewright.ledger import TailRow

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
        row.decided_at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds"),
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
