"""Decisions and attempts in, the ledger's rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter

from routewright.backends import Attempt
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.record_text import record_bytes
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import AttemptRow, DecisionRow, PolicyRow

__all__ = ["attempt_row", "decision_row", "policy_rows"]

_SHARED = [
    field.name for field in fields(AttemptRow) if field.name in {known.name for known in fields(Attempt)}
]
_shared_values = attrgetter(*_SHARED)


def decision_row(
    decision: Decision, *, mode: str, deciding_ns: int | None = None, tags: Mapping[str, str] | None = None
) -> DecisionRow:
    """The row of a decision; ``deciding_ns`` is how long deciding took, which is no part of the record."""
    record = record_bytes(decision).decode()
    return DecisionRow(decision.id, record, mode, tags=dict(tags or {}), deciding_ns=deciding_ns)


def attempt_row(decision_id: str, attempt: Attempt) -> AttemptRow:
    """The row of one call of one backend, as far as the ledger has columns for it."""
    return AttemptRow(decision_id, **dict(zip(_SHARED, _shared_values(attempt), strict=True)))


def policy_rows(policy: CompiledPolicy, *, first_seen_us: int) -> tuple[PolicyRow, ...]:
    """The rows of a policy and its catalog: what its decisions can be explained from."""
    catalog = policy.catalog
    return (
        PolicyRow(policy.digest, "policy", policy.name, policy.text, first_seen_us),
        PolicyRow(catalog.digest, "catalog", catalog.name or catalog.source, catalog.text, first_seen_us),
    )
