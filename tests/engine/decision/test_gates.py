"""Failed gates are data that a remembered plan shares; their words are those of each call."""

from __future__ import annotations

from typing import Any

import pytest
from support.decision_strategies import AT_US, compiled
from support.records import record_bytes

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.gates.listed import GATES
from routewright.engine.decision.memory import memory_of
from routewright.engine.decision.task import ModelState, State, Task
from routewright.engine.policy.compiled import CompiledPolicy

_VALUES: dict[str, Any] = {
    "routewright": 1,
    "name": "p",
    "catalog": "catalog.yaml",
    "rules": [{"name": "only", "use": ["small", "large"]}],
    "controls": [{"name": "daily", "on": "small", "max_requests": 10, "per": "day"}],
}


def _records(policy: CompiledPolicy, states: list[State]) -> list[str]:
    found = [decide(policy, Task(), state, decision_id="d") for state in states]
    return [record_bytes(decision).decode() for decision in found]


def test_plans_are_shared_where_only_the_words_of_a_gate_differ() -> None:
    policy = compiled(_VALUES)
    states = [State(AT_US, quota_used={"daily": used}) for used in (10, 12, 10)]
    plans = [decide(policy, Task(), state, decision_id="d") for state in states]
    assert plans[0].candidates is plans[1].candidates, "the plan is remembered"
    for record, used in zip(_records(policy, states), (10, 12, 10), strict=True):
        assert '"detail":"daily: 10 requests may be used"' in record
        assert f'"details":{{"small":"daily: {used} of 10 requests used"}}' in record


def test_a_breaker_is_worded_with_the_time_of_the_call() -> None:
    policy = compiled(_VALUES)
    until = [1_767_225_600_000_000 + second * 1_000_000 for second in (1, 2)]
    states = [State(AT_US, models={"small": ModelState(breaker="open", breaker_until_us=us)}) for us in until]
    for record, second in zip(_records(policy, states), (1, 2), strict=True):
        assert f"its breaker is open until 2026-01-01T00:00:0{second}Z" in record


def test_no_plan_is_remembered_under_a_gate_whose_facts_the_memory_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gates = [gate._replace(remembered=gate.name != "health") for gate in GATES]
    monkeypatch.setattr("routewright.engine.decision.memory.GATES", gates)
    policy = compiled(_VALUES)
    first, second = (decide(policy, Task(), State(AT_US), decision_id="d") for _ in range(2))
    assert first.candidates is not second.candidates
    assert (
        memory_of(policy).key(policy, policy.rules[0], first.task, first.request, first.state, [], []) is None
    )
