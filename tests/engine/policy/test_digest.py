"""A digest covers what a policy means: not how it is written, and everything that changes a decision."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML
from support.policy_texts import WHOLE, compiled
from support.records import record_bytes

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import State, Task
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.report_tree import explanation_tree
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.report.tree import render_tree

DIGEST = compiled(WHOLE).digest


def replaced(old: str, new: str) -> str:
    assert WHOLE.count(old) >= 1, old
    return WHOLE.replace(old, new, 1)


_HOUR = "  h: { type: integer, from: time.hour, timezone: UTC }\n"

_OLLAMA = """\
    ollama:
      kind: ollama
      host: https://ollama.com
      api_key: ${KEY}
      location: cloud
      requires_signin: false
      min_version: 0.1.2
      memory_gb: 24
      headers: { X-Title: t }
      query: { v: w }
      proxy: http://proxy.example.org:3128
"""
_C_BEFORE_B = "    c: { backend: mlx }\n    b: { backend: ollama }\n"

SAME = {
    "comment": WHOLE.replace("\n", "   # why\n"),
    "blank lines": WHOLE.replace("\nrules:", "\n\n\nrules:"),
    "description of the policy": replaced("every key there is", "another text"),
    "description of a backend": replaced("      description: d\n", ""),
    "description of a feature": replaced("description: d, sensitive", "description: e, sensitive"),
    "unit": replaced(", unit: u", ""),
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
    "order of models": replaced("    b: { backend: ollama }\n    c: { backend: mlx }\n", _C_BEFORE_B),
    "order of backends": WHOLE.replace(_OLLAMA, "").replace("  backends:\n", f"  backends:\n{_OLLAMA}"),
    "a tag that is the id": replaced("b: { backend: ollama }", "b: { backend: ollama, tag: b }"),
    "operations that the kind has anyway": replaced(
        "    ollama:\n", "    ollama:\n      operations: [embed, chat]\n"
    ),
    "a zone that is the default": replaced(", timezone: UTC }", " }"),
    "a whole number written as a fraction": replaced("output: 2,", "output: 2.0,"),
    "a limit written as a fraction": replaced("minimum: 0,", "minimum: 0.0,"),
    "a chain that no rule uses": replaced("chains:\n", "chains:\n  spare: [c]\n"),
}

OTHER = {
    # Which feature a refusal names, and in which order changes are told, follows from it.
    "order of features": WHOLE.replace(_HOUR, "").replace("features:\n", f"features:\n{_HOUR}"),
    # Explanations list what is taken out.
    "a rule that is taken out": replaced("chains:", "  - { name: r5, use: [a], disabled: true }\nchains:"),
    "the judge": replaced("combine: judge, judge: a", "combine: judge, judge: b"),
    "the override": replaced("override: a }", "override: b }"),
    "name of the catalog": replaced("  name: c\n", "  name: d\n"),
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
    "condition that ends a canary": replaced("plus: 0.5", "plus: 0.6"),
    "when a canary is promoted": replaced(
        "promote_when: [{ metric: success", "promote_when: [{ metric: latency_ms"
    ),
    "mode of a rollout": WHOLE[: WHOLE.index("rollout:")] + "rollout: { candidate: f.yaml, mode: shadow }",
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


@pytest.mark.parametrize(
    ("old", "one", "other"),
    [
        ("aliases: [aa]", "aliases: [aa, bb]", "aliases: [bb, aa]"),
        (
            "      operations: [chat]\n",
            "      operations: [chat, embed]\n",
            "      operations: [embed, chat]\n",
        ),
        ("    on: [a]\n", "    on: [a, b]\n", "    on: [b, a]\n"),
        ("    on: [a]\n", "    on: [a, b, c, served, stayed, filed]\n", ""),
    ],
)
def test_digest_does_not_change_with_the_order_of(old: str, one: str, other: str) -> None:
    digest = compiled(replaced(old, one)).digest
    assert digest == compiled(replaced(old, other)).digest != DIGEST


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER.keys())
def test_digest_changes_with(text: str) -> None:
    assert compiled(text).digest != DIGEST


@pytest.mark.parametrize("number", [1, 2])
def test_two_controls_that_bind_as_many_models_differ(number: int) -> None:
    """All models are written as one word, and only they."""
    controls = {compiled(replaced("    on: [a]\n", f"    on: {on}\n")).digest for on in _OF_SIZE[number]}
    assert len(controls) == 3


_OF_SIZE = {1: ("[a]", "[b]", "[c]"), 2: ("[a, b]", "[a, c]", "[b, c]")}


def test_digest_is_the_same_in_another_layout() -> None:
    from io import StringIO

    written = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub knows no value but None
    # PyYAML's way of writing: block style, other quotes.
    yaml.dump(YAML(typ="safe", pure=True).load(WHOLE), written)
    assert written.getvalue() != WHOLE
    assert compiled(written.getvalue()).digest == DIGEST


def test_the_file_name_is_no_part_of_the_digest() -> None:
    assert compiled(WHOLE, "elsewhere/other.yaml").digest == DIGEST


@pytest.mark.parametrize("combine", ["judge", "consensus_or_override"])
def test_another_model_has_another_digest_in_whatever_order_the_catalog_lists_them(combine: str) -> None:
    def policy(models: str, chosen: str) -> CompiledPolicy:
        listed = ", ".join(f"{model}: {{ backend: m }}" for model in models)
        key = "judge" if combine == "judge" else "override"
        members = f"members: [a, b, {chosen}]" if key == "override" else "members: [a, b]"
        return compiled(
            "routewright: 1\nname: p\n"
            f"catalog: {{ routewright: 1, backends: {{ m: {{ kind: ollama }} }}, models: {{ {listed} }} }}\n"
            f"rules: [{{ name: r, ensemble: {{ {members}, combine: {combine}, {key}: {chosen} }} }}]\n"
        )

    first, second = policy("abcd", "c"), policy("abdc", "d")
    assert first.catalog.digest == second.catalog.digest
    assert first.digest != second.digest
    assert first.digest == policy("dcba", "c").digest


def test_the_order_of_models_and_backends_changes_no_decision() -> None:
    one = compiled(WHOLE)
    other = compiled(replaced("    b: { backend: ollama }\n    c: { backend: mlx }\n", _C_BEFORE_B))
    for features in ({"x": True}, {"n": 7}, {}):
        task, state = Task(features, draw=0.3), State(1_767_225_600_000_000)
        made = [decide(policy, task, state, decision_id="d") for policy in (one, other)]
        assert record_bytes(made[0]) == record_bytes(made[1])
        trees = [render_tree(explanation_tree(explain(decision.policy, decision))) for decision in made]
        assert trees[0] == trees[1]
