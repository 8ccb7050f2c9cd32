"""The smallest changes that would have led elsewhere: all that there are, or word that there may be others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations, product
from typing import Any, cast

import pytest
from hypothesis import given
from support.decision_strategies import AT_US, FEATURES, compiled, policies, states, tasks

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision, Outcome
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.explain.counterfactual import MAX_TRIALS, search_changes
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.report_tree import MAX_SHOWN, explanation_tree
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of
from routewright.engine.record.sealing import take_out
from routewright.engine.report.errors import TaskError
from routewright.engine.report.tree import render_tree

_DOMAINS: Mapping[str, list[object]] = {
    "urgent": [True, False],
    "private": [True, False],
    "sees": [True, False],
    "kind": ["code", "prose", "table"],
    "count": [*range(10)],
    "score": [0.0, 0.1, 0.24, 0.25, 0.26, 0.4, 0.5, 0.69, 0.7, 0.71, 0.9, 1.0],
    "team": ["infra", "sales", "nobody", ""],
    "tokens": [-2, 0, 1, 7, 8, 9, 10, 11, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70],
    "hour": [0, 17, 18, 23],
}
"""Values on both sides of everything that the conditions and the catalog of the strategies compare with."""

Place = tuple[Outcome, str | None, str | None]


def _brute_force(decision: Decision, size: int) -> set[Place]:
    """Where changes of ``size`` features lead to, other than where the decision did."""
    policy = decision.policy
    found: set[Place] = set()
    for names in combinations(_DOMAINS, size):
        for values in product(*(_others(decision, name) for name in names)):
            try:
                task = _with(decision, dict(zip(names, values, strict=True)))
            except TaskError:
                continue  # no prompt is so long
            other = decide(policy, task, decision.state, decision_id=decision.id, strict=False)
            if (other.outcome, other.target) != (decision.outcome, decision.target):
                found.add((other.outcome, None if task.pin else other.matched, other.target))
    return found


def _with(decision: Decision, changed: Mapping[str, object]) -> Task:
    """The task that somebody would hand in to change these features: a longer prompt, not another word for it.

    A feature whose new value is None is left out.
    """
    task = decision.task
    for name, value in changed.items():
        if name == "tokens" and decision.sources[decision.policy.slots[name]] == "derived":
            task = replace(task, request=replace(task.request, prompt_tokens=cast(int, value)))
        else:
            features = {**task.features, name: value}
            task = replace(task, features={n: v for n, v in features.items() if n != name or v is not None})
    return task


def _others(decision: Decision, name: str) -> Iterator[object]:
    yield from _DOMAINS[name]
    if decision.sources[decision.policy.slots[name]] == "given":
        yield None


@given(policies(), tasks(), states())
def test_search_finds_every_place_that_brute_force_finds(
    values: dict[str, Any], task: Task, state: State
) -> None:
    decision = decide(compiled(values), task, state, decision_id="d", strict=False)
    search = search_changes(decision)
    places = {(change.outcome, change.rule, change.target) for change in search.changes}
    told = {(change.outcome, change.rule, change.target, *change.features) for change in search.changes}
    assert len(told) == len(search.changes)
    for change in search.changes:
        changed = _with(decision, {name: new for name, (_, new) in change.features.items()})
        other = decide(decision.policy, changed, state, decision_id="d", strict=False)
        rule = None if task.pin else other.matched
        assert (other.outcome, rule, other.target) == (change.outcome, change.rule, change.target)
    if search.not_covered:
        return
    single = _brute_force(decision, 1)
    assert places == (single or _brute_force(decision, 2))
    assert all(len(change.features) == (1 if single else 2) for change in search.changes)


_PLAIN = {name: FEATURES[name] for name in ("urgent", "kind", "count", "score", "team", "hour")}
_PLAIN["tokens"] = {"type": "integer"}
"""Features that nothing but conditions looks at."""


def _explained(rules: list[dict[str, Any]], task: Task, **features: Any) -> Any:
    policy = compiled(
        {
            "routewright": 1,
            "name": "p",
            "catalog": "catalog.yaml",
            "features": {**_PLAIN, **features},
            "rules": [*rules, {"name": "otherwise", "use": ["small"]}],
        }
    )
    return explain(policy, decide(policy, task, State(AT_US), decision_id="d", strict=False))


def _first(condition: str, task: Task, **features: Any) -> Any:
    return _explained([{"name": "first", "when": condition, "use": ["coder"]}], task, **features)


@pytest.mark.parametrize(
    ("condition", "features", "expected"),
    [
        ("count > 4", {"count": 1}, {"count": (1, 5)}),
        ("count >= 4", {"count": 1}, {"count": (1, 4)}),
        ("count < 4 && has(count)", {"count": 9}, {"count": (9, 3)}),
        ("score > 0.7", {"score": 0.1}, {"score": (0.1, 0.71)}),
        ("score >= 0.7", {"score": 0.1}, {"score": (0.1, 0.7)}),
        ("score < 0.25", {}, {"score": (0.5, 0.249)}),
        ("score > 0.999 && score < 0.9995", {}, {"score": (0.5, 0.9991)}),
        ("team != 'infra'", {"team": "infra"}, {"team": ("infra", "other")}),
        ("team == 'infra'", {"team": "sales"}, {"team": ("sales", "infra")}),
        ("team < 'b'", {"team": "sales"}, {"team": ("sales", "")}),
        ("team > 'zz'", {"team": "sales"}, {"team": ("sales", "zz\0")}),
        ("!has(team)", {"team": "sales"}, {"team": ("sales", None)}),
        ("has(count)", {}, {"count": (None, 0)}),
        ("kind == 'code'", {}, {"kind": ("prose", "code")}),
        ("urgent && kind == 'code'", {}, {"urgent": (False, True), "kind": ("prose", "code")}),
        ("urgent ? score > 0.9 : false", {}, {"urgent": (False, True), "score": (0.5, 0.91)}),
        ("hour >= 18 && state.hour == 0", {}, {"hour": (1, 18)}),
    ],
)
def test_smallest_change(
    condition: str, features: dict[str, object], expected: dict[str, tuple[object, object]]
) -> None:
    explanation = _first(condition, Task(features))
    (change,) = explanation.changes
    assert (change.features, change.rule, change.target) == (expected, "first", "coder")
    assert explanation.searched
    assert explanation.not_covered == ()


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("count + tokens > 10", ["count", "tokens"]),
        ("count > tokens", ["count", "tokens"]),
        ("count * 2 > 9", ["count"]),
        ("team.startsWith('in')", ["team"]),
        ("team.matches('^in')", ["team"]),
        ("size(tags) > 2", ["tags"]),
        ("'gpu' in tags", ["tags"]),
        ("tags.exists(t, t == 'gpu')", ["tags"]),
        ("score > (urgent ? 0.5 : 0.8)", ["score"]),
        ("(count > 4) == urgent", ["count"]),
    ],
)
def test_what_cannot_be_searched_exactly_is_said(condition: str, names: list[str]) -> None:
    tags = {"type": "array", "items": "string"}
    explanation = _first(condition, Task({"count": 1, "tokens": 2, "team": "x", "tags": ["a"]}), tags=tags)
    assert not explanation.searched
    assert [why.split(":")[0] for why in explanation.not_covered] == names
    assert f"`{condition}`" in explanation.not_covered[0]
    assert "not every value could be tried" in render_tree(explanation_tree(explanation))


def test_values_worth_trying_are_tried_where_the_search_is_not_exact() -> None:
    tags = {"type": "array", "items": "string"}
    tried: list[tuple[str, dict[str, object], object]] = [
        ("'gpu' in tags", {"tags": ["a"]}, {"tags": (("a",), ("a", "gpu"))}),
        ("!('gpu' in tags)", {"tags": ["a", "gpu"]}, {"tags": (("a", "gpu"), ())}),
        ("count > tokens", {"count": 2, "tokens": 5}, {"count": (2, 6)}),
    ]
    for condition, features, new in tried:
        assert _first(condition, Task(features), tags=tags).changes[0].features == new


def test_feature_that_a_split_goes_by_cannot_be_searched_exactly() -> None:
    split = {"weights": {"small": 1, "coder": 1}, "key": "team"}
    rule = {
        "name": "first",
        "when": "has(team)",
        "use": ["small", "coder"],
        "choose": "split",
        "split": split,
    }
    explanation = _explained([rule], Task({"team": "a"}))
    assert explanation.not_covered == ("team: rule first splits by it",)


def test_rule_that_draws_is_a_place_to_lead_to_without_a_draw() -> None:
    split = {"weights": {"coder": 1, "general": 3}}
    rule = {"name": "drawn", "when": "urgent", "use": ["coder", "general"], "choose": "split", "split": split}
    explanation = _explained([rule], Task())
    (change,) = explanation.changes
    assert (change.outcome, change.rule, change.target) == ("routed", "drawn", None)
    assert sorted(change.drawn_from) == ["coder", "general"]
    assert "at random (rule drawn)" in render_tree(explanation_tree(explanation))


def test_condition_of_a_reserve_and_the_windows_of_models_count() -> None:
    policy = compiled(
        {
            "routewright": 1,
            "name": "p",
            "catalog": "catalog.yaml",
            "features": FEATURES,
            "rules": [{"name": "only", "use": ["general", "coder"]}],
            "controls": [
                {"name": "calls", "on": "general", "max_requests": 10, "per": "day"},
                {"name": "kept", "of": "calls", "reserve": "50%", "for": "score >= 0.7"},
            ],
        }
    )
    task = Task(request=RequestFacts(prompt_tokens=20))
    decision = decide(policy, task, State(AT_US, quota_used={"calls": 6}), decision_id="d", strict=False)
    assert decision.target == "coder"
    search = search_changes(replace(decision, task=Task({"tokens": 12})))
    assert {tuple(change.features.items()) for change in search.changes} >= {(("score", (0.5, 0.7)),)}


def test_a_feature_that_was_derived_changes_with_the_request_that_it_was_derived_from() -> None:
    explanation = _explained(
        [{"name": "first", "when": "tokens > 30", "use": ["small"]}],
        Task(request=RequestFacts(prompt_tokens=40)),
        tokens=FEATURES["tokens"],
    )
    assert explanation.record.outcome == "no_target"
    # At 30 tokens the second rule takes over, but its model has no room for them either.
    assert [(c.features, c.target) for c in explanation.changes] == [({"tokens": (40, 8)}, "small")]


def test_the_nearest_value_is_shown_for_each_feature_that_leads_there() -> None:
    explanation = _first("hour >= 20 || hour < 6 || urgent", Task({"hour": 19}))
    assert [change.features for change in explanation.changes] == [
        {"urgent": (False, True)},
        {"hour": (19, 20)},
    ]


def test_search_that_takes_too_long_stops_and_says_so() -> None:
    enum = [f"value_{number}" for number in range(120)]
    names = [f"wide_{number}" for number in range(4)]
    features = {name: {"type": "string", "enum": enum, "default": enum[0]} for name in names}
    never = " && ".join(f"{name} == 'value_1'" for name in names)
    explanation = _first(never, Task(), **features)
    assert explanation.not_covered == (f"the search stopped after {MAX_TRIALS} trials",)
    assert not explanation.searched


def test_outline_lists_some_places_and_counts_the_rest() -> None:
    enum = [f"value_{number}" for number in range(MAX_SHOWN + 4)]
    rules = [{"name": f"is_{value}", "when": f"wide == '{value}'", "use": ["coder"]} for value in enum[1:]]
    explanation = _explained(rules, Task(), wide={"type": "string", "enum": enum, "default": enum[0]})
    assert len(explanation.changes) == len(rules)
    assert f"and {len(rules) - MAX_SHOWN} more places" in render_tree(explanation_tree(explanation))


@pytest.mark.parametrize("is_read", [False, True])
def test_after_an_erasure_only_changes_that_lead_to_where_the_value_is_read_are_left_out(
    is_read: bool,
) -> None:
    rules = [
        {"name": "code", "when": "kind == 'code'", "use": ["large"]},
        {"name": "now", "when": "urgent", "use": ["small"]},
        {"name": "ours", "when": "team == 'infra'" if is_read else "true", "use": ["large"]},
    ]
    values = {"routewright": 1, "name": "p", "catalog": "catalog.yaml", "features": _PLAIN, "rules": rules}
    policy = compiled(values)
    task = Task({"urgent": True, "team": "infra"})
    record = json.loads(record_of(decide(policy, task, State(AT_US), decision_id="d")).canonical())
    before = explain(policy, read_record(json.dumps(record)))
    assert [change.rule for change in before.changes] == ["ours", "code"] and before.searched
    take_out(record, "features.team")
    record["erased"] = {"features.team": None}
    after = explain(policy, read_record(json.dumps(record)))
    if is_read:
        assert [change.rule for change in after.changes] == ["code"]
        assert after.not_covered == ("team: its value was erased",)
    else:
        assert after.searched and after.changes == before.changes
