"""Puts values in place of some names of a checked expression, and computes what can be computed.

Three-valued: `false && x` is false and `x || true` is true without knowing `x`; an unknown constant stays,
as it decides when nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..bind import bound_value
from ..check.typed import (
    Apply,
    Bounded,
    CheckedExpr,
    Constant,
    Elements,
    Feature,
    Has,
    Local,
    Logical,
    Negation,
    Quantifier,
    Ternary,
    Typed,
    finish,
    parts_of,
    with_parts,
)
from ..check.work import explained_work, size_of
from ..library import OPERATIONS
from ..library.declaration import Sizes
from ..syntax.expr import Expr
from ..types import BOOLEAN
from ..values import UNKNOWN


def specialise(checked: CheckedExpr, constants: Mapping[str, object]) -> CheckedExpr:
    """Return `checked` with the names of `constants` replaced by their values, computed as far as that goes.

    None and UNKNOWN make a name unknown.  Names that the expression does not use are ignored.  Raises
    FeatureError for a value that does not fit.

    >>> from routewright.engine.condition import Declaration, check_expr, parse_expr
    >>> scope = {"a": Declaration(BOOLEAN), "b": Declaration(BOOLEAN)}
    >>> specialise(check_expr(parse_expr("a && b"), scope), {"a": True}).names
    frozenset({'b'})
    """
    return finish(_Folder(constants).fold(checked.expr), checked.source)


def _constant(value: object, expr: Typed) -> Constant:
    return Constant(UNKNOWN if value is None else value, expr.type, expr.source)


class _Folder:
    def __init__(self, constants: Mapping[str, object]) -> None:
        self.constants = constants
        self.locals: dict[tuple[int, bool], object] = {}

    def fold(self, expr: Typed) -> Typed:
        match expr:
            case Constant():
                return expr
            case Feature(name):
                return _constant(self.value_of(expr), expr) if name in self.constants else expr
            case Local(slot, is_index):
                key = (slot, is_index)
                return _constant(self.locals[key], expr) if key in self.locals else expr
            case Has(feature):
                if feature.name in self.constants:
                    return _constant(self.value_of(feature) is not UNKNOWN, expr)
                return expr if feature.may_be_unknown else _constant(True, expr)
            case Logical(any_of, parts):
                return self.joined(any_of, map(self.fold, parts), expr.source)
            case Quantifier():
                return self.quantified(expr)
            case Bounded():
                return self.bounded(expr)
            case Ternary(condition, then, otherwise):
                condition = self.fold(condition)
                if not isinstance(condition, Constant):
                    return with_parts(expr, (condition, self.fold(then), self.fold(otherwise)))
                if condition.value is UNKNOWN:
                    return _constant(UNKNOWN, expr)
                return self.fold(then if condition.value else otherwise)
        parts = tuple([self.fold(part) for part in parts_of(expr)])
        values = [part.value for part in parts if isinstance(part, Constant)]
        if UNKNOWN in values:
            return _constant(UNKNOWN, expr)
        if len(values) < len(parts):
            return with_parts(expr, parts)
        match expr:
            case Negation():
                return _constant(not values[0], expr)
            case Elements():
                return _constant(tuple(values), expr)
            case Apply(operation):
                return _constant(OPERATIONS[operation].python(*values), expr)
        return with_parts(expr, parts)

    def value_of(self, feature: Feature) -> object:
        return bound_value(feature.name, self.constants[feature.name], feature.type)

    def joined(self, any_of: bool, parts: Iterable[Typed], source: Expr) -> Typed:
        kept: dict[object, Typed] = {}  # one unknown is enough
        for part in parts:
            if not isinstance(part, Constant):
                kept[id(part)] = part
            elif part.value is UNKNOWN:
                kept[UNKNOWN] = part
            elif part.value is any_of:
                return Constant(any_of, BOOLEAN, source)
        if not kept:
            return Constant(not any_of, BOOLEAN, source)
        first, *others = kept.values()
        return Logical(any_of, (first, *others), source) if others else first

    def quantified(self, expr: Quantifier) -> Typed:
        items = self.fold(expr.items)
        if isinstance(items, Constant):
            if not isinstance(items.value, tuple):
                return _constant(UNKNOWN, expr)
            verdicts = []
            for index, value in enumerate(items.value):
                self.locals |= {(expr.slot, True): index, (expr.slot, False): value}
                verdicts.append(self.fold(expr.body))
                del self.locals[expr.slot, True], self.locals[expr.slot, False]
                if not isinstance(verdicts[-1], Constant) or verdicts[-1].value is expr.any_of:
                    break
            result = self.joined(expr.any_of, verdicts, expr.source)
            if isinstance(result, Constant):
                return _constant(result.value, expr)
        return replace(expr, items=items, body=self.fold(expr.body))

    def bounded(self, expr: Bounded) -> Typed:
        sized = expr.sized.items()
        given = {name: size_of(self.value_of(feature)) for name, feature in sized if name in self.constants}
        known = dict(expr.known) | given
        # What takes too many steps with nothing else in it takes too many whatever the other values are.
        if explained_work(expr.measured, known, Sizes(0, 0)) > expr.limit:
            return _constant(UNKNOWN, expr)
        left = replace(expr, part=self.fold(expr.part), known=tuple(sorted(known.items())))
        return left if left.sized else left.part
