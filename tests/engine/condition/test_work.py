"""The work of conditions: a bound that grows with everything that evaluating grows with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    CheckedExpr,
    Declaration,
    ListType,
    check_expr,
    compile_function,
    parse_condition,
)
from routewright.engine.condition.check.typed import Apply, Bounded, walk_typed
from routewright.engine.condition.check.work import LARGEST, fits, work_of
from routewright.engine.condition.library import OPERATIONS
from routewright.engine.condition.library.declaration import Sizes
from routewright.engine.condition.limits import MAX_CONDITION_WORK, MAX_FEATURE_STRING_LENGTH
from routewright.engine.condition.patterns import program_size
from routewright.engine.condition.positions import TooMany
from routewright.engine.condition.search_steps import automaton_of, search_steps
from routewright.engine.condition.targets import codegen
from routewright.engine.condition.values import ValueRefused, check_value

_SCOPE = {
    "b": Declaration(BOOLEAN),
    "n": Declaration(INTEGER),
    "d": Declaration(NUMBER),
    "s": Declaration(STRING),
    "t": Declaration(STRING),
    "xs": Declaration(ListType(STRING)),
    "ys": Declaration(ListType(STRING)),
    "ns": Declaration(ListType(INTEGER)),
    "ds": Declaration(ListType(NUMBER)),
}

_BY_CHARACTERS = [
    "s == t",
    "s < t",
    "s.contains('x')",
    "s.contains(t)",
    "s.matches('sql')",
    "s.matches('a[ab]{20}c')",
    "s.lowerAscii() == 'x'",
    "s.upperAscii() == 'x'",
    "int(s) == 1",
    "double(s) == 1.0",
    "(s + t).contains('x')",
    "xs.exists(x, x.contains('y'))",
    "xs.all(x, s.contains(x))",
    "xs[0].contains('x')",
    "(b ? s : t).contains('x')",
    "[s, t].exists(x, x.contains('y'))",
]
_BY_ELEMENTS = [
    "xs == ys",
    "s in xs",
    "xs + ys == xs",
    "min(ns) == 1",
    "max(ns) == 1",
    "ns == ds",
    "xs.exists(x, x == 'y')",
    "xs.all(x, ys.exists(y, x == y))",
    "xs.exists(i, x, ys.all(j, y, i == j && x == y))",
    "(xs + ys).exists(x, x == 'y')",
]
_CONSTANT = [
    "b",
    "has(s)",
    "n == 1",
    "n in [1, 2, 3]",
    "s == 'x'",
    "s in ['x', 'y']",
    "size(s) == 1",
    "size(xs) == 1",
    "bool(s)",
    "s.startsWith('x')",
    "s.endsWith('x')",
    "n + 1 - 2 * 3 / 4 % 5 == -n",
    "d + 1.0 - 2.0 * 3.0 / 4.0 == -d",
    "int(d) == abs(n) && abs(d) > 1.0",
    "string(n) == string(d) || string(b) == 'x'",
    "max(n, 1) == min(n, 2)",
    "n < 1 || n <= 2 || n > 3 || n >= 4 || n != 5",
]


def _checked(text: str) -> CheckedExpr:
    return check_expr(parse_condition(text), _SCOPE)


def test_cases_name_every_operation() -> None:
    texts = [*_BY_CHARACTERS, *_BY_ELEMENTS, *_CONSTANT, "s.matches('" + ".{0,100}" * 8 + "x')"]
    nodes = itertools.chain.from_iterable(walk_typed(_checked(text).expr) for text in texts)
    assert {node.operation for node in nodes if isinstance(node, Apply)} == set(OPERATIONS)


@pytest.mark.parametrize("text", _BY_CHARACTERS)
def test_work_grows_with_characters(text: str) -> None:
    works = [work_of(_checked(text).expr, Sizes(10, 2_000 * 4**power)) for power in range(3)]
    assert works[0] < works[1] < works[2]


@pytest.mark.parametrize("text", _BY_ELEMENTS)
def test_work_grows_with_elements(text: str) -> None:
    works = [work_of(_checked(text).expr, Sizes(10 * 4**power, 10)) for power in range(3)]
    assert works[0] < works[1] < works[2]


@pytest.mark.parametrize("text", _CONSTANT)
def test_work_is_the_same_for_all_values(text: str) -> None:
    assert work_of(_checked(text).expr, Sizes(1, 64)) == work_of(_checked(text).expr, LARGEST) < 300


def test_body_of_nested_macros_counts_for_every_combination() -> None:
    sizes = Sizes(20, 100)
    one, two, three = (
        work_of(_checked(text).expr, sizes)
        for text in (
            "xs.exists(x, x == 'q')",
            "xs.exists(x, xs.exists(y, x == 'q'))",
            "xs.exists(x, xs.exists(y, xs.exists(z, x == 'q')))",
        )
    )
    assert two > 20 * one
    assert three > 19 * two


def test_body_of_a_macro_over_a_literal_counts_for_its_elements() -> None:
    expr = _checked("xs.exists(x, ['a', 'b'].exists(y, x == y))").expr
    nested = _checked("xs.exists(x, ys.exists(y, x == y))").expr
    assert work_of(expr, Sizes(100, 10)) < work_of(nested, Sizes(100, 10)) / 4


def test_condition_takes_no_more_than_its_bound_whatever_the_sizes() -> None:
    expr = _checked("xs.exists(x, ys.exists(y, x == y))").expr
    assert isinstance(expr, Bounded) and expr.limit == MAX_CONDITION_WORK
    assert work_of(expr, Sizes(1_000, 10)) < work_of(expr, LARGEST) < MAX_CONDITION_WORK / 90


def test_bound_is_on_the_product_of_the_sizes() -> None:
    within = fits(cast(Bounded, _checked("xs.exists(x, ys.exists(y, x == y))").expr))
    for few in (100, 200, 1_000, 5_000):
        assert within(("x",) * (50_000 // few), ("y",) * few)
        assert not within(("x",) * (70_000 // few), ("y",) * few)


def test_what_cheap_parts_leave_goes_to_the_others() -> None:
    heavy = "xs.exists(x, ys.exists(y, x == y))"
    cheap = "xs.exists(x, x == 'q')"
    (alone,), (beside,), both = (
        [node.limit for node in walk_typed(_checked(text).expr) if isinstance(node, Bounded)]
        for text in (heavy, f"{cheap} || {heavy}", f"{heavy} || {heavy}")
    )
    assert alone == MAX_CONDITION_WORK
    assert MAX_CONDITION_WORK * 0.8 < beside < alone
    assert both == [MAX_CONDITION_WORK // 2] * 2


def test_names_whose_sizes_are_known_count_with_them() -> None:
    expr = _checked("xs.exists(x, x.contains('y'))").expr
    assert work_of(expr, LARGEST, {"xs": Sizes(3, 30)}) == work_of(expr, Sizes(3, 30))


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("abc", 4),
        ("^abc", 5),
        ("a|b", 3),
        ("a*", 2),
        ("a+b", 3),
        ("a[ab]c", 5),
        ("a[ab]{3}c", 17),
        (r"\bab\b", 4),
        ("é", 3),
        ("(?i)k", 5),
        ("[a-c]x?", 3),
        ("a{2,3}", 4),
        ("a{2,}b", 4),
        ("a*?b", 3),
    ],
)
def test_states_of_a_pattern_are_counted(pattern: str, states: int) -> None:
    assert automaton_of(pattern, 1_000).states == states


@pytest.mark.parametrize(
    "pattern",
    ["a[ab]{20}c", ".{0,100}x", "(?s)a.b", r"\pL", "[[:alpha:]]", "[^\\D]", "(?P<n>a)", "a{500}", r"a\Bb"],
)
def test_pattern_that_is_not_counted_costs_all_its_instructions(pattern: str) -> None:
    with pytest.raises(TooMany):
        automaton_of(pattern, 5_000)
    assert search_steps(pattern, 1_000) > 2 * 1_000 * program_size(pattern)


@pytest.mark.parametrize(
    ("pattern", "passes"),
    [
        (r"(?i)\b(sql|join)\b", 1),
        ("(?i)(перевод|übersetz|traduire|翻译)", 1),
        ("^a|b c|d$", 1),
        ("a.{1,3}c", 1),
        (r"\b(a|b)\s+c", 2),
        (r"(?i)\b(write|draft)\s+(an?\s+)?(email|letter)", 2),
        (r"https?://\S+", 2),
    ],
)
def test_pattern_of_few_states_counts_by_characters(pattern: str, passes: int) -> None:
    assert search_steps(pattern, 20_000) - search_steps(pattern, 10_000) == passes * 30_000


def test_states_that_a_search_orders_count_by_their_order() -> None:
    # Of the first pattern, the order of what is tried makes more states than there are sets of positions.
    ordered = automaton_of("(a|b|ab|ba|aab)*?c", 100_000)
    plain = automaton_of("[ab]*c", 100_000)
    assert ordered.states > plain.states == 3


def test_states_on_the_way_back_from_a_match_count() -> None:
    # Backward, each `a` may be the one before which six letters stand.
    assert automaton_of("[ab]{6}a[ab]*c", 100_000).states >= 2**6


def test_a_long_list_of_words_counts_by_characters_while_its_states_are_few() -> None:
    words = [f"{first}{second}word" for first in "abcdefgh" for second in "abcdefgh"]
    listed = rf"(?i)\b({'|'.join(words)})\b"
    assert search_steps(listed, 20_000) - search_steps(listed, 10_000) == 30_000
    letters = "".join(map(chr, [*range(48, 58), *range(65, 91), *range(97, 123)]))
    random = Random(0)
    strange = "|".join("".join(random.choices(letters, k=40)) for _ in range(23))
    assert search_steps(strange, 20_000) - search_steps(strange, 10_000) > 10_000_000


def test_strings_of_an_array_are_bounded_together() -> None:
    half = "x" * (MAX_FEATURE_STRING_LENGTH // 2)
    assert check_value([half, half], ListType(STRING)) == (half, half)
    with pytest.raises(ValueRefused, match="the strings have more than 500000 characters in all"):
        check_value([half, half, "y"], ListType(STRING))


def test_conditions_compiled_in_parts_give_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = [_checked(text) for text in [*_BY_CHARACTERS, *_BY_ELEMENTS, *_CONSTANT]]
    values = [True, 1, 0.5, "x", "y", ("x", "y"), ("y",), (1, 2), (1.0,)]
    whole = compile_function(conditions, list(_SCOPE))(values)
    parts: list[int] = []
    compile_part = codegen._compile_part

    def counted(part: Sequence[CheckedExpr], *names: Any) -> Any:
        parts.append(len(part))
        return compile_part(part, *names)

    monkeypatch.setattr(codegen, "_NODES_AT_ONCE", 20)
    monkeypatch.setattr(codegen, "_compile_part", counted)
    assert compile_function(conditions, list(_SCOPE))(values) == whole
    assert sum(parts) == len(conditions)
    assert len(parts) > 5
