"""Canaries that are no different from their control, looked at after every request: alarms are as rare as promised."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Literal

import numpy as np
import pytest
from support.sizes import LOOKED_AT, ROLLOUTS, THOROUGH

from routewright.ledger.replay.estimates import (
    Arms,
    BoundedArm,
    BoundedArms,
    CanaryRule,
    Condition,
    SummedArm,
    SummedArms,
    canary_verdict,
)

Kind = Literal["answered", "cost", "cost of teams"]


def _looks(kind: Kind, share: float, rng: np.random.Generator) -> Iterator[Arms]:
    """What both arms have shown after each request. The mean is the same in both; costs are log-normal."""
    if kind == "answered":
        bounded = [BoundedArm(0, 1), BoundedArm(0, 1)]
        for arm, answered in zip(
            (rng.random(LOOKED_AT) < share).tolist(), (rng.random(LOOKED_AT) < 0.9).tolist(), strict=True
        ):
            bounded[arm] = bounded[arm].plus(float(answered))
            yield BoundedArms(*bounded)
        return
    teams = LOOKED_AT if kind == "cost" else LOOKED_AT // 2
    of_team, luck = (rng.random(teams) < share).tolist(), rng.normal(0, 0.5, teams)
    team = np.arange(LOOKED_AT) if kind == "cost" else rng.integers(teams, size=LOOKED_AT)
    cost = np.exp(rng.normal(0, 1, LOOKED_AT) + (0 if kind == "cost" else luck[team]))
    summed, before = [SummedArm(), SummedArm()], dict[int, tuple[int, float]]()
    for key, value in zip(team.tolist(), cost.tolist(), strict=True):
        n, s = before.get(key, (0, 0.0))
        summed[of_team[key]], before[key] = summed[of_team[key]].plus(value, n, s), (n + 1, s + value)
        yield SummedArms(*summed)


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("kind", ["answered", "cost", "cost of teams"])
def test_looking_after_every_request_gives_no_more_false_alarms_than_promised(
    kind: Kind, share: float
) -> None:
    rng, alarms = np.random.default_rng(40), 0
    rule = CanaryRule(abort_when=(Condition("metric", "above"), Condition("metric", "below")))
    for _ in range(ROLLOUTS):
        alarms += any(
            canary_verdict(rule, {"metric": arms}).decision == "abort" for arms in _looks(kind, share, rng)
        )
    chance = 0 if THOROUGH else 3 * sqrt(0.05 * 0.95 / ROLLOUTS)
    assert alarms / ROLLOUTS <= 0.05 + chance
