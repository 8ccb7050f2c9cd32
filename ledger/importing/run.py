"""Imports a file: reads its rows, makes calls of them and stores these in batches, so that memory does not grow."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from routewright.engine.version import ENGINE_VERSION

from ..errors import InputError, LedgerError
from .calls import Call, calls_of
from .rows import NAMES, BadRow, Entry, FileRow, Opened, PassedOver, open_file
from .shape import CALL_FIELDS, DECISION_FIELDS, OBJECTS
from .source import Source
from .storing import Stored
from .table_rows import parquet_rows, sqlite_rows
from .text_rows import csv_rows, json_rows
from .values import Money

AT_ONCE: Final = 5_000
"""Calls that are stored together."""

NAMED: Final = 10
"""So many bad rows, and so many changed ones, are named."""

Store = Callable[[list[Call], "ImportReport"], Stored]
Progress = Callable[[int, int, int], None]
"""Is told the bytes that have been read, all bytes of the file, and the rows."""


@dataclass
class ImportReport:
    """What an import did with a file.

    ``rows`` counts all entries of the file; of them ``bad`` could not be read, ``passed_over`` were no calls of a
    model, ``empty`` said nothing. ``calls`` are those found, ``new_calls`` those that were not there before;
    ``changed`` were there with other values, and were left as they were. ``known`` counts the calls that say each
    field.
    """

    name: str
    source: str
    file: str
    dry_run: bool
    rows: int = 0
    bad: int = 0
    passed_over: int = 0
    empty: int = 0
    calls: int = 0
    outcomes: int = 0
    new_decisions: int = 0
    new_calls: int = 0
    new_outcomes: int = 0
    changed: int = 0
    costs_rounded: int = 0
    complete: bool = False
    known: Counter[str] = field(default_factory=Counter)
    bad_rows: list[BadRow] = field(default_factory=list)
    changed_rows: list[int] = field(default_factory=list)

    def known_fields(self) -> dict[str, int]:
        """How many calls say each field."""
        return {name: self.known[column] for column, name in _KNOWABLE.items()}


_KNOWABLE: Final = {
    **{field.column: field.name for field in (*DECISION_FIELDS, *CALL_FIELDS) if field.name != "call_id"},
    **{name: name for name in OBJECTS},
}
"""The columns of which a report says whether anything is known, and the names of their fields."""


def run_import(
    path: Path, source: Source, name: str, store: Store | None, progress: Progress | None = None
) -> ImportReport:
    """Import the file at ``path``; without ``store`` only read it.

    Raises InputError for a file that cannot be read to its end. What was stored before that stays; the same import
    again adds the rest.
    """
    report = ImportReport(name, source.name, path.name, dry_run=store is None)
    money = Money()
    batch: list[Call] = []
    try:
        with open_file(path) as file, closing(_entries(file, source)) as entries:
            for entry in entries:
                report.rows += 1
                batch += _calls(entry, source, name, money, report)
                if len(batch) >= AT_ONCE:
                    _store(batch, store, report, money)
                    batch = []
                if progress is not None and report.rows % 1_000 == 0:
                    progress(file.done(), file.size, report.rows)
            report.complete = True
            _store(batch, store, report, money)
    except LedgerError as error:
        if not report.new_calls:
            raise
        kind = InputError if isinstance(error, InputError) else LedgerError
        raise kind(
            f"{error}; {report.new_calls:,} calls from before were stored",
            help="import the file again when that is mended: what is there already is not doubled",
        ) from error
    return report


def _store(batch: list[Call], store: Store | None, report: ImportReport, money: Money) -> None:
    report.costs_rounded = money.rounded
    if store is None:
        return
    stored = store(batch, report)
    report.changed_rows = (report.changed_rows + list(stored.changed))[:NAMED]


def _calls(entry: Entry, source: Source, name: str, money: Money, report: ImportReport) -> list[Call]:
    if isinstance(entry, PassedOver):
        report.passed_over += 1
        return []
    if isinstance(entry, FileRow):
        try:
            found = calls_of(entry, source.plan, name, money)
        except ValueError as error:
            entry = BadRow(entry.place, str(error))
        else:
            report.empty += not found
            report.calls += len(found)
            for call in found:
                report.outcomes += len(call.get("outcomes", ()))
                report.known.update(call.keys())
            return found
    report.bad += 1
    if len(report.bad_rows) < NAMED:
        report.bad_rows.append(entry)
    return []


def _entries(file: Opened, source: Source) -> Generator[Entry, None, None]:
    if file.format not in source.formats:
        allowed = " or ".join(NAMES[one] for one in sorted(source.formats))
        raise InputError(
            f"`{file.path}` is {NAMES[file.format]}, and {allowed} was expected of the source `{source.name}`"
        )
    checked = False
    with closing(_rows(file, source)) as rows:
        for row in rows:
            if isinstance(row, FileRow) and not checked:
                checked = True
                _check_columns(row, source, file)
            yield from source.unfold(row) if source.unfold and isinstance(row, FileRow) else (row,)


def _rows(file: Opened, source: Source) -> Generator[FileRow | BadRow, None, None]:
    wanted = source.plan.columns() if source.plan.needs_id else None
    if file.format == "csv":
        yield from csv_rows(file)
    elif file.format == "json":
        yield from json_rows(file)
    elif file.format == "parquet":
        yield from parquet_rows(file, wanted)
    else:
        assert source.table is not None
        yield from sqlite_rows(file, source.table, wanted)


def _check_columns(row: FileRow, source: Source, file: Opened) -> None:
    """Refuse a file that lacks a column, or has one too many where that is likely a misspelled one.

    Objects of JSON may leave keys out: there the first one shows only what is unknown.
    """
    missing = sorted(source.required - row.values.keys())
    if missing and file.format != "json":
        raise InputError(
            f"`{file.path}` has no column `{missing[0]}`", help=f"its columns: {', '.join(row.values)}"
        )
    unknown = sorted(row.values.keys() - source.plan.columns()) if source.exact else []
    if unknown:
        raise InputError(
            f"`{file.path}` has a column `{unknown[0]}`, which is no field of a call",
            help=f"fields: {', '.join(sorted(source.plan.columns()))}",
        )


def import_row(report: ImportReport, source: Source, import_id: uuid.UUID, started_us: int) -> dict[str, Any]:
    """The row of ``imports`` that says what was done with a file so far."""
    return {
        "import": report.name,
        "import_id": str(import_id),
        "source": report.source,
        "file": report.file,
        "mapping": source.mapping,
        "engine_version": ENGINE_VERSION,
        "at_us": started_us,
        "complete": report.complete,
        "rows": report.rows,
        "bad": report.bad,
        "passed_over": report.passed_over,
        "empty": report.empty,
        "calls": report.calls,
        "new_decisions": report.new_decisions,
        "new_calls": report.new_calls,
        "new_outcomes": report.new_outcomes,
        "changed": report.changed,
        "costs_rounded": report.costs_rounded,
    }


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000
