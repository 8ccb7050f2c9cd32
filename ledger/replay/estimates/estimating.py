"""Estimates metrics under a candidate policy, and judges how far each estimate can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .alarm import Alarm, mean_weights
from .figure import Figure
from .fitting import fit
from .judging import bounds, judge, seen_of
from .relations import Metric, Relations, check_relations
from .result import Estimate, MetricEstimates
from .sums import Method, Moments, Slice, Totals, add_up, moments
from .weighing import Weighed, weighed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def estimate(
    connection: DuckDBPyConnection,
    relations: Relations,
    metrics: Sequence[Metric],
    *,
    level: float = 0.95,
) -> tuple[MetricEstimates, ...]:
    """Estimate what the candidate would have had, one result for each metric, in their order.

    Takes a few passes over the rows for each metric and keeps some 300 bytes a row in temporary tables, which are
    dropped at the end. Raises ValueError where a relation is not what ``Relations`` says.
    """
    if not 0 < level < 1:
        raise ValueError("a level is between 0 and 1")
    check_relations(connection, relations, metrics)
    with weighed(connection, relations, metrics) as rows:
        alarm = mean_weights(rows)
        return tuple(_of_metric(rows, at, metric, alarm, level) for at, metric in enumerate(metrics))


def _of_metric(rows: Weighed, at: int, metric: Metric, alarm: Alarm | None, level: float) -> MetricEstimates:
    fit(rows, at)
    totals = add_up(rows, at)
    has_measured = totals.of["measured"] > 0
    has_estimated = totals.of["mass"] > 0 or totals.none > 0
    drawn = totals.of["mass"] > 0
    wanted: list[tuple[Slice, Method]] = [("all", "dr" if drawn else "measured")]
    if drawn:
        wanted.append(("all", "snips"))
    if has_measured:
        wanted.append(("measured", "measured"))
    if has_estimated:
        wanted += [("estimated", "dr"), ("estimated", "snips")]
    figures = [Figure.of(totals, metric, slice, method) for slice, method in wanted]
    found = moments(rows, [error for figure in figures for error in figure.errors])
    alarm = alarm if drawn else None
    made = {
        (figure.slice, figure.method): _estimate(
            rows, totals, figure, found[3 * at : 3 * at + 3], alarm, level
        )
        for at, figure in enumerate(figures)
    }
    whole = made["all", "dr" if drawn else "measured"]
    return MetricEstimates(
        metric,
        whole,
        made.get(("all", "snips"), whole),
        made.get(("measured", "measured")),
        made.get(("estimated", "dr")),
        made.get(("estimated", "snips")),
    )


def _estimate(
    rows: Weighed, totals: Totals, figure: Figure, found: list[Moments], alarm: Alarm | None, level: float
) -> Estimate:
    alarm = None if figure.slice == "measured" else alarm
    seen = seen_of(rows, totals, figure)
    verdict, reason = judge(rows, totals, figure, seen, alarm)
    shown = verdict in ("identified", "partially identified", "too few") and figure.ratio.seen > 0
    sure = shown and verdict != "too few"
    compared = shown and figure.ratio.beside_seen > 0
    units = totals.units[figure.slice]
    error, change_error, drawn_error = found
    interval = figure.interval(error, units, level) if sure else None
    certain = shown and not figure.seen_drawn
    return Estimate(
        figure.metric,
        figure.slice,
        figure.method,
        verdict,
        reason,
        seen.decisions,
        units,
        figure.effective,
        level,
        value=figure.value if shown else None,
        interval=interval,
        log_interval=figure.log_interval(drawn_error, units, level) if sure or certain else None,
        logged=figure.logged if compared else None,
        logged_decisions=figure.ratio.beside_seen / rows.given if compared else 0.0,
        change=figure.value - figure.logged if compared else None,
        change_interval=figure.change_interval(change_error, units, level) if compared and sure else None,
        mean_weight=None if alarm is None else alarm.overall.mean,
        mean_weight_interval=None if alarm is None else alarm.overall.interval,
        without_support=seen.without_support,
        not_measured=seen.not_measured,
        bounds=bounds(figure.metric, verdict, interval, seen),
    )
