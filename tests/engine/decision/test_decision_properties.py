"""What holds of every decision, whatever the policy, the task and the state."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from support.decision_strategies import arms, compiled, plans_of, policies, states, tasks
from support.records import record_bytes

from routewright.engine.canonical import canonical_bytes
from routewright.engine.condition import UNKNOWN, evaluate_reference
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm
from routewright.engine.decision.task import State, Task
from routewright.engine.explain.explanation import explain, explanation_values
from routewright.engine.explain.recomputing import recompute
from routewright.engine.explain.report_tree import explanation_tree, record_tree
from routewright.engine.policy.compiled import CompiledModel
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, record_values
from routewright.engine.report.tree import render_markdown, render_tree


@given(policies(), tasks(), states())
def test_deciding_twice_gives_the_same_bytes_and_changes_no_input(
    values: dict[str, object], task: Task, state: State
) -> None:
    before = copy.deepcopy((task.features, dict(task.request.metadata), state.models, state.quota_used))
    first = record_bytes(decide(compiled(values), task, state, decision_id="d", strict=False))
    policy = compiled(values)
    assert first == record_bytes(decide(policy, task, state, decision_id="d", strict=False))
    assert first == record_bytes(decide(policy, task, state, decision_id="d", strict=False)), (
        "with the plan remembered"
    )
    assert before == (task.features, task.request.metadata, state.models, state.quota_used)


@given(policies(), st.lists(st.tuples(tasks(), states()), min_size=2, max_size=12))
def test_remembering_plans_changes_no_decision(
    values: dict[str, object], asked: list[tuple[Task, State]]
) -> None:
    remembering = compiled(values)
    for task, state in asked:
        forgetful = replace(remembering)
        with_memory = record_bytes(decide(remembering, task, state, decision_id="d", strict=False))
        assert with_memory == record_bytes(decide(forgetful, task, state, decision_id="d", strict=False))


@given(policies(), tasks(), states(), arms())
def test_a_record_is_read_back_and_decided_again_as_it_was(
    values: dict[str, object], task: Task, state: State, arm: Arm | None
) -> None:
    policy = compiled(values)
    decision = decide(policy, task, state, decision_id="d", strict=False, arm=arm)
    written = record_bytes(decision)
    plain = record_values(decision)
    assert written == canonical_bytes(plain) == rfc8785.dumps(plain) == record_of(decision).canonical()
    record = read_record(written)
    assert record.canonical() == written
    again = recompute(compiled(values), record)
    assert record_bytes(again) == written


@given(policies(), tasks(), states(), arms())
def test_a_record_and_its_policy_give_the_whole_explanation(
    values: dict[str, object], task: Task, state: State, arm: Arm | None
) -> None:
    policy = compiled(values)
    decision = decide(policy, task, state, decision_id="d", strict=False, arm=arm)
    explanation = explain(policy, decision)
    from_record = explain(compiled(values), read_record(record_bytes(decision)))
    assert canonical_bytes(explanation_values(explanation)) == canonical_bytes(
        explanation_values(from_record)
    )
    for outline in (explanation_tree, lambda e: record_tree(e.record)):
        assert render_tree(outline(explanation)) == render_tree(outline(from_record))
        assert render_markdown(outline(explanation)) == render_markdown(outline(from_record))


@given(policies(), tasks(), states())
def test_no_model_of_a_plan_breaks_a_constraint_or_lacks_what_the_task_needs(
    values: dict[str, object], task: Task, state: State
) -> None:
    """Held against the reference interpreter and the catalog's own words, not against the gates."""
    policy = compiled(values)
    record = record_values(decide(policy, task, state, decision_id="d", strict=False))
    known = {name: feature["value"] for name, feature in record["features"].items()}
    hour = state.at_us // 3_600_000_000 % 24
    weekday = (state.at_us // 86_400_000_000 + 3) % 7 + 1
    known |= {"state.load": state.load, "state.hour": hour, "state.weekday": weekday}
    for name in plans_of(record):
        model = policy.catalog.find(name)
        assert model is not None
        observed = state.models.get(name)
        now = {f"state.{name}": getattr(observed, name, None) for name in ("latency_ms", "loaded", "load_ms")}
        facts = {**known, **model.facts, **now}
        for constraint in policy.constraints:
            off = evaluate_reference(constraint.when, facts) is False
            assert off or evaluate_reference(constraint.require, facts) is True, (name, constraint.name)
        assert task.operation in model.shape.operations
        assert not (known["sees"] is True or task.request.images) or "vision" in model.shape.capabilities
        assert not task.request.tools or "tools" in model.shape.capabilities
        assert not task.request.json_schema or "json_schema" in model.shape.capabilities
        assert _least_length(task, model) <= (model.context_length or math.inf)
        assert not model.shape.disabled
        assert observed is None or observed.health != "unhealthy"
        if observed is not None and observed.breaker == "open":
            _assert_is_the_last(record, name, state)
    if task.operation == "embed" and record["plan"] is not None:
        spaces = {policy.catalog.models[policy.catalog.names[m][0]].embedding_space for m in plans_of(record)}
        assert len(spaces) == 1


def _least_length(task: Task, model: CompiledModel) -> float:
    """The tokens that are certain to have to fit into a model's window: of the prompt, and of a chat's answer."""
    request, said = task.request, task.features.get("tokens")
    prompt: float = request.prompt_tokens or 0
    counted = request.prompt_tokens_source == "counted" and request.tokenizer == model.shape.tokenizer
    if not counted and request.prompt_tokens_source != "stated":
        prompt /= 2
    if isinstance(said, int) and said >= (request.prompt_tokens or 0):
        prompt = said
    most = model.shape.max_output_tokens or math.inf
    wanted = min(request.max_output_tokens or 0, most) if task.operation == "chat" else 0
    return prompt + wanted


def _assert_is_the_last(record: dict[str, Any], name: str, state: State) -> None:
    """That a model whose breaker is open is planned only where nothing else could be, and closes first."""
    assert [c["model"] for c in record["candidates"] if c["eligible"]] == [name]
    open_ones = [c["model"] for c in record["candidates"] if c["eligible"] or c["gate"] == "breaker"]
    assert state.models[name].breaker_after != "quota_exhausted"
    until = {
        model: state.models[model].breaker_until_us or math.inf
        for model in open_ones
        if state.models[model].breaker_after != "quota_exhausted"
    }
    marked = [c["model"] for c in record["candidates"] if "breaker_open_last" in c["marks"]]
    assert marked == [name]
    by_others = {c["model"] for c in record["candidates"] if c["gate"] == "quota"}
    assert by_others or until[name] == min(until.values())


@given(policies(), tasks(), states())
def test_an_outcome_and_what_belongs_to_it_agree(values: dict[str, object], task: Task, state: State) -> None:
    policy = compiled(values)
    decision = decide(policy, task, state, decision_id="d", strict=False)
    verdicts = [
        evaluate_reference(rule.when, _names(decision.values, policy.parameters, state))
        for rule in policy.rules
    ]
    assert [None if v is UNKNOWN else v for v in verdicts] == list(decision.verdicts)
    winner = next(
        (
            rule
            for rule, verdict in zip(policy.rules, verdicts, strict=True)
            if verdict is True or (verdict is UNKNOWN and rule.on_unknown != "skip")
        ),
        None,
    )
    assert decision.rule == (None if winner is None else winner.index)
    stopped = winner is not None and verdicts[winner.index] is UNKNOWN and winner.on_unknown == "fail"
    if task.pin is None and (winner is None or stopped):
        assert decision.outcome == ("undecided" if stopped else "no_match")
        assert (decision.candidates, decision.plan, decision.choice) == ((), None, None)
        return
    eligible = [c for c in decision.candidates if c.failure is None]
    assert decision.outcome == ("routed" if eligible else "no_target")
    assert (decision.plan is not None) == (decision.choice is not None) == bool(eligible)
    assert math.isclose(sum(c.probability for c in decision.candidates), 1.0 if eligible else 0.0)
    assert all(c.probability == 0 for c in decision.candidates if c.failure is not None)
    if decision.plan is not None:
        assert decision.plan.target == eligible[0].model
        members = () if decision.plan.ensemble is None else decision.plan.ensemble.members
        assert list(decision.plan.fallbacks) == [c.model for c in eligible[1:] if c.model not in members]
    if task.pin is not None:
        assert [policy.catalog.models[c.model].id for c in decision.candidates] == [task.pin]


def _names(values: tuple[object, ...], parameters: tuple[str, ...], state: State) -> dict[str, object]:
    hours = state.at_us // 3_600_000_000
    known = (*values, state.load, hours % 24, (hours // 24 + 3) % 7 + 1)
    return dict(zip(parameters, known, strict=True))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
            | st.tuples(inner, inner)
        ),
    )
)
def test_canonical_json_is_that_of_the_rfc(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # its type leaves tuples out


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**53, -(2**53), {1: 2}, {"a": b"x"}, object(), "\ud800"]
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    for whole in (value, [value], {"a": value, "ä": 1e-9}):
        with pytest.raises(ValueError):
            canonical_bytes(whole)


def test_nesting_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical_bytes(endless)
