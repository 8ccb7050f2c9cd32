"""Puts values in place of some names of a checked expression, and computes what can be computed.

Three-valued: `false && x` is false and `x || true` is true without knowing `x`; an unknown constant stays,
as it decides when nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from ...report import FeatureError
from ..check import (
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
    apply,
    elements,
    explained_work,
    finish,
    logical,
    negation,
    size_of,
    ternary,
)
from ..library import OPERATIONS, Sizes
from ..syntax import Expr
from ..types import BOOLEAN, Type
from ..values import UNKNOWN, ValueRefused, check_value


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


def _constant(value: object, type_: Type, source: Expr) -> Constant:
    return Constant(UNKNOWN if value is None else value, type_, value is None or value is UNKNOWN, source)


class _Folder:
    def __init__(self, constants: Mapping[str, object]) -> None:
        self.constants = constants
        self.locals: dict[tuple[int, bool], object] = {}

    def fold(self, expr: Typed) -> Typed:
        match expr:
            case Constant():
                return expr
            case Feature(name, type_, _, source):
                return _constant(self.value_of(expr), type_, source) if name in self.constants else expr
            case Local(slot, is_index, type_, source):
                key = (slot, is_index)
                return _constant(self.locals[key], type_, source) if key in self.locals else expr
            case Has(feature, source):
                if feature.name in self.constants:
                    return _constant(self.value_of(feature) is not UNKNOWN, BOOLEAN, source)
                return expr if feature.may_be_unknown else _constant(True, BOOLEAN, source)
            case Logical(any_of, parts, _, source):
                return self.joined(any_of, parts, source)
            case Negation(operand, _, source):
                folded = self.fold(operand)
                if isinstance(folded, Constant):
                    return _constant(
                        UNKNOWN if folded.value is UNKNOWN else not folded.value, BOOLEAN, source
                    )
                return negation(folded, source)
            case Ternary(condition, then, otherwise, type_, _, source):
                condition = self.fold(condition)
                if isinstance(condition, Constant):
                    if condition.value is UNKNOWN:
                        return _constant(UNKNOWN, type_, source)
                    return self.fold(then if condition.value else otherwise)
                return ternary(condition, self.fold(then), self.fold(otherwise), type_, source)
            case Elements(items, type_, _, source):
                folded_items = tuple([self.fold(item) for item in items])
                values = _values(folded_items)
                if values is None:
                    return elements(folded_items, type_, source)
                return _constant(UNKNOWN if UNKNOWN in values else values, type_, source)
            case Quantifier():
                return self.quantified(expr)
            case Bounded():
                return self.bounded(expr)
            case Apply(operation, operands, type_, _, source):
                return self.applied(operation, tuple([self.fold(part) for part in operands]), type_, source)

    def value_of(self, feature: Feature) -> object:
        value = self.constants[feature.name]
        if value is None or value is UNKNOWN:
            return UNKNOWN
        try:
            return check_value(value, feature.type)
        except ValueRefused as error:
            message = f"feature `{feature.name}`: {error}"
            raise FeatureError(message, feature=feature.name, help=error.help) from None

    def joined(self, any_of: bool, parts: tuple[Typed, ...], source: Expr) -> Typed:
        kept: list[Typed] = []
        unknown = False
        for part in parts:
            folded = self.fold(part)
            if not isinstance(folded, Constant):
                kept.append(folded)
            elif folded.value is UNKNOWN:
                if not unknown:
                    kept.append(folded)
                unknown = True
            elif folded.value is any_of:
                return _constant(any_of, BOOLEAN, source)
        if not kept:
            return _constant(not any_of, BOOLEAN, source)
        return kept[0] if len(kept) == 1 else logical(any_of, tuple(kept), source)

    def applied(self, operation: str, operands: tuple[Typed, ...], type_: Type, source: Expr) -> Typed:
        if any(isinstance(operand, Constant) and operand.value is UNKNOWN for operand in operands):
            return _constant(UNKNOWN, type_, source)
        values = _values(operands)
        if values is None:
            return apply(operation, operands, type_, source)
        return _constant(OPERATIONS[operation].python(*values), type_, source)

    def quantified(self, expr: Quantifier) -> Typed:
        items = self.fold(expr.items)
        if isinstance(items, Constant):
            if items.value is UNKNOWN:
                return _constant(UNKNOWN, BOOLEAN, expr.source)
            values = cast(tuple[object, ...], items.value)
            result: object = not expr.any_of
            for index, value in enumerate(values):
                self.locals |= {(expr.slot, True): index, (expr.slot, False): value}
                verdict = self.fold(expr.body)
                del self.locals[expr.slot, True], self.locals[expr.slot, False]
                if not isinstance(verdict, Constant):
                    break
                if verdict.value is expr.any_of:
                    result = expr.any_of
                    break
                if verdict.value is UNKNOWN:
                    result = UNKNOWN
            else:
                return _constant(result, BOOLEAN, expr.source)
            if result is expr.any_of:
                return _constant(result, BOOLEAN, expr.source)
        return replace(expr, items=items, body=self.fold(expr.body))

    def bounded(self, expr: Bounded) -> Typed:
        sized = expr.sized.items()
        given = {name: size_of(self.value_of(feature)) for name, feature in sized if name in self.constants}
        known = dict(expr.known) | given
        # What takes too many steps with nothing else in it takes too many whatever the other values are.
        if explained_work(expr.measured, known, Sizes(0, 0)) > expr.limit:
            return _constant(UNKNOWN, expr.type, expr.source)
        part = self.fold(expr.part)
        left = replace(expr, part=part, known=tuple(sorted(known.items())))
        return left if left.sized else part


def _values(parts: tuple[Typed, ...]) -> tuple[object, ...] | None:
    """The values of the parts if all are constants."""
    values = tuple(part.value for part in parts if isinstance(part, Constant))
    return values if len(values) == len(parts) else None
