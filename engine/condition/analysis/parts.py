"""What a condition depends on, and why it came out as it did; for explanations and for searching changes."""

from __future__ import annotations

from collections.abc import Mapping

from ..check.typed import (
    Bounded,
    CheckedExpr,
    Constant,
    Logical,
    Negation,
    Ternary,
    Typed,
    feature_names,
    finish,
    parts_of,
)
from ..targets.reference import TracedPart, is_cut_short, traced, values_by_node
from ..values import UNKNOWN


def atoms(checked: CheckedExpr) -> tuple[CheckedExpr, ...]:
    """Return the parts that are not made of `&& || ! ?:` themselves, in reading order.

    Each is a checked expression of its own: a comparison, a boolean feature, a call; constants are left out.
    """
    found: list[CheckedExpr] = []
    stack = [checked.expr]
    while stack:
        node = stack.pop()
        match node:
            case Logical() | Negation() | Ternary():
                stack.extend(reversed(parts_of(node)))
            case Constant():
                pass
            case _:
                if feature_names(node):
                    found.append(finish(node, node.source))
    return tuple(found)


def failing_parts(checked: CheckedExpr, features: Mapping[str, object]) -> tuple[TracedPart, ...]:
    """Return the smallest parts that keep `checked` from being true, with their values; none if it is true.

    Of `a && b` it is the first part that is not true, looked into in turn; of `a || b` it is all parts; of
    `!x` it is what makes `x` true or unknown.  A name that `features` lacks, or has as None, is unknown.
    """
    values = values_by_node(checked.expr, features)
    parts: list[TracedPart] = []

    def blame(node: Typed, wanted: bool) -> None:
        """Note the parts of `node` that keep it from being `wanted`."""
        match node:
            case Logical(any_of, inner):
                wrong = [part for part in inner if values[id(part)] is not wanted]
                # Every part stands in the way of `||`; of `&&` the first is enough to know.
                for part in wrong if any_of is wanted else wrong[:1]:
                    blame(part, wanted)
            case Negation(operand):
                blame(operand, not wanted)
            case Ternary(condition, then, otherwise):
                verdict = values[id(condition)]
                if verdict is UNKNOWN:
                    blame(condition, True)
                else:
                    blame(then if verdict else otherwise, wanted)
            case Bounded(part) if not is_cut_short(node, values):
                blame(part, wanted)
            case _:
                parts.append(traced(node, values))

    if values[id(checked.expr)] is not True:
        blame(checked.expr, True)
    return tuple(parts)
