"""Types of DuckDB that other programs do not know, and what they get instead.

In a Parquet file a HUGEINT, the type of every sum of whole numbers, would be a DOUBLE and lose digits; one INTERVAL
keeps polars from reading the file at all. DuckDB reads each text here back as what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation
    from duckdb.sqltypes import DuckDBPyType


INTERVALS: Final = {"interval": "VARCHAR"}
"""Python has no interval of months: a month would be 30 days."""

_FOREIGN: Final = {
    "hugeint": "DECIMAL(38, 0)",
    "uhugeint": "DECIMAL(38, 0)",
    "variant": "JSON",
    **INTERVALS,
    "time with time zone": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "VARCHAR",
    "union": "VARCHAR",
}


def portable(relation: DuckDBPyRelation, names: Sequence[str]) -> DuckDBPyRelation:
    """The relation with columns of these names whose types every reader of Parquet and Arrow knows."""
    # A VARIANT becomes text by way of JSON, whose own name in DuckDB is that of a text.
    known = with_types(relation, names, _FOREIGN)
    return with_types(known, names, {"JSON": "VARCHAR"})


def with_types(
    relation: DuckDBPyRelation, names: Sequence[str], instead: Mapping[str, str]
) -> DuckDBPyRelation:
    """The relation with columns of these names, cast where a type in them has another ``instead``."""
    columns = []
    for number, (name, kind) in enumerate(zip(names, relation.types, strict=True), start=1):
        column = f"#{number}"
        if (changed := _changed(kind, instead)) != str(kind):
            column = f"CAST({column} AS {changed})"
        columns.append(f"{column} AS {_quoted(name)}")
    return relation.project(", ".join(columns))


def _changed(kind: DuckDBPyType, instead: Mapping[str, str]) -> str:
    """``kind`` in SQL, with every part of it that has another ``instead`` replaced."""
    for name in (kind.id, str(kind)):
        if name in instead:
            return instead[name]
    match kind.id:
        case "list":
            return f"{_changed(_child(kind, 0), instead)}[]"
        case "array" if instead is _FOREIGN:  # pyarrow cannot read one that has a NULL beside it
            return f"{_changed(_child(kind, 0), instead)}[]"
        case "map":
            return f"MAP({_changed(_child(kind, 0), instead)}, {_changed(_child(kind, 1), instead)})"
        case "struct":
            fields = [
                f"{_quoted(name)} {_changed(_child(kind, number), instead)}"
                for number, (name, _) in enumerate(kind.children)
            ]
            return f"STRUCT({', '.join(fields)})"
    return str(kind)


def _child(kind: DuckDBPyType, number: int) -> Any:
    return kind.children[number][1]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
