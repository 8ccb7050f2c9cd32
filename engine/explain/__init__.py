"""Explains a decision: values, failing parts, gates, and what would have led elsewhere."""

from __future__ import annotations

from .arm_text import difference, share_text
from .explanation import as_recorded, explain, recompute
from .report_tree import ReportTree, explanation_tree, outcome_text, plan_tree, record_tree, render_markdown
from .values import explanation_values

__all__ = [
    "ReportTree",
    "as_recorded",
    "difference",
    "explain",
    "explanation_tree",
    "explanation_values",
    "outcome_text",
    "plan_tree",
    "recompute",
    "record_tree",
    "render_markdown",
    "share_text",
]
