"""Texts, names, values and types as DuckDB's SQL writes them. Whatever a policy says becomes SQL here alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast

from ..types import BOOLEAN, INTEGER, NOTHING, NUMBER, STRING, ListType, Type
from ..values import UNKNOWN

_TYPES: Final[Mapping[Type, str]] = {
    BOOLEAN: "BOOLEAN",
    INTEGER: "BIGINT",
    NUMBER: "DOUBLE",
    STRING: "VARCHAR",
}

_NAME: Final = re.compile(r'(?:\w+|"(?:[^"]|"")*")(?:\.(?:\w+|"(?:[^"]|"")*"))*')


def sql_type(type_: Type) -> str | None:
    """The type of values of `type_`: `VARCHAR[]` for an array of string. None for those that hold no value."""
    depth = 0
    while isinstance(type_, ListType):
        type_, depth = type_.element, depth + 1
    return None if type_ == NOTHING else _TYPES[type_] + depth * "[]"


def sql_text(text: str) -> str:
    """A literal. DuckDB ends a statement at a zero byte, wherever it stands, so `chr(0)` says it."""
    parts = ["'" + part.replace("'", "''") + "'" for part in text.split("\0")]
    return parts[0] if len(parts) == 1 else f"({' || chr(0) || '.join(parts)})"


def sql_name(name: str) -> str:
    """A quoted name of a column, a table or a field."""
    if "\0" in name:
        raise ValueError("no name in SQL has a zero byte")
    return '"' + name.replace('"', '""') + '"'


def sql_operand(sql: str) -> str:
    """An expression as it can stand anywhere: in parentheses unless it is a name."""
    return sql if _NAME.fullmatch(sql) else f"({sql})"


def sql_value(value: object, type_: Type) -> str:
    """A literal of `type_`; UNKNOWN and None are NULL."""
    if value is UNKNOWN or value is None:
        wanted = sql_type(type_)
        return "NULL" if wanted is None else f"CAST(NULL AS {wanted})"
    if isinstance(type_, ListType):
        return sql_list([sql_value(one, type_.element) for one in cast(tuple[object, ...], value)], type_)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return sql_text(value)
    assert isinstance(value, int | float)
    return _number(value)


def sql_list(items: list[str], type_: Type) -> str:
    """A list of SQL expressions; one without any has no type of its own."""
    wanted = sql_type(type_)
    return f"[{', '.join(items)}]" if items or wanted is None else f"CAST([] AS {wanted})"


def _number(value: int | float) -> str:
    digits = repr(value)
    if isinstance(value, int):  # 5 alone has 32 bits
        return f"({digits})::BIGINT" if value < 0 else f"{digits}::BIGINT"
    # 0.1 alone is a DECIMAL; what has an exponent is a DOUBLE.
    digits = digits if "e" in digits else f"{digits}e0"
    return f"({digits})" if value < 0 else digits
