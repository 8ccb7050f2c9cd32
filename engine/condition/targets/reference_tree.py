"""A checked expression in, the Python syntax tree that the reference interpreter runs out."""

from __future__ import annotations

import ast

from ..check import (
    Apply,
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
)

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


class Emitter:
    """Builds the tree with `emit`; `pairs` keeps which typed node each of its nodes stands for.

    Names are the features' own, whatever they are: the tree is interpreted, never compiled.
    """

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
            case Local(slot, is_index):
                return _load(_local(slot, is_index))
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
            case Quantifier(any_of, items, slot, _, body, limit):
                bounded = self.call("bounded", [self.emit(items), ast.Constant(limit)])
                names = [ast.Name(_local(slot, is_index), ast.Store()) for is_index in (True, False)]
                target = ast.Tuple([*names], ast.Store())
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


def _local(slot: int, is_index: bool) -> str:
    # No feature can have such a name: these are not identifiers.
    return f"{'index' if is_index else 'element'} {slot} of macro"
