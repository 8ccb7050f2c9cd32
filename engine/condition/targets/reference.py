"""The reference interpreter: slow, plain, and able to show the value of every part of a condition.

The checked expression is emitted as a Python syntax tree of names, constants and calls, and run by simpleeval with our
names and functions: no attributes, no builtins, and never a text to parse. It shares no code with `codegen`, and each
operation of the library has an account of its own for it. The only module that imports simpleeval.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...report import Span
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
    parts_of,
    walk_typed,
)
from ..check.work import fits
from ..library import OPERATIONS
from ..syntax.expr import Literal
from ..syntax.render import render_expr
from ..values import UNKNOWN


@dataclass(frozen=True, slots=True)
class TracedPart:
    """A part of a condition and its value, or UNKNOWN.

    `text` is its canonical text, `span` its place, `depth` counts the parts around it (the whole is 0). `reason` says
    why it is unknown where the values of its parts do not.
    """

    text: str
    span: Span
    value: object
    depth: int
    reason: str | None = None


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
    return values_by_node(checked.expr, features)[id(checked.expr)]


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
        inside, shown = parts_of(node), _is_shown(node)
        if is_cut_short(node, values):
            inside, shown = (), True
        elif isinstance(node, Quantifier):
            inside = inside[:1]
        if shown:
            parts.append(traced(node, values, depth))
        stack.extend((part, depth + shown) for part in reversed(inside))
    return Trace(values[id(checked.expr)], tuple(parts))


def traced(node: Typed, values: Mapping[int, object], depth: int = 0) -> TracedPart:
    """`node` with its value among those of `values_by_node`."""
    reason = None
    if isinstance(node, Bounded) and is_cut_short(node, values):
        reason = f"cut short: it may take more than {node.limit:,} steps"
    return TracedPart(render_expr(node.source), node.source.span, values[id(node)], depth, reason)


def is_cut_short(node: Typed, values: Mapping[int, object]) -> bool:
    """Whether `node` is unknown because it may take too many steps; its parts then have no values."""
    return isinstance(node, Bounded) and id(node.part) not in values


def values_by_node(expr: Typed, features: Mapping[str, object]) -> dict[int, object]:
    """Return the value of every node outside macro bodies, by the node's `id`."""
    emitter = _Emitter()
    tree = emitter.emit(expr)
    interpreter = _interpreter_class()(_bind(expr, features), emitter.functions)
    interpreter.eval("", tree)
    values: dict[int, object] = interpreter.values
    return {id(typed): values[id(node)] for node, typed in emitter.pairs if id(node) in values}


def _is_shown(node: Typed) -> bool:
    match node:
        case Constant():
            return not isinstance(node.source, Literal)
        case Elements(items):
            return not all(isinstance(item, Constant) for item in items)
        case Apply("widen"):
            return node.source is not node.operands[0].source
    return not isinstance(node, Bounded)


def _bind(expr: Typed, features: Mapping[str, object]) -> dict[str, object]:
    bound: dict[str, object] = {}
    for node in walk_typed(expr):
        needed = (
            [node] if isinstance(node, Feature) else node.sized.values() if isinstance(node, Bounded) else ()
        )
        for feature in needed:
            if feature.name not in bound:
                bound[feature.name] = bound_value(feature.name, features.get(feature.name), feature.type)
    return bound


# -- what the nodes mean -----------------------------------------------------------------------------------


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, unknown when an argument is, or when it returns None."""

    def strict(*args: Any) -> Any:
        if any(arg is UNKNOWN for arg in args):
            return UNKNOWN
        result = function(*args)
        return UNKNOWN if result is None else result

    return strict


def _deciding(verdict: bool) -> Callable[..., Any]:
    """What of several values comes to `verdict` if one is it; else it is unknown if one is, else the opposite."""

    def joined(*values: Any) -> Any:
        if any(value is verdict for value in values):
            return verdict
        return UNKNOWN if any(value is UNKNOWN for value in values) else not verdict

    return joined


_any_true, _all_true = _deciding(True), _deciding(False)


def _chosen(condition: Any, then: Any, otherwise: Any) -> Any:
    return UNKNOWN if condition is UNKNOWN else then if condition else otherwise


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _strict(operation.reference) for name, operation in OPERATIONS.items()},
    "||": _any_true,
    "&&": _all_true,
    "!": _strict(lambda value: value is False),
    "?:": _chosen,
    "has": lambda value: value is not UNKNOWN,
    "list": _strict(lambda *items: items),
    "exists": _strict(lambda values: _any_true(*values)),
    "all": _strict(lambda values: _all_true(*values)),
}


_NAMES: dict[type, str] = {Negation: "!", Ternary: "?:", Has: "has", Elements: "list"}


class _Emitter:
    """Builds the tree with `emit`; `pairs` keeps which typed node each of its nodes stands for.

    Names are the features' own, whatever they are: the tree is interpreted, never compiled.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[ast.expr, Typed]] = []
        self.functions = dict(_FUNCTIONS)

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
            case Local(slot, is_index):
                return _load(_local(slot, is_index))
            case Logical(any_of):
                return self.call("||" if any_of else "&&", expr)
            case Negation() | Ternary() | Has() | Elements():
                return self.call(_NAMES[type(expr)], expr)
            case Apply(operation):
                return self.call(operation, expr)
            case Bounded(part):
                within = f"fits {len(self.functions)}"
                self.functions[within] = fits(expr)
                test = ast.Call(_load(within), [_load(name) for name in expr.sized], [])
                return ast.IfExp(test, self.emit(part), ast.Constant(UNKNOWN))  # type: ignore[arg-type]
            case Quantifier(any_of, items, slot, _, body):
                names = [ast.Name(_local(slot, is_index), ast.Store()) for is_index in (True, False)]
                each = ast.comprehension(ast.Tuple([*names], ast.Store()), self.emit(items), [], 0)
                values = ast.GeneratorExp(self.emit(body), [each])
                return ast.Call(_load("exists" if any_of else "all"), [values], [])

    def call(self, name: str, expr: Typed) -> ast.expr:
        return ast.Call(_load(name), [self.emit(part) for part in parts_of(expr)], [])


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _local(slot: int, is_index: bool) -> str:
    # No feature can have such a name: these are not identifiers.
    return f"{'index' if is_index else 'element'} {slot} of macro"


@lru_cache(maxsize=1)
def _interpreter_class() -> Any:
    from simpleeval import SimpleEval  # type: ignore[import-untyped, unused-ignore]

    class Interpreter(SimpleEval):  # type: ignore[misc, unused-ignore]  # no types are shipped with it
        """simpleeval with a table of node kinds of our own; `values` keeps each node's value."""

        def __init__(self, names: dict[str, object], functions: dict[str, Callable[..., Any]]) -> None:
            super().__init__(operators={}, functions=functions, names=names, allowed_attrs={})
            self.values: dict[int, object] = {}
            self.macros = 0
            self.nodes: dict[type[ast.AST], Callable[[Any], Any]] = {
                ast.Name: self._eval_name,
                ast.Call: self._eval_call,
                ast.Constant: lambda node: node.value,
                ast.IfExp: self._eval_ifexp,
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
