"""Says where a statement averages rows that each stand for many decisions or calls: that is no average of these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .views import view_names

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_AVERAGE: Final = re.compile(
    r'\b(?P<call>(?:avg|mean|median|stddev|quantile|quantile_cont|quantile_disc)\s*\(\s*(?:\w+\.)?"?(?P<column>\w+)"?)\s*[,)]',
    re.IGNORECASE,
)

_COLUMNS: Final = "SELECT table_name, column_name, data_type FROM system.main.duckdb_columns()"

_COUNTED: Final = ("BIGINT", "HUGEINT", "DECIMAL")
"""How the types of columns begin that count or add up what a row stands for."""


def averaged_rows(connection: DuckDBPyConnection, sql: str) -> Iterator[str]:
    """What is to be said of the averages in a statement, for each that goes over such rows."""
    averages = {found["column"].lower(): found["call"] for found in _AVERAGE.finditer(sql)}
    named = {word.lower() for word in re.findall(r"\w+", sql)}
    asked = {f"{prefix}{name}" for name in view_names() for prefix in ("", "all_")} & named
    if not averages or not asked:
        return
    columns: dict[str, dict[str, str]] = {}
    # Compared here, as the file may have macros of the names of operators.
    for view, column, type in connection.execute(_COLUMNS).fetchall():
        if view in asked:
            columns.setdefault(view, {})[column.lower()] = type
    for view, types in sorted(columns.items()):
        if "decision_id" in types or "day" not in types:
            continue
        for column, call in averages.items():
            # What the statement itself names so is no column of the view.
            made = re.search(rf'\bas\s+"?{re.escape(column)}\b', sql, re.IGNORECASE)
            if types.get(column, "").startswith(_COUNTED) and made is None:
                yield (
                    f"`{view}` has several rows for a day, one for each combination of its names: `{call})` goes over "
                    f"these rows; for days, take it of `SELECT day, sum({column}) AS n FROM {view} GROUP BY day`"
                )
