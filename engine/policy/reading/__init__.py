"""Reads a shape from YAML, and reports what does not fit in an author's words."""

from __future__ import annotations

from .read import FileKind, Source, kind_of, read_catalog, read_policy, read_shape, unreadable_catalog
from .shape_problems import place_problem, shape_problems

__all__ = [
    "FileKind",
    "Source",
    "kind_of",
    "place_problem",
    "read_catalog",
    "read_policy",
    "read_shape",
    "shape_problems",
    "unreadable_catalog",
]
