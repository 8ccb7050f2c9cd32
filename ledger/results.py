"""What asking the ledger gives: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


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

    ``newest_at`` is when the newest decision in the tables was made (UTC; None if there is none), and ``stale`` says
    why newer ones may be missing from them; None when none are. ``timezone`` is that in which the times are shown.
    ``notes`` say what else is to be known of the answer, such as that a feature has had another type.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    stale: str | None = None
    newest_at: datetime | None = field(default=None, compare=False)
    timezone: str = "UTC"
    notes: tuple[str, ...] = ()

    def to_arrow(self) -> pyarrow.Table:
        """The rows as an Arrow table. Needs the extra ``arrow``; raises LedgerError without it.

        A HUGEINT, the type of sums of whole numbers, is a decimal of 38 digits, VARIANT is JSON text, an INTERVAL is a
        duration with 30 days for a month, and UUID is text.
        """
        from .arrow import arrow_table

        return arrow_table(self.columns, self.types, self.rows, self.timezone)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame with Arrow's types, in which no digit is lost and NULL is not NaN."""
        from .arrow import pandas_frame

        return pandas_frame(self.to_arrow())

    def to_polars(self) -> polars.DataFrame:
        """The rows as a data frame of polars, which needs to be installed."""
        from .arrow import polars_frame

        return polars_frame(self.to_arrow())


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows an export wrote; the other fields are those of ``QueryResult``."""

    rows: int
    truncated: bool
    stale: str | None = None
    newest_at: datetime | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TailRow:
    """A decision and what came of it; ``status`` is ``None`` when it was not executed.

    ``known_cost`` is what its attempts are known to have cost, in whole units by currency, such as ``{"USD":
    Decimal("0.000725")}``. ``unknown_cost_calls`` counts those whose cost is missing from it. ``cost_is_least`` is
    whether the cost of one is a lower bound.
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
    known_cost: Mapping[str, Decimal]
    unknown_cost_calls: int
    simulated: bool | None
    cost_is_least: bool
    team: str | None
    trace_id: str | None
