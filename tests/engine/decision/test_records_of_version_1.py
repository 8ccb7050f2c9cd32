"""Records of version 1 are read, decided again and explained as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from support.decision_strategies import AT_US, arms, compiled, policies, states, tasks
from support.sizes import EXAMPLES

from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision.choose import estimate
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.explain.explanation import explain, explanation_values
from routewright.engine.explain.recomputing import recompute
from routewright.engine.explain.report_tree import explanation_tree, record_tree
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, record_of_version
from routewright.engine.record.version_1 import DecisionRecord1
from routewright.engine.report.errors import RecordError
from routewright.engine.report.tree import render_tree
from routewright.loading.loading import load_policy

_CASES = Path(__file__).parents[2] / "cases"


def test_whole_record_of_a_small_decision_as_version_1_had_it() -> None:
    policy = load_policy(_CASES / "steps" / "policy.yaml", root=_CASES)
    task = Task({"private": True, "extra": [1, 2]}, request=RequestFacts(prompt_tokens=10))
    state = State(AT_US, load=0.25, models={"small": ModelState("healthy", "closed", 120)})
    decision = decide(policy, task, state, decision_id="0197", strict=False)
    nothing = dict.fromkeys(("health", "breaker", "breaker_until_us", "breaker_after", "latency_ms"))
    models = {model.id: nothing for model in policy.catalog.models}
    assert record_of_version(decision, 1).model_dump(mode="json") == {
        "record": 1,
        "id": "0197",
        "at_us": AT_US,
        "engine": "0.1.0",
        "policy": {"name": "steps", "digest": policy.digest},
        "catalog": {"name": None, "digest": policy.catalog.digest},
        "arm": None,
        "operation": "chat",
        "pin": None,
        "draw": None,
        "request": {
            "prompt_tokens": 10,
            "prompt_tokens_source": "stated",
            "tokenizer": None,
            "max_output_tokens": None,
            "messages": None,
            "images": None,
            "tools": None,
            "json_schema": None,
            "metadata": {},
        },
        "features": {
            "screened": {"value": False, "source": "default"},
            "private": {"value": True, "source": "given"},
        },
        "ignored": {"extra": [1, 2]},
        "rules": [{"name": "screened_work", "verdict": False}, {"name": "all", "verdict": True}],
        "rule": "all",
        "reason": None,
        "outcome": "routed",
        "target": "small",
        "candidates": [
            {
                "model": "small",
                "origin": "use",
                "eligible": True,
                "gate": None,
                "detail": None,
                "marks": [],
                "probability": 1.0,
                "estimated_cost_nano": None,
                "currency": None,
                "cost_source": None,
                "estimated_latency_ms": 120.0,
                "latency_source": "observed",
            },
            {
                "model": "words",
                "origin": "use",
                "eligible": False,
                "gate": "operation",
                "detail": "the model does not offer chat",
                "marks": ["context_unverified", "health_unknown"],
                "probability": 0.0,
                "estimated_cost_nano": None,
                "currency": None,
                "cost_source": None,
                "estimated_latency_ms": None,
                "latency_source": None,
            },
        ],
        "choice": {"how": "first", "inputs": {}, "session": None},
        "plan": {
            "target": "small",
            "fallbacks": [],
            "steps": [{"role": "draft", "model": "coder", "required": False, "options": {}}],
            "dropped": [{"role": "verify", "model": "huge", "gate": "constraint", "detail": "private_stays"}],
            "ensemble": None,
            "ensemble_dropped": None,
            "timeouts": {},
            "first_token_within_ms": None,
            "cache_ttl_ms": None,
            "max_attempts": None,
            "backoff_ms": None,
            "deadline_ms": None,
            "max_cost_nano": None,
            "max_cost_currency": None,
            "unknown_cost": None,
            "lease_ms": None,
            "unenforced": [],
            "defaults": {
                "connect_ms": 10_000,
                "load_ms": 600_000,
                "first_token_ms": 120_000,
                "idle_ms": 120_000,
                "total_ms": 900_000,
                "deadline_ms": 1_200_000,
            },
        },
        "state": {
            "load": 0.25,
            "models": {
                **models,
                "small": {**nothing, "health": "healthy", "breaker": "closed", "latency_ms": 120.0},
            },
            "quota_used": {},
            "session_model": None,
        },
    }


@given(policies(), tasks(), states(), arms())
@settings(max_examples=EXAMPLES // 3)
def test_a_record_of_version_1_is_read_decided_again_and_explained(
    values: dict[str, Any], task: Task, state: State, arm: Arm | None
) -> None:
    decision = decide(compiled(values), task, state, decision_id="d", strict=False, arm=arm)
    written = record_of_version(decision, 1).canonical()
    record, policy = read_record(written), compiled(values)
    assert isinstance(record, DecisionRecord1) and record.canonical() == written
    assert record_of_version(recompute(policy, record), 1).canonical() == written
    models, choice = policy.catalog.models, decision.choice
    for candidate, verdict in zip(record.candidates, decision.candidates, strict=True):
        expected = estimate(models[verdict.model], task.operation, decision.request, state)
        assert candidate.estimated_cost_nano == expected.cost_nano
        assert (candidate.estimated_latency_ms, candidate.load_ms) == (expected.latency_ms, expected.load_ms)
    assert (record.choice and record.choice.inputs) == (choice and choice.inputs)
    old, new = explain(policy, record), explain(policy, decision)
    assert render_tree(explanation_tree(old)) == render_tree(explanation_tree(new))
    told, now = explanation_values(old), explanation_values(new)
    assert canonical_bytes(told.pop("record")) == written
    assert now.pop("record")["record"] == 2 and canonical_bytes(told) == canonical_bytes(now)


@given(policies(), tasks(), states())
@settings(max_examples=EXAMPLES // 2)
def test_version_2_has_the_words_of_every_failed_gate_that_version_1_had(
    values: dict[str, Any], task: Task, state: State
) -> None:
    decision = decide(compiled(values), task, state, decision_id="d", strict=False)
    older, record = record_of_version(decision, 1), record_of(decision)
    assert isinstance(older, DecisionRecord1)
    details = [record.details.get(one.model, one.detail) for one in record.candidates]
    assert details == [one.detail for one in older.candidates]
    if older.plan is not None and record.plan is not None:
        dropped = [record.details.get(one.model, one.detail) for one in record.plan.dropped]
        assert dropped == [one.detail for one in older.plan.dropped]


def test_a_step_that_is_left_out_is_told_by_its_own_gate_where_its_model_is_a_candidate_too() -> None:
    policy = compile_policy(read_policy(_BOTH, "p.yaml"))
    state = State(AT_US, models={"both": ModelState(breaker="open")})
    record = record_of(decide(policy, Task(operation="embed"), state, decision_id="d"))
    tree = render_tree(record_tree(record))
    assert "draft with both is left out: operation: embed has no steps" in tree
    assert "both (use): breaker: its breaker is open" in tree


_BOTH = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { here: { kind: mlx, operations: [chat, embed] } }
  models:
    both: { backend: here, operations: [chat, embed], embedding_space: w }
    words: { backend: here, operations: [embed], embedding_space: w }
rules:
  - { name: only, use: [both, words], steps: [{ draft: { with: both } }] }
"""


def test_what_was_changed_in_a_record_of_version_1_is_found_out() -> None:
    rules = [{"name": "only", "use": ["large", "small"], "choose": "cheapest"}]
    policy = compiled({"routewright": 1, "name": "p", "catalog": "catalog.yaml", "rules": rules})
    record = record_of_version(decide(policy, Task(), State(AT_US), decision_id="d"), 1)
    values = json.loads(record.canonical())
    values["candidates"][0]["estimated_cost_nano"] += 1
    with pytest.raises(RecordError, match="decide differently: candidates differ"):
        recompute(policy, read_record(json.dumps(values)))
