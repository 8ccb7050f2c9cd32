"""What asking the ledger gives: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Appended:
    """How many rows an append wrote, and how many of those given were in the ledger already."""

    policies: int
    decisions: int
    attempts: int
    already_there: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A table: ``types`` are DuckDB's names of the columns' types; ``truncated`` says that rows were cut.

    ``stale`` says why the newest decisions may be missing; None when none are.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class TailRow:
    """A decision and what came of it; ``status`` is ``None`` when it was not executed.

    ``known_cost_nano`` is ``None`` when no attempt has a known cost, or when costs are in several currencies; a cost
    of 0 may have no currency. ``unknown_cost_attempts`` counts those whose cost is missing from it.
    ``cost_is_least`` is whether the cost of one is a lower bound.
    """

    decision_id: str
    decided_at: datetime
    operation: str
    outcome: str
    mode: str
    policy_name: str
    matched_rule: str | None
    target: str | None
    answered_by: str | None
    status: str | None
    attempts: int
    latency_ms: float | None
    known_cost_nano: int | None
    currency: str | None
    unknown_cost_attempts: int
    simulated: bool | None
    cost_is_least: bool
