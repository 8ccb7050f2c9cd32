"""How much work an expression may do, bounded before anything runs.

`exists` and `all` are the only loops, and `matches` the only function whose time also depends on another
argument than the string's length.  Counting steps while they run would make the value depend on the order of
evaluation, and the targets evaluate in different orders; so the bounds are on the lengths of lists and
strings, and follow from the typed expression alone.
"""

from __future__ import annotations

from ..library import OPERATIONS
from ..limits import MAX_FEATURE_STRING_LENGTH, MAX_LIST_LENGTH, MAX_MACRO_WORK, MAX_MATCH_WORK
from ..patterns import program_size
from ..types import ListType
from .typed import Apply, Constant, Elements, Quantifier, Typed, parts_of
from .work import Sizes

_LONG_STRING = 200
_REWRITTEN_STRING = 1000
_LONG_LIST = 200
_SUM = 10


def bounds_of(expr: Typed) -> Sizes:
    """Return the longest list for `exists` and `all`, and the longest string for `matches`; longer ones are unknown.

    They keep `expr` within MAX_MACRO_WORK and MAX_MATCH_WORK.

    With `n` the weight of all parts inside macros and `d` the deepest nesting of macros, `elements` is the
    largest length with `length ** d * n <= MAX_MACRO_WORK`.  With `p` the size of all patterns' programs,
    `characters * p <= MAX_MATCH_WORK`, where a pattern inside macros counts once for each of their steps.
    """
    weight, deepest, outside, inside = 0, 0, 0, 0
    stack = [(expr, 0)]
    while stack:
        node, depth = stack.pop()
        inner = depth + isinstance(node, Quantifier)
        deepest = max(deepest, inner)
        if inner:
            weight += _weight(node)
        if isinstance(node, Apply) and node.operation.startswith("matches"):
            pattern = node.operands[1]
            assert isinstance(pattern, Constant) and isinstance(pattern.value, str)
            size = program_size(pattern.value)
            inside, outside = inside + size * bool(depth), outside + size * (not depth)
        stack.extend((part, inner) for part in parts_of(node))
    elements = _longest(deepest, weight) if deepest else MAX_LIST_LENGTH
    programs = outside + inside * max(1, elements) ** deepest
    characters = min(MAX_FEATURE_STRING_LENGTH, MAX_MATCH_WORK // max(1, programs))
    return Sizes(elements, characters)


def _longest(depth: int, weight: int) -> int:
    low, high = 0, MAX_LIST_LENGTH
    while low < high:
        middle = (low + high + 1) // 2
        if middle**depth * weight <= MAX_MACRO_WORK:
            low = middle
        else:
            high = middle - 1
    return low


def _weight(node: Typed) -> int:
    """How long a node takes, in steps of a comparison, for the longest strings and lists."""
    if not isinstance(node, Apply):
        return 1
    operands = node.operands
    if node.operation == "in":
        return 1 if isinstance(operands[1], Elements) else _LONG_LIST
    if node.operation.startswith("add_"):
        return _SUM
    if node.operation in {"lowerAscii", "upperAscii"}:
        return _REWRITTEN_STRING
    if OPERATIONS[node.operation].linear:
        return _LONG_STRING
    if node.operation not in {"size", "index"} and any(isinstance(part.type, ListType) for part in operands):
        return _LONG_LIST
    return 1
