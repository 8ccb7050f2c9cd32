"""Explanations of policies that take long: bounded in work, and they say what was left out."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.engine.decision import memory
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import State, Task
from routewright.engine.decision.token_limits import closing_lengths
from routewright.engine.explain import candidates as domains
from routewright.engine.explain import counterfactual
from routewright.engine.explain import explanation as explaining
from routewright.engine.explain.candidates import options_of
from routewright.engine.explain.explanation import explain
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy, CompiledRule
from routewright.engine.policy.limits import MAX_SEARCH_WORK
from routewright.engine.policy.reading.read import read_policy

_POLICY = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { o: { kind: ollama } }
  models:
    a: { backend: o, context_length: 10 }
    b: { backend: o, context_length: 20 }
features:
  n: { type: integer }
  xs: { type: array, items: string }
  one: { type: integer, from: request.prompt_tokens }
  two: { type: integer, from: request.prompt_tokens }
constraints:
  - { name: fits, require: "model.context_length > n" }
rules:
"""


def _decided(*conditions: str, policy: str = _POLICY, **features: object) -> Decision:
    rules = "".join(f'  - {{ name: r{i}, when: "{when}", use: [b] }}\n' for i, when in enumerate(conditions))
    compiled = compile_policy(read_policy(policy + rules, "p.yaml"))
    return decide(compiled, Task(features), State(0), decision_id="d")


def test_fewer_changes_are_tried_where_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(counterfactual, "_try", lambda *args: tried.append(args))
    decision = _decided(*(f"n == {i}" for i in range(100)), n=500)
    work = options_of(decision).work
    monkeypatch.setattr(counterfactual, "MAX_SEARCH_WORK", 25 * work)
    assert explain(decision.policy, decision).not_covered == ("the search stopped after 25 trials",)
    assert len(tried) == 25


def test_work_of_a_trial_goes_by_the_values_that_are_tried() -> None:
    condition = "xs.exists(x, x == 'y')"
    short, long = (options_of(_decided(condition, n=1, xs=["x"] * length)).work for length in (10, 1_000))
    assert long - short >= 990 * 5
    assert MAX_SEARCH_WORK // short > 20_000  # the plain policy is searched as far as ever


def test_parts_that_take_too_long_to_trace_are_left_out_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decision = _decided("n == 1", "xs.exists(x, x == 'y')", "n == 2", n=3, xs=["x"] * 1_000)
    monkeypatch.setattr(explaining, "MAX_SEARCH_WORK", 1_000)
    rules = explain(decision.policy, decision).rules
    assert [bool(rule.parts) for rule in rules] == [True, False, False]
    assert [rule.note for rule in rules] == [None, *["its parts are not shown: too much work"] * 2]


def test_an_unknown_condition_is_said_to_be_unknown_though_its_parts_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decision = _decided("xs.exists(x, x == 'y')", "true")
    monkeypatch.setattr(explaining, "MAX_SEARCH_WORK", 1)
    explanation = explain(decision.policy, decision)
    assert explanation.rules[0].note == "unknown; skipped; its parts are not shown: too much work"
    assert "(unknown; skipped; its parts are not shown: too much work)" in str(explanation)


def test_constraints_that_take_too_long_to_look_into_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = _decided("true", n=15)
    assert options_of(decision).uncovered == {}
    specialised: list[object] = []
    monkeypatch.setattr(domains, "MAX_SEARCH_WORK", 1_000)
    monkeypatch.setattr(domains, "specialise", lambda *args: specialised.append(args))
    options = options_of(decision)
    assert options.uncovered == {"n": "constraint fits is too much work to examine for every model"}
    assert "n" in options.values
    assert specialised == []


def test_a_constraint_over_an_array_of_the_task_is_looked_into_for_many_models() -> None:
    models = "".join(f"    m{i}: {{ backend: o }}\n" for i in range(100))
    policy = _POLICY.replace("features:\n", f"{models}features:\n")
    decided = _decided("true", policy=policy.replace("> n", "> 1 || xs.exists(x, x == model.id)"), xs=["b"])
    assert "too much work" not in options_of(decided).uncovered.get("xs", "")


def test_lengths_at_which_a_gate_closes_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def counted(*args: Any) -> list[int]:
        asked.append(args)
        return closing_lengths(*args)

    monkeypatch.setattr(domains, "closing_lengths", counted)
    options_of(_decided("true", n=1))
    assert len(asked) == 1


def test_first_decision_looks_at_the_rule_that_matched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    facts = memory._facts_of

    def counted(rule: CompiledRule, policy: CompiledPolicy) -> Any:
        asked.append(rule.name)
        return facts(rule, policy)

    monkeypatch.setattr(memory, "_facts_of", counted)
    rules = "".join(f'  - {{ name: r{i}, when: "n == {i}", use: [b] }}\n' for i in range(100))
    text = _POLICY.replace("model.context_length > n", "model.context_length > 1") + rules
    policy = compile_policy(read_policy(text, "p.yaml"))
    for _ in range(2):
        assert decide(policy, Task({"n": 7}), State(0), decision_id="d").outcome == "routed"
    assert asked == ["r7"]
