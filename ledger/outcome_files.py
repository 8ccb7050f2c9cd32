"""Reads outcomes from files: CSV, JSON, JSON lines or Parquet, one of them in a row, or several beside a decision's
id.

A row with a column `metric` holds one outcome, in `value`. In any other, each column is a metric but `decision_id`,
`attempt`, `model`, `source` and `time`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from .errors import InputError
from .importing.rows import BadRow, FileRow, Opened, open_file
from .importing.shape import ordinal
from .importing.table_rows import parquet_rows
from .importing.text_rows import csv_rows, json_rows
from .importing.values import Read, measured, text, time_us
from .outcomes import Outcome

ABOUT: Final = ("decision_id", "attempt", "model", "source", "time")
"""The columns that are no metrics."""

_READERS: Final[dict[str, Read]] = {"attempt": ordinal, "model": text, "source": text, "time": time_us()}


def read_outcomes(path: Path, source: str | None = None) -> Iterator[Outcome]:
    """The outcomes of a file; ``source`` is that of rows that name none.

    Raises InputError for the first row that cannot be read, with its line.
    """
    with open_file(path) as file, closing(_rows(file)) as rows:
        for row in rows:
            if isinstance(row, BadRow):
                raise _bad(path, row.place, row.why)
            try:
                yield from _outcomes(row, source or "manual")
            except ValueError as error:
                raise _bad(path, row.place, str(error)) from None


def _rows(file: Opened) -> Generator[FileRow | BadRow, None, None]:
    if file.format == "sqlite":
        raise InputError(
            f"`{file.path}` is a SQLite database, and outcomes are read from CSV, JSON or Parquet"
        )
    if file.format == "parquet":
        yield from parquet_rows(file, None)
    else:
        yield from csv_rows(file) if file.format == "csv" else json_rows(file)


def _outcomes(row: FileRow, source: str) -> Iterator[Outcome]:
    said: dict[str, Any] = {}
    for name, read in _READERS.items():
        try:
            said[name] = read(row.values.get(name))
        except ValueError as error:
            raise ValueError(f"`{name}` is `{row.values.get(name)}`, and {error}") from None
    decision_id = text(row.values.get("decision_id"))
    if decision_id is None:
        raise ValueError("it has no `decision_id`")
    if "metric" in row.values:
        values = {text(row.values["metric"]): row.values.get("value")}
    else:
        values = {name: value for name, value in row.values.items() if name not in ABOUT}
    for metric, value in values.items():
        if metric is None:
            raise ValueError("its `metric` is empty")
        found = outcome_value(value)
        if found is not None:
            yield Outcome(
                decision_id,
                metric,
                found,
                said["attempt"],
                said["model"],
                said["source"] or source,
                said["time"],
                row.place,
            )


def outcome_value(value: Any) -> float | str | None:
    """A number, where it is or looks like one; true and false are 1 and 0; any other text is a label."""
    number, label = measured(value)
    return label if number is None else number


def _bad(path: Path, place: int, why: str) -> InputError:
    return InputError(f"`{path}`:{place}: {why}; no outcome was recorded")
