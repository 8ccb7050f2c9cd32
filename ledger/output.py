"""Query results as text: cells for a table, CSV, JSON.

Unknown stays visible: NULL is ``null`` in JSON and in tables, and an empty field in CSV. Nested values are
JSON inside tables and CSV.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, assert_never

from routewright.engine.report import escape_csv, escape_json, escape_line

from .json_values import Rows, json_text, json_value, unique_names
from .results import QueryResult

TextForm = Literal["csv", "json", "jsonl"]


def to_json(result: QueryResult) -> str:
    """A JSON array with an object for each row, one row per line; duplicate column names get a number.

    Invisible characters are written as JSON escapes, so the values are exact.
    """
    return "".join(text_pieces("json", result.columns, [result.rows]))


def to_jsonl(result: QueryResult) -> str:
    """JSON Lines: an object for each row, as in ``to_json``."""
    return "".join(text_pieces("jsonl", result.columns, [result.rows]))


def to_csv(result: QueryResult) -> str:
    """CSV (RFC 4180) with a header line and ``\\n`` line ends, for people and spreadsheets; JSON is the exact format.

    Text that a spreadsheet would run as a formula gets a leading ``'``, and invisible characters become escapes.
    """
    return "".join(text_pieces("csv", result.columns, [result.rows]))


def text_pieces(form: TextForm, columns: Sequence[str], batches: Iterable[Rows]) -> Iterator[str]:
    """The text of rows that come in batches, a piece for each batch and what stands around them."""
    match form:
        case "csv":
            yield _csv_lines([list(map(escape_csv, columns))])
            for batch in batches:
                yield _csv_lines(
                    ["" if value is None else _csv_cell(value) for value in row] for row in batch
                )
        case "jsonl":
            names = unique_names(columns)
            for batch in batches:
                yield "".join(f"{_json_row(names, row)}\n" for row in batch)
        case "json":
            names, before = unique_names(columns), "["
            for batch in batches:
                for row in batch:
                    yield before + _json_row(names, row)
                    before = ",\n "
            yield "[]\n" if before == "[" else "]\n"
        case _:
            assert_never(form)


def to_table(result: QueryResult) -> tuple[list[str], list[list[str]]]:
    """The header and the rows as text cells, safe to print: control characters are written as escapes."""
    header = [escape_line(name) for name in result.columns]
    rows = [["null" if value is None else escape_line(_cell(value)) for value in row] for row in result.rows]
    return header, rows


def _cell(value: object) -> str:
    """For a table, in which an offset of whole hours is one number, as DuckDB writes it: ``+02``."""
    text = _text(value)
    return text.removesuffix(":00") if isinstance(value, datetime) and value.tzinfo is not None else text


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
    if isinstance(value, dict | list | tuple):
        return json_text(value)
    plain = json_value(value)
    return plain if isinstance(plain, str) else json_text(plain)


def _json_row(names: Sequence[str], row: Sequence[object]) -> str:
    return escape_json(json_text(dict(zip(names, row, strict=True))))


def _csv_cell(value: object) -> str:
    # Only text can be a formula: a number below zero is one.
    return escape_csv(_text(value)) if not isinstance(value, int | float | Decimal) else _text(value)


def _csv_lines(rows: Iterable[Sequence[str]]) -> str:
    lines: list[str] = []
    # A writer whose lines end in "\n" alone leaves a lone "\r" unquoted, and readers then see two lines.
    csv.writer(_Lines(lines), lineterminator="\r\n").writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append
