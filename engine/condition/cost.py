"""How much work the macros of an expression may do, known before anything runs.

`exists` and `all` are the only loops.  Counting steps while they run would make the value depend on the order
of evaluation, and the targets evaluate in different orders; so the bound is on the length of their lists, and
follows from the text alone.
"""

from __future__ import annotations

from .limits import MAX_LIST_LENGTH, MAX_MACRO_WORK
from .syntax import Binary, Call, Expr, Macro, children

__all__ = ["macro_limit"]

_LINEAR_CALL = 200
"""A function that reads a whole string, against the step of a comparison."""

_SUM = 10

_LINEAR_FUNCTIONS = {"contains", "matches", "lowerAscii", "upperAscii", "int", "double"}


def macro_limit(expr: Expr) -> int:
    """Return how many elements a list may have for `exists` and `all` in `expr`.

    With `n` the weight of all parts inside macros and `d` the deepest nesting of macros, it is the largest
    length with `length ** d * n <= MAX_MACRO_WORK`.
    """
    weight, deepest = 0, 0
    stack = [(expr, 0)]
    while stack:
        node, depth = stack.pop()
        if depth or isinstance(node, Macro):
            weight += _weight(node)
        inner = depth + 1 if isinstance(node, Macro) else depth
        deepest = max(deepest, inner)
        stack.extend((child, inner) for child in children(node))
    if not deepest:
        return MAX_LIST_LENGTH
    low, high = 0, MAX_LIST_LENGTH
    while low < high:
        middle = (low + high + 1) // 2
        if middle**deepest * weight <= MAX_MACRO_WORK:
            low = middle
        else:
            high = middle - 1
    return low


def _weight(node: Expr) -> int:
    if isinstance(node, Call) and node.function in _LINEAR_FUNCTIONS:
        return _LINEAR_CALL
    return _SUM if isinstance(node, Binary) and node.op == "+" else 1
