"""Conditions: text in, checked expressions and their values out.

    text → Expr (parser) → CheckedExpr (checker) → a value (reference) or a function (bytecode)

Reads no files and no clock; values are booleans, integers, numbers, strings and lists, or UNKNOWN.
"""

from .bind import bind, infer_declarations
from .bytecode import compile_function
from .checker import check_expr
from .parser import parse_expr
from .render import render_expr, render_value
from .structured import parse_condition
from .syntax import Expr
from .typed import CheckedExpr
from .types import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type
from .values import UNKNOWN, Unknown, ValueRefused, check_value

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "NUMBER",
    "STRING",
    "UNKNOWN",
    "CheckedExpr",
    "Declaration",
    "Expr",
    "ListType",
    "Type",
    "Unknown",
    "ValueRefused",
    "bind",
    "check_expr",
    "check_value",
    "compile_function",
    "infer_declarations",
    "parse_condition",
    "parse_expr",
    "render_expr",
    "render_value",
]
