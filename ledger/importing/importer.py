"""Imports files into a ledger, lists its imports and removes them: what `Ledger` offers of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from routewright.engine.policy import MAX_FILE_BYTES

from ..changing import changing
from ..connection import checkpoint, open_for_writing
from ..errors import InputError
from ..views import make_views
from .calls import Call
from .mapping import read_mapping
from .run import ImportReport, Progress, import_row, now_us, run_import
from .shape import name as checked_name
from .source import Source
from .sources.agentgateway import AGENTGATEWAY
from .sources.langfuse import LANGFUSE
from .sources.litellm import LITELLM
from .sources.otel import OTEL
from .sources.own import CALLS
from .storing import Stored, delete_import, note_import, store_calls

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCES: Final = {source.name: source for source in (LITELLM, AGENTGATEWAY, LANGFUSE, OTEL, CALLS)}
"""The kinds of logs whose shape is known, by name."""

TABLE: Final = "table"
"""The source of whatever a mapping describes."""


def find_source(name: str, mapping: Path | None) -> tuple[Source, str]:
    """The source of that name, and the name of its imports where nobody gives one.

    Raises InputError for an unknown source, a mapping that is missing or not wanted, or one that cannot be read, and
    PolicyError with all that is wrong in a mapping.
    """
    if name == TABLE:
        if mapping is None:
            raise InputError(
                "the source `table` needs a mapping, which says which column is what", help="--map FILE"
            )
        source, named = read_mapping(_read(mapping), str(mapping))
        return source, named or mapping.name.split(".")[0]
    if mapping is not None:
        raise InputError(
            f"the source `{name}` takes no mapping: its columns are known", help="use the source `table`"
        )
    if name not in SOURCES:
        raise InputError(f"unknown source `{name}`", help=f"known: {', '.join((*SOURCES, TABLE))}")
    return SOURCES[name], name


def check_import(
    source: str,
    path: Path,
    *,
    name: str | None = None,
    mapping: Path | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """What importing a file would find in it; needs no ledger. Raises as ``Ledger.import_file`` does."""
    found, named = find_source(source, mapping)
    return run_import(path, found, name or named, None, progress)


def import_into(
    ledger: Path, lock_timeout_s: float, path: Path, source: Source, name: str, progress: Progress | None
) -> ImportReport:
    """Import a file into the ledger at ``ledger``. Its file is open only while a batch is stored."""
    try:
        valid = checked_name(name) == name
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"`{name}` cannot be the name of an import")
    import_id, started_us = uuid.uuid4(), now_us()

    currencies: set[str] = set()

    def store(calls: list[Call], report: ImportReport) -> Stored:
        with changing(ledger, lock_timeout_s) as connection:
            stored = store_calls(connection, calls)
            report.new_decisions += stored.decisions
            report.new_calls += stored.calls
            report.new_outcomes += stored.outcomes
            report.changed += len(stored.changed)
            note_import(connection, import_row(report, source, import_id, started_us))
            paid_in = {call["currency"] for call in calls if "currency" in call}
            if not paid_in <= currencies:
                make_views(connection)  # they have a column for each currency
                currencies.update(paid_in)
        return stored

    return run_import(path, source, name, store, progress)


class Imported(NamedTuple):
    """What one import has brought so far, all its files together.

    ``bad_rows`` and ``complete`` (whether all was read to its end) are of the last time that each file was read;
    ``last_at_us`` is when that was.
    """

    name: str
    sources: tuple[str, ...]
    files: int
    decisions: int
    calls: int
    outcomes: int
    bad_rows: int
    complete: bool
    last_at_us: int


class _Run(NamedTuple):
    """A row of ``imports``: a file that was read once."""

    name: str
    source: str
    file: str
    decisions: int
    calls: int
    outcomes: int
    bad: int
    complete: bool
    at_us: int


def list_imports(connection: DuckDBPyConnection) -> tuple[Imported, ...]:
    """The imports of a ledger, the one that was read last at the end."""
    columns = '"import", source, file, new_decisions, new_calls, new_outcomes, bad, complete, at_us'
    runs: dict[str, list[_Run]] = {}
    for row in connection.execute(f"SELECT {columns} FROM imports ORDER BY at_us").fetchall():
        runs.setdefault(row[0], []).append(_Run(*row))
    imports = (_imported(name, found) for name, found in runs.items())
    return tuple(sorted(imports, key=lambda one: (one.last_at_us, one.name)))


def _imported(name: str, runs: Sequence[_Run]) -> Imported:
    last = {run.file: run for run in runs}
    return Imported(
        name,
        tuple(sorted({run.source for run in runs})),
        len(last),
        sum(run.decisions for run in runs),
        sum(run.calls for run in runs),
        sum(run.outcomes for run in runs),
        sum(run.bad for run in last.values()),
        all(run.complete for run in last.values()),
        max(run.at_us for run in runs),
    )


def remove_import(ledger: Path, lock_timeout_s: float, name: str) -> tuple[int, int]:
    """Remove all rows of an import; how many requests and calls it had. Raises InputError if there is none."""
    with changing(ledger, lock_timeout_s) as connection:
        removed = delete_import(connection, name)
        if removed is None:
            raise InputError(f"there is no import `{name}`", help="`routewright ledger imports` lists them")
        make_views(connection)
    with open_for_writing(ledger, lock_timeout_s=lock_timeout_s) as connection:
        checkpoint(connection)  # what was removed is out of the file, and its room can be used again
    return removed


def _read(mapping: Path) -> str:
    try:
        with open(mapping, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1).decode()
    except OSError as error:
        raise InputError(f"`{mapping}` cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"`{mapping}` is not UTF-8 text") from error
