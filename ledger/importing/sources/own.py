"""Calls in our own shape: CSV, JSON, JSON lines or Parquet whose columns have the names of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..calls import CallPlan, Plan, Several, take
from ..shape import CALL_FIELDS, DECISION_FIELDS, OBJECTS
from ..source import Source
from ..values import mapping


def _object(name: str) -> Several:
    def get(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return mapping(row.get(name))

    return Several(get, frozenset({name}))


_by_name = {name: _object(name) for name in OBJECTS}

CALLS = Source(
    "calls",
    Plan(
        [take(field.name, field.name) for field in DECISION_FIELDS],
        [CallPlan([take(field.name, field.name) for field in CALL_FIELDS], _by_name["outcomes"])],
        tags=_by_name["tags"],
        features=_by_name["features"],
        needs_id=False,
    ),
    frozenset({"csv", "json", "parquet"}),
    exact=True,
)
