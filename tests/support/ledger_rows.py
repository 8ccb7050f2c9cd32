"""Rows for tests of the ledger: small, made by number, always the same."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from routewright.engine.decision.task import ModelState
from routewright.engine.record.attempt import Attempt, Intent
from routewright.engine.record.digest import (
    NOTHING_KNOWN_TEXT,
    RecordTexts,
    digest_of_texts,
    model_text,
    plan_texts,
)
from routewright.engine.record.parts import RecordParts, RecordRow, part_of
from routewright.ledger.rows import (
    AttemptRow,
    DecisionEnd,
    DecisionRow,
    IntentRow,
    LedgerEntry,
    PolicyRow,
)

START_US = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC
DAY_US = 86_400_000_000


def decision_id(number: int) -> str:
    """A UUID of version 7 whose order is that of ``number``."""
    return str(UUID(int=((1_767_225_600_000 + number) << 80) | (0x7000_8 << 60) | number))


DECLARED = """\
catalog: { routewright: 1, backends: { ollama: { kind: ollama } }, models: { kimi: { backend: ollama } } }
features:
  requires_moe: { type: boolean }
  context_length: { type: integer }
  task_type: { type: string, default: chat }
  team: { type: string }
rules:
  - { name: otherwise, use: [kimi] }
"""
"""A policy of which the records below could be."""


def policy(name: str = "hybrid", declared: str = DECLARED, **changes: Any) -> PolicyRow:
    text = f"routewright: 1\nname: {name}\n{declared}"
    return PolicyRow(f"sha256:{name}", "policy", name, text, START_US)._replace(**changes)


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A decision record, as far as the ledger reads one; ``changes`` are of its members."""
    values: dict[str, Any] = {
        "id": decision_id(number),
        "at_us": START_US + number * 1_000_000,
        "engine": "0.1.0",
        "policy": {"name": "hybrid", "digest": "sha256:hybrid"},
        "catalog": {"name": None, "digest": "sha256:catalog"},
        "arm": None,
        "operation": "chat",
        "outcome": "routed",
        "features": {
            "requires_moe": {"value": number % 2 == 0, "source": "given"},
            "context_length": {"value": 1_000 * number, "source": "derived"},
            "task_type": {"value": "chat", "source": "default"},
            "team": {"value": None, "source": "unknown"},
        },
        "ignored": {},
        "rules": [
            {"name": "mixture_of_experts", "verdict": number % 2 == 0},
            {"name": "by_team", "verdict": None},
            {"name": "otherwise", "verdict": True},
        ],
        "rule": "mixture_of_experts" if number % 2 == 0 else "otherwise",
        "reason": "complex work goes to the mixture of experts",
        "candidates": [
            candidate("kimi", "use", None, None, 1.0, 5_000_000, 30_000.0),
            candidate("local", "fallback", "capability", "has no vision", 0.0, None, None),
        ],
        "target": "kimi",
        "plan": {"target": "kimi", "fallbacks": ["coder"], "steps": []},
        "state": {"models": {"kimi": {"health": "healthy", "latency_ms": 120.5}}},
    }
    unknown = set(changes) - set(values)
    assert not unknown, unknown
    return values | changes


def parts(values: dict[str, Any]) -> RecordParts:
    """A record by its parts, as far as `record` makes one."""
    features, rules = values["features"], values["rules"]
    letters = {"given": "g", "derived": "r", "default": "d", "unknown": "u"}
    own = {
        "engine": values["engine"],
        "policy": values["policy"],
        "catalog": values["catalog"],
        "rules": [rule["name"] for rule in rules],
        "features": [
            {"name": name, "default": one["value"] if one["source"] == "default" else None}
            for name, one in features.items()
        ],
        "models": sorted(values["state"]["models"]),
        "quotas": sorted(values["state"].get("quota_used", {})),
    }
    plan = {name: values[name] for name in ("rule", "reason", "outcome", "target", "candidates", "plan")}
    arm = values["arm"]
    row = RecordRow(
        id=values["id"],
        at_us=values["at_us"],
        operation=values["operation"],
        pin=None,
        draw=None,
        request=None,
        prompt_tokens=None,
        sources="".join(letters[one["source"]] for one in features.values()),
        values=[one["value"] for one in features.values() if one["source"] in ("given", "derived")],
        ignored=values["ignored"] or None,
        verdicts="".join({True: "t", False: "f", None: "u"}[rule["verdict"]] for rule in rules),
        details=None,
        arm_point=None,
        load=None,
        quota_used=[used for _, used in sorted(values["state"].get("quota_used", {}).items())] or None,
        session_model=None,
    )
    state = {id: ModelState(**known) for id, known in values["state"]["models"].items()}
    return RecordParts(
        row, part_of(own), part_of({**plan, "choice": None}), None if arm is None else part_of(arm), state, {}
    )


def record_digest(row: DecisionRow) -> str:
    """The digest of a row's record."""
    record = row.record
    policy, plan = json.loads(record.policy.text), plan_texts(json.loads(record.plan.text))
    models = {
        id: model_text(record.models[id]) if id in record.models else NOTHING_KNOWN_TEXT
        for id in policy["models"]
    }
    arm = None if record.arm is None else record.arm.digest
    return RecordTexts(policy).digest(record.row, plan, arm, digest_of_texts(models), None)


def broken(row: DecisionRow) -> DecisionRow:
    """The row with a part that is not the one of its digest."""
    plan = row.record.plan._replace(text="{")
    return row._replace(record=row.record._replace(plan=plan))


def candidate(
    model: str,
    origin: str,
    gate: str | None,
    detail: str | None,
    probability: float,
    cost_nano: int | None,
    latency_ms: float | None,
) -> dict[str, Any]:
    price = {"input_nano": (cost_nano or 0) * 1_000, "output_nano": 0, "currency": "USD"}
    return {
        "model": model,
        "backend": "ollama_cloud",
        "location": "cloud",
        "origin": origin,
        "eligible": gate is None,
        "gate": gate,
        "detail": detail,
        "marks": [],
        "probability": probability,
        "price": None if cost_nano is None else price,  # for the 1,000 tokens that are assumed
        "expected_latency_ms": latency_ms,
        "memory_bytes": None,
        "size_bytes": None,
    }


def given(**features: Any) -> dict[str, Any]:
    """Features as a record holds them."""
    return {name: {"value": value, "source": "given"} for name, value in features.items()}


def arm(name: str, mode: str, probability: float) -> dict[str, Any]:
    """An arm as a record holds it: of the rollout of `next` beside `hybrid`."""
    return {
        "arm": name,
        "mode": mode,
        "probability": probability,
        "share": None,
        "key": None,
        "salt": None,
        "control": {"name": "hybrid", "digest": "sha256:hybrid"},
        "candidate": {"name": "next", "digest": "sha256:next"},
        "file": "next.yaml",
    }


NEXT: dict[str, Any] = {"policy": {"name": "next", "digest": "sha256:next"}}
"""The policy of a candidate's decision."""


def decision(
    number: int,
    *,
    mode: str = "exploit",
    id: str | None = None,
    shadow_of: int | None = None,
    answered: int | None = 1,
    **changes: Any,
) -> DecisionRow:
    """The row of a decision whose record has ``changes``; ``answered`` is the attempt whose answer was given."""
    return DecisionRow(
        record=parts(record(number, **changes | ({} if id is None else {"id": id}))),
        mode=mode,
        tags={"team": "search"},
        trace_id="trace-1",
        deciding_ns=48_000,
        shadow_of=None if shadow_of is None else decision_id(shadow_of),
        answered_attempt=answered,
    )


def attempt(number: int, at: int = 1, **changes: Any) -> AttemptRow:
    made = Attempt(
        number=at,
        role="answer" if at == 1 else "fallback",
        model_id="kimi" if at == 1 else "coder",
        backend_id="ollama_cloud",
        model_said="kimi-k2:1t-cloud",
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
        simulated=False,
        location="cloud",
        host="ollama.com",
    )
    id = changes.pop("decision_id", decision_id(number))
    return AttemptRow(id, made._replace(**changes))


def failed(number: int, at: int = 1, **changes: Any) -> AttemptRow:
    unknown = dict.fromkeys(("finish_reason", "model_said", "cost_nano", "cost_source", "output_tokens"))
    return attempt(number, at, **unknown | {"status": "failed", "error_class": "overloaded"} | changes)


def intent(number: int, at: int = 1, **changes: Any) -> IntentRow:
    """The intent of ``attempt(number, at)``."""
    made = attempt(number, at, **changes)
    return IntentRow(made.decision_id, Intent(*(getattr(made.attempt, name) for name in Intent._fields)))


def begun(number: int, *at: int) -> LedgerEntry:
    """A decision with the intents of its first calls."""
    return LedgerEntry(
        decision(number, answered=None), (), [policy()], [intent(number, one) for one in at or (1,)]
    )


def ended(number: int, *attempts: AttemptRow, answered: int | None = 1) -> LedgerEntry:
    """The end of a decision, with its last attempts."""
    return LedgerEntry(None, attempts, end=DecisionEnd(decision_id(number), answered))
