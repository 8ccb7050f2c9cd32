"""The version of the engine that a decision record names."""

from __future__ import annotations

ENGINE_VERSION = "0.1.0"
"""Counts with the package's version: a record tells which code decided."""
