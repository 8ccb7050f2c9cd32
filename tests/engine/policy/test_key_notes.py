"""Notes on keys of canaries and splits: those that give values away, and those that do not divide tasks anew."""

from __future__ import annotations

import pytest
from support.policy_texts import compiled

from routewright.engine.policy import compile_policy, key_notes, read_policy

_POLICY = """\
routewright: 1
name: p
features:
  team: { type: string }
  user: { type: string, sensitive: true }
catalog:
  routewright: 1
  backends: { o: { kind: ollama } }
  models: { m: { backend: o }, n: { backend: o } }
rules:
  - { name: r, use: [m, n], choose: split, split: { weights: { m: 1, n: 1 }, SPLIT } }
"""
_SECRET = (
    "sensitive-key",
    "`user` is sensitive, and records keep where its value falls under this key: who guesses the value can check it, "
    "also after it was erased",
)


def _notes(
    split: str, rollout: str, of_candidate: str = "salt: x"
) -> list[tuple[str | None, str, str, int | None, int | None]]:
    candidate = compiled(_POLICY.replace("SPLIT", of_candidate), "c.yaml")
    text = _POLICY.replace("SPLIT", split) + f"rollout: {{ candidate: c.yaml, {rollout} }}\n"
    policy = compile_policy(read_policy(text, "p.yaml"), candidate=candidate)
    return [(note.source, note.code, note.message, note.line, note.column) for note in key_notes(policy)]


def _same(rules: str, column: int) -> tuple[str, str, str, int, int]:
    message = (
        f"the canary and the split of {rules} go by the same `key` and `salt`, so both divide alike: each arm gets one "
        "end of the split"
    )
    return ("p.yaml", "same-salt", message, 12, column)


@pytest.mark.parametrize(
    ("split", "rollout", "of_candidate", "noted"),
    [
        ("key: team", "mode: canary, percent: 10%, key: team", "salt: x", [_same("rule `r`", 64)]),
        (
            "key: team, salt: a",
            "mode: canary, percent: 10%, key: team, salt: a",
            "key: team, salt: a",
            [_same("rule `r` and rule `r` of the candidate", 76)],
        ),
        (
            "salt: a",
            "mode: canary, percent: 10%, key: team",
            "key: team",
            [_same("rule `r` of the candidate", 64)],
        ),
        ("key: team", "mode: canary, percent: 10%, key: team, salt: a", "salt: x", []),
        ("key: team", "mode: canary, percent: 10%", "key: team", []),
        ("key: team", "mode: shadow, key: team", "key: team", []),
    ],
)
def test_a_canary_that_divides_as_a_split_does_is_noted_where_its_salt_belongs(
    split: str, rollout: str, of_candidate: str, noted: list[tuple[str, str, str, int, int]]
) -> None:
    assert _notes(split, rollout, of_candidate) == noted


def test_a_key_whose_values_are_sensitive_is_noted_wherever_it_divides() -> None:
    assert _notes("key: user", "mode: canary, percent: 10%, key: user, salt: b", "key: user") == [
        ("c.yaml", *_SECRET, 11, 83),
        ("p.yaml", *_SECRET, 11, 83),
        ("p.yaml", *_SECRET, 12, 64),
    ]
    assert _notes("key: team, salt: a", "mode: canary, percent: 10%, key: team") == []
