"""Lengths of prompts against windows: exact ones are held to, estimates refuse only what is clearly too long."""

from __future__ import annotations

from typing import Any

import pytest
from support.decision_strategies import AT_US, compiled

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.report_tree import explanation_tree, record_tree
from routewright.engine.record.record import record_of
from routewright.engine.report.errors import TaskError
from routewright.engine.report.tree import render_tree

# The coder's window is 32 tokens, its tokenizer is qwen3, and it writes at most 20.
_VALUES = {
    "routewright": 1,
    "name": "p",
    "catalog": "catalog.yaml",
    "features": {"tokens": {"type": "integer", "from": "request.prompt_tokens"}},
    "rules": [{"name": "only", "use": ["coder"]}],
}

ESTIMATED: dict[str, Any] = {"prompt_tokens_source": "estimated"}
COUNTED: dict[str, Any] = {"prompt_tokens_source": "counted", "tokenizer": "qwen3"}
BY_ANOTHER: dict[str, Any] = {"prompt_tokens_source": "counted", "tokenizer": "llama3"}


def decided(tokens: int | None, features: dict[str, object] | None = None, **facts: Any) -> Decision:
    task = Task(features or {}, request=RequestFacts(prompt_tokens=tokens, **facts))
    return decide(compiled(_VALUES), task, State(AT_US), decision_id="d")


def verdict(decision: Decision) -> str:
    (candidate,) = decision.candidates
    if candidate.failure is not None:
        return candidate.failure.recorded(decision)
    return "unverified" if "context_unverified" in candidate.marks else "fits"


PROMPT = "the prompt does not fit into 32 tokens"
ANSWER = "the prompt and the answer asked for do not fit into 32 tokens"


@pytest.mark.parametrize(
    ("tokens", "facts", "expected"),
    [
        (None, {}, "unverified"),
        (32, {}, "fits"),
        (33, {}, PROMPT),
        (32, COUNTED, "fits"),
        (33, COUNTED, PROMPT),
        # 2.5 times of 12 are 30, of 13 are 32.5; half of 64 is 32.
        (12, ESTIMATED, "fits"),
        (13, ESTIMATED, "unverified"),
        (64, ESTIMATED, "unverified"),
        (65, ESTIMATED, PROMPT),
        (64, BY_ANOTHER, "unverified"),
        (65, BY_ANOTHER, PROMPT),
        (22, {"max_output_tokens": 10}, "fits"),
        (23, {"max_output_tokens": 10}, ANSWER),
        (33, {"max_output_tokens": 10}, PROMPT),
        # No longer answer is asked of a model than it writes.
        (12, {"max_output_tokens": 10_000}, "fits"),
        (13, {"max_output_tokens": 10_000}, ANSWER),
        (44, {"max_output_tokens": 10, **ESTIMATED}, "unverified"),
        (45, {"max_output_tokens": 10, **ESTIMATED}, ANSWER),
    ],
)
def test_what_fits_into_a_window(tokens: int | None, facts: dict[str, Any], expected: str) -> None:
    assert verdict(decided(tokens, **facts)) == expected


@pytest.mark.parametrize(
    ("tokens", "facts", "told", "numbers"),
    [
        (33, {}, "a prompt of 33 tokens does not fit into 32", (32, 33, 0)),
        (
            23,
            {"max_output_tokens": 10},
            "a prompt of 23 tokens and an answer of 10 do not fit into 32",
            (32, 23, 10),
        ),
        # A model asked for more than it writes is asked for what it writes: 20 tokens.
        (
            13,
            {"max_output_tokens": 50},
            "a prompt of 13 tokens and an answer of 20 do not fit into 32",
            (32, 13, 20),
        ),
        (65, ESTIMATED, "half of the estimated prompt, 33 tokens, does not fit into 32", (32, 33, 0)),
        (33, COUNTED, "a prompt of 33 tokens does not fit into 32", (32, 33, 0)),
    ],
)
def test_an_explanation_names_the_numbers_also_when_the_plan_is_remembered(
    tokens: int, facts: dict[str, Any], told: str, numbers: tuple[int, int, int]
) -> None:
    policy = compiled(_VALUES)
    for longer in (tokens + 1, tokens):  # the first decision's plan is that of the second
        request = RequestFacts(prompt_tokens=longer, **facts)
        decision = decide(policy, Task(request=request), State(AT_US), decision_id="d")
    (candidate,) = explain(policy, decision).candidates
    (failed,) = candidate.failures
    assert (failed.gate, failed.detail) == ("context_window", told)
    assert failed.facts == dict(zip(("limit", "prompt", "answer"), numbers, strict=True))
    assert f"context_window: {told}" in render_tree(explanation_tree(explain(policy, decision)))


def test_a_feature_that_states_at_least_as_much_makes_a_length_exact() -> None:
    assert verdict(decided(40, {"tokens": 40}, **ESTIMATED)) == PROMPT
    assert verdict(decided(40, {"tokens": 39}, **ESTIMATED)) == "unverified"
    assert verdict(decided(20, {"tokens": 30}, **ESTIMATED)) == "fits"


def test_the_changes_that_an_explanation_finds_reckon_with_the_answer() -> None:
    decision = decided(None, {"tokens": 23}, max_output_tokens=10)
    (change,) = explain(decision.policy, decision).changes
    _, fewer = change.features["tokens"]
    assert change.target == "coder" and isinstance(fewer, int) and 0 <= fewer <= 22


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (COUNTED, "prompt: 30 tokens, counted with qwen3"),
        (ESTIMATED, "prompt: 30 tokens, estimated"),
        ({}, None),
    ],
)
def test_where_a_length_comes_from_is_told(facts: dict[str, Any], line: str | None) -> None:
    decision = decided(30, **facts)
    trees = [
        render_tree(explanation_tree(explain(decision.policy, decision))),
        render_tree(record_tree(record_of(decision))),
    ]
    assert all(("tokens, " in tree) is (line is not None) for tree in trees)
    assert line is None or all(line in tree for tree in trees)


def test_a_prompt_of_one_token_is_told_in_the_singular() -> None:
    tree = render_tree(record_tree(record_of(decided(1, **ESTIMATED))))
    assert "prompt: 1 token, estimated" in tree


@pytest.mark.parametrize(
    "facts",
    [
        {"prompt_tokens_source": "guessed"},
        {"tokenizer": "qwen3"},
        {"prompt_tokens_source": "estimated", "tokenizer": "qwen3"},
        {"prompt_tokens_source": "counted", "tokenizer": "\ud800"},
    ],
)
def test_what_no_record_could_hold_of_a_length_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(TaskError):
        RequestFacts(prompt_tokens=5, **facts)
