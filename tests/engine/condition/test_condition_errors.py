"""What the author sees for each mistake: the condition, the underlined text, the message and the help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Declaration,
    ListType,
    check_expr,
    parse_condition,
    parse_expr,
)
from routewright.engine.report.errors import ConditionError
from routewright.engine.report.problems import Problem

SCOPE = {
    "requires_moe": Declaration(BOOLEAN),
    "urgent": Declaration(BOOLEAN),
    "context_length": Declaration(INTEGER),
    "complexity": Declaration(NUMBER),
    "task_type": Declaration(STRING, enum=("chat", "embedding", "rerank")),
    "team": Declaration(STRING),
    "tags": Declaration(ListType(STRING)),
    "operations": Declaration(ListType(STRING), enum=("chat", "embed")),
    "model.location": Declaration(STRING, enum=("local", "cloud"), kind="model"),
}

GOLDEN = Path(__file__).with_name("condition_errors.txt")


def problems_of(condition: object) -> tuple[Problem, ...]:
    with pytest.raises(ConditionError) as raised:
        check_expr(parse_condition(condition), SCOPE)
    return raised.value.problems


def shown(expression: str) -> str:
    """The expression and, for each problem, a line under it."""
    lines = [expression]
    for problem in problems_of(expression):
        assert problem.span is not None
        marks = " " * problem.span.start + "^" * (problem.span.end - problem.span.start)
        lines.append(f"{marks} {problem.code}: {problem.message}")
        if problem.help:
            lines.append(f"{' ' * problem.span.start}  help: {problem.help}")
    return "\n".join(lines)


def golden_blocks() -> list[str]:
    text = GOLDEN.read_text(encoding="utf-8")
    return [block for block in text.strip("\n").split("\n\n") if not block.startswith("# ")]


@pytest.mark.parametrize("block", golden_blocks(), ids=lambda block: block.splitlines()[0])
def test_mistake_is_shown_as_in_the_file(block: str) -> None:
    assert shown(block.splitlines()[0]) == block


def test_problems_of_all_leaves_of_a_structured_condition_are_reported() -> None:
    problems = problems_of({"any": ["urgent &&", {"all": ["a = 1", "requires_moe"]}]})
    assert [(p.span.part, p.code) for p in problems if p.span] == [
        (("any", 0), "unexpected"),
        (("any", 1, "all", 0), "bad-operator"),
    ]
    problems = problems_of({"all": ["foo", "context_length", {"none": ["task_type == 'x'"]}]})
    assert [(p.span.part, p.span.start, p.code) for p in problems if p.span] == [
        (("all", 0), 0, "unknown-name"),
        (("all", 1), 0, "not-boolean"),
        (("all", 2, "none", 0), 13, "not-in-enum"),
    ]


@pytest.mark.parametrize(
    ("condition", "code", "message"),
    [
        (None, "empty", "the condition is empty"),
        ("  ", "empty", "the condition is empty"),
        (3, "not-a-condition", "a number is not a condition"),
        (["a"], "not-a-condition", "a list is not a condition"),
        ({}, "bad-group", "a group of conditions has one key, not 0"),
        ({"any": ["a"], "all": ["b"]}, "bad-group", "a group of conditions has one key, not 2"),
        ({"anny": ["a"]}, "bad-group", "unknown group `anny`"),
        ({"any": []}, "bad-group", "`any` takes a list of at least one condition"),
        ({"any": "a"}, "bad-group", "`any` takes a list of at least one condition"),
        ({"any": [3]}, "not-a-condition", "a number is not a condition"),
    ],
)
def test_what_is_no_condition_is_refused(condition: object, code: str, message: str) -> None:
    (problem,) = problems_of(condition)
    assert (problem.code, problem.message) == (code, message)
    assert problem.span is not None


def test_problems_are_limited_and_each_name_is_reported_once() -> None:
    assert len(problems_of(" || ".join(f"x{i}" for i in range(500)))) == 20
    assert len(problems_of("foo && foo && foo")) == 1
    assert len(problems_of("urgent + urgent + urgent + urgent > foo + 1")) == 2


def test_every_code_of_the_checker_and_parser_has_a_case() -> None:
    cases = GOLDEN.read_text(encoding="utf-8")
    sources = Path(parse_expr.__code__.co_filename).parents[1].rglob("*.py")
    codes = set()
    for source in sources:
        codes |= set(re.findall(r'"([a-z]+(?:-[a-z]+)+)",? f?r?["\n]', source.read_text(encoding="utf-8")))
    elsewhere = {"too-long", "too-deep", "bad-group", "not-a-condition"}
    assert [code for code in sorted(codes - elsewhere) if f" {code}: " not in cases] == []


@pytest.mark.parametrize(("group", "meant"), [("or", "any"), ("AND", "all"), ("not", "none")])
def test_a_group_by_the_name_of_an_operator_is_told_its_own(group: str, meant: str) -> None:
    (problem,) = problems_of({group: ["urgent"]})
    assert problem.help == f"did you mean `{meant}`?"
