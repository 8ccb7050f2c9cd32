"""Notes on quotas that count the same: all but the smallest limit are idle."""

from __future__ import annotations

import pytest
from support.policy_texts import compiled

from routewright.engine.policy import quota_notes

_POLICY = """\
routewright: 1
name: p
features: { user: { type: string }, urgent: { type: boolean } }
catalog:
  routewright: 1
  backends: { o: { kind: ollama } }
  models: { m: { backend: o }, n: { backend: o } }
rules: [{ name: r, use: [m] }]
controls:
  - { name: off, max_requests: 9, per: day, disabled: true }
  - { name: one, max_requests: 5, per: day }
"""


@pytest.mark.parametrize(
    ("other", "noted"),
    [
        ("max_requests: 50, per: day", True),
        ("max_requests: 5, per: day, on: [m, n], timezone: UTC, description: again", True),
        ("max_requests: 50, per: week", False),
        ("max_tokens: 5, per: day", False),
        ("max_requests: 5, per: day, on: [m]", False),
        ("max_requests: 5, per: day, for_each: user", False),
        ("max_requests: 5, per: day, scope: machine", False),
        ("max_requests: 5, per: day, timezone: Europe/Berlin", False),
        ("max_requests: 5, per: day, disabled: true", False),
        ("max_requests: 50, per: day }\n  - { name: kept, of: two, reserve: 50%, for: urgent", False),
    ],
)
def test_a_quota_that_counts_what_another_counts_is_noted_where_it_is_named(other: str, noted: bool) -> None:
    notes = quota_notes(compiled(f"{_POLICY}  - {{ name: two, {other} }}\n"))
    assert [(note.code, note.message, note.help, note.line, note.column) for note in notes] == [
        (
            "same-quota",
            "`two` counts the same as `one`: only the smaller limit matters",
            "keep one of them",
            12,
            13,
        )
    ] * noted


def test_quotas_of_the_machine_may_count_calls_of_different_policies() -> None:
    shared = "max_requests: 5, per: day, scope: machine }"
    text = _POLICY.replace("max_requests: 5, per: day }", shared)
    assert quota_notes(compiled(f"{text}  - {{ name: two, {shared}\n")) == []
