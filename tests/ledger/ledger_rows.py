"""Rows for tests of the ledger: small, made by number, always the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from routewright.ledger.rows import AttemptRow, CandidateRow, DecisionRow, PolicyRow

START_US = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC
DAY_US = 86_400_000_000


def decision_id(number: int) -> str:
    """A UUID of version 7 whose order is that of ``number``."""
    return str(UUID(int=((1_767_225_600_000 + number) << 80) | (0x7000_8 << 60) | number))


def policy(name: str = "hybrid") -> PolicyRow:
    return PolicyRow(f"sha256:{name}", "policy", name, f"routewright: 1\nname: {name}\n", START_US)


def decision(number: int, **changes: Any) -> DecisionRow:
    features = {"requires_moe": number % 2 == 0, "context_length": 1_000 * number, "task_type": "chat"}
    row = DecisionRow(
        decision_id=decision_id(number),
        at_us=START_US + number * 1_000_000,
        operation="chat",
        outcome="routed",
        mode="exploit",
        policy_name="hybrid",
        policy_digest="sha256:hybrid",
        catalog_digest="sha256:catalog",
        engine_version="0.1.0",
        record=json.dumps({"features": features, "number": number}, sort_keys=True),
        features=features,
        feature_sources={
            "requires_moe": "given",
            "context_length": "derived",
            "task_type": "default",
            "team": "unknown",
        },
        verdicts={"mixture_of_experts": number % 2 == 0, "by_team": None, "otherwise": True},
        candidates=(
            CandidateRow("kimi", "use", True, None, None, 1.0, 5_000_000, 30_000.0),
            CandidateRow("local", "fallback", False, "capability", "has no vision", 0.0),
        ),
        matched_rule="mixture_of_experts" if number % 2 == 0 else "otherwise",
        reason="complex work goes to the mixture of experts",
        target="kimi",
        plan={"target": "kimi", "fallbacks": ["coder"], "steps": []},
        state={"models": {"kimi": {"healthy": True, "load": 0.25}}},
        tags={"team": "search"},
        session_id=None,
        trace_id="trace-1",
        deciding_ns=48_000,
    )
    return replace(row, **changes)


def attempt(number: int, at: int = 1, **changes: Any) -> AttemptRow:
    row = AttemptRow(
        decision_id=decision_id(number),
        number=at,
        role="answer" if at == 1 else "fallback",
        model_id="kimi" if at == 1 else "coder",
        backend_id="ollama_cloud",
        model_said="kimi-k2:1t-cloud (simulated)",
        started_at_us=START_US + number * 1_000_000 + at,
        load_us=0,
        first_token_us=100_000,
        total_us=1_000_000,
        status="ok",
        error_class=None,
        finish_reason="stop",
        streamed=False,
        input_tokens=1_000,
        cached_input_tokens=0,
        output_tokens=50,
        reasoning_tokens=0,
        tokens_source="estimated",
        cost_nano=725_000,
        currency="USD",
        cost_source="estimated",
        price_since="2026-01-01",
        simulated=True,
    )
    return replace(row, **changes)


def failed(number: int, at: int = 1, **changes: Any) -> AttemptRow:
    row = attempt(number, at, status="failed", error_class="overloaded", finish_reason=None, model_said=None)
    return replace(row, cost_nano=None, cost_source=None, output_tokens=None, **changes)
