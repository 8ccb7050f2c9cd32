"""Measures what asking a ledger of many decisions takes: every shipped question, and every view.

    python benchmarks/asking.py [DECISIONS] [--more TIMES] [--ledger FILE]

The ledger is that of ``busy_ledger.py``; ``--more`` multiplies its rows in SQL and asks again. Questions are asked of
all times, within the limits of ``ledger sql``. Prints seconds, and of those how much the processor worked.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from busy_ledger import fill, multiply

from routewright.ledger import Ledger, LedgerError, shipped_questions
from routewright.ledger.views import view_names

NATURAL = {
    "decisions by target": "SELECT target, count(*) FROM decisions_flat GROUP BY ALL",
    "cost by day and model": "SELECT day, model_id, sum(known_cost_usd) FROM cost_daily GROUP BY ALL",
    "p95 by model": "SELECT model_id, quantile_cont(latency_ms, 0.95) FROM model_latency GROUP BY ALL",
    "success by model": "SELECT model_id, sum(ok) / sum(calls) FROM success_rate GROUP BY ALL",
    "fallbacks by rule": "SELECT matched_rule, sum(fell_back) FROM fallback_frequency GROUP BY ALL",
    "rules that win": "SELECT rule, sum(won) FROM rule_hits GROUP BY ALL",
    "a typed feature": "SELECT avg(features.complexity) FROM decisions_hybrid WHERE features.complexity > 0.7",
    "cost by a feature": "SELECT features.route, sum(known_cost_usd) FROM attempts_hybrid GROUP BY ALL",
    "latency by a feature": "SELECT features.route, avg(latency_ms) FROM decisions_hybrid GROUP BY ALL",
    "attempts of one hour": "SELECT count(*) FROM attempts_flat WHERE started_at BETWEEN "
    "'2026-01-01 05:00:00+00' AND '2026-01-01 06:00:00+00'",
}
"""What people write."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure what asking a ledger of many decisions takes.")
    parser.add_argument("decisions", nargs="?", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=1, help="multiply the rows so many times")
    parser.add_argument("--ledger", type=Path, help="ask this one, and make none")
    parser.add_argument("--only", default="", help="ask what has this in its name")
    given = parser.parse_args()
    if given.ledger is not None:
        ask_all(given.ledger, given.only)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.duckdb"
        fill(path, given.decisions)
        print(f"{given.decisions:,} decisions")
        ask_all(path, given.only)
        if given.more > 1:
            multiply(path, given.more)
            print(f"{given.decisions * given.more:,} decisions")
            ask_all(path, given.only)


def statements() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, statement and parameters of everything that is asked."""
    now = datetime.now(UTC)
    for name, question in shipped_questions().items():
        taken = {"since": "all"} if "since" in question.shape.parameters else {}
        taken |= {"before": "2026-01-14"} if "before" in question.shape.parameters else {}
        yield f"ask {name}", question.sql, dict(question.values(taken, now=now))
    for name, sql in NATURAL.items():
        yield name, sql, {}
    # Each column is read, and each row made; next to nothing is done with them.
    for name in (*view_names(), "decisions_hybrid", "attempts_hybrid", "decision_records"):
        yield f"all of {name}", f"SELECT count(COLUMNS(*)) FROM {name}", {}


def ask_all(path: Path, only: str) -> None:
    """Ask everything, and print what it took."""
    ledger = Ledger.open(path)
    for name, sql, parameters in statements():
        if only not in name:
            continue
        began, used = time.perf_counter(), time.process_time()
        try:
            said = f"{len(ledger.query(sql, parameters).rows):,} rows"
        except LedgerError as error:
            said = str(error)
        took, used = time.perf_counter() - began, time.process_time() - used
        print(f"  {name:28} {took:7.3f} s, processor {used:7.3f} s, {said}", flush=True)


if __name__ == "__main__":
    main()
