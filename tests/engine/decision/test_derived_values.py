"""Values that are derived from a request: names without case, and what the declaration does not allow."""

from __future__ import annotations

import pytest
from support.records import record_bytes

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.explain.report_tree import record_tree
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.record import record_of, state_of, task_of
from routewright.engine.report.errors import FeatureError, PolicyError, TaskError
from routewright.engine.report.tree import render_tree

POLICY = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { local: { kind: mlx } }
  models: { a: { backend: local }, b: { backend: local }, c: { backend: local } }
features:
  plan: { type: string, enum: [free, pro], default: free, from: request.metadata.Plan }
rules:
  - { name: paid, when: plan == 'pro', use: [a] }
  - { name: free, when: plan == 'free', use: [b] }
  - { name: otherwise, use: [c] }
"""
STRICT = POLICY.replace("from: request", "on_other: error, from: request")


def policy(text: str = POLICY) -> CompiledPolicy:
    return compile_policy(read_policy(text, "p.yaml"))


def decided(metadata: dict[str, str], text: str = POLICY) -> Decision:
    return decide(policy(text), Task(request=RequestFacts(metadata=metadata)), State(0), decision_id="d")


@pytest.mark.parametrize("name", ["plan", "Plan", "PLAN"])
@pytest.mark.parametrize("text", [POLICY, POLICY.replace("metadata.Plan", "metadata.plan"), STRICT])
def test_names_of_metadata_compare_without_case(name: str, text: str) -> None:
    decision = decided({name: "pro"}, text)
    assert decision.rule == 0
    record = record_of(decision)
    assert record.request.metadata == {"plan": "pro"}
    assert policy(text.replace("metadata.Plan", "metadata.plan")).digest == policy(text).digest


def test_one_name_in_two_spellings_is_refused() -> None:
    with pytest.raises(TaskError, match="has `plan` twice"):
        RequestFacts(metadata={"plan": "pro", "Plan": "pro"})


def test_a_value_that_is_not_in_the_enum_is_unknown_and_recorded_as_that() -> None:
    decision = decided({"plan": "enterprise"})
    assert decision.rule == 2, "and not the default"
    record = record_of(decision)
    feature = record.features["plan"]
    assert (feature.value, feature.source) == (None, "derived")
    assert record.verdicts == [None, None, True]
    assert record.request.metadata == {"plan": "enterprise"}
    again = decide(policy(), task_of(record), state_of(record), decision_id="d")
    assert record_bytes(again) == record_bytes(decision)
    assert "plan = unknown (derived, and not a value that it allows)" in render_tree(record_tree(record))


def test_a_value_that_is_not_in_the_enum_is_refused_where_the_feature_says_so() -> None:
    with pytest.raises(FeatureError, match="feature `plan`"):
        decided({"plan": "enterprise"}, STRICT)
    assert decided({}, STRICT).rule is not None
    with pytest.raises(FeatureError):
        decide(policy(), Task({"plan": "enterprise"}), State(0), decision_id="d")


OTHER = {
    "above a maximum": "plan: { type: integer, maximum: 5, default: 1, from: request.images }",
    "below a minimum": "plan: { type: number, minimum: 9, default: 9, from: request.images }",
    "an hour that is none of the allowed": "plan: { type: integer, minimum: 8, maximum: 18, from: time.hour }",
}


@pytest.mark.parametrize("declared", OTHER)
def test_whatever_a_derived_value_breaks_it_is_unknown_or_refused(declared: str) -> None:
    begin = POLICY.index("  plan: ")
    text = f"{POLICY[:begin]}  {OTHER[declared]}\nrules: [{{ name: high, when: plan > 5, use: [a] }}]\n"
    task = Task(request=RequestFacts(images=7))
    decision = decide(policy(text), task, State(0), decision_id="d")
    assert decision.outcome == "no_match", "and not the default"
    feature = record_of(decision).features["plan"]
    assert (feature.value, feature.source) == (None, "derived")
    with pytest.raises(FeatureError, match="feature `plan`"):
        decide(policy(text.replace("from:", "on_other: error, from:")), task, State(0), decision_id="d")


def test_on_other_belongs_to_derived_features() -> None:
    text = STRICT.replace(", from: request.metadata.Plan", "")
    with pytest.raises(PolicyError) as caught:
        policy(text)
    (problem,) = caught.value.problems
    assert problem.message == "`on_other` belongs to a feature with `from`"
