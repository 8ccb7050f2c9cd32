"""Rows of files that hold tables: Parquet, read by a DuckDB that can open nothing else, and SQLite, read by Python's
own.

Neither connection is one on which anybody's SQL runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import pathname2url

from ..errors import InputError
from .rows import FileRow, Opened

_AT_ONCE = 2_000


def parquet_rows(file: Opened, wanted: Collection[str] | None) -> Iterator[FileRow]:
    """The rows of a Parquet file, of their columns those that are ``wanted`` (None for all). Places count rows from
    1.
    """
    import duckdb

    path = str(Path(file.path).absolute())
    try:
        with duckdb.connect(":memory:", config={"threads": "1"}) as reader:
            # One file may be opened. Its name is no pattern where a file of that name exists, and it does.
            reader.execute("SET allowed_paths = ?", [[path]])
            reader.execute("SET TimeZone = 'UTC'")
            for setting in (
                "autoinstall_known_extensions",
                "autoload_known_extensions",
                "enable_external_access",
            ):
                reader.execute(f"SET {setting} = false")
            reader.execute("SET lock_configuration = true")
            # Without this a folder with a name such as `team=search` would be a column.
            source = "read_parquet(?, hive_partitioning = false)"
            found = [
                str(row[0]) for row in reader.execute(f"DESCRIBE SELECT * FROM {source}", [path]).fetchall()
            ]
            names = found if wanted is None else [name for name in found if name in wanted]
            _check_any(names, found, file)
            rows = reader.execute(f"SELECT {', '.join(map(_quoted, names))} FROM {source}", [path])
            place = 0
            while batch := rows.fetchmany(_AT_ONCE):
                for row in batch:
                    place += 1
                    yield FileRow(place, dict(zip(names, row, strict=True)))
    except duckdb.Error as error:
        said = str(error).partition(": ")[2].splitlines() or ["it is damaged"]
        raise InputError(f"`{file.path}` cannot be read: {said[0][:1].lower()}{said[0][1:]}") from error


def sqlite_rows(file: Opened, table: str, wanted: Collection[str] | None) -> Iterator[FileRow]:
    """The rows of a table of a SQLite database, as of the moment when reading begins. Places count rows from 1."""
    path = pathname2url(str(Path(file.path).absolute()))
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            # A view or a virtual table may run what the file says: none is trusted, and only a real table is read.
            database.execute("PRAGMA trusted_schema = OFF")
            database.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
            _check_table(database, table, file)
            found = [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]
            names = found if wanted is None else [name for name in found if name in wanted]
            _check_any(names, found, file)
            rows = database.execute(f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)}")
            place = 0
            while batch := rows.fetchmany(_AT_ONCE):
                for row in batch:
                    place += 1
                    yield FileRow(place, dict(zip(names, row, strict=True)))
    except sqlite3.Error as error:
        raise InputError(
            f"`{file.path}` cannot be read: {error}", help="stop the program that writes it, or read a copy"
        ) from error


def _check_table(database: sqlite3.Connection, table: str, file: Opened) -> None:
    rows = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    names = [name for (name,) in rows]
    if table not in names:
        raise InputError(
            f"`{file.path}` has no table `{table}`", help=f"it has: {', '.join(names) or 'none'}"
        )


def _check_any(names: Collection[str], found: Collection[str], file: Opened) -> None:
    if not names:
        raise InputError(
            f"`{file.path}` has none of the columns that were expected",
            help=f"its columns: {', '.join(found)}",
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
