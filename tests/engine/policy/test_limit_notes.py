"""Notes on what long values change: parts of conditions that are cut short, and values that are refused."""

from __future__ import annotations

from support.policy_texts import compiled

from routewright.engine.policy import limit_notes

_HEAD = """
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { o: { kind: ollama } }
  models: { m: { backend: o, capabilities: [vision, tools] } }
features:
  files: { type: array, items: string }
  langs: { type: array, items: string }
  s: { type: string }
rules:
  - { name: off, disabled: true, when: "files.exists(f, langs.exists(l, f == l))", use: [m] }
"""
_CROSSED = "files.exists(f, langs.exists(l, f.lowerAscii().endsWith(l)))"


def _notes(*lines: str) -> list[tuple[str, str, str | None]]:
    policy = compiled(_HEAD + "\n".join(lines) + "\n")
    return [(note.code, note.message, note.help) for note in limit_notes(policy)]


def test_part_that_may_be_cut_short_is_noted_where_it_stands() -> None:
    policy = compiled(f'{_HEAD}  - {{ name: r, when: "{_CROSSED}", use: [m] }}\n')
    (note,) = limit_notes(policy)
    assert (note.code, note.path) == ("bounded-condition", ("rules", 1, "when"))
    assert note.message == f"`{_CROSSED}` is unknown where it may take more than 40,000,000 steps"
    assert note.help == "it never does unless a value has more than 78 elements or 3,906 characters"


def test_values_that_are_refused_are_noted() -> None:
    rules = [f"  - {{ name: r{i}, when: \"s.matches('a[ab]{{{20 + i}}}c')\", use: [m] }}" for i in range(50)]
    (note, *_) = _notes(*rules)
    assert note[0] == "bounded-values"
    assert note[1].startswith("features with more than ")


def test_what_no_value_of_the_policy_reaches_is_not_noted() -> None:
    rule = "  - { name: r, when: \"s == 'x' || ['a', 'b'].exists(a, s.contains(a))\", use: [m] }"
    pairs = "model.capabilities.exists(a, model.capabilities.exists(b, a == b))"
    require = f'constraints:\n  - {{ name: c, require: "{pairs}" }}'
    assert _notes(rule, require) == []
