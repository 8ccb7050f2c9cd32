"""Conditions: text in, checked expressions and their values out.

    text → Expr (parser) → CheckedExpr (checker) → a value (reference) or a function (bytecode)

Reads no files and no clock; values are booleans, integers, numbers, strings and lists, or UNKNOWN.
"""

from .analysis import atoms, failing_parts, thresholds
from .bind import bind, infer_declarations
from .bytecode import compile_function
from .checker import check_expr
from .evaluate import evaluate
from .fold import NOT_CONSTANT, NotConstant, constant_value, specialise
from .parser import parse_expr
from .places import with_source_lines
from .reference import Trace, TracedPart, evaluate_reference, trace
from .render import render_expr, render_value
from .structured import parse_condition
from .syntax import Expr
from .typed import CheckedExpr
from .types import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type
from .values import UNKNOWN, Unknown, ValueRefused, check_value

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "NOT_CONSTANT",
    "NUMBER",
    "STRING",
    "UNKNOWN",
    "CheckedExpr",
    "Declaration",
    "Expr",
    "ListType",
    "NotConstant",
    "Trace",
    "TracedPart",
    "Type",
    "Unknown",
    "ValueRefused",
    "atoms",
    "bind",
    "check_expr",
    "check_value",
    "compile_function",
    "constant_value",
    "evaluate",
    "evaluate_reference",
    "failing_parts",
    "infer_declarations",
    "parse_condition",
    "parse_expr",
    "render_expr",
    "render_value",
    "specialise",
    "thresholds",
    "trace",
    "with_source_lines",
]
