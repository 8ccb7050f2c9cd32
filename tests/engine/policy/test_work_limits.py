"""Policies that are too much work: refused before any of it is done, with the part that weighs most."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.policy_texts import compiled, problems_of

from routewright.engine.condition import check_expr
from routewright.engine.condition.check.work import LARGEST, work_of
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import State, Task
from routewright.engine.policy import limits
from routewright.engine.policy.compile import budget, report
from routewright.engine.policy.compile import policy as compiling
from routewright.engine.policy.compile.budget import sizes_by_name
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.engine.report.errors import FeatureError
from routewright.engine.report.problems import MAX_PROBLEMS

_ROOT = Path(__file__).resolve().parents[3]
_FEATURES = "  n: { type: integer }\n  s: { type: string }\n  xs: { type: array, items: string }\n"
_NESTED = "model.capabilities.exists(a, model.capabilities.exists(b, a == b && b == 'x'))"


def _text(
    conditions: list[str], *, features: str = _FEATURES, models: int = 1, model: str = "", more: str = ""
) -> str:
    listed = "".join(f"    m{i}: {{ backend: o{model} }}\n" for i in range(models))
    rules = "".join(f'  - {{ name: r{i}, when: "{when}", use: [m0] }}\n' for i, when in enumerate(conditions))
    head = "routewright: 1\nname: p\ncatalog:\n  routewright: 1\n  backends: { o: { kind: ollama } }\n  models:\n"
    return f"{head}{listed}features:\n{features}rules:\n{rules}{more}"


def _decision_work(policy: CompiledPolicy) -> int:
    known = sizes_by_name(policy.features, policy.catalog)
    return sum(work_of(condition.expr, policy.sizes, known) for condition in policy.conditions)


def _refuse_to_compile(*_: Any) -> Any:
    raise AssertionError("a condition is compiled before the work is known to be within its limits")


def test_nested_constraints_over_many_models_are_refused_before_one_is_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "compile_function", _refuse_to_compile)
    capabilities = ", ".join(f"c{i}" for i in range(100))
    constraints = "".join(f'  - {{ name: k{i}, require: "{_NESTED}" }}\n' for i in range(25))
    text = _text(
        ["true"], models=60, model=f", capabilities: [{capabilities}]", more=f"constraints:\n{constraints}"
    )
    (problem,) = problems_of(text)
    assert (problem.code, problem.path) == ("too-much-work", ("constraints", 0, "require"))
    assert problem.line == text[: text.index(_NESTED)].count("\n") + 1
    counted = re.fullmatch(
        r"loading the policy takes up to ([\d,]+) steps, at most 100,000,000 are allowed: the most work is constraint "
        r"`k0`, with ([\d,]+) for 60 models",
        problem.message,
    )
    assert counted is not None
    total, heaviest = (int(number.replace(",", "")) for number in counted.groups())
    # The condition inside is taken for each pair of 100 capabilities.
    assert total == 25 * heaviest >= 25 * 60 * 100 * 100 * 7
    assert problem.help is not None and "nest `exists` and `all` less" in problem.help


def test_heavy_patterns_over_a_long_default_are_refused_before_one_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "compile_function", _refuse_to_compile)
    features = f"  s: {{ type: string, default: {'ab' * 2_048} }}\n"
    text = _text([f"s.matches('a[ab]{{{200 + i}}}c')" for i in range(200)], features=features)
    (problem,) = problems_of(text)
    assert (problem.code, problem.path) == ("too-much-work", ("rules", 199, "when"))
    assert "at most 50,000,000 are allowed: the most work is rule `r199`" in problem.message
    assert problem.help is not None and problem.help.endswith(
        "this is for strings of 4,096 characters and arrays of 100 elements"
    )


def test_heaviest_condition_of_any_kind_is_the_one_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_DECISION_WORK", 20_000)
    heavy = "s.matches('a[ab]{20}c')"
    places = {
        ("rules", 1, "when"): _text(["n > 1", heavy]),
        ("constraints", 0, "when"): _text(
            ["n > 1"], more=f'constraints:\n  - {{ name: k, when: "{heavy}", require: true }}\n'
        ),
        ("constraints", 1, "require"): _text(
            ["n > 1"],
            more="constraints:\n  - { name: off, disabled: true, require: true }\n"
            f'  - {{ name: k, require: "{heavy}" }}\n',
        ),
        ("controls", 1, "for"): _text(
            ["n > 1"],
            more="controls:\n  - { name: q, max_requests: 5, per: day }\n"
            f'  - {{ name: e, of: q, reserve: 10%, for: "{heavy}" }}\n',
        ),
    }
    for path, text in places.items():
        (problem,) = problems_of(text)
        assert (problem.code, problem.path) == ("too-much-work", path)


def test_values_may_be_as_long_as_the_conditions_can_take() -> None:
    policy = compiled(_text([f"s.matches('a[ab]{{{20 + i}}}c')" for i in range(50)]))
    assert LARGEST > policy.sizes > limits.LEAST_SIZES
    assert _decision_work(policy) <= limits.MAX_DECISION_WORK
    known = sizes_by_name(policy.features, policy.catalog)
    twice = type(policy.sizes)(2 * policy.sizes.elements, 2 * policy.sizes.characters)
    assert sum(work_of(c.expr, twice, known) for c in policy.conditions) > limits.MAX_DECISION_WORK

    def outcome(**features: object) -> str:
        return decide(policy, Task(features), State(0), decision_id="d").outcome

    elements, characters = policy.sizes
    assert outcome(s="x" * characters, xs=["x"] * elements) == "no_match"
    for features, said in (
        (
            {"s": "x" * (characters + 1)},
            f"feature `s`: {characters + 1:,} characters are more than {characters:,}",
        ),
        (
            {"xs": ["x"] * (elements + 1)},
            f"feature `xs`: {elements + 1:,} elements are more than {elements:,}",
        ),
        (
            {"xs": ["x" * characters, "y"]},
            f"feature `xs`: {characters + 1:,} characters are more than {characters:,}",
        ),
    ):
        with pytest.raises(FeatureError) as raised:
            outcome(**features)
        assert str(raised.value) == said
        assert raised.value.help is not None


def test_arrays_of_every_kind_are_bounded_and_what_an_enum_lists_is_not() -> None:
    long = "y" * 30_000
    features = (
        f"{_FEATURES}  es: {{ type: array, items: string, enum: [a, b] }}\n"
        f"  ns: {{ type: array, items: integer }}\n  e: {{ type: string, enum: [a, {long}] }}\n"
    )
    policy = compiled(_text([f"s.matches('a[ab]{{{20 + i}}}c')" for i in range(50)], features=features))
    elements = policy.sizes.elements
    assert policy.sizes.characters < len(long)

    def outcome(**features: object) -> str:
        return decide(policy, Task(features), State(0), decision_id="d").outcome

    assert outcome(e=long, s="x") == "no_match"
    for name, value in (("es", "a"), ("ns", 1)):
        assert outcome(**{name: [value] * elements}, s="x") == "no_match"
        with pytest.raises(FeatureError, match=f"^feature `{name}`: {elements + 1:,} elements are more than"):
            outcome(**{name: [value] * (elements + 1)})


def test_keywords_in_a_hundred_rules_take_long_prompts() -> None:
    policy = compiled(_text([rf"s.matches(r'(?i)\\b(sql{i}|postgres)\\b')" for i in range(100)]))
    assert policy.sizes.characters == 125_000


def test_ten_thousand_plain_rules_fit_over_a_thousand_models() -> None:
    policy = compiled(_text([f"n == {i}" for i in range(10_000)], models=1_000))
    assert len(policy.rules) == 10_000
    assert _decision_work(policy) == 30_000
    assert policy.sizes == LARGEST
    values = [None] * len(policy.parameters)
    values[0] = 9_999  # type: ignore[call-overload]
    assert policy.evaluate(values).index(True) == 9_999


_SHIPPED = [
    file
    for file in sorted((_ROOT / "policies").glob("*.yaml"))
    if "\nrules:" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", _SHIPPED, ids=lambda file: file.name)
def test_policies_that_ship_use_a_small_part(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    source = read_policy(text, file.name)
    catalog = source.shape.catalog
    given = None
    if isinstance(catalog, str):
        given = read_catalog((file.parent / catalog).read_text(encoding="utf-8"), catalog)
    policy = compile_policy(source, given)
    assert policy.sizes == LARGEST
    assert _decision_work(policy) < limits.MAX_DECISION_WORK / 100


def test_conditions_of_a_policy_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr(report, "MAX_POLICY_PARTS", 30)

    def counted(*args: Any, **options: Any) -> Any:
        checked.append(args)
        return check_expr(*args, **options)

    monkeypatch.setattr(report, "check_expr", counted)
    assert problems_of(_text(["n == 1"] * 10)) == ()
    checked.clear()
    (problem,) = problems_of(_text(["n == 1"] * 12))
    assert (problem.code, problem.path) == ("too-many-parts", ("rules", 10, "when"))
    assert len(checked) == 10


def test_patterns_of_a_policy_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_POLICY_PROGRAM", 100)
    assert problems_of(_text(["s.matches('[ab]{30}')"] * 20)) == ()  # one pattern
    (problem,) = problems_of(_text([f"s.matches('[ab]{{{30 + i}}}')" for i in range(20)]))
    assert (problem.code, problem.path) == ("too-many-patterns", ("rules", 2, "when"))


def test_chains_count_in_every_rule_that_falls_back_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_LISTED_CANDIDATES", 102)
    text = _text(["true"] * 12, models=10, more=f"chains:\n  c: [{', '.join(f'm{i}' for i in range(10))}]\n")
    assert problems_of(text.replace("use: [m0]", "use: [m0], fallback: c", 10)) == ()
    (problem,) = problems_of(text.replace("use: [m0]", "use: [m0], fallback: c"))
    assert (problem.code, problem.path) == ("too-many-candidates", ("rules", 10))


def test_what_was_meant_is_not_looked_for_once_no_more_problems_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def counted(name: str, *_: object, **__: object) -> str:
        asked.append(name)
        return "hint"

    monkeypatch.setattr("routewright.engine.policy.compiled.suggest", counted)
    names = ", ".join(f"unknown{i}" for i in range(100))
    problems = problems_of(_text(["true"] * 5).replace("use: [m0]", f"use: [{names}]"))
    assert len(problems) == MAX_PROBLEMS
    assert len(asked) == MAX_PROBLEMS


def test_lost_keys_are_compared_once_however_often_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def counted(name: str, known: list[str]) -> str:
        asked.append(name)
        return known[0]

    monkeypatch.setattr(report, "closest", counted)
    text = _text(["true"] * 50).replace("use: [m0]", "use: [m0], fallback: c")
    assert [problem.code for problem in problems_of(text + "chaims:\n")] == ["unknown-key"]
    assert asked.count("chains") == 1


def test_page_says_the_limits() -> None:
    page = (_ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    table = page[page.index("| limit of a policy | value |") :].split("\n\n")[0].splitlines()[2:]
    shown = [int(line.split("|")[2].replace(",", "")) for line in table]
    assert shown == [
        limits.MAX_POLICY_PARTS,
        limits.MAX_POLICY_PROGRAM,
        limits.MAX_LISTED_CANDIDATES,
        limits.MAX_LOAD_WORK,
        limits.MAX_DECISION_WORK,
        limits.LEAST_SIZES.characters,
        limits.LEAST_SIZES.elements,
        limits.MAX_SEARCH_WORK,
    ]
    assert (
        len(shown) == len([name for name in vars(limits) if name.isupper()]) + 1
    )  # LEAST_SIZES are two numbers
