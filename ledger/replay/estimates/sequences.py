"""Confidence sequences: intervals of two arms' difference that hold at all times together, however often one looks.

An interval of a sample that is looked at again and again until it says something says it of nothing in the end. These
are wider, and may be looked at after every request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, log, log1p, sqrt
from typing import Final

from .intervals import Interval

LEAST_UNITS: Final = 100
"""Effective units of an arm before sums say anything: they hold for large numbers only."""

TUNED_FOR: Final = 0.05
MOST_WEIGHT: Final = 0.5
"""Of bounded values: the alpha that they are weighted for (they hold for any), and the largest weight."""


@dataclass(frozen=True, slots=True)
class BoundedArm:
    """What an arm has shown of a metric with a range, one value for each unit, in the order of their coming.

    The predictable plug-in empirical Bernstein sequence (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded
    random variables by betting", Journal of the Royal Statistical Society B 86, 2024, theorem 2). It holds for any
    number of units, from the first on. A unit has one value for good: where a unit comes back, use ``SummedArm``.
    """

    low: float
    high: float
    units: int = 0
    total: float = 0.0
    squares: float = 0.0
    """Of each value's distance from the mean with it, on the scale of 0 to 1, as the others are."""
    weights: float = 0.0
    weighted: float = 0.0
    spent: float = 0.0

    def __post_init__(self) -> None:
        if not -inf < self.low < self.high < inf:
            raise ValueError("the range of a bounded metric is empty or not finite")

    def plus(self, value: float) -> BoundedArm:
        """With one unit more. Raises ValueError for a value outside the range."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is outside the metric's range, {self.low} to {self.high}")
        x, t = (value - self.low) / (self.high - self.low), self.units + 1
        mean_before = (0.5 + self.total) / t
        variance_before = (0.25 + self.squares) / t
        weight = min(sqrt(2 * log(2 / TUNED_FOR) / (variance_before * t * log1p(t))), MOST_WEIGHT)
        mean = (0.5 + self.total + x) / (t + 1)
        return replace(
            self,
            units=t,
            total=self.total + x,
            squares=self.squares + (x - mean) ** 2,
            weights=self.weights + weight,
            weighted=self.weighted + weight * x,
            # Four times the squared distance, times a quarter of what the paper calls psi.
            spent=self.spent + (x - mean_before) ** 2 * (-log1p(-weight) - weight),
        )

    def interval(self, alpha: float) -> Interval:
        """Where the mean is: each end is wrong, at any time, with a probability of at most half of ``alpha``."""
        if not self.units:
            return Interval(self.low, self.high)
        centre, width = self.weighted / self.weights, (log(2 / alpha) + self.spent) / self.weights
        reach = self.high - self.low
        return Interval(
            self.low + reach * min(max(centre - width, 0), 1),
            self.low + reach * max(min(centre + width, 1), 0),
        )


@dataclass(frozen=True, slots=True)
class SummedArm:
    """What an arm has shown of any metric, by sums over its units: ``n`` is a unit's count of values, ``s`` their sum.

    The sums are what a statement in SQL gives too: ``count(*)``, ``sum(n)``, ``sum(s)``, ``sum(n * n)``,
    ``sum(n * s)`` and ``sum(s * s)`` over units.
    """

    units: int = 0
    n: float = 0.0
    s: float = 0.0
    nn: float = 0.0
    ns: float = 0.0
    ss: float = 0.0

    def plus(self, value: float, n: float = 0, s: float = 0) -> SummedArm:
        """With one value more, of a unit that had ``n`` values with the sum ``s`` before."""
        return SummedArm(
            self.units + (n == 0),
            self.n + 1,
            self.s + value,
            self.nn + 2 * n + 1,
            self.ns + (n + 1) * (s + value) - n * s,
            self.ss + 2 * s * value + value * value,
        )

    @property
    def mean(self) -> float:
        return self.s / self.n

    @property
    def effective(self) -> float:
        """How many units that come equally often would tell as much (Kish)."""
        return self.n * self.n / self.nn if self.nn > 0 else 0.0

    @property
    def spread(self) -> float:
        """The variance of one effective unit, from the sandwich estimate of a ratio's variance."""
        if self.units < 2:
            return inf
        residuals = self.ss - 2 * self.mean * self.ns + self.mean**2 * self.nn
        return max(residuals, 0.0) / self.nn * self.units / (self.units - 1)


@dataclass(frozen=True, slots=True)
class BoundedArms:
    """Both arms of a rollout in a metric with a range, where each unit has one value."""

    control: BoundedArm
    candidate: BoundedArm

    def difference(self, times: float, alpha: float) -> Interval | None:
        """The candidate's mean less ``times`` the control's. ``times`` is not negative."""
        control, candidate = self.control.interval(alpha), self.candidate.interval(alpha)
        return Interval(candidate.low - times * control.high, candidate.high - times * control.low)


@dataclass(frozen=True, slots=True)
class SummedArms:
    """Both arms of a rollout in any metric, by sums.

    The asymptotic confidence sequence (I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, "Time-uniform
    central limit theory and asymptotic confidence sequences", The Annals of Statistics 52, 2024, theorem 2.2). It
    holds for large numbers of units, so it says nothing before each arm has ``LEAST_UNITS``. The larger spread of the
    two is taken for both: a small arm that has not seen a large value yet shows a small mean and a small spread at
    once, which gave up to 34 % false alarms with a tenth of the units in the candidate, where 5 % were promised.
    """

    control: SummedArm
    candidate: SummedArm

    def difference(self, times: float, alpha: float) -> Interval | None:
        """The candidate's mean less ``times`` the control's; None while there are too few units."""
        one, two = self.control.effective, self.candidate.effective
        if min(one, two) < LEAST_UNITS:
            return None
        spread = max(self.candidate.spread, times**2 * self.control.spread)
        t = one + two
        first = LEAST_UNITS * t / min(one, two)  # when the smaller arm had enough, at these shares
        rho = (
            -2 * log(alpha) + log(1 - 2 * log(alpha))
        ) / first  # narrowest there; the square of the paper's
        factor = sqrt(2 * (1 + 1 / (t * rho)) * log(sqrt(t * rho + 1) / alpha))
        centre, width = (
            self.candidate.mean - times * self.control.mean,
            factor * sqrt(spread * (1 / one + 1 / two)),
        )
        return Interval(centre - width, centre + width)


Arms = BoundedArms | SummedArms
