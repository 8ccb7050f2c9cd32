"""A feature that is given as null: unknown, neither derived nor defaulted, and told apart from one left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.decision_strategies import FEATURES, compiled, policies, states, tasks
from support.records import record_text

from routewright.engine.condition import UNKNOWN, evaluate_reference
from routewright.engine.decision.deciding import decide, verdicts_of, verdicts_with_nulls
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.explain.explanation import explain, values_by_name
from routewright.engine.explain.recomputing import recompute
from routewright.engine.explain.report_tree import explanation_tree, record_tree
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, task_of
from routewright.engine.report.errors import FeatureError
from routewright.engine.report.tree import render_tree
from routewright.loading.loading import load_policy
from routewright.tasks import features_from_flags, parse_task, task_from

CASES = Path(__file__).parents[2] / "cases"
POLICY = load_policy(CASES / "nulls" / "policy.yaml", root=CASES)

REQUEST = RequestFacts(prompt_tokens=20)


def decided(features: dict[str, Any], request: RequestFacts = REQUEST) -> Decision:
    task = Task(features, request=request)
    return decide(POLICY, task, State(1_767_225_600_000_000), decision_id="d", strict=True)


CONDITIONS = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { local: { kind: mlx } }
  models: { a: { backend: local } }
features:
  d: { type: boolean, default: false }
  f: { type: boolean }
rules:
  - { name: no_default, when: "!f", use: [a] }
  - { name: default, when: "!d", use: [a] }
"""


@pytest.mark.parametrize("d", [None, False, True])
@pytest.mark.parametrize("f", [None, False, True])
def test_a_condition_is_unknown_without_the_value_that_a_default_would_have_had(
    d: bool | None, f: bool | None
) -> None:
    """In any order: the function that takes no null for a default must not be asked even once."""
    policy = compile_policy(read_policy(CONDITIONS, "policy.yaml"))
    expected = tuple(None if value is None else not value for value in (f, d))
    assert verdicts_of(policy, (d, f, None, None, None)) == expected
    assert verdicts_with_nulls(policy, (d, f, None, None, None)) == expected


@pytest.mark.parametrize("nobody_knows", [None, UNKNOWN])
def test_null_has_the_source_given_and_no_value(nobody_knows: object) -> None:
    record = record_of(decided({"private": nobody_knows, "tokens": nobody_knows}))
    assert {name: (one.value, one.source) for name, one in record.features.items()} == {
        "private": (None, "given"),
        "tokens": (None, "given"),
        "kind": ("chat", "default"),
    }


def test_what_is_left_out_is_derived_and_defaulted() -> None:
    record = record_of(decided({}))
    assert {name: (one.value, one.source) for name, one in record.features.items()} == {
        "private": (False, "default"),
        "tokens": (20, "derived"),
        "kind": ("chat", "default"),
    }


def test_a_record_gives_null_back_so_that_replaying_keeps_it_unknown() -> None:
    decision = decided({"private": None, "tokens": None})
    record = read_record(record_text(decision))
    assert task_of(record).features == {"private": None, "tokens": None}
    again = recompute(POLICY, record)
    assert record_text(again) == record_text(decision)


def test_null_says_nothing_of_the_request() -> None:
    assert decided({"tokens": None}).request == decided({}).request


def test_explanations_say_given_as_null_and_what_to_do() -> None:
    decision = decided({"private": None, "kind": None, "tokens": None})
    told = [
        render_tree(explanation_tree(explain(POLICY, decision))),
        render_tree(record_tree(record_of(decision))),
    ]
    assert "kind == 'code' = unknown" in told[0]
    for text in told:
        assert "given as null, and so unknown: kind, private, tokens" in text
        assert "leave a feature out to have it derived or defaulted" in text
    assert "private = unknown (given as null)" in told[1]
    assert "null" not in render_tree(explanation_tree(explain(POLICY, decided({}))))


def test_a_constraint_excludes_what_a_default_would_have_let_through() -> None:
    assert decided({}).target == "large"
    decision = decided({"private": None})
    assert decision.target == "small"
    (excluded,) = [c for c in decision.candidates if c.failure is not None]
    assert excluded.failure is not None
    assert excluded.failure.recorded(decision) == "stays: it must stay here (whether it applies is unknown)"


def test_every_reader_of_tasks_passes_null_on() -> None:
    wanted = {"private": None, "tokens": None}
    assert features_from_flags(["private=null", "tokens=null"], POLICY) == wanted
    assert task_from(parse_task(json.dumps({"features": wanted}))).features == wanted


def test_null_in_a_flag_of_a_text_is_the_word() -> None:
    assert features_from_flags(["kind=null"], POLICY) == {"kind": "null"}
    with pytest.raises(FeatureError, match="kind"):
        decided(features_from_flags(["kind=null"], POLICY))


@pytest.mark.parametrize("value", ["", 0, [], "null", [None], float("nan")])
def test_other_values_that_look_like_nothing_are_still_refused(value: object) -> None:
    with pytest.raises(FeatureError, match="feature `private`"):
        decided({"private": value})


def test_changes_that_are_searched_keep_other_nulls() -> None:
    decision = decided({"private": None, "kind": None})
    changes = explain(POLICY, decision).changes
    assert changes
    for change in changes:
        (name,) = change.features
        features = {**decision.task.features, name: change.features[name][1]}
        assert decided(features).target == change.target


@given(policies(), tasks(), states(), st.lists(st.sampled_from(sorted(FEATURES)), min_size=1, unique=True))
def test_any_feature_may_be_null_and_every_verdict_is_that_of_the_reference(
    values: dict[str, Any], task: Task, state: State, names: list[str]
) -> None:
    policy = compiled(values)
    task = replace(task, features={**task.features, **dict.fromkeys(names)})
    decision = decide(policy, task, state, decision_id="d", strict=False)
    known = values_by_name(decision)
    assert all(known[name] is UNKNOWN for name in names)
    for rule, verdict in zip(policy.rules, decision.verdicts, strict=True):
        expected = evaluate_reference(rule.when, known)
        assert verdict is (None if expected is UNKNOWN else expected)
    record = record_of(decision)
    assert record_text(recompute(policy, record)) == record_text(decision)
