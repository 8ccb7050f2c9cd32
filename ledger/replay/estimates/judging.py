"""Judges how far an estimate can be trusted."""

from __future__ import annotations

from typing import Final, NamedTuple

from .alarm import BOUND, Alarm
from .figure import Figure
from .intervals import Interval
from .relations import Metric
from .result import Verdict, percent
from .sums import Totals
from .weighing import Weighed

LEAST_UNITS: Final = 30
"""Effective units of an estimate of a metric with a declared range, and of the part of it that is estimated: with fewer
it is `too few`.
"""

LEAST_UNITS_WITHOUT_RANGE: Final = 100
"""The same of a metric without one, whose largest values may not have come yet."""


class Seen(NamedTuple):
    """How many decisions an estimate is of, and the shares of them of which nothing is known."""

    decisions: float
    without_support: float
    not_measured: float


def seen_of(rows: Weighed, totals: Totals, figure: Figure) -> Seen:
    """What of its decisions an estimate goes by."""
    drawn, none = totals.of["mass"], 0.0 if figure.slice == "measured" else totals.none
    parts = {"all": totals.rows, "measured": totals.of["measured"], "estimated": drawn + none}
    decisions = parts[figure.slice]
    if decisions <= 0:
        return Seen(0.0, 0.0, 0.0)
    without = none / decisions
    missing = 1 - without - figure.ratio.seen / decisions
    return Seen(
        decisions / rows.given, without, missing if missing > 1e-9 else 0.0
    )  # less is what adding up leaves


def independent(units: float) -> str:
    """So many independent decisions, in words."""
    return f"{units:.0f} independent decision{'' if f'{units:.0f}' == '1' else 's'}"


def judge(
    rows: Weighed, totals: Totals, figure: Figure, seen: Seen, alarm: Alarm | None
) -> tuple[Verdict, str]:
    """The first verdict that holds, from what makes an estimate wrong to what makes it less than whole."""
    if seen.decisions <= 0:
        return "not identified", "there is no decision"
    if wrong := _wrong(rows, totals, figure, alarm):
        return "refused", wrong
    if seen.without_support >= 1:
        return "not identified", "the log never tried what the candidate does in these decisions"
    if alarm is not None and alarm.reason is not None:
        return "refused", alarm.reason
    if figure.ratio.seen <= 0:
        return "not identified", "the metric was measured in none of these decisions"
    least = LEAST_UNITS_WITHOUT_RANGE if figure.metric.range is None else LEAST_UNITS
    if figure.effective < least:
        return (
            "too few",
            f"they carry as much information as {independent(figure.effective)}; an interval needs {least}",
        )
    if figure.seen_drawn and figure.effective_drawn < least:
        of = f"{independent(figure.effective_drawn)}; an interval needs {least}"
        return "too few", f"what is estimated of them carries as much information as {of}"
    unknown = []
    if seen.without_support > 0:
        unknown.append(f"{percent(seen.without_support)} of the decisions have no support in the log")
    if seen.not_measured > 0:
        unknown.append(f"the metric was not measured in {percent(seen.not_measured)}")
    if unknown:
        return "partially identified", " and ".join(unknown)
    return "identified", "the log has tried everything that the candidate does"


def _wrong(rows: Weighed, totals: Totals, figure: Figure, alarm: Alarm | None) -> str | None:
    """What no log of right probabilities and outcomes has, if this has it."""
    if not 1 - BOUND <= rows.least_given <= rows.most_given <= 1 + BOUND:
        weight = "" if alarm is None else f", and the mean importance weight is {alarm.overall.mean:.3g}"
        return (
            f"the candidate's probabilities of a decision add up to {rows.given:.3g} on average "
            f"({rows.least_given:.3g} to {rows.most_given:.3g}) where they must to 1{weight}"
        )
    if figure.slice != "measured" and rows.impossible:
        return f"the log gives an impossible probability to {rows.impossible:,} of the actions it took"
    if totals.outside:
        return f"{totals.outside:,} outcomes are outside the metric's declared range"
    return None


def bounds(metric: Metric, verdict: Verdict, interval: Interval | None, seen: Seen) -> Interval | None:
    """Where the value of all decisions is, whatever the unknown ones would have had within the metric's range."""
    if metric.range is None or verdict not in ("partially identified", "not identified"):
        return None
    if interval is None:
        return Interval(*metric.range)
    rest = seen.without_support + seen.not_measured
    low, high = (end * (1 - rest) + bound * rest for end, bound in zip(interval, metric.range, strict=True))
    return Interval(low, high)
