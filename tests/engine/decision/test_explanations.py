"""Explanations of the shipped policy's decisions, as people read them; nothing in them changes by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.explain.explanation import Explanation, explain, explanation_values
from routewright.engine.explain.report_tree import explanation_tree, record_tree
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.report.tree import render_markdown, render_tree
from routewright.loading.loading import load_policy

_ROOT = Path(__file__).parents[3]
_STATE = State(1_767_225_600_000_000)

_TASKS = {
    "complex reasoning": (Task({"complex_reasoning": True}), _STATE),
    "private complex reasoning": (Task({"complex_reasoning": True, "privacy_required": True}), _STATE),
    "private and pinned to the cloud": (Task({"privacy_required": True}, pin="kimi-k2-cloud"), _STATE),
    "vectors while their model is away": (
        Task({"task_type": "embedding"}, operation="embed", request=RequestFacts(prompt_tokens=100)),
        State(_STATE.at_us, models={"qwen3-embed": ModelState("unhealthy")}),
    ),
    "a split that is drawn": (Task({"workload": "heavy", "nickname": "x"}, draw=0.9), _STATE),
}


@cache
def _policy() -> CompiledPolicy:
    return load_policy(_ROOT / "policies" / "hybrid.yaml")


def _explained(name: str) -> Explanation:
    task, state = _TASKS[name]
    decision = decide(
        _policy(), task, state, decision_id="019b7600-0000-7000-8000-000000000000", strict=False
    )
    return explain(_policy(), decision)


@pytest.mark.parametrize("name", [name for name in _TASKS if name != "a split that is drawn"])
def test_explanation_as_a_tree(name: str, snapshot: SnapshotAssertion) -> None:
    assert render_tree(explanation_tree(_explained(name))) == snapshot


def test_an_explanation_prints_as_its_tree_and_shows_in_one_line() -> None:
    explanation = _explained("complex reasoning")
    assert str(explanation) == render_tree(explanation_tree(explanation))
    where = "routed to kimi-k2-cloud by rule mixture_of_experts_tasks"
    assert repr(explanation) == f"<Explanation of 019b7600-0000-7000-8000-000000000000: {where}>"


def test_record_as_a_tree(snapshot: SnapshotAssertion) -> None:
    assert render_tree(record_tree(_explained("a split that is drawn").decided)) == snapshot


def test_explanation_as_markdown(snapshot: SnapshotAssertion) -> None:
    assert render_markdown(explanation_tree(_explained("private and pinned to the cloud"))) == snapshot


def test_explanation_as_json_without_its_record(snapshot: SnapshotAssertion) -> None:
    values = explanation_values(_explained("private and pinned to the cloud"))
    assert values.pop("record")["rule"] == "privacy_mode"
    values["rules"] = [rule for rule in values["rules"] if rule["place"] != "after"]
    assert json.dumps(values, indent=1) == snapshot


_EXPLAIN = """
from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision import decide
from routewright.engine.explain import explain
from routewright.engine.explain import explanation_values
from routewright.engine.decision.task import State, Task
from routewright.loading import load_policy

policy = load_policy("policies/hybrid.yaml")
task = Task({"complex_reasoning": True, "b": 1, "a": 2})
decision = decide(policy, task, State(1_767_225_600_000_000), decision_id="d", strict=False)
print(canonical_bytes(explanation_values(explain(policy, decision))))
"""


def test_explanation_is_the_same_in_every_process() -> None:
    """Sets of names have another order where the hash of text is seeded otherwise."""
    found = {
        subprocess.run(
            [sys.executable, "-c", _EXPLAIN],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
