"""An estimate's figures: its value, and intervals from what units contribute to its errors."""

from __future__ import annotations

from dataclasses import dataclass

from .intervals import Interval, degrees_of, skewed, t_quantile
from .relations import Metric
from .sums import Method, Moments, Ratio, Slice, Totals, ratio


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate before it is judged: its sums, and SQL of what a unit contributes to its errors."""

    metric: Metric
    slice: Slice
    method: Method
    ratio: Ratio
    effective: float
    effective_drawn: float
    """Effective units of the slice, and of what of it is estimated."""
    seen_drawn: float
    """Rows that are estimated."""

    @classmethod
    def of(cls, totals: Totals, metric: Metric, slice: Slice, method: Method) -> Figure:
        sums = ratio(totals, slice, method)
        drawn = 0.0 if slice == "measured" else totals.of["mass"]
        effective = effective_units(totals, slice)
        return cls(metric, slice, method, sums, effective, effective_units(totals, "estimated"), drawn)

    @property
    def value(self) -> float:
        return self.ratio.value / self.ratio.seen if self.ratio.seen > 0 else 0.0

    @property
    def logged(self) -> float:
        return self.ratio.beside_value / self.ratio.beside_seen if self.ratio.beside_seen > 0 else 0.0

    @property
    def errors(self) -> tuple[str, str, str]:
        """Of the value, of its change, and of the value if only the draws were made again."""
        of = self.ratio
        if of.seen <= 0:
            return "0", "0", "0"
        value, seen = f"{self.value!r}::DOUBLE", f"{of.seen!r}::DOUBLE"
        error = f"(({of.upper}) - {value} * ({of.lower})) / {seen}"
        drawn = f"sqrt(undrawn) * (({of.drawn_upper}) - {value} * ({of.drawn_lower})) / {seen}"
        if of.beside_seen <= 0:
            return error, "0", drawn
        logged = f"({of.beside_upper}) - {self.logged!r}::DOUBLE * ({of.beside_lower})"
        return error, f"{error} - ({logged}) / {of.beside_seen!r}::DOUBLE", drawn

    def interval(self, found: Moments, units: int, level: float) -> Interval:
        """Of the value, in other traffic of the same kind."""
        return self._kept(self._around(0.0, found, units, level))

    def change_interval(self, found: Moments, units: int, level: float) -> Interval:
        """Of the difference to what was logged: nothing, if nothing was drawn and no outcome differs."""
        if found.squares == 0 and not self.seen_drawn:
            return Interval(self.value - self.logged, self.value - self.logged)
        return self._around(self.logged, found, units, level)

    def log_interval(self, found: Moments, units: int, level: float) -> Interval:
        """Of the value, in these decisions alone: nothing, if nothing was drawn."""
        if not self.seen_drawn:
            return Interval(self.value, self.value)
        return self._kept(self._around(0.0, found, units, level, drawn=True))

    def _around(
        self, less: float, found: Moments, units: int, level: float, *, drawn: bool = False
    ) -> Interval:
        """Around the value less ``less``. A metric with a range has a unit added at each end of it, which keeps
        intervals from being too narrow where few outcomes differ (A. Agresti and B. Caffo, "Simple and effective
        confidence intervals for proportions", The American Statistician 54, 2000).
        """
        effective = self.effective_drawn if drawn else self.effective
        seen, value = self.ratio.seen, self.value
        squares, cubes, centre = found.squares, found.cubes, value
        degrees = min(effective - 1, degrees_of(squares, found.fourths, units))
        if self.metric.range is not None and effective > 0:
            each = (self.seen_drawn if drawn else seen) / effective
            total = seen + 2 * each
            centre = (self.ratio.value + each * sum(self.metric.range)) / total
            added = [each * (end - centre) / total for end in self.metric.range]
            squares = squares * (seen / total) ** 2 + sum(error**2 for error in added)
            cubes = cubes * (seen / total) ** 3 + sum(error**3 for error in added)
            units += 2
        return skewed(centre - less, squares, cubes, units, t_quantile(level, degrees))

    def _kept(self, found: Interval) -> Interval:
        """With the value in it, and within the range."""
        low, high = min(found.low, self.value), max(found.high, self.value)
        range = self.metric.range
        return Interval(low, high) if range is None else Interval(max(low, range[0]), min(high, range[1]))


def effective_units(totals: Totals, slice: Slice) -> float:
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
