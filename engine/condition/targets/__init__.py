"""What runs checked conditions: compiled Python functions, and the reference interpreter."""

from __future__ import annotations

from .python import compile_function
from .reference import Trace, TracedPart, evaluate_reference, trace, values_by_node

__all__ = ["Trace", "TracedPart", "compile_function", "evaluate_reference", "trace", "values_by_node"]
