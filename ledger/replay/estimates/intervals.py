"""Confidence intervals of a mean from what each unit contributes, skewness taken into account."""

from __future__ import annotations

from math import cbrt, inf, isfinite, sqrt
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    low: float
    high: float


def skewed(centre: float, squares: float, cubes: float, units: int, quantile: float) -> Interval:
    """An interval around ``centre`` from sums of squares and cubes of what units contribute to its error.

    Hall's cubic transformation, which removes the skewness from the studentised mean (P. Hall, "On the removal of
    skewness by transformation", Journal of the Royal Statistical Society B 54, 1992); without skewness it is the
    usual interval, ``quantile`` standard errors to each side.
    """
    if units < 2 or squares <= 0:
        return Interval(centre, centre)
    error = sqrt(squares * units / (units - 1))
    bend: float = cubes / squares**1.5 / 3  # of the skewness by the root of the units, a third

    def back(x: float) -> float:
        return (cbrt(1 + 3 * bend * (x - bend / 2)) - 1) / bend

    if abs(bend) < 1e-6:
        return Interval(centre - quantile * error, centre + quantile * error)
    return Interval(centre - error * back(quantile), centre - error * back(-quantile))


def degrees_of(squares: float, fourths: float, units: int) -> float:
    """Degrees of freedom of a variance that is estimated by a sum of squares, from how much the squares vary.

    They are those of the chi-squared distribution with the same variance (F. E. Satterthwaite, Biometrics Bulletin 2,
    1946): as many as units for normal errors, and fewer where few units make up most of the sum.
    """
    spread = fourths - squares**2 / units
    return 2 * squares**2 / spread if spread > 1e-9 * fourths else inf


def t_quantile(level: float, degrees: float) -> float:
    """Student's quantile for a two-sided interval of this level.

    Expanded around the normal one (Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5), which is
    right to three digits from ten degrees of freedom on.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    if not isfinite(degrees):
        return z
    d = max(degrees, 3.0)
    return (
        z
        + (z**3 + z) / (4 * d)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * d**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * d**3)
    )
