"""Splits: buckets are SHA-256, shares are the weights, a key keeps its way when weights grow."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from fractions import Fraction
from math import nextafter
from typing import Any

import duckdb
import pytest
from support.decision_strategies import AT_US, FEATURES, compiled

from routewright.engine.decision.choose import bucket_of
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.sql.choosing import places_reached, split_places
from routewright.engine.decision.task import ModelState, State, Task
from routewright.engine.policy.compiled import CompiledSplit

_WEIGHTS = {"small": 1, "coder": 2, "large": 5, "huge": 0}


def _decide(task: Task, state: State | None = None, **split: Any) -> Decision:
    rule = {"name": "r", "use": list(_WEIGHTS), "choose": "split", "split": {"weights": _WEIGHTS, **split}}
    policy = compiled(
        {"routewright": 1, "name": "p", "catalog": "catalog.yaml", "features": FEATURES, "rules": [rule]}
    )
    return decide(policy, task, state or State(AT_US), decision_id="d")


def test_bucket_is_the_start_of_a_sha_256() -> None:
    digest = hashlib.sha256(b"salt\0key").hexdigest()
    assert bucket_of("salt", "key") == int(digest[:16], 16) // 2**11 / 2**53


def test_shares_of_many_keys_are_those_of_the_weights() -> None:
    decision = _decide(Task({"team": "a"}), key="team", salt="s")
    count = 8000
    found = Counter(
        decide(decision.policy, Task({"team": f"team {n}"}), State(AT_US), decision_id="d").target
        for n in range(count)
    )
    for model, weight in _WEIGHTS.items():
        expected = count * weight / 8
        # Four standard deviations: the keys are fixed, so this fails always or never.
        assert abs(found[model] - expected) <= 4 * (expected * (1 - weight / 8)) ** 0.5


@pytest.mark.parametrize(
    ("point", "target"),
    [
        (0.0, "small"),
        (0.125 - 2**-53, "small"),
        (0.125, "coder"),
        (0.375 - 2**-53, "coder"),
        (0.375, "large"),
        (1 - 2**-53, "large"),
    ],
)
def test_a_draw_falls_into_the_share_of_one_model(point: float, target: str) -> None:
    decision = _decide(Task(draw=point))
    assert decision.target == target
    assert decision.choice is not None
    assert decision.choice.inputs == {"key": None, "salt": "", "point": point}
    shares = {decision.policy.catalog.models[c.model].id: c.probability for c in decision.candidates}
    assert shares == {model: weight / 8 for model, weight in _WEIGHTS.items()}


def test_shares_are_divided_anew_among_those_that_are_eligible() -> None:
    away = State(AT_US, models={"large": ModelState("unhealthy")})
    decision = _decide(Task(draw=0.34), away)
    shares = {decision.policy.catalog.models[c.model].id: c.probability for c in decision.candidates}
    assert shares == {
        "small": float(Fraction(1, 3)),
        "coder": float(Fraction(2, 3)),
        "large": 0.0,
        "huge": 0.0,
    }
    assert decision.target == "coder"


def test_key_without_a_value_is_drawn_for() -> None:
    decision = _decide(Task({"team": None}, draw=0.9), key="team")
    assert decision.choice is not None and decision.choice.inputs["key"] is None
    assert decision.target == "large"


def test_salt_changes_the_ways_of_keys() -> None:
    tasks = [Task({"team": f"t{n}"}) for n in range(40)]
    ways = [tuple(_decide(task, key="team", salt=salt).target for task in tasks) for salt in ("a", "b")]
    assert ways[0] != ways[1]


def test_where_a_task_falls_in_a_split_of_many_is_told_apart() -> None:
    places = split_places(CompiledSplit((3, 7, 11, 13, 17, 19, 23, 7, 5), None, None, "s"))
    points = [point for place in places for point in (nextafter(place, 0.0), place)]
    sql = f"SELECT {places_reached('point', places)} FROM (SELECT unnest(?::DOUBLE[]) AS point)"
    found = [count for (count,) in duckdb.execute(sql, [points]).fetchall()]
    assert found == [bisect_right(places, point) for point in points]
    assert len(places) == 917
