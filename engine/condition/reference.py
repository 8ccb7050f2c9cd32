"""A checked expression and values in, its value and the value of each part out: the reference interpreter.

The checked expression is emitted as a Python syntax tree and run by simpleeval with our names, our functions
and our operators: no attributes, no builtins, and never a text to parse.  It is slow, plain, and shares no
code with the bytecode target: operators look at the values they get, not at types found out before.  It
evaluates every part, so that each has a value to show.  The only module that imports simpleeval.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ..errors import FeatureError, Span
from .limits import INT64_MAX, INT64_MIN, MAX_LIST_LENGTH, MAX_STRING_LENGTH
from .operations import OPERATIONS
from .render import render_expr
from .syntax import Literal
from .typed import (
    Apply,
    CheckedExpr,
    Choice,
    Constant,
    Elements,
    Feature,
    Junction,
    Local,
    Negation,
    Presence,
    Quantifier,
    Typed,
    parts_of,
    walk_typed,
)
from .values import UNKNOWN, ValueRefused, check_value

__all__ = ["Trace", "TracedPart", "evaluate_reference", "trace", "values_by_node"]


@dataclass(frozen=True, slots=True)
class TracedPart:
    """A part of a condition and its value, or UNKNOWN.

    `text` is its canonical text, `span` its place, `depth` counts the parts around it (the whole is 0).
    """

    text: str
    span: Span
    value: object
    depth: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The value of a condition and of its parts, in reading order, each before the parts inside it."""

    value: object
    parts: tuple[TracedPart, ...]


def evaluate_reference(checked: CheckedExpr, features: Mapping[str, object]) -> object:
    """Return the value of `checked`, or UNKNOWN.

    A name that `features` lacks, or has as None, is unknown; `features` is not changed.  Raises FeatureError
    for a value that does not fit.
    """
    return _run(checked.expr, _bind(checked.expr, features), None)


def trace(checked: CheckedExpr, features: Mapping[str, object]) -> Trace:
    """Return the value of `checked` and of every part that has a single one.

    Literals are left out, and so are the parts inside `exists` and `all`, which have a value per element.
    Names and errors are as for `evaluate_reference`.
    """
    values = values_by_node(checked.expr, features)
    parts: list[TracedPart] = []
    stack: list[tuple[Typed, int]] = [(checked.expr, 0)]
    while stack:
        node, depth = stack.pop()
        shown = _is_shown(node)
        if shown:
            source = node.source
            parts.append(TracedPart(render_expr(source), source.span, values[id(node)], depth))
        inside = parts_of(node)[:1] if isinstance(node, Quantifier) else parts_of(node)
        stack.extend((part, depth + shown) for part in reversed(inside))
    return Trace(values[id(checked.expr)], tuple(parts))


def values_by_node(expr: Typed, features: Mapping[str, object]) -> dict[int, object]:
    """Return the value of every node outside macro bodies, by the node's `id`."""
    values: dict[int, object] = {}
    _run(expr, _bind(expr, features), values)
    return values


def _is_shown(node: Typed) -> bool:
    match node:
        case Constant():
            return not isinstance(node.source, Literal)
        case Elements(items):
            return not all(isinstance(item, Constant) for item in items)
        case Apply("widen"):
            return node.source is not node.operands[0].source
    return True


def _bind(expr: Typed, features: Mapping[str, object]) -> dict[str, object]:
    bound: dict[str, object] = {}
    for node in walk_typed(expr):
        if isinstance(node, Feature) and node.name not in bound:
            value = features.get(node.name)
            try:
                missing = value is None or value is UNKNOWN
                bound[node.name] = UNKNOWN if missing else check_value(value, node.type)
            except ValueRefused as error:
                message = f"feature `{node.name}`: {error}"
                raise FeatureError(message, feature=node.name, help=error.help) from None
    return bound


def _run(expr: Typed, bound: Mapping[str, object], values: dict[int, object] | None) -> object:
    emitter = _Emitter()
    tree = emitter.emit(expr)
    interpreter = _interpreter_class()(bound)
    value = interpreter.eval("", tree)
    if values is not None:
        for node, typed in emitter.pairs:
            if id(node) in interpreter.values:
                values[id(typed)] = interpreter.values[id(node)]
    return value


# -- emitting ------------------------------------------------------------------------------------------------

_BINARY: dict[str, type[ast.operator]] = {
    "add": ast.Add,
    "subtract": ast.Sub,
    "multiply": ast.Mult,
    "divide": ast.Div,
    "remainder": ast.Mod,
}
_COMPARE: dict[str, type[ast.cmpop]] = {
    "equal": ast.Eq,
    "not_equal": ast.NotEq,
    "less": ast.Lt,
    "less_equal": ast.LtE,
    "greater": ast.Gt,
    "greater_equal": ast.GtE,
    "in": ast.In,
}


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


class _Emitter:
    """Builds the tree; `pairs` keeps which typed node each of its nodes stands for."""

    def __init__(self) -> None:
        self.pairs: list[tuple[ast.expr, Typed]] = []

    def emit(self, expr: Typed) -> ast.expr:
        node = self.node(expr)
        self.pairs.append((node, expr))
        return node

    def node(self, expr: Typed) -> ast.expr:
        match expr:
            case Constant(value):
                # UNKNOWN too: this tree is never compiled.
                return ast.Constant(value)  # type: ignore[arg-type]
            case Feature(name):
                return _load(name)
            case Local(slot):
                return _load(_local(slot))
            case Junction(any_of, parts):
                return ast.BoolOp(ast.Or() if any_of else ast.And(), [self.emit(part) for part in parts])
            case Negation(operand):
                return ast.UnaryOp(ast.Not(), self.emit(operand))
            case Choice(condition, then, otherwise):
                return ast.IfExp(self.emit(condition), self.emit(then), self.emit(otherwise))
            case Presence(feature):
                return self.call("has", [self.emit(feature)])
            case Elements(items):
                return ast.List([self.emit(item) for item in items], ast.Load())
            case Quantifier(any_of, items, slot, body, limit):
                bounded = self.call("bounded", [self.emit(items), ast.Constant(limit)])
                target = ast.Name(_local(slot), ast.Store())
                loop = ast.GeneratorExp(self.emit(body), [ast.comprehension(target, bounded, [], 0)])
                return self.call("exists" if any_of else "all", [loop])
            case Apply(operation, operands):
                return self.operation(operation, [self.emit(operand) for operand in operands])

    def operation(self, name: str, args: list[ast.expr]) -> ast.expr:
        if name in _COMPARE:
            return ast.Compare(args[0], [_COMPARE[name]()], [args[1]])
        if name == "index":
            return ast.Subscript(args[0], args[1], ast.Load())
        kind = name.partition("_")[0]
        if kind == "negate":
            return ast.UnaryOp(ast.USub(), args[0])
        if kind in _BINARY:
            return ast.BinOp(args[0], _BINARY[kind](), args[1])
        return self.call(name, args)

    def call(self, name: str, args: list[ast.expr]) -> ast.expr:
        return ast.Call(_load(name), args, [])


def _local(slot: int) -> str:
    return f"{slot} in macro"  # no feature is called so: it is not an identifier


# -- interpreting --------------------------------------------------------------------------------------------


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, unknown when an argument is, or when it returns None."""

    def strict(*args: Any) -> Any:
        if any(arg is UNKNOWN for arg in args):
            return UNKNOWN
        result = function(*args)
        return UNKNOWN if result is None else result

    return strict


def _any_true(values: list[Any]) -> Any:
    if any(value is True for value in values):
        return True
    return UNKNOWN if any(value is UNKNOWN for value in values) else False


def _all_true(values: list[Any]) -> Any:
    if any(value is False for value in values):
        return False
    return UNKNOWN if any(value is UNKNOWN for value in values) else True


def _in_range(result: Any) -> Any:
    if isinstance(result, int):
        return result if INT64_MIN <= result <= INT64_MAX else None
    return result + 0.0 if math.isfinite(result) else None


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, str | tuple):
        longest = MAX_STRING_LENGTH if isinstance(a, str) else MAX_LIST_LENGTH
        return None if len(a) + len(b) > longest else a + b
    return _in_range(a + b)


def _divide(a: Any, b: Any) -> Any:
    if b == 0:
        return None
    return _in_range(math.trunc(Fraction(a, b)) if isinstance(a, int) else a / b)


def _remainder(a: int, b: int) -> Any:
    quotient = _divide(a, b)
    return None if quotient is None else a - quotient * b


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Not: _strict(lambda a: a is False),
    ast.USub: _strict(lambda a: _in_range(-a)),
    ast.Add: _strict(_add),
    ast.Sub: _strict(lambda a, b: _in_range(a - b)),
    ast.Mult: _strict(lambda a, b: _in_range(a * b)),
    ast.Div: _strict(_divide),
    ast.Mod: _strict(_remainder),
    ast.Eq: _strict(lambda a, b: a == b),
    ast.NotEq: _strict(lambda a, b: a != b),
    ast.Lt: _strict(lambda a, b: a < b),
    ast.LtE: _strict(lambda a, b: a <= b),
    ast.Gt: _strict(lambda a, b: a > b),
    ast.GtE: _strict(lambda a, b: a >= b),
    ast.In: _strict(lambda a, b: a in b),
}

_CALLED = (
    "widen size startsWith endsWith contains matches matches_bounded lowerAscii upperAscii min_list max_list "
    "integer_of_number integer_of_string number_of_string "
    "string_of_boolean string_of_integer string_of_number"
).split()

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _strict(OPERATIONS[name].apply) for name in _CALLED},
    "abs_integer": _strict(lambda a: _in_range(abs(a))),
    "abs_number": _strict(abs),
    "min": _strict(lambda *args: sorted(args)[0]),
    "max": _strict(lambda *args: sorted(args)[-1]),
    "has": lambda value: value is not UNKNOWN,
    "bounded": _strict(lambda items, limit: items if len(items) <= limit else None),
    "exists": _strict(_any_true),
    "all": _strict(_all_true),
}


@lru_cache(maxsize=1)
def _interpreter_class() -> Any:
    from simpleeval import SimpleEval  # type: ignore[import-untyped, unused-ignore]

    class Interpreter(SimpleEval):  # type: ignore[misc, unused-ignore]  # no types are shipped with it
        """simpleeval with a table of node kinds of our own; `values` keeps each node's value."""

        def __init__(self, names: Mapping[str, object]) -> None:
            super().__init__(operators=_OPERATORS, functions=_FUNCTIONS, names=dict(names), allowed_attrs={})
            self.values: dict[int, object] = {}
            self.macros = 0
            self.nodes: dict[type[ast.AST], Callable[[Any], Any]] = {
                ast.Name: self._eval_name,
                ast.UnaryOp: self._eval_unaryop,
                ast.BinOp: self._eval_binop,
                ast.Compare: self._eval_compare,
                ast.Call: self._eval_call,
                ast.Constant: lambda node: node.value,
                ast.BoolOp: self.eval_junction,
                ast.IfExp: self.eval_choice,
                ast.List: self.eval_list,
                ast.Subscript: self.eval_index,
                ast.GeneratorExp: self.eval_elements,
            }

        def _eval(self, node: ast.expr) -> Any:
            value = super()._eval(node)
            if not self.macros:
                self.values[id(node)] = value
            return value

        def _check_disallowed_items(self, item: Any) -> None:
            # Lists hold checked scalars only; looking through them again at every step would take quadratic
            # time.
            if not isinstance(item, tuple | list):
                super()._check_disallowed_items(item)

        def eval_junction(self, node: ast.BoolOp) -> Any:
            values = [self._eval(part) for part in node.values]
            return _any_true(values) if isinstance(node.op, ast.Or) else _all_true(values)

        def eval_choice(self, node: ast.IfExp) -> Any:
            condition, then, otherwise = map(self._eval, (node.test, node.body, node.orelse))
            if condition is UNKNOWN:
                return UNKNOWN
            return then if condition else otherwise

        def eval_list(self, node: ast.List) -> Any:
            return _strict(lambda *items: items)(*map(self._eval, node.elts))

        def eval_index(self, node: ast.Subscript) -> Any:
            base, index = self._eval(node.value), self._eval(node.slice)
            if base is UNKNOWN or index is UNKNOWN:
                return UNKNOWN
            return base[index] if 0 <= index < len(base) else UNKNOWN

        def eval_elements(self, node: ast.GeneratorExp) -> Any:
            """The values of a macro's body, one for each element."""
            (loop,) = node.generators
            items = self._eval(loop.iter)
            if items is UNKNOWN:
                return UNKNOWN
            assert isinstance(loop.target, ast.Name)
            self.macros += 1
            values = []
            for item in items:
                self.names[loop.target.id] = item
                values.append(self._eval(node.elt))
            self.macros -= 1
            return values

    return Interpreter
