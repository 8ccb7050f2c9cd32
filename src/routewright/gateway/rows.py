"""Makes the ledger's rows of decisions and policies."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.engine.decision import Decision
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import record_text
from routewright.ledger import DecisionRow, PolicyRow


def decision_row(
    decision: Decision,
    *,
    deciding_ns: int | None = None,
    tags: Mapping[str, str] | None = None,
    shadow_of: str | None = None,
    answered_attempt: int | None = None,
) -> DecisionRow:
    """The row of a decision; ``deciding_ns`` is how long deciding took, which is no part of the record.

    ``shadow_of`` is, for a shadow, the id of the decision that was executed; ``answered_attempt`` the number of the
    attempt whose answer was given.
    """
    return DecisionRow(
        decision.id,
        record_text(decision),
        mode_of(decision),
        tags=dict(tags or {}),
        session_id=decision.task.session,
        deciding_ns=deciding_ns,
        shadow_of=shadow_of,
        answered_attempt=answered_attempt,
    )


def mode_of(decision: Decision) -> str:
    """How a decision is used: ``shadow`` where it is not executed, ``canary`` in both its arms, else ``exploit``."""
    arm = decision.arm
    if arm is not None and arm.mode == "canary":
        return "canary"
    return "shadow" if arm is not None and arm.mode == "shadow" and arm.name == "candidate" else "exploit"


def policy_rows(policy: CompiledPolicy, *, first_seen_us: int) -> tuple[PolicyRow, ...]:
    """The rows of a policy and its catalog, and of its rollout's candidate: what decisions can be explained from."""
    catalog = policy.catalog
    candidate = None if policy.rollout is None else policy.rollout.candidate
    return (
        PolicyRow(policy.digest, "policy", policy.name, policy.text, first_seen_us),
        PolicyRow(catalog.digest, "catalog", catalog.name or catalog.source, catalog.text, first_seen_us),
        *(() if candidate is None else policy_rows(candidate, first_seen_us=first_seen_us)),
    )
