"""An estimate with its verdict, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .intervals import Interval
from .relations import Metric
from .sums import Method, Slice

Verdict = Literal["identified", "partially identified", "not identified", "too few", "refused"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the candidate policy would have had in one metric, in one part of the decisions.

    ``slice`` is ``measured`` (outcomes that were measured: the log itself has the candidate's action, or ``known``
    has its outcome), ``estimated`` (all others) or ``all``. Shares are of the slice's decisions; a decision that the
    candidate splits counts by its probabilities.

    ``value`` is of the decisions with support whose outcome was measured. ``interval`` says how far it may be from the
    value in other traffic of the same kind, and ``log_interval`` how far from that in these very decisions, in which
    only the draws were left to chance: what was measured is certain there. ``bounds`` are of all of the slice: they
    hold whatever the rest would have been, if it keeps to the metric's declared range.
    ``logged`` is what the log had in the decisions with support, ``logged_decisions`` of how many of them it has the
    outcome, and ``change`` is ``value`` less ``logged``, with an interval of its own for other traffic: most of what
    makes both vary is common to both. In these decisions ``logged`` is certain, so there the change is as uncertain as
    ``log_interval``.
    """

    metric: Metric
    slice: Slice
    method: Method
    verdict: Verdict
    reason: str
    decisions: float
    units: int
    effective_units: float
    level: float
    value: float | None = None
    interval: Interval | None = None
    log_interval: Interval | None = None
    logged: float | None = None
    logged_decisions: float = 0.0
    change: float | None = None
    change_interval: Interval | None = None
    mean_weight: float | None = None
    mean_weight_interval: Interval | None = None
    without_support: float = 0.0
    not_measured: float = 0.0
    bounds: Interval | None = None

    def is_whole(self) -> bool:
        """Whether it is of all decisions: each has support, and its outcome was measured."""
        return self.without_support == 0 and self.not_measured == 0

    @property
    def bounds_from(self) -> Literal["declared range", "none"] | None:
        """Where bounds come from; None where the estimate needs none."""
        if self.verdict not in ("partially identified", "not identified"):
            return None
        return "none" if self.bounds is None else "declared range"

    @property
    def words(self) -> str:
        """One sentence for a report."""
        what = f"{self.metric.name} of {_count(self.decisions)} decisions"
        if self.value is None:
            return f"{what}: {self.verdict}, as {self.reason}{self._bounded()}."
        found = f"{_number(self.value)}"
        if self.interval is not None:
            low, high = map(_number, self.interval)
            found += f" ({self.level * 100:g} % interval {low} to {high})"
        how = "as measured" if self.method == "measured" else f"estimated from {_count(self.units)} units"
        told = "" if self.verdict == "identified" else f"; {self.verdict}, as {self.reason}"
        return f"{what}: {found}, {how}{told}{self._bounded()}."

    def _bounded(self) -> str:
        if self.bounds_from is None:
            return ""
        if self.bounds is None:
            return "; nothing bounds the rest, as the metric has no declared range"
        low, high = map(_number, self.bounds)
        return f"; with the rest anywhere in the metric's declared range, {low} to {high}"


@dataclass(frozen=True, slots=True)
class MetricEstimates:
    """The estimates of a metric: of all decisions, and of those that are measured and those that are estimated.

    ``all`` and ``estimated`` are doubly robust; ``all_snips`` and ``estimated_snips`` are the same by importance
    weights alone, to compare with. The parts are None where no decision belongs to them.
    """

    metric: Metric
    all: Estimate
    all_snips: Estimate
    measured: Estimate | None
    estimated: Estimate | None
    estimated_snips: Estimate | None


def _number(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share in words, which never says 0 or 100 % of what is not."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    return f"{share * 100:.1f} %".replace(".0 %", " %")
