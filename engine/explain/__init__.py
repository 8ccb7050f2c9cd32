"""Explains a decision: values, failing parts, gates, and what would have led elsewhere."""

from __future__ import annotations

from .arm_text import difference, share_text
from .brief import brief_tree
from .erased import lost_features, open_names, what_needs
from .explanation import Explanation, explain, explanation_values
from .recomputing import as_recorded, recompute
from .report_tree import explanation_tree, outcome_text, plan_tree, record_tree

__all__ = [
    "Explanation",
    "as_recorded",
    "brief_tree",
    "difference",
    "explain",
    "explanation_tree",
    "explanation_values",
    "lost_features",
    "open_names",
    "outcome_text",
    "plan_tree",
    "recompute",
    "record_tree",
    "share_text",
    "what_needs",
]
