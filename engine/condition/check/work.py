"""Bounds the work of evaluating a condition, from its typed expression and the sizes of values.

Work is counted in steps: one step is the time in which the compiled function compares two small numbers, about 5 ns.
The weights here and in the library are measured against that and rounded up, so that the sum over many conditions
bounds all of them together. Counting while a condition runs would make its value depend on the order of evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..library import OPERATIONS
from ..library.declaration import CALL, Operand, Sizes
from ..limits import MAX_CONDITION_WORK, MAX_FEATURE_STRING_LENGTH, MAX_LIST_LENGTH
from ..patterns import program_size
from ..types import STRING, ListType, Type
from .typed import (
    Apply,
    Bounded,
    Constant,
    Elements,
    Feature,
    Has,
    Local,
    Quantifier,
    Ternary,
    Typed,
    parts_of,
    walk_typed,
    with_parts,
)

LARGEST: Final = Sizes(MAX_LIST_LENGTH, MAX_FEATURE_STRING_LENGTH)
"""The sizes that no value can exceed."""

_LOOP = 60
"""Setting up `exists` or `all`, once, and `_TURN` for each element."""
_TURN = 4
_TRACED = 100
"""What the reference interpreter takes where the compiled function takes a step that no size changes."""


def work_of(expr: Typed, sizes: Sizes = LARGEST, known: Mapping[str, Sizes] | None = None) -> int:
    """Return the most steps that evaluating `expr` takes when it is compiled.

    `sizes` bounds every name, `known` some names more closely. A macro's body counts once for each element;
    the strings of all elements together have the characters of their list.
    """
    fixed, sized, _ = _Measure(sizes, known or {}).measure(expr)
    return fixed + sized


def patterns_of(expr: Typed) -> dict[str, int]:
    """Return the patterns of `matches` in `expr`, each with the number of instructions that it compiles to."""
    found = {}
    for node in walk_typed(expr):
        if isinstance(node, Apply) and node.operation == "matches":
            pattern = node.operands[1]
            assert isinstance(pattern, Constant) and isinstance(pattern.value, str)
            found[pattern.value] = program_size(pattern.value)
    return found


def size_of(value: object) -> Sizes:
    """The sizes of a value; those of an unknown, a number and a boolean are 0."""
    if isinstance(value, str):
        return Sizes(0, len(value))
    if not isinstance(value, tuple):
        return Sizes(0, 0)
    if value and isinstance(value[0], str):
        return Sizes(len(value), sum(map(len, value)))
    inner = [size_of(one) for one in value if isinstance(one, tuple)]
    return Sizes(len(value) + sum(one.elements for one in inner), sum(one.characters for one in inner))


# -- bounding one condition --------------------------------------------------------------------------------


def bounded(expr: Typed) -> Typed:
    """Return `expr` with bounds around its macros and searches where it may take more than MAX_CONDITION_WORK.

    What the cheaper ones cannot use of their share is left to the others.
    """
    parts = [(explained_work(part), part) for part in _outermost(expr)]
    if sum(work for work, _ in parts) <= MAX_CONDITION_WORK:
        return expr
    parts.sort(key=lambda part: part[0])
    left, limits = MAX_CONDITION_WORK, dict[int, int]()
    for index, (work, part) in enumerate(parts):
        share = left // (len(parts) - index)
        left -= min(work, share)
        if work > share:
            limits[id(part)] = share
    return _with_bounds(expr, limits)


def explained_work(expr: Typed, known: Mapping[str, Sizes] | None = None, sizes: Sizes = LARGEST) -> int:
    """The most steps that the compiled function or the reference interpreter takes, whichever takes longer."""
    fixed, sized, _ = _Measure(sizes, known or {}).measure(expr)
    return _TRACED * fixed + sized


def fits(node: Bounded) -> Callable[..., bool]:
    """Return the function that tells, from the values of `node.sized`, whether `node` stays within its limit."""
    names, known = tuple(node.sized), dict(node.known)
    measured, limit = node.measured, node.limit
    small = always_within(node)

    def fits(*values: Any) -> bool:
        sizes = [size_of(value) for value in values]
        if all(one.elements <= small.elements and one.characters <= small.characters for one in sizes):
            return True
        return explained_work(measured, known | dict(zip(names, sizes, strict=True))) <= limit

    return fits


def always_within(node: Bounded, known: Mapping[str, Sizes] | None = None) -> Sizes:
    """Sizes, of which no value of a name that `known` lacks makes `node` too much work; below 0 if there are none."""
    known = {**(known or {}), **dict(node.known)}
    halves = (Sizes(LARGEST.elements >> power, LARGEST.characters >> power) for power in range(20))
    within = (half for half in halves if explained_work(node.measured, known, half) <= node.limit)
    return next(within, Sizes(-1, -1))


def _outermost(expr: Typed) -> list[Typed]:
    """The macros and searches that are not inside another."""
    found: list[Typed] = []
    stack = [expr]
    while stack:
        node = stack.pop()
        if _is_heavy(node):
            found.append(node)
        else:
            stack.extend(parts_of(node))
    return found


def _is_heavy(node: Typed) -> bool:
    return isinstance(node, Quantifier) or (isinstance(node, Apply) and node.operation == "matches")


def _with_bounds(expr: Typed, limits: Mapping[int, int]) -> Typed:
    if id(expr) in limits:
        return Bounded(expr, expr, limits[id(expr)], (), expr.source)
    if _is_heavy(expr):
        return expr
    return with_parts(expr, tuple([_with_bounds(part, limits) for part in parts_of(expr)]))


# -- the account -------------------------------------------------------------------------------------------

_Measured = tuple[int, int, Operand]
"""The steps to compute a value, those that no size changes and those that grow with sizes; then its own sizes."""


class _Measure:
    def __init__(self, sizes: Sizes, known: Mapping[str, Sizes]) -> None:
        self.sizes = sizes
        self.known = known
        self.locals: dict[int, Operand] = {}

    def measure(self, node: Typed) -> _Measured:
        match node:
            case Constant(value):
                return 1, 0, Operand(*size_of(value), value)
            case Feature(name, type_):
                elements, characters = self.known.get(name, self.sizes)
                is_text = STRING in (type_, _element(type_))
                is_list = isinstance(type_, ListType)
                return 1, 0, Operand(elements if is_list else 0, characters if is_text else 0)
            case Local(slot, is_index):
                return 1, 0, Operand() if is_index else self.locals[slot]
            case Has():
                return 1, 0, Operand()
            case Quantifier():
                return self.quantifier(node)
            case Bounded():
                return self.bounded(node)
        measured = [self.measure(part) for part in parts_of(node)]
        fixed, sized = 1 + sum([one[0] for one in measured]), sum([one[1] for one in measured])
        operands = [one[2] for one in measured]
        match node:
            case Apply(name):
                operation = OPERATIONS[name]
                least = operation.steps(*[Operand(0, 0, operand.constant) for operand in operands])
                grown = operation.steps(*operands) - least
                return fixed + least, sized + grown, operation.size(*operands)
            case Ternary():
                return fixed, sized, Operand(*map(max, *[operand[:2] for operand in operands]))
            case Elements():
                constant = tuple([operand.constant for operand in operands])
                inner = sum([operand.elements for operand in operands])
                size = (len(operands) + inner, sum([operand.characters for operand in operands]))
                if None in constant:
                    return 2 * fixed, sized, Operand(*size)
                return 1, 0, Operand(*size, constant)
        return fixed, sized, Operand()

    def quantifier(self, node: Quantifier) -> _Measured:
        fixed, sized, (elements, characters, constant) = self.measure(node.items)
        nested = isinstance(_element(node.items.type), ListType)
        turns = max(1, len(constant) if isinstance(constant, tuple) else elements)
        # Nested elements and characters are spread over the elements: only their sum is bounded.
        self.locals[node.slot] = Operand(-(-elements // turns) if nested else 0, -(-characters // turns))
        body_fixed, body_sized, _ = self.measure(node.body)
        return fixed + _LOOP + turns * (body_fixed + _TURN), sized + turns * body_sized, Operand()

    def bounded(self, node: Bounded) -> _Measured:
        fixed, sized, operand = self.measure(node.part)
        sizing = sum(self.known.get(name, self.sizes).elements + CALL for name in node.sized)
        return min(fixed, node.limit // _TRACED), min(sized, node.limit) + sizing, operand


def _element(type_: Type) -> Type | None:
    return type_.element if isinstance(type_, ListType) else None
