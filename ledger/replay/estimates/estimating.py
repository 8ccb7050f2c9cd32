"""Estimates metrics under a candidate policy, and judges how far each estimate can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .alarm import BOUND, Alarm, mean_weights
from .fitting import fit
from .intervals import Interval, skewed, t_quantile
from .relations import Metric, Relations, check_relations
from .result import Estimate, MetricEstimates, Verdict, percent
from .sums import Method, Moments, Ratio, Slice, Totals, add_up, moments, ratio
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

    Takes a few passes over the rows for each metric and keeps some 150 bytes a row in temporary tables, which are
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
    ends = [_Ends.of(totals, metric, slice, method) for slice, method in wanted]
    found = moments(rows, [error for end in ends for error in (end.error, end.change_error)])
    alarm = alarm if drawn else None
    made = {
        (end.slice, end.method): _estimate(rows, totals, end, found[2 * n], found[2 * n + 1], alarm, level)
        for n, end in enumerate(ends)
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


@dataclass(frozen=True, slots=True)
class _Ends:
    """Both ends of the work on one estimate: its sums, and SQL of what a unit contributes to its error."""

    metric: Metric
    slice: Slice
    method: Method
    ratio: Ratio
    effective: float
    each: float
    """Rows of each of two units that are added at the ends of the range, where there is one."""

    @classmethod
    def of(cls, totals: Totals, metric: Metric, slice: Slice, method: Method) -> _Ends:
        sums = ratio(totals, slice, method)
        effective = _effective_units(totals, slice)
        each = sums.seen / effective if metric.range is not None and effective > 0 else 0.0
        return cls(metric, slice, method, sums, effective, max(each, 0.0))

    @property
    def value(self) -> float:
        return self.ratio.value / self.ratio.seen if self.ratio.seen > 0 else 0.0

    @property
    def centre(self) -> float:
        """The value with the two units added."""
        if self.metric.range is None or self.ratio.seen <= 0:
            return self.value
        return (self.ratio.value + self.each * sum(self.metric.range)) / self.total

    @property
    def total(self) -> float:
        return self.ratio.seen + 2 * self.each

    @property
    def logged(self) -> float:
        return self.ratio.beside_value / self.ratio.beside_seen if self.ratio.beside_seen > 0 else 0.0

    @property
    def error(self) -> str:
        if self.ratio.seen <= 0:
            return "0"
        return f"(({self.ratio.upper}) - {self.centre!r}::DOUBLE * ({self.ratio.lower})) / {self.total!r}::DOUBLE"

    @property
    def change_error(self) -> str:
        if self.ratio.seen <= 0 or self.ratio.beside_seen <= 0:
            return "0"
        return (
            f"(({self.ratio.upper}) - {self.value!r}::DOUBLE * ({self.ratio.lower})) / {self.ratio.seen!r}::DOUBLE "
            f"- (({self.ratio.beside_upper}) - {self.logged!r}::DOUBLE * ({self.ratio.beside_lower})) "
            f"/ {self.ratio.beside_seen!r}::DOUBLE"
        )

    def interval(self, found: Moments, units: int, level: float) -> Interval:
        """Of the value."""
        low, high = self._around(self.centre, found, units, level)
        low, high = min(low, self.value), max(high, self.value)
        range = self.metric.range
        return Interval(low, high) if range is None else Interval(max(low, range[0]), min(high, range[1]))

    def change_interval(self, found: Moments, units: int, level: float) -> Interval:
        """Of the difference to what was logged: nothing, if nothing was drawn and no outcome differs."""
        if found.squares == 0 and self.method == "measured":
            return Interval(self.value - self.logged, self.value - self.logged)
        return self._around(self.centre - self.logged, found, units, level)

    def _around(self, centre: float, found: Moments, units: int, level: float) -> Interval:
        """With a unit added at each end of the range, which keeps intervals from being too narrow where few outcomes
        differ (A. Agresti and B. Caffo, "Simple and effective confidence intervals for proportions", The American
        Statistician 54, 2000).
        """
        squares, cubes = found.squares, found.cubes
        if self.metric.range is not None:
            added = [(end - self.centre) * self.each / self.total for end in self.metric.range]
            squares += sum(error**2 for error in added)
            cubes += sum(error**3 for error in added)
            units += 2
        return Interval(*skewed(centre, squares, cubes, units, t_quantile(level, self.effective - 1)))


def _effective_units(totals: Totals, slice: Slice) -> float:
    """How many units that all count alike would tell as much: the squared sum of what units count, over the sum of
    squares (L. Kish, "Survey Sampling", 1965).
    """
    scale = totals.scale
    measured, both, weight = (totals.squares[name] for name in ("measured", "both", "weight"))
    if slice == "measured":
        total, squares = totals.of["measured"], measured
    elif slice == "estimated":
        total, squares = scale * totals.of["weight"], scale**2 * weight
    else:
        total = totals.of["measured"] + scale * totals.of["weight"]
        squares = measured + 2 * scale * both + scale**2 * weight
    return total**2 / squares if squares > 0 else 0.0


def _estimate(
    rows: Weighed,
    totals: Totals,
    end: _Ends,
    found: Moments,
    changed: Moments,
    alarm: Alarm | None,
    level: float,
) -> Estimate:
    mass = {
        "all": totals.rows,
        "measured": totals.of["measured"],
        "estimated": totals.of["mass"] + totals.none,
    }
    decisions, none = (
        mass[end.slice] / rows.given,
        0.0 if end.slice == "measured" else totals.none / rows.given,
    )
    without = none / decisions if decisions > 0 else 0.0
    missing = max(1 - without - end.ratio.seen / decisions, 0.0) if decisions > 0 else 0.0
    missing = 0.0 if missing < 1e-9 else missing  # what adding up leaves
    alarm = None if end.slice == "measured" else alarm
    verdict, reason = _verdict(rows, totals, end, decisions, without, missing, alarm)
    shown = verdict in ("identified", "partially identified", "too few") and end.ratio.seen > 0
    sure = shown and verdict != "too few"
    units = totals.units[end.slice]
    interval = end.interval(found, units, level) if sure else None
    compared = shown and end.ratio.beside_seen > 0
    return Estimate(
        end.metric,
        end.slice,
        end.method,
        verdict,
        reason,
        decisions,
        units,
        end.effective,
        level,
        value=end.value if shown else None,
        interval=interval,
        logged=end.logged if compared else None,
        change=end.value - end.logged if compared else None,
        change_interval=end.change_interval(changed, units, level) if compared and sure else None,
        mean_weight=None if alarm is None else alarm.overall.mean,
        mean_weight_interval=None if alarm is None else alarm.overall.interval,
        without_support=without,
        not_measured=missing,
        bounds=_bounds(end.metric, verdict, interval, without + missing),
    )


def _verdict(
    rows: Weighed,
    totals: Totals,
    end: _Ends,
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
    if end.slice != "measured" and rows.impossible:
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
    if end.ratio.seen <= 0:
        return "not identified", "the metric was measured in none of these decisions"
    least = LEAST_UNITS_WITHOUT_RANGE if end.metric.range is None else LEAST_UNITS
    if end.effective < least:
        return (
            "too few",
            f"these decisions tell as much as {end.effective:.0f} units, and an interval takes {least}",
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
