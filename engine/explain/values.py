"""An explanation in, plain values out: its JSON form."""

from __future__ import annotations

from typing import Any

from ..condition import UNKNOWN
from .explanation import Explanation, FailedGate


def explanation_values(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it; unknown values are null."""
    runner_up = explanation.runner_up
    return {
        "record": explanation.record.model_dump(mode="json"),
        "rules": [
            {
                "name": rule.name,
                "place": rule.place,
                "verdict": rule.verdict,
                "condition": rule.condition,
                "parts": [{"text": part.text, "value": _json(part.value)} for part in rule.parts],
                "note": rule.note,
            }
            for rule in explanation.rules
        ],
        "candidates": [
            {
                "model": candidate.model,
                "origin": candidate.origin,
                "role": candidate.role,
                "failures": list(map(_failure, candidate.failures)),
                "marks": list(candidate.marks),
            }
            for candidate in explanation.candidates
        ],
        "steps": [
            {"role": step.role, "model": step.model, "failures": list(map(_failure, step.failures))}
            for step in explanation.steps
        ],
        "runner_up": None
        if runner_up is None
        else {
            "rule": runner_up.rule,
            "outcome": runner_up.outcome,
            "target": runner_up.target,
            "drawn_from": list(runner_up.drawn_from),
        },
        "changes": [
            {
                "features": {
                    name: {"from": _json(old), "to": _json(new)}
                    for name, (old, new) in change.features.items()
                },
                "outcome": change.outcome,
                "rule": change.rule,
                "target": change.target,
                "drawn_from": list(change.drawn_from),
            }
            for change in explanation.changes
        ],
        "searched": explanation.searched,
        "not_covered": list(explanation.not_covered),
        "excluded": [{"model": model, "reason": why} for model, why in explanation.excluded],
        "disabled": list(explanation.disabled),
    }


def _failure(failure: FailedGate) -> dict[str, Any]:
    return {"gate": failure.gate, "detail": failure.detail, "facts": dict(failure.facts)}


def _json(value: object) -> Any:
    if value is UNKNOWN:
        return None
    return [_json(element) for element in value] if isinstance(value, tuple) else value
