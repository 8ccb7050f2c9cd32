"""Says of a canary whether to go on, to abort it or to promote it, under a declared rule. Gateways act on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .intervals import Interval
from .sequences import Arms


@dataclass(frozen=True, slots=True)
class Condition:
    """That the candidate's mean of a metric is above or below ``times`` the control's plus ``plus``."""

    metric: str
    side: Literal["above", "below"]
    times: float = 1.0
    plus: float = 0.0

    def __post_init__(self) -> None:
        if self.times < 0:
            raise ValueError("a multiple of the control's mean is not negative")

    def __str__(self) -> str:
        control = "the control's" if self.times == 1 else f"{self.times:g} times the control's"
        plus = "" if not self.plus else f" {'plus' if self.plus > 0 else 'less'} {abs(self.plus):g}"
        return f"{self.metric} {self.side} {control}{plus}"


@dataclass(frozen=True, slots=True)
class CanaryRule:
    """A canary is aborted as soon as one condition of ``abort_when`` is sure, and promoted when all of
    ``promote_when`` are. One that has no conditions never happens.

    ``alpha`` bounds two probabilities, over all looks together: that a canary is aborted although no condition of
    ``abort_when`` holds, and that it is promoted although not all of ``promote_when`` do.
    """

    abort_when: tuple[Condition, ...] = ()
    promote_when: tuple[Condition, ...] = ()
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError("alpha is between 0 and 1")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a condition. ``holds`` is None while that is open.

    ``difference`` is the interval of the candidate's mean less the value that it is compared with, None while there
    are too few units.
    """

    condition: Condition
    holds: bool | None
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """What to do with a canary, in a sentence why, and what was found of each condition, in the rule's order."""

    decision: Literal["keep going", "abort", "promote"]
    reason: str
    abort_when: tuple[Finding, ...]
    promote_when: tuple[Finding, ...]


def canary_verdict(rule: CanaryRule, arms: Mapping[str, Arms]) -> CanaryVerdict:
    """Judge a canary by what its arms have shown of each metric. A pure function: call it as often as you like.

    A metric that ``arms`` lacks was not measured yet.
    """
    # Any of them aborts, so they share alpha; all must hold to promote, where each may have the whole of it.
    aborts = tuple(_find(each, arms, rule.alpha / len(rule.abort_when)) for each in rule.abort_when)
    promotes = tuple(_find(each, arms, rule.alpha) for each in rule.promote_when)
    if sure := [str(each.condition) for each in aborts if each.holds]:
        return CanaryVerdict("abort", "; ".join(sure), aborts, promotes)
    if promotes and all(each.holds for each in promotes):
        return CanaryVerdict("promote", "; ".join(str(each.condition) for each in promotes), aborts, promotes)
    open_ones = [str(each.condition) for each in (*aborts, *promotes) if each.holds is None]
    reason = f"not sure yet: {'; '.join(open_ones)}" if open_ones else "no condition to act holds"
    return CanaryVerdict("keep going", reason, aborts, promotes)


def _find(condition: Condition, arms: Mapping[str, Arms], alpha: float) -> Finding:
    found = (
        None if condition.metric not in arms else arms[condition.metric].difference(condition.times, alpha)
    )
    if found is None:
        return Finding(condition, None, None)
    low, high = found.low - condition.plus, found.high - condition.plus
    above = True if low > 0 else False if high < 0 else None
    holds = above if condition.side == "above" or above is None else not above
    return Finding(condition, holds, Interval(low, high))
