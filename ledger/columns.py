"""The types of tables' columns, with which rows are parsed: made from the fields of what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from routewright.engine.record import (
    Attempt,
    MemoryRecord,
    ModelStateRecord,
    RequestRecord,
    Shape,
    Value,
    columns_of,
    fields_of,
    without_null,
)

from .rows import DecisionRow, PolicyRow

_TYPES: Final[Mapping[Any, str]] = {
    "uuid": "UUID",
    "ordinal": "INTEGER",
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    Value: "JSON",
}


def sql_type(kind: Any) -> str:
    """The SQL type of a field's type."""
    kind = without_null(kind)[0]
    if kind in _TYPES:
        return _TYPES[kind]
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return sql_type(inside[1] if isinstance(inside[1], str) else inside[0])
    if origin is Literal:
        return _TYPES[type(inside[0])]
    if origin is list:
        return f"{sql_type(inside[0])}[]"
    if origin is not None and issubclass(origin, Mapping):
        return f"MAP({sql_type(inside[0])}, {sql_type(inside[1])})"
    return f"STRUCT({', '.join(f'{name} {type}' for name, type in _shape_types(kind).items())})"


def _shape_types(shape: type[Shape]) -> dict[str, str]:
    return {field.name: sql_type(field.kind) for field in fields_of(shape)}


def _row_types(row: type[NamedTuple]) -> dict[str, str]:
    return {column.name: sql_type(column.kind) for column in columns_of(row)}


ATTEMPT_TYPES: Final = {"decision_id": "UUID", **_row_types(Attempt)}
POLICY_TYPES: Final = _row_types(PolicyRow)

_BY_WRITER: Final = {"writer": "VARCHAR", "entry": "BIGINT"}

STATE_TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "model": {**_BY_WRITER, "model": "VARCHAR", **_shape_types(ModelStateRecord)},
    "memory": {**_BY_WRITER, "backend": "VARCHAR", **_shape_types(MemoryRecord)},
}
"""What is known of models and of backends."""

DECISION_TYPES: Final = {
    **_BY_WRITER,
    "decision_id": "UUID",
    "at_us": "BIGINT",
    "operation": "VARCHAR",
    "pin": "VARCHAR",
    "draw": "DOUBLE",
    "request": sql_type(RequestRecord),
    "prompt_tokens": "BIGINT",
    "sources": "VARCHAR",
    "features": "JSON",
    "ignored": "VARCHAR[]",
    "verdicts": "VARCHAR",
    "details": "MAP(VARCHAR, VARCHAR)",
    "arm_point": "DOUBLE",
    "load": "DOUBLE",
    "quota_used": "BIGINT[]",
    "session_model": "VARCHAR",
    "policy_part": "INTEGER",
    "plan_part": "INTEGER",
    "arm_part": "INTEGER",
    "digest": "VARCHAR",
    "salts": "MAP(VARCHAR, VARCHAR)",
    "erased": "MAP(VARCHAR, VARCHAR)",
    **_row_types(DecisionRow),
}
"""Decisions as they are inserted: digests as text."""
