"""What would have come of it: cost, latency, success and outcomes as they were, and under a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from .estimates import Baseline, Estimate, MetricEstimates, Relations, Verdict, baselines, estimate
from .measures import KNOWN_CALLS, LOGGED, Kind, Measure, measure_calls, measure_rows, measures
from .row_tables import CHANCES, CHOICES, SUPPORT, RowTables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LOG: Final = "replay_log"
_PLAIN_LOG: Final = "replay_plain_log"
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
    the same chances; ``known`` are others of which it was measured beside what the candidate does: what it refuses, and
    imported requests that its model was asked, too. ``after`` estimates the mean of all under the candidate;
    ``after_measured`` and ``after_estimated`` are its two parts, None where no decision belongs to them, and
    ``after_snips`` is the same by importance weights alone.
    """

    kind: Kind
    name: str
    unit: str | None
    better: str
    before: Measured
    kept: Measured
    known: Measured
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
    measured. ``baselines`` are policies that look at nothing, to compare with, by a cost and by the first outcome or
    else success; their estimates are in the order of ``compared``, the names of these metrics. There are none where the
    log leaves nothing to chance: then it knows of no other policy.
    """

    metrics: tuple[Consequence, ...] = ()
    compared: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()


NOT_ASKED: Final = Consequences()


def consequences(connection: DuckDBPyConnection, rows: RowTables, *, dead_ends: int) -> Consequences:
    """Estimate every metric of the rows that were noted in ``rows``, of which so many have no target any more."""
    rows.finish()
    wanted = measures(connection)
    measure_rows(connection, wanted)
    relations = _relations(connection, wanted, imported=rows.are_imported)
    rows.drop()
    [(more,)] = connection.execute(f"SELECT count(*) FILTER (may_cost_more) FROM {LOGGED}").fetchall()
    if more:
        rows.notes.append(
            f"{more:,} decision{'' if more == 1 else 's'} may have cost more than is known: servers said less than came"
        )
    before = _measured(connection, wanted, LOGGED)
    if not before[0].decisions:
        return NOT_ASKED
    kept = _measured(connection, wanted, f"{LOGGED} WHERE kept")
    known = _measured(connection, wanted, _known(relations))
    # What nobody has ever measured is not told.
    beside = _measured(connection, wanted, KNOWN_CALLS if rows.are_imported else f"{LOGGED} WHERE false")
    told = [at for at in range(len(wanted)) if (before[at].total, beside[at].total) != (None, None)]
    found = estimate(connection, relations, [wanted[at].metric for at in told])
    metrics = [
        _consequence(wanted[at], before[at], kept[at], known[at], _of_dead_ends(wanted[at], each, dead_ends))
        for at, each in zip(told, found, strict=True)
    ]
    return _compared(connection, relations, metrics, imported=rows.are_imported)


def _of_dead_ends(measure: Measure, found: MetricEstimates, dead_ends: int) -> MetricEstimates:
    """The estimates; where nothing is known but what comes of dead ends, they are of all decisions or of none.

    That a dead end costs nothing and is no success says nothing of what else the candidate does.
    """
    whole = found.all
    seen = round(whole.decisions * (1 - whole.without_support - whole.not_measured))
    if not dead_ends or whole.verdict == "refused" or seen > (dead_ends if measure.refused != "NULL" else 0):
        return found
    if dead_ends == round(whole.decisions):
        verdict: Verdict = "identified" if whole.value is not None else "not identified"
        all = replace(whole, verdict=verdict, reason="no decision would have a target")
    elif whole.value is None:
        return found
    else:
        all = replace(
            whole,
            verdict="not identified",
            reason=f"nothing is known but of the {dead_ends:,} that would have no target",
            value=None,
            interval=None,
            log_interval=None,
            logged=None,
            change=None,
            change_interval=None,
        )
    return replace(found, all=all, all_snips=all if found.all_snips == whole else found.all_snips)


def _compared(
    connection: DuckDBPyConnection, relations: Relations, metrics: Sequence[Consequence], *, imported: bool
) -> Consequences:
    """The metrics, with baselines where chance or other models' answers can tell of them."""
    by_chance = connection.execute(f"SELECT bool_or(propensity < 1) FROM {CHOICES}").fetchone()
    costs = [one for one in metrics if one.kind == "cost" and one.after.value is not None]
    judges = [one for one in metrics if one.kind == "outcome"] or [
        one for one in metrics if one.kind == "success"
    ]
    if not costs or not judges or not (imported or by_chance == (True,)):
        return Consequences(tuple(metrics))
    cost, best_by = max(costs, key=lambda one: one.after.decisions - one.before.unknown), judges[0]
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {_PLAIN_LOG} AS "
        f"SELECT * REPLACE (CASE WHEN NOT {_REFUSED} THEN action END AS action) FROM {LOGGED}"
    )
    plain = replace(relations, logged=_PLAIN_LOG, known=KNOWN_CALLS if imported else None)
    compared = [cost.after.metric, best_by.after.metric]
    found = baselines(
        connection, plain, compared, cost=compared[0], best_by=compared[1], same_cost_as=cost.after.value
    )
    return Consequences(tuple(metrics), tuple(one.name for one in compared), found)


def _consequence(
    measure: Measure, before: Measured, kept: Measured, known: Measured, found: MetricEstimates
) -> Consequence:
    return Consequence(
        measure.kind,
        measure.name,
        measure.unit,
        measure.metric.better,
        before,
        kept,
        known,
        found.all,
        found.all_snips,
        found.measured,
        found.estimated,
    )


def _relations(connection: DuckDBPyConnection, wanted: Sequence[Measure], *, imported: bool) -> Relations:
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
    known = []
    if connection.execute(f"SELECT count(*) FROM {CHANCES} WHERE {_REFUSED}").fetchone() != (0,):
        # What is refused costs nothing and answers nothing, whoever refuses it.
        columns = "".join(f", CAST({one.refused} AS {one.type}) AS {one.metric.column}" for one in wanted)
        known.append(f"SELECT row, action{columns} FROM {_TARGET} WHERE {_REFUSED}")
    if imported:
        measure_calls(connection, wanted)
        known.append(f"SELECT * FROM {KNOWN_CALLS}")
    if known:
        views[_KNOWN] = " UNION ALL ".join(known)
    for name, select in views.items():
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {select}")
    return Relations(_LOG, _TARGET, _KNOWN if known else None, SUPPORT)


def _known(relations: Relations) -> str:
    """What the candidate does without chance of its own and was measured beside, but for what is kept."""
    if relations.known is None:
        return f"{LOGGED} WHERE false"
    return (
        f"{relations.known} AS k JOIN {relations.target} AS t ON (t.row = k.row) AND (t.action = k.action) "
        f"ANTI JOIN (SELECT row FROM {LOGGED} WHERE kept) AS l ON (l.row = k.row) WHERE t.probability = 1"
    )


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
