"""Conditions: parsed, checked, and evaluated or compiled.

    text → Expr (parser) → CheckedExpr (checker) → a value (reference), a function (codegen) or SQL (sql)

Reads no files and no clock; values are booleans, integers, numbers, strings and lists, or UNKNOWN.
"""

from __future__ import annotations

from .analysis.fold import specialise
from .analysis.leaning import leaning
from .analysis.parts import atoms, failing_parts
from .bind import infer_declarations
from .check.checker import check_expr
from .check.typed import Apply, Bounded, CheckedExpr, Constant, Elements, Feature, Has, Typed, walk_typed
from .check.work import LARGEST, always_within, patterns_of, work_of
from .evaluation import evaluate
from .library import COMPARISONS, SOURCES
from .library.declaration import Function, Sizes
from .library.functions import FUNCTIONS, MACROS
from .limits import MAX_EXACT_INTEGER
from .patterns import PatternError, compile_pattern, compile_search
from .syntax.expr import Name, walk
from .syntax.parser import parse_expr
from .syntax.render import render_expr, render_value
from .syntax.structured import parse_condition, with_source_lines
from .targets.codegen import compile_function
from .targets.reference import Trace, TracedPart, evaluate_reference, trace
from .targets.sql import NotInSql, SqlColumn, WithinSql, sql_of, sql_within
from .targets.sql_text import sql_name, sql_operand, sql_text, sql_type, sql_value
from .types import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type, unify
from .values import UNKNOWN, ValueRefused, check_value

__all__ = [
    "BOOLEAN",
    "COMPARISONS",
    "FUNCTIONS",
    "INTEGER",
    "LARGEST",
    "MACROS",
    "MAX_EXACT_INTEGER",
    "NUMBER",
    "SOURCES",
    "STRING",
    "UNKNOWN",
    "Apply",
    "Bounded",
    "CheckedExpr",
    "Constant",
    "Declaration",
    "Elements",
    "Feature",
    "Function",
    "Has",
    "ListType",
    "Name",
    "NotInSql",
    "PatternError",
    "Sizes",
    "SqlColumn",
    "Trace",
    "TracedPart",
    "Type",
    "Typed",
    "ValueRefused",
    "WithinSql",
    "always_within",
    "atoms",
    "check_expr",
    "check_value",
    "compile_function",
    "compile_pattern",
    "compile_search",
    "evaluate",
    "evaluate_reference",
    "failing_parts",
    "infer_declarations",
    "leaning",
    "parse_condition",
    "parse_expr",
    "patterns_of",
    "render_expr",
    "render_value",
    "specialise",
    "sql_name",
    "sql_of",
    "sql_operand",
    "sql_text",
    "sql_type",
    "sql_value",
    "sql_within",
    "trace",
    "unify",
    "walk",
    "walk_typed",
    "with_source_lines",
    "work_of",
]
