"""Adds source lines to the problems of conditions that stand in no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ...report import Problem


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
