"""Decisions and attempts in, the ledger's rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from routewright.backends import Attempt
from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.record import record_values
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import AttemptRow, CandidateRow, DecisionRow, PolicyRow

__all__ = ["attempt_row", "decision_row", "policy_rows"]

_ATTEMPT_COLUMNS = [
    field.name for field in fields(AttemptRow) if field.name in {known.name for known in fields(Attempt)}
]


def decision_row(
    decision: Decision, *, mode: str, deciding_ns: int | None = None, tags: Mapping[str, str] | None = None
) -> DecisionRow:
    """The row of a decision; ``deciding_ns`` is how long deciding took, which is no part of the record."""
    record = record_values(decision)
    features: dict[str, Any] = record["features"]
    known = {name: feature["value"] for name, feature in features.items() if feature["source"] != "unknown"}
    sources = {name: feature["source"] for name, feature in features.items()}
    for name, value in record["ignored"].items():
        known[name] = value
        sources[name] = "ignored"
    return DecisionRow(
        decision_id=record["id"],
        at_us=record["at_us"],
        operation=record["operation"],
        outcome=record["outcome"],
        mode=mode,
        policy_name=record["policy"]["name"],
        policy_digest=record["policy"]["digest"],
        catalog_digest=record["catalog"]["digest"],
        engine_version=record["engine"],
        record=canonical_bytes(record).decode(),
        features=known,
        feature_sources=sources,
        verdicts={rule["name"]: rule["verdict"] for rule in record["rules"]},
        candidates=tuple(_candidate(candidate) for candidate in record["candidates"]),
        matched_rule=record["rule"],
        reason=record["reason"],
        target=record["target"],
        plan=record["plan"],
        state=record["state"],
        tags=dict(tags or {}),
        deciding_ns=deciding_ns,
    )


def attempt_row(decision_id: str, attempt: Attempt) -> AttemptRow:
    """The row of one call of one backend, as far as the ledger has columns for it."""
    values = asdict(attempt)
    return AttemptRow(decision_id=decision_id, **{name: values[name] for name in _ATTEMPT_COLUMNS})


def policy_rows(policy: CompiledPolicy, *, first_seen_us: int) -> tuple[PolicyRow, ...]:
    """The rows of a policy and its catalog: what its decisions can be explained from."""
    catalog = policy.catalog
    return (
        PolicyRow(policy.digest, "policy", policy.name, policy.text, first_seen_us),
        PolicyRow(catalog.digest, "catalog", catalog.name or catalog.source, catalog.text, first_seen_us),
    )


def _candidate(candidate: Mapping[str, Any]) -> CandidateRow:
    return CandidateRow(
        model=candidate["model"],
        origin=candidate["origin"],
        eligible=candidate["eligible"],
        failed_gate=candidate["gate"],
        detail=candidate["detail"],
        probability=candidate["probability"],
        estimated_cost_nano=candidate["estimated_cost_nano"],
        estimated_latency_ms=candidate["estimated_latency_ms"],
    )
