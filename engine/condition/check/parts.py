"""What every check of a part of an expression needs: noting a problem, and giving parts the types that are wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from ...report import Problem, Span
from ..library.operators import WIDEN
from ..limits import MAX_PROBLEMS
from ..syntax.expr import Expr
from ..types import BOOLEAN, INTEGER, NOTHING, NUMBER, Declaration, ListType, Type, article, unify
from ..values import UNKNOWN
from .messages import quote, truth_help
from .typed import Apply, Constant, Elements, Typed


class Enough(Exception):
    """There are as many problems as are reported."""


class PartChecker(ABC):
    """Checks the parts of one expression; `scope` declares its names."""

    def __init__(self, scope: Mapping[str, Declaration]) -> None:
        self.scope = scope
        self.problems: list[Problem] = []

    @abstractmethod
    def check(self, expr: Expr) -> Typed:
        """The typed node of `expr`, or a problem."""

    def wrong(
        self, code: str, message: str, expr: Expr, help: str | None = None, span: Span | None = None
    ) -> Typed:
        """Note a problem; the result stands for the part that is wrong."""
        self.problems.append(Problem(code, message, help, span or expr.span))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Enough
        return Constant(UNKNOWN, NOTHING, expr)

    def mismatch(self, message: str, expr: Expr, help: str | None = None) -> Typed:
        return self.wrong("type-mismatch", message, expr, help)

    def expect(self, typed: Typed, wanted: Type) -> Typed:
        """`typed` as a value of type `wanted`, or a problem."""
        if unify(wanted, typed.type) == wanted:
            return self.widened(typed, wanted)
        source = typed.source
        if wanted == BOOLEAN:
            message = f"{quote(source)} is {article(typed.type)}, not a boolean"
            return self.wrong("not-boolean", message, source, truth_help(source, typed.type))
        return self.mismatch(f"{quote(source)} is {article(typed.type)}, not {article(wanted)}", source)

    def widened(self, typed: Typed, wanted: Type) -> Typed:
        """`typed` with its integers made doubles where `wanted` has numbers."""
        if typed.type == wanted or not _has_integers_to_widen(typed.type, wanted):
            return typed
        match typed:
            case Constant(value, _, source) if isinstance(value, int):
                return Constant(float(value), NUMBER, source)
            case Elements(items, _, source) if isinstance(wanted, ListType):
                return Elements(tuple(self.widened(item, wanted.element) for item in items), wanted, source)
        return Apply(WIDEN.name, (typed,), wanted, typed.source)

    def together(self, parts: tuple[Typed, ...]) -> tuple[tuple[Typed, ...], Type] | None:
        """The parts as values of one type, and that type; None if there is none."""
        common: Type = NOTHING
        for part in parts:
            unified = unify(common, part.type)
            if unified is None:
                return None
            common = unified
        return tuple([self.widened(part, common) for part in parts]), common


def _has_integers_to_widen(given: Type, wanted: Type) -> bool:
    while isinstance(given, ListType) and isinstance(wanted, ListType):
        given, wanted = given.element, wanted.element
    return given == INTEGER and wanted == NUMBER
