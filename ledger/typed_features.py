"""Makes the SQL that gives a policy's features their types, over all versions of the policy.

Where versions differ, an integer widens to a number; else the newest declaration says the type, and a value of another
type is NULL unless it can be written as that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .declarations import DeclaredFeatures

_SCALARS: Final[Mapping[str, str]] = {
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "string": "VARCHAR",
}

# What a value of a type may be as, by DuckDB's names of what is in a VARIANT. A cast alone would make 1 of true.
_FITS: Final[Mapping[str, str]] = {
    "boolean": "({kind} LIKE 'BOOL%')",
    "integer": "({kind} LIKE 'INT%' OR {kind} LIKE 'UINT%')",
    "number": "({kind} LIKE 'INT%' OR {kind} LIKE 'UINT%' OR {kind} LIKE 'DECIMAL%' OR {kind} IN ('DOUBLE', 'FLOAT'))",
    "string": "(NOT ({kind} LIKE 'ARRAY%' OR {kind} LIKE 'OBJECT%'))",
}


def typed_features(declared: DeclaredFeatures) -> str | None:
    """SQL for the STRUCT of the features of ``d``; None where no feature is declared.

    The struct has each feature once, in its newest spelling, since SQL does not tell `Team` from `team`.
    """
    spellings: dict[str, list[str]] = {}
    for one in declared:
        for name in one:
            known = spellings.setdefault(name.lower(), [])
            if name not in known:
                known.append(name)
    if not spellings:
        return None
    types = {key: [one.get(name) for one in declared for name in names] for key, names in spellings.items()}
    chosen = {key: _chosen(found) for key, found in types.items()}
    always = all(len(set(map(_widened, found))) == 1 for found in types.values())
    fields = ", ".join(
        f"{_quoted(names[0])}: {_read(names, chosen[key])}" for key, names in spellings.items()
    )
    each = f"{{{fields}}}"
    if not always:
        return each
    shape = ", ".join(f"{_named(names[0])} {_sql_type(chosen[key])}" for key, names in spellings.items())
    # All at once takes half the time; it is NULL where a single field does not fit.
    return f"coalesce(TRY_CAST(d.features AS STRUCT({shape})), {each})"


def _chosen(found: Sequence[str | None]) -> str:
    """The type of a feature, of those that it was declared with, the newest first; None where it was not."""
    types = [one for one in found if one is not None]
    return next((one for one in types if "number" in one and set(map(_widened, types)) == {one}), types[0])


def _widened(type: str | None) -> str | None:
    return None if type is None else type.replace("integer", "number")


def _read(names: Sequence[str], type: str) -> str:
    values = [_cast(f"d.features.{_named(name)}", type) for name in names]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def _cast(value: str, type: str) -> str:
    kind = f"variant_typeof({value})"
    fits = f"({kind} LIKE 'ARRAY%')" if type.endswith("[]") else _FITS[type].format(kind=kind)
    return f"CASE WHEN {fits} THEN TRY_CAST({value} AS {_sql_type(type)}) END"


def _sql_type(type: str) -> str:
    element = type.removesuffix("[]")
    return _SCALARS[element] + type[len(element) :]


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
