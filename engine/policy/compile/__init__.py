"""Compiles policies and catalogs: names resolved, types checked, conditions compiled."""

from __future__ import annotations

from .budget import largest, most_gated, sizes_by_name
from .catalog import compile_catalog_file
from .names import names_of_models
from .policy import compile_policy
from .rollout import UnfitCandidate
from .testfile import read_tests

__all__ = [
    "UnfitCandidate",
    "compile_catalog_file",
    "compile_policy",
    "largest",
    "most_gated",
    "names_of_models",
    "read_tests",
    "sizes_by_name",
]
