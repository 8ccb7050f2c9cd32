"""The work of conditions: a bound that grows with everything that evaluating grows with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

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
    parse_condition,
)
from routewright.engine.condition.check.typed import Apply, walk_typed
from routewright.engine.condition.check.work import LARGEST, Sizes, work_of
from routewright.engine.condition.library.operations import OPERATIONS
from routewright.engine.condition.limits import MAX_FEATURE_STRING_LENGTH
from routewright.engine.condition.targets import python as bytecode
from routewright.engine.condition.targets.python import compile_function
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
    assert three > 20 * two


def test_list_longer_than_a_macro_takes_adds_no_work() -> None:
    expr = _checked("xs.exists(x, ys.exists(y, x == y))").expr
    assert work_of(expr, Sizes(169, 10)) < work_of(expr, Sizes(170, 10)) * 1.01
    assert work_of(expr, Sizes(10_000, 10)) == work_of(expr, Sizes(5_000, 10))


def test_names_whose_sizes_are_known_count_with_them() -> None:
    expr = _checked("xs.exists(x, x.contains('y'))").expr
    assert work_of(expr, LARGEST, {"xs": Sizes(3, 30)}) == work_of(expr, Sizes(3, 30))


@pytest.mark.parametrize(
    ("pattern", "is_words"),
    [
        (r"(?i)\\b(sql|join)\\b", True),
        ("postgres", True),
        ("^a|b c|d$", True),
        ("(ab)(ab)(ab)", False),
        ("((a|b)c|d)", False),
        ("a[bc]", False),
        ("ab*", False),
        ("a.c", False),
        (r"a\\.c", True),
        (r"a\\dc", False),
        ("(?i)(перевод|übersetz|traduire|翻译)", True),
    ],
)
def test_pattern_of_words_alone_counts_by_characters(pattern: str, is_words: bool) -> None:
    expr = _checked(f"s.matches('{pattern}')").expr
    grown = work_of(expr, Sizes(1, 20_000)) - work_of(expr, Sizes(1, 10_000))
    assert grown == 30_000 if is_words else grown > 30_000


def test_a_long_list_of_words_counts_by_characters_while_its_states_are_few() -> None:
    words = [f"{first}{second}word" for first in "abcdefgh" for second in "abcdefgh"]
    listed = _checked(rf"s.matches(r'(?i)\b({'|'.join(words)})\b')").expr
    assert work_of(listed, Sizes(1, 20_000)) - work_of(listed, Sizes(1, 10_000)) == 30_000
    letters = "".join(map(chr, [*range(48, 58), *range(65, 91), *range(97, 123)]))
    random = Random(0)
    strange = "|".join("".join(random.choices(letters, k=40)) for _ in range(23))
    many_states = _checked(f"s.matches('{strange}')").expr
    assert work_of(many_states, Sizes(1, 20_000)) - work_of(many_states, Sizes(1, 10_000)) > 10_000_000


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
    compile_part = bytecode._compile_part

    def counted(part: Sequence[CheckedExpr], *names: Any) -> Any:
        parts.append(len(part))
        return compile_part(part, *names)

    monkeypatch.setattr(bytecode, "_NODES_AT_ONCE", 20)
    monkeypatch.setattr(bytecode, "_compile_part", counted)
    assert compile_function(conditions, list(_SCOPE))(values) == whole
    assert sum(parts) == len(conditions)
    assert len(parts) > 5
