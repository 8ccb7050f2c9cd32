"""The text of conditions: tokens, the parsed expression, and its canonical text."""

from __future__ import annotations

from .expr import (
    Binary,
    Call,
    Conditional,
    Expr,
    Index,
    ListDisplay,
    Literal,
    Logical,
    Macro,
    Name,
    Unary,
    walk,
)
from .lexer import shorten
from .parser import parse_expr
from .places import with_source_lines
from .render import render_expr, render_value
from .structured import parse_condition

__all__ = [
    "Binary",
    "Call",
    "Conditional",
    "Expr",
    "Index",
    "ListDisplay",
    "Literal",
    "Logical",
    "Macro",
    "Name",
    "Unary",
    "parse_condition",
    "parse_expr",
    "render_expr",
    "render_value",
    "shorten",
    "walk",
    "with_source_lines",
]
