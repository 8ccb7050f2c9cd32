"""A checked expression and values in, its value and the value of each part out: the reference interpreter.

The checked expression is emitted as a Python syntax tree and run by simpleeval with our names, our functions
and our operators: no attributes, no builtins, and never a text to parse.  It is slow, plain, and shares no
code with the bytecode target: operators look at the values they get, not at types found out before.  It
evaluates every part, so that each has a value to show.  The only module that imports simpleeval.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...report import FeatureError, Span
from ..check import Apply, CheckedExpr, Constant, Elements, Feature, Quantifier, Typed, parts_of, walk_typed
from ..syntax import Literal, render_expr
from ..values import UNKNOWN, ValueRefused, check_value
from .reference_operators import FUNCTIONS, OPERATORS, all_true, any_true, strict
from .reference_tree import Emitter


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
    emitter = Emitter()
    tree = emitter.emit(expr)
    interpreter = _interpreter_class()(bound)
    value = interpreter.eval("", tree)
    if values is not None:
        for node, typed in emitter.pairs:
            if id(node) in interpreter.values:
                values[id(typed)] = interpreter.values[id(node)]
    return value


@lru_cache(maxsize=1)
def _interpreter_class() -> Any:
    from simpleeval import SimpleEval  # type: ignore[import-untyped, unused-ignore]

    class Interpreter(SimpleEval):  # type: ignore[misc, unused-ignore]  # no types are shipped with it
        """simpleeval with a table of node kinds of our own; `values` keeps each node's value."""

        def __init__(self, names: Mapping[str, object]) -> None:
            super().__init__(operators=OPERATORS, functions=FUNCTIONS, names=dict(names), allowed_attrs={})
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
            return any_true(values) if isinstance(node.op, ast.Or) else all_true(values)

        def eval_choice(self, node: ast.IfExp) -> Any:
            condition, then, otherwise = map(self._eval, (node.test, node.body, node.orelse))
            if condition is UNKNOWN:
                return UNKNOWN
            return then if condition else otherwise

        def eval_list(self, node: ast.List) -> Any:
            return strict(lambda *items: items)(*map(self._eval, node.elts))

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
            assert isinstance(loop.target, ast.Tuple)
            index_name, element_name = (name.id for name in loop.target.elts if isinstance(name, ast.Name))
            self.macros += 1
            values = []
            for index, item in enumerate(items):
                self.names[index_name], self.names[element_name] = index, item
                values.append(self._eval(node.elt))
            self.macros -= 1
            return values

    return Interpreter
