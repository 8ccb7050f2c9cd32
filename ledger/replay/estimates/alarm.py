"""Sees wrong probabilities by the mean importance weight, which is 1 if they are right."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from .intervals import Interval, skewed, t_quantile
from .weighing import Weighed

BOUND: Final = 0.05
"""How far a mean weight may be from 1."""

LEVEL: Final = 0.99
"""Of the intervals, all together: of logs whose probabilities are right, at most one in a hundred is refused."""

LEAST_UNITS: Final = 30
"""Effective units of an action, in all contexts or one, whose mean weight is looked at by itself."""

_POWERS: Final = ("w", "m", "ww", "wm", "mm", "www", "wwm", "wmm", "mmm")

_ALL: Final = 3
_OF: Final = {_ALL: "", 2: " of `{}`", 0: " of `{}` in one of its contexts"}
"""What is grouped together, by the bits of the columns (context, action) that are not told apart."""


@dataclass(frozen=True, slots=True)
class MeanWeight:
    """The mean importance weight of all decisions, or as ``of`` says of those with an action, and its interval."""

    of: str
    mean: float
    interval: Interval

    @property
    def is_wrong(self) -> bool:
        """Whether even the interval is farther from 1 than ``BOUND``."""
        return self.interval.low > 1 + BOUND or self.interval.high < 1 - BOUND

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.mean:.3g} ({low:.3g} to {high:.3g})"


@dataclass(frozen=True, slots=True)
class Alarm:
    """The mean importance weight of all decisions, and what is wrong with the probabilities, if anything is."""

    overall: MeanWeight
    reason: str | None


def mean_weights(weighed: Weighed) -> Alarm | None:
    """Look at the weights of all that is estimated, by action, and by action and context: errors may cancel out.

    None where no outcome is estimated by weights.
    """
    rows = weighed.connection.execute(_sums(weighed)).fetchall()
    if not rows:
        return None
    quantile = t_quantile(1 - (1 - LEVEL) / len(rows), inf)
    found = []
    for group, action, units, w, m, ww, wm, mm, www, wwm, wmm, mmm in rows:
        mean = w / m
        squares = ww - 2 * mean * wm + mean**2 * mm
        cubes = www - 3 * mean * wwm + 3 * mean**2 * wmm - mean**3 * mmm
        interval = skewed(mean, squares / m**2, cubes / m**3, units, quantile)
        low, high = (end * weighed.given for end in interval)
        found.append(MeanWeight(_OF[group].format(action), mean * weighed.given, Interval(low, high)))
    return Alarm(found[0], _reason(found))


def _sums(weighed: Weighed) -> str:
    """SQL for each group that is looked at, all together first: what it is, its units, and sums over these of powers
    of weight (w) and mass (m).
    """
    sums = ", ".join(f"sum({' * '.join(power)}) AS {power}" for power in _POWERS)
    if weighed.each_by_itself:
        grouped = (
            f"SELECT grouping(context, action) AS group_of, context, action, count(*) AS units, {sums} "
            f"FROM (SELECT context, action, weight AS w, mass AS m FROM {weighed.pairs} WHERE kind = 'random') "
            "GROUP BY GROUPING SETS ((context, action), (action), ())"
        )
    else:
        grouped = (
            f"SELECT group_of, context, action, count(*) AS units, {sums} FROM ("
            "SELECT grouping(context, action) AS group_of, context, action, sum(weight) AS w, sum(mass) AS m "
            f"FROM {weighed.pairs} WHERE kind = 'random' "
            "GROUP BY GROUPING SETS ((unit, context, action), (unit, action), (unit))) GROUP BY ALL"
        )
    return (
        f"SELECT group_of, action, units, {', '.join(_POWERS)} FROM ({grouped}) "
        f"WHERE m > 0 AND (group_of = {_ALL} OR w * w >= {LEAST_UNITS} * ww AND w > 0) "
        "ORDER BY group_of DESC, action, m DESC"
    )


def _reason(found: list[MeanWeight]) -> str | None:
    wrong = next((each for each in found if each.is_wrong), None)
    if wrong is None:
        return None
    return (
        f"the mean importance weight{wrong.of} is {wrong} where right probabilities give 1: "
        "the logged probabilities are not those with which actions were taken"
    )
