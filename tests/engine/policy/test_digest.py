"""A digest covers what a policy means: not how it is written, and everything that changes a decision."""

from __future__ import annotations

import pytest
from policy_texts import WHOLE, compiled
from ruamel.yaml import YAML

DIGEST = compiled(WHOLE).digest


def replaced(old: str, new: str) -> str:
    assert WHOLE.count(old) >= 1, old
    return WHOLE.replace(old, new, 1)


_HOUR = "  h: { type: integer, from: time.hour, timezone: UTC }\n"

SAME = {
    "comment": WHOLE.replace("\n", "   # why\n"),
    "blank lines": WHOLE.replace("\nrules:", "\n\n\nrules:"),
    "description of the policy": replaced("every key there is", "another text"),
    "description of a backend": replaced("      description: d\n", ""),
    "description of a feature": replaced("description: d, sensitive", "description: e, sensitive"),
    "unit": replaced(", unit: u", ""),
    "order of features": WHOLE.replace(_HOUR, "").replace("features:\n", f"features:\n{_HOUR}"),
    "order of keys": replaced("    when: x\n    use: [a, b]\n", "    use: [a, b]\n    when: x\n"),
    "a default that is said": replaced("    fallback: [a]\n", "    fallback: [a]\n    on_unknown: skip\n"),
    "always": replaced("- { name: r3,", "- { name: r3, when: true,"),
    "an alias": replaced("    use: [a, b]\n", "    use: [aa, b]\n"),
    "backend and tag": replaced("    use: [a, b]\n", "    use: ['mlx:t', b]\n"),
    "blanks in a condition": replaced("n > 5", "n>5"),
    "brackets in a condition": replaced("n > 5", "(n > 5)"),
    "the candidate's file": replaced("candidate: f.yaml", "candidate: g.yaml"),
    "a path": replaced("${MODELS}/mlx", "/models"),
    "the name of a secret": replaced("${KEY}", "${OTHER}"),
    "a number written otherwise": replaced("concurrency: 2", "concurrency: 0x2"),
    "an amount written otherwise": replaced("cached_input: 0.5", "cached_input: 5e-1"),
    "a duration written otherwise": replaced("cache_ttl: 1h", "cache_ttl: 60m"),
    "a rule that is taken out": replaced("chains:", "  - { name: r5, use: [a], disabled: true }\nchains:"),
}

OTHER = {
    "name": replaced("name: p", "name: q"),
    "condition": replaced("n > 5", "n >= 5"),
    "order of rules": WHOLE.replace("name: r3", "name: r0").replace("name: r4", "name: r3"),
    "reason": replaced("    reason: r\n", "    reason: s\n"),
    "on_unknown": replaced("on_unknown: skip", "on_unknown: match"),
    "weights": replaced("a: 1, b: 2", "a: 1, b: 3"),
    "salt": replaced("salt: s }", "salt: t }"),
    "chain": replaced("ch: [a,", "ch: [c, a,"),
    "what a chain is without": replaced("disabled: true, reason: r }", "disabled: true, reason: s }"),
    "step": replaced("rounds: 2", "rounds: 3"),
    "quorum": replaced("quorum: 1", "quorum: 2"),
    "label": replaced("label: (a)", "label: (b)"),
    "constraint": replaced("model.backend == 'mlx'", "model.backend != 'mlx'"),
    "limit": replaced("max_requests: 100", "max_requests: 101"),
    "reserve": replaced("20%", "21%"),
    "condition of a reserve": replaced("for: x }", "for: '!x' }"),
    "what a control binds": replaced("    on: [a]\n", "    on: [a, b]\n"),
    "assertion": replaced("never: x", "never: n > 5"),
    "rollout": replaced("percent: 5%", "percent: 6%"),
    "key of a rollout": replaced("percent: 5%, key: n", "percent: 5%, key: x"),
    "mode of a rollout": replaced("mode: canary, percent: 5%", "mode: shadow"),
    "default": replaced("default: 5,", "default: 6,"),
    "minimum": replaced("minimum: 0", "minimum: 1"),
    "needs": replaced("needs: vision, ", ""),
    "capability": replaced("capabilities: [vision]", "capabilities: [vision, tools]"),
    "price": replaced("output: 2", "output: 3"),
    "context length": replaced("context_length: 100", "context_length: 101"),
    "where a backend is": replaced("      location: cloud\n", ""),
    "whether a server does its work itself": replaced("      stays: true\n", ""),
    "a name of a model": replaced("aliases: [aa]", "aliases: [aa, ab]"),
    "a model that is taken out": replaced("c: { backend: mlx }", "c: { backend: mlx, disabled: true }"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_digest_does_not_change_with(text: str) -> None:
    assert text != WHOLE
    assert compiled(text).digest == DIGEST


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER.keys())
def test_digest_changes_with(text: str) -> None:
    assert compiled(text).digest != DIGEST


def test_digest_is_the_same_in_another_layout() -> None:
    from io import StringIO

    written = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    # PyYAML's way of writing: sorted keys, block style, other quotes.
    yaml.dump(YAML(typ="safe", pure=True).load(WHOLE), written)
    assert written.getvalue() != WHOLE
    assert compiled(written.getvalue()).digest == DIGEST


def test_the_file_name_is_no_part_of_the_digest() -> None:
    assert compiled(WHOLE, "elsewhere/other.yaml").digest == DIGEST
