"""The result of a run as JSON: the facts that an answer has in Python, under the same names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from routewright.gateway import RunResult


def as_json(ran: RunResult, *, stored_in: str | None) -> dict[str, Any]:
    """``ran`` in values that JSON has; what is not known is null, and the cost's amount is text so as to be exact."""
    decision, error, cost = ran.decision, ran.error, ran.cost
    return {
        "decision_id": ran.decision_id,
        "outcome": decision.outcome,
        "rule": decision.matched,
        "target": decision.target,
        "model": ran.model,
        "answer": None if ran.answer is None else asdict(ran.answer),
        "verified": ran.verified,
        "notes": ran.notes,
        "cost": None
        if cost is None
        else {"amount": f"{cost.amount:f}", "currency": cost.currency, "source": cost.source},
        "steps": [asdict(step) for step in ran.steps],
        "attempts": [attempt._asdict() for attempt in ran.attempts],
        "error": None
        if error is None
        else {"class": error.error_class, "message": str(error), "help": error.help},
        "stored_in": stored_in,
    }
