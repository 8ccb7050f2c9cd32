"""Types of DuckDB that other programs do not know, and what they get instead.

In a Parquet file a HUGEINT, the type of every sum of whole numbers, would be a DOUBLE and lose digits; one INTERVAL
keeps polars from reading the file at all. DuckDB reads each text here back as what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation
    from duckdb.sqltypes import DuckDBPyType


_INSTEAD: Final = {
    "hugeint": "DECIMAL(38, 0)",
    "uhugeint": "DECIMAL(38, 0)",
    "variant": "JSON",
    "interval": "VARCHAR",
    "time with time zone": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "VARCHAR",
    "union": "VARCHAR",
}


def portable(relation: DuckDBPyRelation, names: Sequence[str]) -> DuckDBPyRelation:
    """The relation with columns of these names whose types every reader of Parquet and Arrow knows."""
    # A VARIANT becomes text by way of JSON.
    return _known(_known(relation, names), names)


def _known(relation: DuckDBPyRelation, names: Sequence[str]) -> DuckDBPyRelation:
    columns = []
    for number, (name, kind) in enumerate(zip(names, relation.types, strict=True), start=1):
        column = f"#{number}"
        if (known := known_type(kind)) != str(kind):
            column = f"CAST({column} AS {known})"
        columns.append(f"{column} AS {_quoted(name)}")
    return relation.project(", ".join(columns))


def known_type(kind: DuckDBPyType) -> str:
    """``kind`` in SQL, with every part of it that others do not know replaced."""
    if str(kind) == "JSON":
        return "VARCHAR"
    if (instead := _INSTEAD.get(kind.id)) is not None:
        return instead
    match kind.id:
        case "list" | "array":
            return f"{known_type(_child(kind, 0))}[]"
        case "map":
            return f"MAP({known_type(_child(kind, 0))}, {known_type(_child(kind, 1))})"
        case "struct":
            fields = [
                f"{_quoted(name)} {known_type(_child(kind, number))}"
                for number, (name, _) in enumerate(kind.children)
            ]
            return f"STRUCT({', '.join(fields)})"
    return str(kind)


def _child(kind: DuckDBPyType, number: int) -> Any:
    return kind.children[number][1]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
