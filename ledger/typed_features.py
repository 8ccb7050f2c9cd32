"""Makes the SQL that gives a policy's features their types, over all versions of the policy.

Where versions differ, an integer widens to a number; else the newest declaration says the type, and a value of another
type is NULL unless it can be written as that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final

from .declarations import DeclaredFeatures

_TYPES: Final[Mapping[str, str]] = {
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "string": "VARCHAR",
}

_FITS: Final[Mapping[str, str]] = {
    "boolean": "IN ('BOOL_TRUE', 'BOOL_FALSE')",
    "integer": "SIMILAR TO 'U?INT.*'",
    "number": "SIMILAR TO '(U?INT|DOUBLE|DECIMAL).*'",
    "string": "NOT SIMILAR TO '(ARRAY|OBJECT|VARIANT_NULL).*'",
    "[]": "LIKE 'ARRAY%'",
}
"""Which values, by DuckDB's names for what a VARIANT made of JSON holds, may be of a type. A cast alone would make 1 of
true."""


def typed_features(declared: DeclaredFeatures) -> str | None:
    """SQL for the STRUCT of the features of ``d``; None where no feature is declared.

    The struct has each feature once, in its newest spelling, since SQL does not tell `Team` from `team`.
    """
    spellings = _spellings(declared)
    # Each by itself: a field that rows have is stored by itself, and is read many times faster than the whole.
    fields = (f"{quoted(names[0])}: {_read(names, declared)}" for names in spellings.values())
    return f"{{{', '.join(fields)}}}" if spellings else None


def chosen_types(declared: DeclaredFeatures) -> dict[str, list[str]]:
    """For each feature the type that the struct gives it, and then those declared types that this does not hold."""
    found = {}
    for names in _spellings(declared).values():
        types = [one[name] for one in declared for name in names if name in one]
        chosen = _chosen(types)
        found[names[0]] = [
            chosen,
            *(one for one in dict.fromkeys(types) if one != chosen and _widened(one) != chosen),
        ]
    return found


def _spellings(declared: DeclaredFeatures) -> dict[str, list[str]]:
    """The spellings of each feature, the newest first, by its name in lower case."""
    found: dict[str, list[str]] = {}
    for one in declared:
        for name in one:
            known = found.setdefault(name.lower(), [])
            if name not in known:
                known.append(name)
    return found


_COLUMNS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "boolean": ("boolean", ["boolean"]),
    "number": ("number", ["integer", "number"]),
    "text": ("string", ["string"]),
    "list": ("string[]", [f"{type}[]" for type in _TYPES]),
}
"""The columns of the long form: the type that each is read as, and the declared types that it holds."""


def any_feature(name: str, types: Set[str]) -> str:
    """SQL for a feature of ``d`` as boolean, number, text and list: NULL but in the column of what it is.

    ``types`` are those that it was declared with; a value has the type that its own policy declares.
    """
    value, columns = f"d.features.{named(name)}", []
    for column, (type, held) in _COLUMNS.items():
        if types.isdisjoint(held):
            read = f"NULL::{_sql_type(type)}"
        elif column == "text" and not types <= set(held):
            read = f"CASE WHEN (variant_typeof({value}) = 'VARCHAR') THEN TRY_CAST({value} AS VARCHAR) END"
        else:
            read = _cast(value, type, steady=types <= set(held))
        columns.append(f"{read} AS {column}")
    return ", ".join(columns)


def _read(names: Sequence[str], declared: DeclaredFeatures) -> str:
    types = [one.get(name) for one in declared for name in names]
    type = _chosen([one for one in types if one is not None])
    # A version that does not declare it has ignored it, and then it may be anything.
    steady = len(names) == 1 and None not in types and len({_widened(one) for one in types if one}) == 1
    values = [_cast(f"d.features.{named(name)}", type, steady=steady) for name in names]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _chosen(types: Sequence[str]) -> str:
    """The type of a feature, of those that it was declared with, the newest first."""
    wide = _widened(types[0])
    return wide if wide in types and set(map(_widened, types)) == {wide} else types[0]


def _widened(type: str) -> str:
    return type.replace("integer", "number")


def _cast(value: str, type: str, *, steady: bool) -> str:
    cast = f"TRY_CAST({value} AS {_sql_type(type)})"
    fits = _FITS["[]" if type.endswith("[]") else type]
    return cast if steady else f"CASE WHEN (variant_typeof({value}) {fits}) THEN {cast} END"


def _sql_type(type: str) -> str:
    return f"{_TYPES[type.removesuffix('[]')]}{'[]' if type.endswith('[]') else ''}"


def quoted(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A name in SQL, as it is written."""
    return '"' + name.replace('"', '""') + '"'
