"""Spool files in, rows of the ledger's tables out: each frame once, whatever dies in between.

How far a writer's frames have been taken in is committed together with their rows. A file is emptied or removed
only after the tables are on disk, so whatever is interrupted is done again, and what was done is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .connection import open_for_writing
from .errors import LedgerError
from .spool import Spool, SpoolFile, orphaned, read_spool, spool_files
from .writing import Entry, insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["ingest", "spool_folder"]

_BATCH: Final = 2_000
"""Entries for one transaction: a bad one costs that many to be tried one by one."""


def spool_folder(path: Path) -> Path:
    """Where the writers of the ledger at ``path`` have their files."""
    return path.with_name(f"{path.name}.spool")


def ingest(path: Path, *, lock_timeout_s: float, own: Spool | None = None) -> int:
    """Put what waits in the spools of the ledger at ``path`` into its tables; how many entries that were.

    Files of ``own``, the caller's spool, and of writers that are gone are removed then. An entry that
    cannot be a row is kept in the table ``rejected``. Raises LedgerError when the ledger stays busy or cannot be
    written; then everything still waits.
    """
    if own is not None:
        own.turn()
    with ExitStack() as locks:
        found = [
            (file, not (own and own.owns(file)) and locks.enter_context(orphaned(file)))
            for file in spool_files(spool_folder(path))
            if own is None or file != own.path  # what came since is for the next time
        ]
        if not found:
            return 0
        taken_in = 0
        files: list[tuple[SpoolFile, bool]] = []
        with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
            marks = dict(connection.execute("SELECT writer, entries FROM writers").fetchall())
            for file, is_orphan in found:
                spool = read_spool(file)
                files.append((spool, is_orphan))
                mark = marks.get(spool.writer, 0)
                for batch in _batches(spool.entries(after=mark)):
                    _store(connection, spool.writer, batch)
                    taken_in += len(batch)
                if is_orphan and spool.damaged:
                    # Of a writer that lives, it would be a frame that is being written.
                    _mark(connection, spool.writer, max(mark, spool.last), damaged=spool.damaged)
        # Closing the file has put the rows where a lost write-ahead log cannot take them.
        for spool, is_orphan in files:
            if own is not None and own.owns(spool.path):
                own.remove(spool.path)
            elif is_orphan and spool.damaged:
                spool.path.replace(spool.path.with_suffix(".damaged"))
            elif is_orphan:
                spool.path.unlink(missing_ok=True)
    return taken_in


def _batches(entries: Iterator[tuple[int, Entry]]) -> Iterator[list[tuple[int, Entry]]]:
    batch = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _store(connection: DuckDBPyConnection, writer: str, batch: Sequence[tuple[int, Entry]]) -> None:
    """Commit a batch; where something in it cannot be stored, its entries one by one."""
    refusal = _commit(connection, writer, batch)
    if refusal is None:
        return
    if len(batch) > 1:
        for one in batch:
            _store(connection, writer, [one])
        return
    [(number, entry)] = batch
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)",
        [writer, number, time.time_ns() // 1_000, refusal, entry.beside, entry.record],
    )
    _mark(connection, writer, number)
    connection.execute("COMMIT")


def _commit(connection: DuckDBPyConnection, writer: str, batch: Sequence[tuple[int, Entry]]) -> str | None:
    """Why the batch cannot be stored, whoever tries; None when it has been. Other errors are raised."""
    import duckdb

    connection.execute("BEGIN")
    try:
        insert(connection, [entry for _, entry in batch])
        _mark(connection, writer, batch[-1][0])
        connection.execute("COMMIT")
    except (LedgerError, duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
        connection.execute("ROLLBACK")
        return str(error)
    return None


def _mark(connection: DuckDBPyConnection, writer: str, number: int, *, damaged: int = 0) -> None:
    connection.execute("DELETE FROM writers WHERE writer = ?", [writer])
    connection.execute(
        "INSERT INTO writers VALUES (?, ?, ?, ?)", [writer, number, time.time_ns() // 1_000, damaged]
    )
