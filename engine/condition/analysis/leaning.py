"""Which boolean features make a condition hold by being true."""

from __future__ import annotations

from ..syntax.expr import Binary, Conditional, Expr, Literal, Logical, Name, Unary


def leaning(expr: Expr, *, holds: bool = True) -> frozenset[str]:
    """The names that, where they are true, make for `expr` being true; with `holds=False`, for it being false.

    A name counts where it stands by itself, behind `!`, or beside `==` or `!=` and a boolean.

    >>> from ..syntax.parser import parse_expr
    >>> leaning(parse_expr("private && !public")), leaning(parse_expr("!private || level > 3"), holds=False)
    (frozenset({'private'}), frozenset({'private'}))
    """
    match expr:
        case Name(name):
            return frozenset({name} if holds else ())
        case Unary("!", operand):
            return leaning(operand, holds=not holds)
        case Logical(_, parts):
            return frozenset[str]().union(*(leaning(part, holds=holds) for part in parts))
        case Conditional(_, then, otherwise):
            return leaning(then, holds=holds) | leaning(otherwise, holds=holds)
        case Binary("==" | "!=" as op, operand, Literal(bool() as value)) | Binary(
            "==" | "!=" as op, Literal(bool() as value), operand
        ):
            return leaning(operand, holds=holds is (value is (op == "==")))
        case _:
            return frozenset()
