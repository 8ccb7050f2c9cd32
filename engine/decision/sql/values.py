"""Writes as SQL how a value is made one of a feature: its type, its enum, its limits, its size."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from ...condition import BOOLEAN, INTEGER, LARGEST, NUMBER, STRING, ListType, Sizes, Type, sql_type, sql_value
from ...policy import MAX_EXACT, CompiledFeature

_JSON_TYPES: Final[Mapping[Type, str]] = {
    BOOLEAN: "= 'BOOLEAN'",
    INTEGER: "IN ('UBIGINT', 'BIGINT', 'DOUBLE')",
    NUMBER: "IN ('UBIGINT', 'BIGINT', 'DOUBLE')",
    STRING: "= 'VARCHAR'",
}
"""How DuckDB names what a text of JSON holds."""

_ELEMENT: Final = '"local v"'
"""The name of an element inside a lambda."""

_EXACT: Final = f"BETWEEN (-{MAX_EXACT}) AND {MAX_EXACT}"


def converted(value: str, given: Type | None, wanted: Type) -> str:
    """SQL for a value of type `given` (None: JSON) as one of type `wanted`, NULL where it is none.

    JSON has one number where Python has 1 and 1.0, and records are JSON: a whole number is an integer, too.
    """
    if given is None:
        return _read(value, wanted)
    if given == wanted:
        return value
    if isinstance(given, ListType) and isinstance(wanted, ListType):
        elements = converted('"local v"', given.element, wanted.element)
        if elements == sql_value(None, wanted.element):
            # The empty array has every type.
            return f"(CASE WHEN len({value}) = 0 THEN {sql_value((), wanted)} END)"
        each = f'list_transform({value}, lambda "local v": {elements})'
        return (
            f'(CASE WHEN len(list_filter({each}, lambda "local e": "local e" IS NULL)) = 0 THEN {each} END)'
        )
    if (given, wanted) == (INTEGER, NUMBER):
        return f"CAST({value} AS DOUBLE)"
    if (given, wanted) == (NUMBER, INTEGER):
        return _whole(value)
    return sql_value(None, wanted)


def _whole(number: str) -> str:
    """SQL for a number as an integer, NULL where it is none that is exact."""
    is_whole = f"(({number} = trunc({number})) AND ({number} {_EXACT}))"
    return f"(CASE WHEN {is_whole} THEN CAST({number} AS BIGINT) END)"


def _every(elements: str, made: str) -> str:
    """SQL for a list of what is made of each element; NULL where one cannot be made."""
    each = f"list_transform({elements}, lambda {_ELEMENT}: {made})"
    return f'(CASE WHEN len(list_filter({each}, lambda "local m": "local m" IS NULL)) = 0 THEN {each} END)'


def _read(json: str, wanted: Type) -> str:
    if isinstance(wanted, ListType):
        # DuckDB makes an array of one of what is no array.
        elements = f"(CASE WHEN json_type({json}) = 'ARRAY' THEN TRY_CAST({json} AS JSON[]) END)"
        return _every(elements, _read(_ELEMENT, wanted.element))
    test = f"(json_type({json}) {_JSON_TYPES[wanted]})"
    if wanted == INTEGER:
        number = f"TRY_CAST({json} AS DOUBLE)"
        return f"(CASE WHEN {test} THEN {_whole(number)} END)"
    read = f"({json} ->> '$')" if wanted == STRING else f"TRY_CAST({json} AS {sql_type(wanted)})"
    if wanted == NUMBER:
        read = f"({read} + 0e0)"  # -0.0 + 0.0 is 0.0
    return f"(CASE WHEN {test} THEN {read} END)"


def fits(value: str, feature: CompiledFeature, sizes: Sizes, *, measured: bool) -> str | None:
    """SQL for whether a value of the feature's type is allowed, NULL if it is NULL; None where every one is.

    `measured` says that it is known to be within LARGEST.
    """
    kind = feature.declaration.type
    is_long = not (measured and sizes == LARGEST)
    if not isinstance(kind, ListType):
        tests = _allowed(value, kind, feature)
        if is_long and kind == STRING and feature.declaration.enum is None:
            tests.append(f"(length({value}) <= {sizes.characters})")
        return _all(tests) if tests else None
    tests = [f"(len({value}) <= {sizes.elements})"] if is_long else []
    if is_long and kind.element == STRING:
        lengths = f"list_transform({value}, lambda {_ELEMENT}: length({_ELEMENT}))"
        tests.append(f"(coalesce(list_sum({lengths}), 0) <= {sizes.characters})")
    if element := _allowed(_ELEMENT, kind.element, feature):
        tests.append(f"(len(list_filter({value}, lambda {_ELEMENT}: NOT {_all(element)})) = 0)")
    return _all(tests) if tests else None


def _allowed(value: str, kind: Type, feature: CompiledFeature) -> list[str]:
    """What the declaration asks of a scalar, or of each element of an array."""
    enum = feature.declaration.enum
    tests = []
    if enum is not None:
        members = ", ".join(sql_value(member, kind) for member in enum)
        tests.append(f"({value} IN ({members}))" if enum else "false")
    if feature.minimum is not None:
        tests.append(f"({value} >= {_limit(feature.minimum)})")
    if feature.maximum is not None:
        tests.append(f"({value} <= {_limit(feature.maximum)})")
    return tests


def _limit(limit: int | float) -> str:
    # Integers of features are exact as doubles, and rounding a limit beyond them keeps it beyond them.
    return sql_value(float(max(-sys.float_info.max, min(sys.float_info.max, limit))), NUMBER)


def _all(tests: list[str]) -> str:
    return tests[0] if len(tests) == 1 else f"({' AND '.join(tests)})"
