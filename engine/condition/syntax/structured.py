"""Parses conditions as YAML gives them, and finds the lines of their problems where they stand in no file.

A condition is a text, a boolean, or a group: `{any: […]}` is `||`, `{all: […]}` is `&&`, and
`{none: […]}` is `!(… || …)`; groups nest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ...report import ConditionError, Problem, Span, suggest
from ..limits import MAX_CONDITION_PARTS, MAX_EXPRESSION_LENGTH, MAX_NESTING, MAX_PROBLEMS
from .expr import Expr, Literal, Logical, Unary, walk
from .parser import parse_expr

_OPERATORS = {"any": "||", "all": "&&", "none": "||"}

_Part = tuple[str | int, ...]


def parse_condition(value: object) -> Expr:
    """Return the expression that `value` says: a str, a bool, or nested `any`, `all` and `none` groups.

    Spans carry the path to their leaf as `part`, such as `("any", 0)`.  Raises ConditionError with the
    problems of all leaves.
    """
    reader = _Reader()
    expr = reader.read(value, (), 1)
    if reader.problems:
        raise ConditionError(reader.problems[:MAX_PROBLEMS])
    assert expr is not None
    if max(depth for _, depth in walk(expr)) > MAX_NESTING:
        raise ConditionError([_too_deep(())])
    return expr


def _too_deep(part: _Part) -> Problem:
    return Problem(
        "too-deep", f"the condition is nested more than {MAX_NESTING} levels deep", None, Span(0, 1, part)
    )


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.parts = 0
        self.characters = 0

    def problem(self, code: str, message: str, part: _Part, help: str | None = None) -> None:
        self.problems.append(Problem(code, message, help, Span(0, 1, part)))

    def read(self, value: object, part: _Part, depth: int) -> Expr | None:
        """The expression at `part`, or None after noting what is wrong with it."""
        self.parts += 1
        if self.parts > MAX_CONDITION_PARTS:
            if self.parts == MAX_CONDITION_PARTS + 1:
                self.problem("too-long", f"the condition has more than {MAX_CONDITION_PARTS} parts", part)
            return None
        if isinstance(value, bool):
            return Literal(value, Span(0, 1, part))
        if isinstance(value, str):
            self.characters += len(value)
            if self.characters > MAX_EXPRESSION_LENGTH >= len(value):
                self.problem(
                    "too-long", f"the condition has more than {MAX_EXPRESSION_LENGTH} characters", part
                )
                return None
            try:
                return parse_expr(value, part=part)
            except ConditionError as error:
                self.problems.extend(error.problems)
                return None
        if isinstance(value, Mapping):
            return self.group(value, part, depth)
        self.not_a_condition(value, part)
        return None

    def not_a_condition(self, value: object, part: _Part) -> None:
        help = "write a condition as text, or `any:`, `all:` or `none:` with a list of conditions"
        if value is None:
            self.problem("empty", "the condition is empty", part, "write `true` for always")
        elif isinstance(value, list | tuple):
            self.problem("not-a-condition", "a list is not a condition", part, help)
        else:
            kind = "number" if isinstance(value, int | float) else type(value).__name__
            self.problem("not-a-condition", f"a {kind} is not a condition", part, help)

    def group(self, value: Mapping[object, object], part: _Part, depth: int) -> Expr | None:
        if depth > MAX_NESTING:
            self.problems.append(_too_deep(part))
            return None
        if len(value) != 1:
            self.problem(
                "bad-group",
                f"a group of conditions has one key, not {len(value)}",
                part,
                "nest `any:`, `all:` and `none:` inside one another",
            )
            return None
        ((key, items),) = value.items()
        if not isinstance(key, str) or key not in _OPERATORS:
            name = key if isinstance(key, str) else repr(key)
            meant = {"or": "any", "and": "all", "not": "none", "nor": "none"}.get(name.lower())
            help = f"did you mean `{meant}`?" if meant else suggest(name, _OPERATORS, label="groups")
            self.problem("bad-group", f"unknown group `{name[:60]}`", part, help)
            return None
        part = (*part, key)
        if not isinstance(items, list | tuple) or not items:
            self.problem("bad-group", f"`{key}` takes a list of at least one condition", part)
            return None
        parts = [self.read(item, (*part, index), depth + 1) for index, item in enumerate(items)]
        read = tuple(expr for expr in parts if expr is not None)
        if len(read) < len(parts):
            return None
        span = Span(0, 1, part)
        expr = read[0] if len(read) == 1 else Logical(_OPERATORS[key], read, span)
        return Unary("!", expr, span) if key == "none" else expr


def with_source_lines(problems: Iterable[Problem], condition: object) -> list[Problem]:
    """Return the problems with `source_line`, `column` and `width` filled in from their spans.

    `condition` is what was parsed: a text, or groups of texts, of which each span names its part.
    """
    return [_with_line(problem, condition) for problem in problems]


def _with_line(problem: Problem, condition: object) -> Problem:
    span = problem.span
    if span is None:
        return problem
    for step in span.part:
        if isinstance(condition, Mapping) and step in condition:
            condition = condition[step]
        elif isinstance(condition, Sequence) and isinstance(step, int) and step < len(condition):
            condition = condition[step]
    if not isinstance(condition, str):
        return problem
    start = condition.rfind("\n", 0, span.start) + 1
    end = condition.find("\n", start)
    line = condition[start : len(condition) if end < 0 else end]
    width = max(1, min(span.end, start + len(line)) - span.start)
    return replace(problem, source_line=line, column=span.start - start + 1, width=width)
