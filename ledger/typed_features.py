"""Makes the SQL that gives a policy's features their types, over all versions of the policy.

Where versions differ, an integer widens to a number; else the newest declaration says the type, and a value of another
type is NULL unless it can be written as that one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from .declarations import DeclaredFeatures

_TYPES: Final[Mapping[str, str]] = {
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "string": "VARCHAR",
}

_FITS: Final[Mapping[str, str]] = {
    "boolean": "= 'BOOLEAN'",
    "integer": "IN ('UBIGINT', 'BIGINT', 'HUGEINT')",
    "number": "IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')",
    "string": "NOT IN ('ARRAY', 'OBJECT', 'NULL')",
    "[]": "= 'ARRAY'",
}
"""Which values, by DuckDB's names for what JSON holds, may be of a type. A cast alone would make 1 of true."""

_ALL: Final = "d.features::JSON"


def typed_features(declared: DeclaredFeatures) -> str | None:
    """SQL for the STRUCT of the features of ``d``; None where no feature is declared.

    The struct has each feature once, in its newest spelling, since SQL does not tell `Team` from `team`.
    """
    spellings = _spellings(declared)
    if not spellings:
        return None
    steady = {names[0]: type for names in spellings.values() if (type := _steady(names, declared))}
    # All at once: field by field takes longer than this for each that most decisions lack.
    parsed = (
        f"from_json({_ALL}, {_quoted(json.dumps({name: _parsed(type) for name, type in steady.items()}))})"
    )
    if len(steady) == len(spellings):
        return parsed
    fields = (
        f"{_quoted(name)}: {f'({parsed}).{_named(name)}' if name in steady else _read(names, declared)}"
        for name, *_ in spellings.values()
        for names in [spellings[name.lower()]]
    )
    return f"{{{', '.join(fields)}}}"


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


def _steady(names: Sequence[str], declared: DeclaredFeatures) -> str | None:
    """The type of a feature that every version of the policy declares alike, but for integers and numbers."""
    types = [one.get(names[0], "") for one in declared]
    return _chosen(types) if len(names) == 1 and len(set(map(_widened, types))) == 1 else None


def _chosen(types: Sequence[str]) -> str:
    """The type of a feature, of those that it was declared with, the newest first."""
    wide = _widened(types[0])
    return wide if wide in types and set(map(_widened, types)) == {wide} else types[0]


def _widened(type: str) -> str:
    return type.replace("integer", "number")


def _read(names: Sequence[str], declared: DeclaredFeatures) -> str:
    type = _chosen([one[name] for one in declared for name in names if name in one])
    values = [_cast(f"json_extract({_ALL}, {_quoted(f'$.{_named(name)}')})", type) for name in names]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _cast(value: str, type: str) -> str:
    fits = _FITS["[]" if type.endswith("[]") else type]
    return f"CASE WHEN json_type({value}) {fits} THEN from_json({value}, {_quoted(json.dumps(_parsed(type)))}) END"


def _parsed(type: str) -> str | list[str]:
    """The type as DuckDB reads it from JSON."""
    return [_TYPES[type[:-2]]] if type.endswith("[]") else _TYPES[type]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
