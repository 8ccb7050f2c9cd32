"""How anything is told to a person: errors and problems, escapes, suggestions, times."""

from __future__ import annotations

from .errors import (
    ConditionError,
    ErasedError,
    FeatureError,
    NotBuiltError,
    PolicyError,
    ProblemsError,
    RecordError,
    RoutewrightError,
    TaskError,
)
from .escapes import (
    escape_answer,
    escape_commands,
    escape_csv,
    escape_flat,
    escape_json,
    escape_line,
    escape_markdown,
    escape_summary,
)
from .extras import install_command
from .money import NANO, money_text
from .problems import (
    MAX_PROBLEMS,
    Problem,
    Span,
    limit_problems,
    render_problem,
    render_problems,
    sort_problems,
)
from .sizes import BYTES_PER_GB, gigabytes
from .suggestions import closest, suggest
from .times import EPOCH, duration_text, iso_time
from .tree import ReportTree, render_markdown, render_tree, wrapped_tree

__all__ = [
    "BYTES_PER_GB",
    "EPOCH",
    "MAX_PROBLEMS",
    "NANO",
    "ConditionError",
    "ErasedError",
    "FeatureError",
    "NotBuiltError",
    "PolicyError",
    "Problem",
    "ProblemsError",
    "RecordError",
    "ReportTree",
    "RoutewrightError",
    "Span",
    "TaskError",
    "closest",
    "duration_text",
    "escape_answer",
    "escape_commands",
    "escape_csv",
    "escape_flat",
    "escape_json",
    "escape_line",
    "escape_markdown",
    "escape_summary",
    "gigabytes",
    "install_command",
    "iso_time",
    "limit_problems",
    "money_text",
    "render_markdown",
    "render_problem",
    "render_problems",
    "render_tree",
    "sort_problems",
    "suggest",
    "wrapped_tree",
]
