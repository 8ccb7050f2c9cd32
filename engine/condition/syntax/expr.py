"""The parsed expression: what was written, and where.

Nodes are immutable and know their place in the text (`span`, left out of comparisons).  Nothing here is
typed yet; `checker` does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...report import Span


@dataclass(frozen=True, slots=True)
class Literal:
    """A boolean, an integer, a double or a string."""

    value: bool | int | float | str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A feature, a macro's variable, or a dotted name such as `model.location`."""

    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ListDisplay:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`!a` or `-a`; `not a` and `a not in b` are `!` too."""

    op: str
    operand: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """A relation (`== != < <= > >= in`) or arithmetic (`+ - * / %`)."""

    op: str
    left: Expr
    right: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """A whole chain of `&&` or of `||`, so that long chains stay shallow."""

    op: str
    parts: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? then : otherwise`."""

    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`f(a, b)`, or `a.f(b)` with the receiver as the first argument and `method` set."""

    function: str
    args: tuple[Expr, ...]
    method: bool
    span: Span = field(compare=False, repr=False)
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: Expr
    index: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """`items.exists(v, body)` or `items.exists(i, v, body)`, and the same with `all`; `kind` is the macro's name.

    With two variables, the first is the element's index, counted from 0, and the second the element.
    """

    kind: str
    items: Expr
    variables: tuple[Name, ...]
    body: Expr
    span: Span = field(compare=False, repr=False)


Expr = Literal | Name | ListDisplay | Unary | Binary | Logical | Conditional | Call | Index | Macro


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct parts of `expr` in reading order, without a macro's variables."""
    match expr:
        case Literal() | Name():
            return ()
        case ListDisplay(items):
            return items
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Logical(_, parts):
            return parts
        case Conditional(condition, then, otherwise):
            return (condition, then, otherwise)
        case Call(_, args):
            return args
        case Index(base, index):
            return (base, index)
        case Macro(_, items, _, body):
            return (items, body)


def walk(expr: Expr) -> Iterator[tuple[Expr, int]]:
    """Every node with its depth (the whole expression is 1), parents before their parts, left to right."""
    stack = [(expr, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in reversed(children(node)))
