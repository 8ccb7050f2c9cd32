"""`sticky: session`: the model of a session goes first while it may, whatever the way of choosing."""

from __future__ import annotations

from typing import Any

import pytest
from support.decision_strategies import AT_US, FEATURES, compiled

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.explain.report_tree import record_tree
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.record import record_of
from routewright.engine.report.errors import TaskError
from routewright.engine.report.tree import render_tree

USE = ["large", "general", "huge"]
CHOICES: list[dict[str, Any]] = [
    {"choose": "first"},
    {"choose": "cheapest"},
    {"choose": "fastest"},
    {"choose": "split", "split": {"weights": {"large": 1, "general": 1, "huge": 2}}},
    {"choose": "split", "split": {"weights": {"large": 1, "general": 1, "huge": 2}, "key": "kind"}},
]
IN_SESSION = Task(request=RequestFacts(metadata={"session": "s1"}), draw=0.3)


def policy_with(**rule: Any) -> CompiledPolicy:
    rules = [{"name": "r", "use": USE, "fallback": ["small"], "sticky": "session", **rule}]
    return compiled(
        {"routewright": 1, "name": "p", "catalog": "catalog.yaml", "features": FEATURES, "rules": rules}
    )


def order(decision: Decision) -> list[str]:
    models = decision.policy.catalog.models
    assert decision.plan is not None
    return [models[index].id for index in (decision.plan.target, *decision.plan.fallbacks)]


def shares(decision: Decision) -> dict[str, float]:
    models = decision.policy.catalog.models
    return {models[c.model].id: c.probability for c in decision.candidates}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values()))[:24])
@pytest.mark.parametrize("model", USE)
def test_the_model_of_the_session_goes_first_and_the_others_keep_their_order(
    choice: dict[str, Any], model: str
) -> None:
    policy = policy_with(**choice)
    loose = decide(policy_with(sticky=None, **choice), IN_SESSION, State(AT_US), decision_id="d")
    kept = decide(policy, IN_SESSION, State(AT_US, session_model=model), decision_id="d")
    assert order(kept) == [model, *(one for one in order(loose) if one != model)]
    assert shares(kept) == {one: float(one == model) for one in (*USE, "small")}
    assert kept.choice is not None
    assert (kept.choice.how, kept.choice.inputs, kept.choice.session) == ("session", {"model": model}, "kept")


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values()))[:24])
@pytest.mark.parametrize(
    ("task", "state", "session"),
    [
        (IN_SESSION, State(AT_US), "new"),
        (Task(draw=0.3), State(AT_US, session_model="huge"), "none"),
        (Task(request=RequestFacts(metadata={"session": ""}), draw=0.3), State(AT_US), "none"),
        (IN_SESSION, State(AT_US, session_model="coder"), "moved"),
        (IN_SESSION, State(AT_US, session_model="small"), "moved"),
        (IN_SESSION, State(AT_US, session_model="gone"), "moved"),
    ],
)
def test_without_its_model_the_rule_goes_by_its_own_order_and_says_why(
    choice: dict[str, Any], task: Task, state: State, session: str
) -> None:
    """A fallback of the rule is none of its own: the session comes back as soon as one of those can."""
    loose = decide(policy_with(sticky=None, **choice), task, state, decision_id="d")
    decision = decide(policy_with(**choice), task, state, decision_id="d")
    assert (order(decision), shares(decision)) == (order(loose), shares(loose))
    assert decision.choice is not None and loose.choice is not None
    assert (decision.choice.how, decision.choice.session) == (loose.choice.how, session)
    assert loose.choice.session is None


@pytest.mark.parametrize(
    "known", [ModelState(health="unhealthy"), ModelState(breaker="open")], ids=["unhealthy", "cooled"]
)
def test_a_session_leaves_a_model_that_passes_no_longer(known: ModelState) -> None:
    state = State(AT_US, models={"huge": known}, session_model="huge")
    decision = decide(policy_with(), IN_SESSION, state, decision_id="d")
    assert (decision.target, decision.choice and decision.choice.session) == ("large", "moved")


def test_a_constraint_is_above_a_session() -> None:
    rules = [{"name": "r", "use": ["large", "general"], "sticky": "session"}]
    here = {"name": "here", "when": "private", "require": "model.location == 'local'"}
    policy = compiled(
        {
            "routewright": 1,
            "name": "p",
            "catalog": "catalog.yaml",
            "features": FEATURES,
            "constraints": [here],
            "rules": rules,
        }
    )
    task = Task({"private": True}, request=RequestFacts(metadata={"session": "s1"}))
    decision = decide(policy, task, State(AT_US, session_model="large"), decision_id="d")
    assert decision.target == "general"


def test_a_pin_is_above_a_session() -> None:
    task = Task(pin="general", request=RequestFacts(metadata={"session": "s1"}))
    decision = decide(policy_with(), task, State(AT_US, session_model="huge"), decision_id="d")
    assert (decision.target, decision.choice and decision.choice.how) == ("general", "pin")


def test_plans_that_are_remembered_are_told_apart_by_session() -> None:
    policy = policy_with()
    found = [
        (decision.target, decision.choice and decision.choice.session)
        for model in (None, "huge", "gone", "general", None, "small")
        for task in (IN_SESSION, Task(draw=0.3))
        for decision in [decide(policy, task, State(AT_US, session_model=model), decision_id="d")]
    ]
    assert found == [
        ("large", "new"),
        ("large", "none"),
        ("huge", "kept"),
        ("large", "none"),
        ("large", "moved"),
        ("large", "none"),
        ("general", "kept"),
        ("large", "none"),
        ("large", "new"),
        ("large", "none"),
        ("large", "moved"),
        ("large", "none"),
    ]


@pytest.mark.parametrize(
    ("task", "model", "line"),
    [
        (IN_SESSION, "huge", "session: stays with huge"),
        (IN_SESSION, "gone", "session: leaves gone, which is not eligible here"),
        (IN_SESSION, "small", "session: leaves small, which is only a fallback here"),
        (IN_SESSION, None, "session: new, no model has answered it yet"),
        (Task(draw=0.3), None, "session: the task names none, so nothing is kept"),
    ],
)
def test_one_line_says_what_became_of_the_session(task: Task, model: str | None, line: str) -> None:
    decision = decide(policy_with(), task, State(AT_US, session_model=model), decision_id="d")
    assert f"─ {line}\n" in render_tree(record_tree(record_of(decision)))


def test_the_model_of_a_session_is_text() -> None:
    with pytest.raises(TaskError, match="the state's `session_model` is not the id of a model"):
        State(AT_US, session_model=3)  # type: ignore[arg-type]
