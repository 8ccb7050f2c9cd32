"""Collects the problems of one file while it is compiled, and places each where the author wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..condition.checker import check_expr
from ..condition.structured import parse_condition
from ..condition.typed import CheckedExpr
from ..condition.types import BOOLEAN, Declaration, Type
from ..errors import ConditionError, Problem
from .nodes import Document, Node, Path
from .offsets import text_offsets
from .shape_problems import place_problem

__all__ = ["Report"]


class Report:
    """The problems of ``document``; ``set_aside`` are parts that could not be read and are not missed."""

    def __init__(self, document: Document, problems: Iterable[Problem], set_aside: Iterable[Path]) -> None:
        self.document = document
        self.problems: list[Problem] = list(problems)
        self.set_aside = frozenset(set_aside)

    def add(
        self, code: str, message: str, path: Path, help: str | None = None, *, at_key: bool = False
    ) -> None:
        """Note a problem at the value that ``path`` leads to, or at its key."""
        problem = Problem(code, message, help, path=path)
        self.problems.append(place_problem(problem, self.document, at_key=at_key))

    def lacks(self, *path: str | int) -> bool:
        """Whether the part at ``path`` was there but could not be read."""
        return path in self.set_aside

    def condition(
        self, value: object, path: Path, scope: Mapping[str, Declaration], expected: Type = BOOLEAN
    ) -> CheckedExpr | None:
        """The checked condition at ``path``, or None after noting what is wrong with it."""
        if not self._well_written(self.document.node_at(path), path):
            return None
        try:
            return check_expr(parse_condition(value), scope, expected=expected)
        except ConditionError as error:
            for problem in error.problems:
                if not self._follows_from_lost_feature(problem):
                    self.problems.append(self._in_file(problem, path))
            return None

    def _well_written(self, node: Node, path: Path) -> bool:
        """Refuse what YAML may have changed: tags (already noted), anchors and aliases on a condition."""
        if node.alias or node.anchor is not None:
            mark = "an alias" if node.alias else "an anchor"
            help = "write the condition out, in quotes where it holds `&` or `*`"
            self.add("yaml-anchor", f"{mark} stands where a condition should", path, help)
            return False
        well = node.tag is None
        for step, child in node.children.items():
            well = self._well_written(child, (*path, step)) and well
        return well

    def _follows_from_lost_feature(self, problem: Problem) -> bool:
        return problem.code == "unknown-name" and any(
            path[0] == "features" and len(path) == 2 and f"`{path[1]}`" in problem.message
            for path in self.set_aside
        )

    def _in_file(self, problem: Problem, path: Path) -> Problem:
        span = problem.span
        here = (*path, *span.part) if span else path
        node = self.document.node_at(here)
        problem = replace(problem, path=here)
        if span is None or not isinstance(node.value, str):
            return place_problem(problem, self.document)
        places = text_offsets(self.document, node)
        start = places[min(span.start, len(places) - 1)]
        end = places[min(max(span.end - 1, span.start), len(places) - 1)] + 1
        return self.document.place(problem, start, end)
