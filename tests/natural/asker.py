"""Asks statements of a ledger file with one client, in a process whose time zone is that of ``TZ``.

Reads a list of statements as JSON on standard input; writes for each its rows, or its error as text.
"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from typing import Any

import duckdb


def plain(value: Any) -> Any:
    """A value as JSON has it; what is missing in a data frame is null."""
    if value is None or type(value).__name__ in ("NaTType", "NAType") or value != value:
        return None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime) and not value.tzinfo and value.time() == value.time().min:
        return value.date().isoformat()  # pandas has no dates
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):
        return plain(value.item())
    return float(value)


def rows(client: str, connection: duckdb.DuckDBPyConnection, sql: str) -> list[list[Any]]:
    match client:
        case "pandas":
            found = connection.sql(sql).df().itertuples(index=False, name=None)
        case "polars":
            found = connection.sql(sql).pl().rows()
        case _:
            found = connection.execute(sql).fetchall()
    return [[plain(value) for value in row] for row in found]


def main(client: str, path: str) -> None:
    answers: list[list[list[Any]] | str] = []
    with duckdb.connect(path, read_only=True) as connection:
        for sql in json.load(sys.stdin):
            try:
                answers.append(rows(client, connection, sql))
            except duckdb.Error as error:
                answers.append(str(error))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
