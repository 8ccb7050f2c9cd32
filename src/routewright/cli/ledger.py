"""``routewright ledger``: ask the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import LedgerPath, TableFormat
from .writer import writer

if TYPE_CHECKING:
    from routewright.ledger import Ledger, TailRow


ledger = typer.Typer(help="Ask the ledger.", no_args_is_help=True, rich_markup_mode=None)

Format = Literal["table", "csv", "json"]


@ledger.command("sql")
def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One SQL statement that reads.")],
    path: LedgerPath = None,
    format: Annotated[Format, typer.Option("--format", help="The form of the output.")] = "table",
    max_rows: Annotated[
        int, typer.Option("--max-rows", metavar="N", min=1, help="Stop after this many rows.")
    ] = 10_000,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Stop after this many seconds.")
    ] = 60.0,
) -> None:
    """Ask the ledger in SQL.

    A statement can read the ledger and nothing else. Start from the views: decisions_flat, attempts_flat,
    routing_daily, model_latency, success_rate, fallback_frequency, cost_daily, unknown_features,
    rule_hits, rollout_differences, rollout_arms.

    \b
    Example:
      routewright ledger sql "SELECT target, decisions FROM routing_daily"
    """
    with ledger_at(path, create=False) as opened:
        print_result(opened, statement, format=format, max_rows=max_rows, timeout_s=timeout)


@ledger.command("tail")
def tail(
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, help="How many decisions to show.")
    ] = 10,
    path: LedgerPath = None,
    format: TableFormat = "table",
) -> None:
    """Show the newest decisions.

    The oldest of them comes first. Each has its target, who answered, how long that took and what it cost.

    \b
    Example:
      routewright ledger tail -n 5
    """
    with ledger_at(path, create=False) as opened:
        rows = opened.tail(count)
    print_notices(opened)
    if format == "json":
        import json
        from dataclasses import asdict

        writer.json(json.dumps([asdict(row) for row in rows], indent=2, default=str) + "\n")
        return
    header = ["time (UTC)", "outcome", "rule", "target", "answered by", "attempts", "status", "took", "cost"]
    writer.table(header, list(map(_tail_row, rows)))


def _tail_row(row: TailRow) -> list[str]:
    from routewright.engine.report import money_text

    cost = "" if row.status is None else "unknown"
    if row.known_cost_nano is not None:
        cost = f"{money_text(row.known_cost_nano, 6)} {row.currency or ''}".rstrip()
        cost += f" + {row.unknown_cost_attempts} unknown" if row.unknown_cost_attempts else ""
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


def ledger_at(path: Path | None, *, create: bool) -> Ledger:
    """The ledger at ``path``, or the default one; the caller prints its notices at the end."""
    from routewright.ledger import Ledger, default_ledger_path

    return Ledger.open(path or default_ledger_path(), create=create)


def print_notices(opened: Ledger) -> None:
    """Print the ledger's notices: rows that still wait, rejected entries, unacknowledged damage."""
    for notice in opened.notices():
        writer.note(notice)


def print_result(
    opened: Ledger,
    statement: str,
    *,
    format: Format = "table",
    max_rows: int = 10_000,
    timeout_s: float = 60.0,
) -> None:
    """Run one statement and print its rows."""
    from routewright.ledger import to_csv, to_json, to_table

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
