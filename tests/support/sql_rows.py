"""Asks DuckDB for the values of SQL expressions over rows that are written as literals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import duckdb

from routewright.engine.condition import Type, sql_name, sql_value

__all__ = ["as_values", "connection", "values_in_sql"]


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """An empty database; one thread, as rows are few."""
    return duckdb.connect(":memory:", config={"threads": 1})


def values_in_sql(
    expressions: Sequence[str],
    types: Mapping[str, Type],
    rows: Sequence[Mapping[str, object]],
    *,
    bound: Mapping[str, str] | None = None,
) -> list[tuple[object, ...]]:
    """The values of `expressions`, which name columns of `types`, for each of `rows`, in one statement.

    With `bound`, expressions name its columns instead, which an inner select makes of those of `types`.
    """
    literals = [
        f"({', '.join([str(number), *(sql_value(row[name], type_) for name, type_ in types.items())])})"
        for number, row in enumerate(rows)
    ]
    columns = ", ".join(['"row number"', *map(sql_name, types)])
    relation = f"(VALUES {', '.join(literals)}) AS t({columns})"
    if bound is not None:
        inner = ", ".join(['"row number"', *(f"{sql} AS {sql_name(name)}" for name, sql in bound.items())])
        relation = f"(SELECT {inner} FROM {relation})"
    found = connection().execute(f'SELECT {", ".join(expressions)} FROM {relation} ORDER BY "row number"')
    return [tuple(map(as_values, row)) for row in found.fetchall()]


def as_values(value: Any) -> object:
    """A value that DuckDB gave as the engine keeps it; None is unknown."""
    return tuple(map(as_values, value)) if isinstance(value, list) else value
