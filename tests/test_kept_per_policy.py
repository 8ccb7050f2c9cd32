"""What is worked out of a policy is worked out once, and goes with the policy."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

from support.records import record_text

from routewright.engine.decision import RequestFacts, State, Task, decide
from routewright.engine.explain import explain
from routewright.engine.policy import CompiledPolicy, per_policy
from routewright.engine.record import record_of
from routewright.gateway.planning import Planner
from routewright.loading import load_policy

SHIPPED = Path(__file__).parents[1] / "policies" / "hybrid.yaml"


def test_a_policy_is_worked_on_once_and_one_that_was_made_of_it_anew() -> None:
    made: list[str] = []

    def make(policy: CompiledPolicy) -> list[str]:
        made.append(policy.name)
        return [policy.name]

    name_of = per_policy(make)
    policy = load_policy(SHIPPED)
    other = replace(policy, name="other")
    assert name_of(policy) is name_of(policy)
    assert (name_of(other), made) == (["other"], [policy.name, "other"])


def test_nothing_that_was_worked_out_of_a_policy_keeps_it() -> None:
    policy = load_policy(SHIPPED)
    request = RequestFacts(metadata={"session": "s"})
    for features in ({}, {"privacy_required": None}):
        task = Task(features, "chat", request)
        decision = decide(policy, task, State(0, load=0.5), decision_id="d")
        record_text(decision)
        explain(policy, record_of(decision))
        Planner(decision.policy).work_of(decision)
    known = weakref.ref(policy)
    del policy, decision, task
    gc.collect()
    assert known() is None
