"""Conditions: parsed, checked, and evaluated or compiled.

    text → Expr (parser) → CheckedExpr (checker) → a value (reference) or a function (codegen)

Reads no files and no clock; values are booleans, integers, numbers, strings and lists, or UNKNOWN.
"""

from __future__ import annotations

from .analysis import atoms, failing_parts, specialise, thresholds
from .bind import bind, infer_declarations
from .check import (
    LARGEST,
    Apply,
    Bounded,
    CheckedExpr,
    Constant,
    Elements,
    Feature,
    Has,
    Typed,
    always_within,
    check_expr,
    patterns_of,
    walk_typed,
    work_of,
)
from .evaluation import evaluate
from .library import COMPARISONS, FUNCTIONS, MACROS, Function, Sizes
from .limits import MAX_EXACT_INTEGER
from .patterns import PatternError, compile_pattern, compile_search
from .syntax import (
    Expr,
    Name,
    parse_condition,
    parse_expr,
    render_expr,
    render_value,
    walk,
    with_source_lines,
)
from .targets import Trace, TracedPart, compile_function, evaluate_reference, trace
from .types import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type, unify
from .values import UNKNOWN, Unknown, ValueRefused, check_value

__all__ = [
    "BOOLEAN",
    "COMPARISONS",
    "FUNCTIONS",
    "INTEGER",
    "LARGEST",
    "MACROS",
    "MAX_EXACT_INTEGER",
    "NUMBER",
    "STRING",
    "UNKNOWN",
    "Apply",
    "Bounded",
    "CheckedExpr",
    "Constant",
    "Declaration",
    "Elements",
    "Expr",
    "Feature",
    "Function",
    "Has",
    "ListType",
    "Name",
    "PatternError",
    "Sizes",
    "Trace",
    "TracedPart",
    "Type",
    "Typed",
    "Unknown",
    "ValueRefused",
    "always_within",
    "atoms",
    "bind",
    "check_expr",
    "check_value",
    "compile_function",
    "compile_pattern",
    "compile_search",
    "evaluate",
    "evaluate_reference",
    "failing_parts",
    "infer_declarations",
    "parse_condition",
    "parse_expr",
    "patterns_of",
    "render_expr",
    "render_value",
    "specialise",
    "thresholds",
    "trace",
    "unify",
    "walk",
    "walk_typed",
    "with_source_lines",
    "work_of",
]
