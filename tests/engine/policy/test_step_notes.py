"""Notes on steps that escalate where nobody is left to ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.policy_texts import compiled

from routewright import load_policy
from routewright.engine.policy import step_notes

_HEAD = """
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { o: { kind: ollama } }
  models: { m: { backend: o }, n: { backend: o }, v: { backend: o }, off: { backend: o, disabled: true } }
rules:
  - { name: gone, disabled: true, use: [m] }
"""
_ENSEMBLE = "ensemble: { members: [m, n], combine: first }"


@pytest.mark.parametrize(
    ("answer", "on_reject", "noted"),
    [
        ("use: [m]", "escalate", True),
        ("use: [m], fallback: [m, off]", "escalate", True),
        (_ENSEMBLE, "escalate", True),
        (f"{_ENSEMBLE}, fallback: [m]", "escalate", True),
        (f"{_ENSEMBLE}, fallback: [v]", "escalate", False),
        ("use: [m], fallback: [n]", "escalate", False),
        ("use: [m, n]", "escalate", False),
        ("use: [m]", "retry", False),
    ],
)
def test_a_step_that_escalates_to_nobody_is_noted_where_it_says_so(
    answer: str, on_reject: str, noted: bool
) -> None:
    steps = f"[{{ draft: {{ with: n }} }}, {{ verify: {{ with: v, on_reject: {on_reject} }} }}]"
    notes = step_notes(compiled(f"{_HEAD}  - {{ name: r, {answer}, steps: {steps} }}\n"))
    assert [(note.code, note.message, note.help, note.path) for note in notes] == [
        (
            "nobody-to-ask",
            "`r` has no other model to escalate to: a rejected answer is given all the same",
            "give the rule a `fallback`, or write `retry`",
            ("rules", 1, "steps", 1, "verify", "on_reject"),
        )
    ] * noted
    assert all(note.line == 10 for note in notes)


def test_the_candidate_of_a_rollout_is_looked_at_too(tmp_path: Path) -> None:
    steps = "steps: [{ verify: { with: v, on_reject: escalate } }]"
    control = f"{_HEAD}  - {{ name: r, use: [m, n], {steps} }}\n"
    (tmp_path / "candidate.yaml").write_text(control.replace("[m, n]", "[m]"), encoding="utf-8")
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"{control}rollout: {{ candidate: candidate.yaml, mode: shadow }}\n", encoding="utf-8")
    (note,) = step_notes(load_policy(policy))
    assert (note.code, note.source, note.line) == ("nobody-to-ask", str(tmp_path / "candidate.yaml"), 10)
