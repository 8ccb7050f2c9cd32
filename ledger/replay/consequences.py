"""What would have come of it: cost, latency, success and outcomes as they were, and under a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from .estimates import Baseline, Estimate, MetricEstimates, Relations, estimate
from .measures import LOGGED, Kind, Measure, measure_rows, measures
from .row_tables import CHANCES, SUPPORT, RowTables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LOG: Final = "replay_log"
_TARGET: Final = "replay_target"
_KNOWN: Final = "replay_known"

_REFUSED: Final = "starts_with(action, '(')"
"""Whether an action is that of a dead end, see ``is_dead_end``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of decisions: of ``decisions``, ``unknown`` have no value.

    ``total`` is exact where the values are money. ``total`` and ``mean`` are None where nothing was measured.
    """

    decisions: int
    unknown: int
    total: Decimal | float | None

    @property
    def mean(self) -> float | None:
        """The mean of those that have a value."""
        known = self.decisions - self.unknown
        return None if self.total is None or not known else float(self.total) / known


@dataclass(frozen=True, slots=True)
class Consequence:
    """One metric of all decisions that were decided again, as it was and under the candidate.

    ``kind`` is ``cost``, ``latency``, ``success`` or ``outcome``; ``name`` is the outcome's metric, else the kind.
    ``unit`` is a currency for costs, ``ms`` for latencies, None for the rest; success is 1 for an answer, else 0.
    ``before`` is what the log has. ``kept`` are those whose values stand, as the candidate does what the log did, with
    the same chances. ``after`` estimates the mean of all under the candidate; ``after_measured`` and
    ``after_estimated`` are its two parts, None where no decision belongs to them, and ``after_snips`` is the same by
    importance weights alone.
    """

    kind: Kind
    name: str
    unit: str | None
    better: str
    before: Measured
    kept: Measured
    after: Estimate
    after_snips: Estimate
    after_measured: Estimate | None
    after_estimated: Estimate | None

    @property
    def kept_share(self) -> float | None:
        """The share of decisions whose measured values stand."""
        return self.kept.decisions / self.before.decisions if self.before.decisions else None

    @property
    def relative_change(self) -> float | None:
        """By what share the mean changes, such as -0.1; None where nobody knows, and where it was 0."""
        if self.after.change is None or not self.after.logged:
            return None
        return self.after.change / self.after.logged


@dataclass(frozen=True, slots=True)
class Consequences:
    """What would have come of it, by metric: costs first, then latency, success and outcomes by how often they were
    measured. ``baselines`` are policies that look at nothing, to compare with; estimates of theirs are in the order of
    ``compared``, the names of metrics.
    """

    metrics: tuple[Consequence, ...] = ()
    compared: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()


NOT_ASKED: Final = Consequences()


def consequences(connection: DuckDBPyConnection, rows: RowTables) -> Consequences:
    """Estimate every metric of the rows that were noted in ``rows``."""
    rows.finish()
    wanted = measures(connection)
    measure_rows(connection, wanted)
    relations = _relations(connection, wanted)
    before = _measured(connection, wanted, LOGGED)
    if not before[0].decisions:
        return Consequences()
    # What nobody has ever measured has no row of its own.
    there = [at for at, one in enumerate(before) if one.total is not None]
    wanted, before = [wanted[at] for at in there], [before[at] for at in there]
    kept = _measured(connection, wanted, f"{LOGGED} WHERE kept")
    found = estimate(connection, relations, [one.metric for one in wanted])
    return Consequences(tuple(map(_consequence, wanted, before, kept, found)))


def _consequence(measure: Measure, before: Measured, kept: Measured, found: MetricEstimates) -> Consequence:
    return Consequence(
        measure.kind,
        measure.name,
        measure.unit,
        measure.metric.better,
        before,
        kept,
        found.all,
        found.all_snips,
        found.measured,
        found.estimated,
    )


def _relations(connection: DuckDBPyConnection, wanted: Sequence[Measure]) -> Relations:
    """What is estimated from. What is kept counts as what was done without chance: it is measured."""
    views = {
        _LOG: f"SELECT * REPLACE (CASE WHEN NOT kept THEN propensity END AS propensity) FROM {LOGGED}",
        _TARGET: f"""
            SELECT row, action, 1 AS probability FROM {LOGGED} WHERE kept
            UNION ALL
            SELECT l.row, c.action, c.probability
            FROM {LOGGED} AS l JOIN {CHANCES} AS c ON (c.target = l.target)
            WHERE NOT l.kept
        """,
    }
    found = connection.execute(f"SELECT count(*) FROM {CHANCES} WHERE {_REFUSED}").fetchone()
    if found != (0,):
        # What is refused costs nothing and answers nothing, whoever refuses it.
        columns = "".join(f", CAST({one.refused} AS {one.type}) AS {one.metric.column}" for one in wanted)
        views[_KNOWN] = f"SELECT row, action{columns} FROM {_TARGET} WHERE {_REFUSED}"
    for name, select in views.items():
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {select}")
    return Relations(_LOG, _TARGET, _KNOWN if _KNOWN in views else None, SUPPORT)


def _measured(connection: DuckDBPyConnection, wanted: Sequence[Measure], relation: str) -> list[Measured]:
    columns = [one.metric.column for one in wanted]
    sums = "".join(f", count({name}), {_sum(one)}" for one, name in zip(wanted, columns, strict=True))
    row = connection.execute(f"SELECT count(*){sums} FROM {relation}").fetchone()
    assert row is not None
    decisions, *found = row
    return [
        Measured(decisions, decisions - known, total)
        for known, total in zip(found[::2], found[1::2], strict=True)
    ]


def _sum(measure: Measure) -> str:
    # Of doubles the most exact sum that DuckDB has.
    name = measure.metric.column
    return f"sum({name})" if measure.type.startswith("DECIMAL") else f"fsum({name})"
