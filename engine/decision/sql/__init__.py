"""Binds features in SQL, for many recorded tasks at once."""

from __future__ import annotations

from .bindings import Bindings, GivenColumn, TaskColumns, sql_of_bindings

__all__ = ["Bindings", "GivenColumn", "TaskColumns", "sql_of_bindings"]
