"""Compiles checked conditions into one Python function: the hot path of deciding.

The function is built as a Python syntax tree and compiled once; no text of a condition becomes source.
Inside it None stands for unknown. The compiler knows which operands can be unknown, so `a || b` over names that have a
value becomes Python's `a or b`; other forms test operands for None in place, without a call.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain
from types import FunctionType, MethodDescriptorType
from typing import Any

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
    may_be_unknown,
    walk_typed,
)
from ..check.work import fits
from ..library import OPERATIONS
from ..library.operators import contained
from ..limits import MAX_MACRO_NESTING
from ..values import UNKNOWN

_INLINE: dict[Callable[..., Any], type[ast.cmpop]] = {
    operator.eq: ast.Eq,
    operator.ne: ast.NotEq,
    operator.lt: ast.Lt,
    operator.le: ast.LtE,
    operator.gt: ast.Gt,
    operator.ge: ast.GtE,
    contained: ast.In,
}
"""What Python has an operator for is written in place, without a call."""

_HASHED_LIST = 4
"""From how many constant elements on `in` looks into a set."""

_NODES_AT_ONCE = 20_000
"""Nodes compiled into one function: Python's syntax tree takes about 2 KB for each while it is compiled."""


def compile_function(
    conditions: Sequence[CheckedExpr], parameters: Sequence[str], *, known: Container[str] = ()
) -> Callable[[Sequence[object]], tuple[object, ...]]:
    """Return a function from the values of `parameters` to the values of `conditions`.

    It takes one checked value for each parameter, in order, and returns one value for each condition, in order; None
    stands for unknown on both sides. A parameter in `known`, and one whose declaration says that it cannot be unknown,
    must not be None. Raises ValueError if a condition needs a name that is not a parameter.
    """
    functions = [_compile_part(part, parameters, known) for part in _in_parts(conditions)]
    if len(functions) == 1:
        return functions[0]

    def evaluate(values: Sequence[object]) -> tuple[object, ...]:
        return tuple(chain.from_iterable([function(values) for function in functions]))

    return evaluate


def _in_parts(conditions: Sequence[CheckedExpr]) -> Iterator[Sequence[CheckedExpr]]:
    """The conditions in order, in parts of about _NODES_AT_ONCE nodes; at least one part."""
    start, nodes = 0, 0
    for end, checked in enumerate(conditions, 1):
        nodes += sum(1 for _ in walk_typed(checked.expr))
        if nodes >= _NODES_AT_ONCE and end < len(conditions):
            yield conditions[start:end]
            start, nodes = end, 0
    yield conditions[start:]


def _compile_part(
    conditions: Sequence[CheckedExpr], parameters: Sequence[str], known: Container[str]
) -> Callable[[Sequence[object]], tuple[object, ...]]:
    builder = _Builder(parameters, known)
    verdicts = [builder.condition(checked.expr) for checked in conditions]
    body: list[ast.stmt] = []
    if parameters:
        targets: list[ast.expr] = [
            ast.Name(builder.slots[name] if name in builder.used else "unused", ast.Store())
            for name in parameters
        ]
        body.append(ast.Assign([ast.Tuple(targets, ast.Store())], _load("values")))
    body.append(ast.Return(ast.Tuple(verdicts, ast.Load())))
    # A parsed frame has the fields that each Python version wants of a function.
    module = ast.parse("def decide(values): pass")
    (function,) = module.body
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    ast.fix_missing_locations(module)
    code = compile(module, "<conditions>", "exec")
    namespace: dict[str, Any] = {"__builtins__": {}, **builder.globals}
    exec(code, namespace)  # the tree is ours: names are slots, and constants are constants
    compiled = namespace["decide"]
    assert isinstance(compiled, FunctionType)
    return compiled


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _literal(value: Any) -> ast.Constant:
    # The stubs know the constants that source text can have; the compiler takes tuples and sets of them too.
    return ast.Constant(value)


def _is_none(operand: ast.expr) -> ast.expr:
    return ast.Compare(operand, [ast.Is()], [ast.Constant(None)])


def _bool_op(op: ast.boolop, values: list[ast.expr]) -> ast.expr:
    return values[0] if len(values) == 1 else ast.BoolOp(op, values)


class _Builder:
    def __init__(self, parameters: Sequence[str], known: Container[str]) -> None:
        # Names of parameters may be anything, so each gets a slot of its own.
        self.slots = {name: f"v{index}" for index, name in enumerate(parameters)}
        if len(self.slots) != len(parameters):
            raise ValueError("a parameter is named twice")
        self.known = known
        self.judged: dict[int, bool] = {}
        self.used: set[str] = set()
        self.globals: dict[str, Any] = {}
        self.temporaries = 0

    def condition(self, expr: Typed) -> ast.expr:
        self.temporaries = 0  # conditions follow one another, so they share their temporaries
        self.judged.clear()
        return self.emit(expr)

    def may_be_unknown(self, expr: Typed) -> bool:
        judged = self.judged.get(id(expr))
        if judged is None:
            judged = self.judged[id(expr)] = may_be_unknown(expr, self.known)
        return judged

    def emit(self, expr: Typed) -> ast.expr:
        """A Python expression for the value of `expr`, None where it is unknown."""
        match expr:
            case Constant(value):
                return _literal(None if value is UNKNOWN else value)
            case Feature(name):
                return self.feature(name)
            case Local(slot, is_index):
                return _load(f"{'i' if is_index else 'x'}{slot}")
            case Logical():
                return self.logical(expr)
            case Negation(operand):
                return self.strict([operand], lambda values: ast.UnaryOp(ast.Not(), values[0]))
            case Ternary(condition, then, otherwise):
                both = (then, otherwise)
                return self.strict([condition], lambda v: ast.IfExp(v[0], *map(self.emit, both)))
            case Has(feature):
                if not self.may_be_unknown(feature):
                    return ast.Constant(True)
                return ast.Compare(self.feature(feature.name), [ast.IsNot()], [ast.Constant(None)])
            case Elements(items):
                if all(isinstance(item, Constant) and item.value is not UNKNOWN for item in items):
                    return _literal(tuple(item.value for item in items if isinstance(item, Constant)))
                return self.strict(items, lambda values: ast.Tuple(values, ast.Load()))
            case Quantifier():
                return self.quantifier(expr)
            case Bounded(part):
                within = self.call(fits(expr), [self.feature(name) for name in expr.sized])
                return ast.IfExp(within, self.emit(part), ast.Constant(None))
            case Apply():
                return self.operation(expr)

    def feature(self, name: str) -> ast.expr:
        if name not in self.slots:
            raise ValueError(f"a condition needs `{name}`, which is not a parameter")
        self.used.add(name)
        return _load(self.slots[name])

    def named(self, expr: Typed) -> tuple[ast.expr, Callable[[], ast.expr]]:
        """The expression to evaluate first, and one that gives its value again."""
        value = self.emit(expr)
        if isinstance(value, ast.Name | ast.Constant):
            return value, lambda: value
        temporary = f"t{self.temporaries}"
        self.temporaries += 1
        return ast.NamedExpr(ast.Name(temporary, ast.Store()), value), lambda: _load(temporary)

    def strict(self, operands: Sequence[Typed], result: Callable[[list[ast.expr]], ast.expr]) -> ast.expr:
        """`result` of the operands' values, or None where one of them is None."""
        tests: list[ast.expr] = []
        values: list[Callable[[], ast.expr]] = []
        for operand in operands:
            if self.may_be_unknown(operand):
                first, again = self.named(operand)
                tests.append(_is_none(first))
                values.append(again)
            else:
                values.append(lambda operand=operand: self.emit(operand))  # type: ignore[misc]
        value = result([again() for again in values])
        return ast.IfExp(_bool_op(ast.Or(), tests), ast.Constant(None), value) if tests else value

    def logical(self, expr: Logical) -> ast.expr:
        """`&&` or `||`: parts that are always known first, as the order makes no difference to the value.

        With `a` known, Python's `a or b` is already right when `b` is None; so only the second and further
        parts that may be unknown need tests.
        """
        op: ast.boolop = ast.Or() if expr.any_of else ast.And()
        known = [self.emit(part) for part in expr.parts if not self.may_be_unknown(part)]
        unknown = [part for part in expr.parts if self.may_be_unknown(part)]
        if len(unknown) <= 1:
            return _bool_op(op, known + [self.emit(part) for part in unknown])
        firsts, agains = zip(*map(self.named, unknown), strict=True)
        settled = ast.IfExp(
            _bool_op(ast.Or(), [_is_none(again()) for again in agains]),
            ast.Constant(None),
            ast.Constant(not expr.any_of),
        )
        if expr.any_of:
            # a or b or (None if a is None or b is None else False)
            return ast.BoolOp(op, [*known, *firsts, settled])
        # (None if a is None or b is None else True) if a is not False and b is not False else False
        not_false: list[ast.expr] = [
            ast.Compare(first, [ast.IsNot()], [ast.Constant(False)]) for first in firsts
        ]
        return _bool_op(op, [*known, ast.IfExp(ast.BoolOp(op, not_false), settled, ast.Constant(False))])

    def operation(self, expr: Apply) -> ast.expr:
        operation = OPERATIONS[expr.operation]
        function, operands = operation.python, expr.operands
        if operation.with_literal is not None:
            literal, operands = operands[-1], operands[:-1]
            assert isinstance(literal, Constant)
            function = operation.with_literal(literal.value)
        return self.strict(operands, lambda values: self.applied(function, values))

    def applied(self, function: Callable[..., Any], values: list[ast.expr]) -> ast.expr:
        if function in _INLINE:
            left, right = values
            return ast.Compare(
                left, [_INLINE[function]()], [_hashed(right) if function is contained else right]
            )
        if isinstance(function, MethodDescriptorType):
            return ast.Call(ast.Attribute(values[0], function.__name__, ast.Load()), values[1:], [])
        return self.call(function, values)

    def call(self, function: Callable[..., Any], args: list[ast.expr]) -> ast.expr:
        name = next((name for name, known in self.globals.items() if known is function), None)
        if name is None:
            name = f"f{len(self.globals)}"
            self.globals[name] = function
        return ast.Call(_load(name), args, [])

    def quantifier(self, expr: Quantifier) -> ast.expr:
        body = self.emit(expr.body)
        # What the body reads comes in as defaults: reading it from outside would make every condition of the
        # policy read it through a cell.
        inner = {f"{letter}{slot}" for letter in "ix" for slot in range(expr.slot, MAX_MACRO_NESTING)}
        read = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)} - inner
        captured = sorted(name for name in read if name[0] in "vix")
        variables = [f"i{expr.slot}", f"x{expr.slot}"] if expr.indexed else [f"x{expr.slot}"]
        lambda_ = ast.Lambda(
            ast.arguments(
                [],
                [*map(ast.arg, variables), *map(ast.arg, captured)],
                None,
                [],
                [],
                None,
                list(map(_load, captured)),
            ),
            body,
        )
        flags = [expr.indexed, expr.any_of] if expr.indexed or not expr.any_of else []
        args = [lambda_, *map(ast.Constant, flags)]
        return self.strict([expr.items], lambda values: self.call(_joined, [*values, *args]))


def _hashed(container: ast.expr) -> ast.expr:
    """A constant list of scalars as a set, where looking up takes no longer for more elements."""
    if isinstance(container, ast.Constant):
        values: Any = container.value
        if len(values) >= _HASHED_LIST and not any(isinstance(value, tuple) for value in values):
            return _literal(frozenset(values))
    return container


def _joined(
    items: tuple[Any, ...], holds: Callable[..., bool | None], indexed: bool = False, any_of: bool = True
) -> bool | None:
    result: bool | None = not any_of
    for verdict in map(holds, range(len(items)), items) if indexed else map(holds, items):
        if verdict is any_of:
            return any_of
        if verdict is None:
            result = None
    return result
