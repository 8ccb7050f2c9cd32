"""Explains a decision: values, failing parts, gates, and what would have led elsewhere."""

from __future__ import annotations

from .arm_text import difference, share_text
from .explanation import explain
from .outline import Outline, explanation_outline, outcome_text, plan_outline, record_outline, render_markdown
from .values import explanation_values

__all__ = [
    "Outline",
    "difference",
    "explain",
    "explanation_outline",
    "explanation_values",
    "outcome_text",
    "plan_outline",
    "record_outline",
    "render_markdown",
    "share_text",
]
