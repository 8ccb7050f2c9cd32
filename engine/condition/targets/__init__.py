"""What runs checked conditions: compiled Python functions, and the reference interpreter."""

from __future__ import annotations

from .codegen import compile_function
from .reference import Trace, TracedPart, evaluate_reference, is_cut_short, trace, traced, values_by_node

__all__ = [
    "Trace",
    "TracedPart",
    "compile_function",
    "evaluate_reference",
    "is_cut_short",
    "trace",
    "traced",
    "values_by_node",
]
