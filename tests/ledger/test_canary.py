"""Verdicts on canaries, from what their arms have shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from math import isinf
from typing import Any

import numpy as np
import pytest
from support.estimate_worlds import tables

from routewright.ledger.replay.estimates import (
    Arms,
    BoundedArm,
    BoundedArms,
    CanaryRule,
    Condition,
    Interval,
    Metric,
    SummedArm,
    SummedArms,
    canary_verdict,
    rollout_arms,
)

WORSE = Condition("ok", "below", plus=-0.1)
DEARER = Condition("cost", "above", times=1.2)
NO_WORSE = Condition("ok", "above", plus=-0.1)
CHEAPER = Condition("cost", "below")
RULE = CanaryRule(abort_when=(WORSE, DEARER), promote_when=(NO_WORSE, CHEAPER))


def _ok(control: float, candidate: float, units: int = 2000) -> BoundedArms:
    rng = np.random.default_rng(1)

    def arm(share: float) -> BoundedArm:
        made = BoundedArm(0, 1)
        for value in rng.permutation(np.arange(units) < share * units):
            made = made.plus(float(value))
        return made

    return BoundedArms(arm(control), arm(candidate))


def _cost(control: float, candidate: float, units: int = 500) -> SummedArms:
    noise = np.tile([0.9, 1.1], units // 2)
    return SummedArms(_summed(noise * control), _summed(noise * candidate))


def _summed(values: Iterable[float]) -> SummedArm:
    arm = SummedArm()
    for value in values:
        arm = arm.plus(float(value))
    return arm


FEW_OK, FEW_COST = _ok(0.9, 0.6, units=20), _cost(1, 2, units=98)


@pytest.mark.parametrize(
    ("ok", "cost", "decision", "reason"),
    [
        (_ok(0.9, 0.9), _cost(1, 0.7), "promote", f"{NO_WORSE}; {CHEAPER}"),
        (_ok(0.9, 0.6), _cost(1, 0.7), "abort", str(WORSE)),
        (_ok(0.9, 0.6), _cost(1, 2), "abort", f"{WORSE}; {DEARER}"),
        (_ok(0.9, 0.9), _cost(1, 1), "keep going", f"not sure yet: {CHEAPER}"),
        (_ok(0.9, 0.9), _cost(1, 1.1), "keep going", "no condition to act holds"),
        (
            _ok(0.9, 0.7, units=20),
            _cost(1, 2, units=98),
            "keep going",
            f"not sure yet: {WORSE}; {DEARER}; {NO_WORSE}; {CHEAPER}",
        ),
    ],
)
def test_a_canary_goes_on_until_it_is_sure(ok: Arms, cost: Arms, decision: str, reason: str) -> None:
    found = canary_verdict(RULE, {"ok": ok, "cost": cost})
    assert (found.decision, found.reason) == (decision, reason)


def test_conditions_read_as_they_were_meant() -> None:
    assert [str(each) for each in (WORSE, DEARER, CHEAPER, Condition("ms", "above", 2, 100))] == [
        "ok below the control's less 0.1",
        "cost above 1.2 times the control's",
        "cost below the control's",
        "ms above 2 times the control's plus 100",
    ]


def test_nothing_is_done_without_a_condition_or_a_measurement() -> None:
    assert canary_verdict(CanaryRule(), {}).decision == "keep going"
    assert canary_verdict(RULE, {}).decision == "keep going"
    assert (
        canary_verdict(RULE, {"ok": BoundedArms(BoundedArm(0, 1), BoundedArm(0, 1))}).decision == "keep going"
    )


def test_conditions_to_abort_share_what_may_go_wrong() -> None:
    arms = _cost(1, 1.4)
    alone = canary_verdict(CanaryRule(abort_when=(DEARER,)), {"cost": arms}).abort_when[0].difference
    beside = canary_verdict(CanaryRule(abort_when=(DEARER, WORSE)), {"cost": arms}).abort_when[0].difference
    assert alone is not None and beside is not None
    assert beside.low < alone.low and beside.high > alone.high


def test_the_sums_of_an_arm_are_those_of_a_statement_over_its_units() -> None:
    rng = np.random.default_rng(2)
    unit, value = rng.integers(40, size=300), rng.exponential(size=300)
    arm, before = SummedArm(), dict[int, tuple[int, float]]()
    for key, each in zip(unit.tolist(), value.tolist(), strict=True):
        n, s = before.get(key, (0, 0.0))
        arm, before[key] = arm.plus(each, n, s), (n + 1, s + each)
    found = _read(Metric("y"), unit=[f"team {each}" for each in unit], y=value)
    assert isinstance(found, SummedArms)
    assert astuple(found.control) == pytest.approx(astuple(arm))
    assert 30 < arm.effective < 40
    alone = _read(Metric("y"), unit=[None] * 300, y=value)
    assert isinstance(alone, SummedArms)
    assert astuple(alone.control) == pytest.approx(astuple(_summed(value)))


def test_what_a_bounded_arm_has_shown_is_read_as_it_is_counted() -> None:
    value = np.random.default_rng(4).uniform(-1, 3, size=400)
    arm = BoundedArm(-1, 3)
    for each in value.tolist():
        arm = arm.plus(each)
    metric = Metric("y", low=-1, high=3)
    found = _read(metric, unit=[None] * 400, y=value)
    assert isinstance(found, BoundedArms)
    assert astuple(found.control) == pytest.approx(astuple(arm))
    assert found.candidate == BoundedArm(-1, 3)
    assert isinstance(_read(metric, unit=["a"] * 400, y=value), SummedArms)
    with pytest.raises(ValueError, match="1 values of `y` are outside its range, -1 to 3"):
        _read(metric, unit=[None], y=[3.5])


def _read(metric: Metric, **columns: Any) -> Arms:
    rows = len(columns["y"])
    requests = {"row": range(rows), "arm": np.full(rows, "control", dtype=object), **columns}
    with tables(requests=requests) as connection:
        return rollout_arms(connection, "requests", metric)


def test_a_unit_that_comes_back_is_not_a_new_one() -> None:
    """Ten times the requests of the same units, each as before: nothing more is known."""
    rng = np.random.default_rng(3)
    values = rng.exponential(size=(2, 150))

    def arm(of_units: np.ndarray, times: int) -> SummedArm:
        n, total = float(times), of_units * times
        return SummedArm(150, n * 150, total.sum(), n * n * 150, n * total.sum(), (total**2).sum())

    once, often = (
        SummedArms(*(arm(each, times) for each in values)).difference(1, 0.05) for times in (1, 10)
    )
    assert once is not None and often is not None
    assert tuple(often) == pytest.approx(tuple(once))


def test_an_arm_that_has_seen_nothing_large_yet_is_not_taken_to_be_steady() -> None:
    steady, spread = _summed([1.0] * 150), _summed([0.0, 2.0] * 75)
    one = SummedArms(control=spread, candidate=steady).difference(1, 0.05)
    other = SummedArms(control=steady, candidate=spread).difference(1, 0.05)
    assert one is not None and one.low < -0.3 and one == other


def test_few_units_say_nothing_of_a_mean_without_range() -> None:
    arm = _summed([1.0, 2.0] * 49)
    assert SummedArms(arm, arm).difference(1, 0.05) is None
    assert isinf(SummedArm().spread) and isinf(_summed([1.0]).spread)


def test_a_bounded_mean_is_anywhere_in_its_range_at_first_and_never_outside() -> None:
    arm = BoundedArm(-1, 3)
    assert arm.interval(0.05) == Interval(-1, 3)
    for _ in range(200):
        arm = arm.plus(3)
        assert -1 <= arm.interval(0.05).low <= arm.interval(0.05).high == 3
    assert arm.interval(0.05).low > 2.7
    with pytest.raises(ValueError, match="3.5 is outside the metric's range, -1 to 3"):
        arm.plus(3.5)
