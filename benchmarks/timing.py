"""Times contenders in interleaved rounds, so that a busy moment of the machine hits all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

__all__ = ["Ratio", "Timed", "measure", "ratio_of"]


@dataclass(frozen=True, slots=True)
class Timed:
    """What is to be timed: ``call`` on each of ``inputs``."""

    name: str
    inputs: Sequence[Any]
    call: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the rounds' ratios, and the middle half of them."""

    middle: float
    low: float
    high: float


def measure(timed: Sequence[Timed], rounds: int, block_ms: float) -> dict[str, list[float]]:
    """The time of one call in microseconds, for each name and round.

    In every round each of ``timed`` runs through all its inputs, as often as fits into about ``block_ms`` and
    at least once. Who begins changes from round to round.
    """
    # The first pass warms up, the second tells how many fit.
    for one in timed:
        _pass(one, 1)
    repeats = [max(1, round(block_ms * 1e6 / max(1, _pass(one, 1)))) for one in timed]
    times: dict[str, list[float]] = {one.name: [] for one in timed}
    for number in range(rounds):
        order = [(number + step) % len(timed) for step in range(len(timed))]
        for position in order:
            one = timed[position]
            calls = repeats[position] * len(one.inputs)
            times[one.name].append(_pass(one, repeats[position]) / calls / 1000)
    return times


def ratio_of(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """How many times the second the first takes, round by round; both from the same ``measure``."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(median(ratios), low, high)


def _pass(one: Timed, repeats: int) -> int:
    call, inputs = one.call, one.inputs
    started = perf_counter_ns()
    for _ in range(repeats):
        for given in inputs:
            call(given)
    return perf_counter_ns() - started
