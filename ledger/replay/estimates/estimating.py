"""Estimates metrics under a candidate policy, and judges how far each estimate can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .alarm import BOUND, Alarm, mean_weights
from .figure import Figure
from .fitting import fit
from .intervals import Interval
from .relations import Metric, Relations, check_relations
from .result import Estimate, MetricEstimates, Verdict, percent
from .sums import Method, Moments, Slice, Totals, add_up, moments
from .weighing import Weighed, weighed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LEAST_UNITS: Final = 30
"""Effective units of an estimate of a metric with a declared range: with fewer it is `too few`."""

LEAST_UNITS_WITHOUT_RANGE: Final = 100
"""The same of a metric without one, whose largest values may not have come yet."""


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
    rows: Weighed,
    totals: Totals,
    figure: Figure,
    found: list[Moments],
    alarm: Alarm | None,
    level: float,
) -> Estimate:
    mass = {
        "all": totals.rows,
        "measured": totals.of["measured"],
        "estimated": totals.of["mass"] + totals.none,
    }
    decisions, none = (
        mass[figure.slice] / rows.given,
        0.0 if figure.slice == "measured" else totals.none / rows.given,
    )
    without = none / decisions if decisions > 0 else 0.0
    missing = max(1 - without - figure.ratio.seen / decisions, 0.0) if decisions > 0 else 0.0
    missing = 0.0 if missing < 1e-9 else missing  # what adding up leaves
    alarm = None if figure.slice == "measured" else alarm
    verdict, reason = _verdict(rows, totals, figure, decisions, without, missing, alarm)
    shown = verdict in ("identified", "partially identified", "too few") and figure.ratio.seen > 0
    sure = shown and verdict != "too few"
    units = totals.units[figure.slice]
    error, change_error, drawn_error = found
    interval = figure.interval(error, units, level) if sure else None
    compared = shown and figure.ratio.beside_seen > 0
    return Estimate(
        figure.metric,
        figure.slice,
        figure.method,
        verdict,
        reason,
        decisions,
        units,
        figure.effective,
        level,
        value=figure.value if shown else None,
        interval=interval,
        log_interval=figure.log_interval(drawn_error, units, level)
        if sure or (shown and not figure.seen_drawn)
        else None,
        logged=figure.logged if compared else None,
        change=figure.value - figure.logged if compared else None,
        change_interval=figure.change_interval(change_error, units, level) if compared and sure else None,
        mean_weight=None if alarm is None else alarm.overall.mean,
        mean_weight_interval=None if alarm is None else alarm.overall.interval,
        without_support=without,
        not_measured=missing,
        bounds=_bounds(figure.metric, verdict, interval, without + missing),
    )


def _verdict(
    rows: Weighed,
    totals: Totals,
    figure: Figure,
    decisions: float,
    without: float,
    missing: float,
    alarm: Alarm | None,
) -> tuple[Verdict, str]:
    """The first that holds, from what makes an estimate wrong to what makes it less than whole."""
    if decisions <= 0:
        return "not identified", "there is no decision"
    if not 1 - BOUND <= rows.least_given <= rows.most_given <= 1 + BOUND:
        weight = "" if alarm is None else f", and the mean importance weight is {alarm.overall.mean:.3g}"
        return "refused", (
            f"the candidate's probabilities of a decision add up to {rows.given:.3g} in the mean "
            f"({rows.least_given:.3g} to {rows.most_given:.3g}) where they must to 1{weight}"
        )
    if figure.slice != "measured" and rows.impossible:
        return (
            "refused",
            f"the log gives an impossible probability to {rows.impossible:,} of the actions it took",
        )
    if totals.outside:
        return "refused", f"{totals.outside:,} outcomes are outside the metric's declared range"
    if without >= 1:
        return "not identified", "the log never tried what the candidate does in these decisions"
    if alarm is not None and alarm.reason is not None:
        return "refused", alarm.reason
    if figure.ratio.seen <= 0:
        return "not identified", "the metric was measured in none of these decisions"
    least = LEAST_UNITS_WITHOUT_RANGE if figure.metric.range is None else LEAST_UNITS
    if figure.effective < least:
        return (
            "too few",
            f"these decisions tell as much as {figure.effective:.0f} units, and an interval takes {least}",
        )
    if without > 0 or missing > 0:
        parts = [f"{percent(without)} of the decisions have no support in the log"] if without > 0 else []
        parts += [f"the metric was not measured in {percent(missing)}"] if missing > 0 else []
        return "partially identified", " and ".join(parts)
    return "identified", "the log has tried everything that the candidate does"


def _bounds(metric: Metric, verdict: Verdict, interval: Interval | None, rest: float) -> Interval | None:
    if metric.range is None or verdict not in ("partially identified", "not identified"):
        return None
    if interval is None:
        return Interval(*metric.range)
    return Interval(
        *(end * (1 - rest) + bound * rest for end, bound in zip(interval, metric.range, strict=True))
    )
