"""`docs/conditions.md` against the engine: every example, the function table, the truth table, the limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    FUNCTIONS,
    MACROS,
    UNKNOWN,
    Declaration,
    Function,
    evaluate,
    limits,
    render_value,
)

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "conditions.md").read_text(encoding="utf-8")
FEATURES = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.S)[0])


def rows(first_header: str) -> list[list[str]]:
    """The cells of the table whose first header this is."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(rf"\| {re.escape(first_header)} *\|", line))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


EXAMPLES = re.findall(r"^(\S.*?) +=> (.*)$", PAGE, re.M)


@pytest.mark.parametrize(("expression", "result"), EXAMPLES)
def test_example_has_the_result_shown(expression: str, result: str) -> None:
    value = evaluate(expression, FEATURES)
    assert value is UNKNOWN if result == "unknown" else repr(value) == repr(json.loads(result))


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 18


@pytest.mark.parametrize("function", [*FUNCTIONS.values(), *MACROS.values()], ids=lambda one: one.name)
def test_example_of_every_function_holds(function: Function) -> None:
    assert evaluate(function.example, FEATURES) is True


def test_truth_table_is_what_the_engine_does() -> None:
    scope = {name: Declaration(BOOLEAN) for name in "ab"}
    table = rows("`a`    ".strip())
    assert len(table) == 9
    for a, b, *results in table:
        features = {"a": {"true": True, "false": False}.get(a), "b": {"true": True, "false": False}.get(b)}
        values = [evaluate(text, features, scope) for text in ("a && b", "a || b", "!a")]
        assert ["unknown" if value is UNKNOWN else render_value(value) for value in values] == results


def test_limits_are_those_of_the_engine() -> None:
    shown = [int(row[1].replace(",", "")) for row in rows("limit")]
    assert shown == [
        limits.MAX_EXPRESSION_LENGTH,
        limits.MAX_NESTING,
        limits.MAX_CONDITION_PARTS,
        limits.MAX_LIST_LITERAL,
        limits.MAX_LIST_LENGTH,
        limits.MAX_STRING_LENGTH,
        limits.MAX_FEATURE_STRING_LENGTH,
        limits.MAX_PATTERN_LENGTH,
        limits.MAX_PATTERN_MEMORY,
        limits.MAX_PATTERNS,
        limits.MAX_MACRO_NESTING,
        limits.MAX_CONDITION_WORK,
        limits.MAX_PROBLEMS,
    ]


def test_macros_work_on_lists_as_long_as_the_page_says() -> None:
    expression = "xs.exists(x, ys.exists(y, x == y))"
    for few in (100, 1_000):
        assert evaluate(expression, {"xs": [1] * (50_000 // few), "ys": [2] * few}) is False
        assert evaluate(expression, {"xs": [1] * (70_000 // few), "ys": [2] * few}) is UNKNOWN
    assert evaluate("tags.exists(t, t == 'x')", {"tags": ["a"] * 10_000}) is False


def test_patterns_work_on_strings_as_long_as_the_page_says() -> None:
    features = {"s": "a" * 500_000}
    assert evaluate(r"s.matches('^a+$')", features) is True
    assert evaluate(r"s.matches(r'\b(a|b)\s+c')", features) is False
    assert evaluate("s.matches('" + ".{0,100}" * 8 + "x')", features) is UNKNOWN
    assert evaluate("s.matches('" + ".{0,100}" * 8 + "x')", {"s": "a" * 2_500}) is False
