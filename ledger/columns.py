"""Makes the columns of tables, and the types that entries are parsed with, from the fields of records and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from routewright.engine.record import (
    Attempt,
    DecisionRecord,
    Field,
    Intent,
    Shape,
    Value,
    columns_of,
    fields_of,
    without_null,
)

from .rows import DecisionEnd, DecisionRow, PolicyRow

_TYPES: Final[Mapping[Any, str]] = {
    "uuid": "UUID",
    "ordinal": "INTEGER",
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    Value: "JSON",
}

# VARIANT can be cast from JSON alone; a map of JSON values becomes one object of JSON.
_MADE: Final[Mapping[str, str]] = {
    "features": """map_from_entries(list_concat(
        list_transform(
            list_filter(map_entries(r.features), lambda f: f.value.source <> 'unknown'),
            lambda f: {'key': f.key, 'value': f.value.value}
        ),
        map_entries(r.ignored)
    ))::JSON::VARIANT""",
    "feature_sources": """map_from_entries(list_concat(
        list_transform(map_entries(r.features), lambda f: {'key': f.key, 'value': f.value.source}),
        list_transform(map_keys(r.ignored), lambda name: {'key': name, 'value': 'ignored'})
    ))""",
    "verdicts": "map_from_entries(list_transform(r.rules, lambda rule: {'key': rule.name, 'value': rule.verdict}))",
    "record": "record",
    "record_digest": "'sha256:' || sha256(record)",
}
"""Columns of decisions that are made of several fields, or of the record as a whole."""

_PARSED: Final = ("features", "ignored", "rules")
"""Fields of a record that those are made of."""


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
    stored = [field for field in fields_of(kind) if field.columns] or fields_of(kind)
    return f"STRUCT({', '.join(f'{field.name} {sql_type(field.kind)}' for field in stored)})"


def entry_types() -> dict[str, Any]:
    """The types of what stands beside a record in an entry."""
    decision = _row_types(DecisionRow)
    del decision["record"]
    return {
        "decision": decision,
        "attempts": [{"decision_id": "UUID", **_row_types(Attempt)}],
        "policies": [_row_types(PolicyRow)],
        "intents": [{"decision_id": "UUID", **_row_types(Intent)}],
        "ended": _row_types(DecisionEnd),
    }


def record_types() -> dict[str, Any]:
    """The types of what columns need of a record; its other fields stay in its text."""
    types: dict[str, Any] = {}
    for field in fields_of(DecisionRecord):
        if field.name in _PARSED or field.columns:
            types[field.name] = _parsed_type(field)
    return types


def decision_columns() -> str:
    """What is selected for ``decisions``: of an entry ``d``, its record ``r``, and its end, all null without one."""
    columns = {**_MADE, **dict(_own_columns()), **dict(_record_columns())}
    return ",\n    ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _row_types(row: type[NamedTuple]) -> dict[str, str]:
    return {column.name: sql_type(column.kind) for column in columns_of(row)}


def _parsed_type(field: Field) -> Any:
    if "" in field.columns:
        return "JSON" if _is_variant(field) else sql_type(field.kind)
    if not field.columns:
        return sql_type(field.kind)
    types: dict[str, Any] = {}
    for path in field.columns:
        *outer, name = path.split(".")
        place, shape = types, field.shape
        for step in outer:
            place = place.setdefault(step, {})
            shape = _field(shape, step).shape
        place[name] = sql_type(_field(shape, name).kind)
    return types


def _is_variant(field: Field) -> bool:
    return field.shape is not None and get_origin(field.kind) is None


def _field(shape: type[Shape] | None, name: str) -> Field:
    assert shape is not None
    return next(field for field in fields_of(shape) if field.name == name)


def _own_columns() -> Iterator[tuple[str, str]]:
    at_the_end = {column.name for column in columns_of(DecisionEnd)} - {"decision_id"}
    for column in columns_of(DecisionRow):
        if column.name in at_the_end:
            yield column.name, f"coalesce(ended.{column.name}, d.{column.name})"
        elif column.name != "record":
            yield column.name, "coalesce(d.tags, MAP {})" if column.name == "tags" else f"d.{column.name}"


def _record_columns() -> Iterator[tuple[str, str]]:
    for field in fields_of(DecisionRecord):
        for path, column in field.columns.items():
            value = f"r.{field.name}{path and '.'}{path}"
            if not path and get_origin(field.kind) is list and field.shape is not None:
                inner = (
                    f"'{inside}': one.{f.name}"
                    for f in fields_of(field.shape)
                    for inside in f.columns.values()
                )
                value = f"list_transform({value}, lambda one: {{{', '.join(inner)}}})"
            yield column, f"{value}::VARIANT" if not path and _is_variant(field) else value
