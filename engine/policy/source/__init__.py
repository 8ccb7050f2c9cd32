"""YAML as a tree in which every value keeps its place."""

from __future__ import annotations

from .document import Document, Node, Path, SourceText, properties_start
from .nodes import MAX_FILE_BYTES, parse_yaml
from .offsets import text_offsets

__all__ = [
    "MAX_FILE_BYTES",
    "Document",
    "Node",
    "Path",
    "SourceText",
    "parse_yaml",
    "properties_start",
    "text_offsets",
]
