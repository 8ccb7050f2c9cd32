"""Query results as text: cells for a table, CSV, JSON.

Unknown stays visible: NULL is ``null`` in JSON and in tables, and an empty field in CSV. Nested values are
JSON inside tables and CSV. Numbers that JSON does not have (NaN, infinities) become ``null`` there.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from routewright.engine.report import escape_csv, escape_json, escape_line

from .results import QueryResult


def to_json(result: QueryResult) -> str:
    """A JSON array with an object for each row, one row per line; duplicate column names get a number.

    Invisible characters are written as JSON escapes, so the values are exact.
    """
    names = _unique(result.columns)
    rows = [
        json.dumps(
            {name: json_value(value) for name, value in zip(names, row, strict=True)},
            ensure_ascii=False,
            allow_nan=False,
        )
        for row in result.rows
    ]
    return escape_json("[" + ",\n ".join(rows) + "]\n")


def to_csv(result: QueryResult) -> str:
    """CSV (RFC 4180) with a header line and ``\\n`` line ends, for people and spreadsheets; JSON is the exact format.

    Text that a spreadsheet would run as a formula gets a leading ``'``, and invisible characters become escapes.
    """
    rows = [["" if value is None else _csv_cell(value) for value in row] for row in result.rows]
    return "".join(_csv_line(row) for row in [list(map(escape_csv, result.columns)), *rows])


def to_table(result: QueryResult) -> tuple[list[str], list[list[str]]]:
    """The header and the rows as text cells, safe to print: control characters are written as escapes."""
    header = [escape_line(name) for name in result.columns]
    rows = [["null" if value is None else escape_line(_text(value)) for value in row] for row in result.rows]
    return header, rows


def json_value(value: object) -> Any:
    """``value`` as what JSON can hold. Decimals are numbers where a double holds them exactly, else text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return _decimal(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(key): json_value(item) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            return [json_value(item) for item in value]
        case _:
            return str(value)


def _decimal(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case datetime():
            return value.isoformat(sep=" ")
        case Decimal():
            return f"{value:f}"
        case float() if not math.isfinite(value):
            return str(value)
    plain = json_value(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, allow_nan=False)


def _csv_cell(value: object) -> str:
    # Only text can be a formula: a number below zero is one.
    return escape_csv(_text(value)) if not isinstance(value, int | float | Decimal) else _text(value)


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    # A writer whose lines end in "\n" alone leaves a lone "\r" unquoted, and readers then see two lines.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _unique(names: Sequence[str]) -> list[str]:
    taken: set[str] = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        fresh, number = name, 2
        while fresh in seen or (fresh != name and fresh in taken):
            fresh, number = f"{name}_{number}", number + 1
        seen.add(fresh)
        unique.append(fresh)
    return unique
