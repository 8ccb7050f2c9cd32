"""Finds texts that hold ``${NAME}`` where nothing resolves it.

Environment variables mean something in ``path`` and ``api_key`` of a catalog alone; anywhere else the text
would be taken literally, in silence.
"""

from __future__ import annotations

from ..labels import quoted, value_name
from ..source.document import Node, Path
from .report import Report

_RESOLVED = frozenset(("path", "api_key"))

# Texts for people, and conditions, whose text literals may say what they like.
_FREE = frozenset(
    ("description", "reason", "disabled_reason", "when", "require", "never", "always", "for", "enum", "label")
)


def check_variables(report: Report) -> None:
    """Note every text of the report's document that would be taken literally."""
    todo: list[tuple[Path, Node]] = [((), report.document.root)]
    while todo:
        path, node = todo.pop()
        if isinstance(node.value, str) and "${" in node.value and path[-1] not in _RESOLVED:
            help = "environment variables are resolved in `path` and `api_key` of a catalog only"
            message = f"{value_name(path)} would be taken literally: {quoted(node.value)}"
            report.at(*path).add("unfit-variable", message, help)
        todo.extend(((*path, step), child) for step, child in node.children.items() if step not in _FREE)
