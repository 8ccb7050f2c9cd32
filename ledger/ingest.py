"""Spool files in, rows of the ledger's tables out: each frame once, whatever dies in between.

How far a writer's frames have been taken in is committed together with their rows. A file is emptied or removed
only after the tables are on disk, so whatever is interrupted is done again, and what was done is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .connection import checkpoint, commit, open_for_writing
from .creation import create_ledger
from .errors import LedgerError
from .migrate import apply_migrations
from .shadows import refuse_shadows
from .spool import Spool, SpoolFile, orphaned, read_spool, remove, spool_files
from .writing import Entry, insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["ingest", "spool_folder"]

_BATCH: Final = 2_000
"""Entries for one transaction."""

_ORPHANS: Final = 64
"""So many files of writers that are gone are taken in at once: each is held open, and a process may open few."""


def spool_folder(path: Path) -> Path:
    """Where the writers of the ledger at ``path`` have their files."""
    return path.with_name(f"{path.name}.spool")


def ingest(path: Path, *, lock_timeout_s: float, own: Spool | None = None) -> int:
    """Put what waits in the spools of the ledger at ``path`` into its tables; how many entries that were.

    Files of ``own``, the caller's spool, and of writers that are gone are removed then. An entry that
    cannot be a row is kept in the table ``rejected``. A ledger that has been deleted is made anew. Raises
    LedgerError when the ledger stays busy or cannot be written, ShadowedError when something in it stands in for names
    of ours: then everything still waits; and LedgerError without ``own`` when a file cannot be read, which keeps
    nothing else from being taken in.
    """
    taken_in, more = 0, True
    try:
        while more:
            count, more = _ingest(path, lock_timeout_s, own)
            taken_in += count
        return taken_in
    except OSError as error:
        raise LedgerError(f"what waits for ledger `{path}` cannot be taken in: {error.strerror}") from error


def _ingest(path: Path, lock_timeout_s: float, own: Spool | None) -> tuple[int, bool]:
    """How many entries, and whether files of writers that are gone are left for the next time."""
    folder = spool_folder(path)
    if not spool_files(folder) and (own is None or own.waiting_bytes == 0):
        return 0, False
    if not path.exists():
        create_ledger(path)
    taken_in = orphans = 0
    done: list[tuple[Path, bool]] = []
    refused: list[LedgerError] = []
    with ExitStack() as locks:
        with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
            refuse_shadows(connection)
            apply_migrations(connection, path)
            marks = dict(connection.execute("SELECT writer, entries FROM writers").fetchall())
            if own is not None:
                # Not before the ledger is open: each file holds a descriptor until it is taken in.
                own.turn()
                for file in own.full():
                    taken_in += _take_in(connection, own.read(file), marks, True, done)
            for file in spool_files(folder):
                if own is not None and own.owns(file):
                    continue
                if orphans == _ORPHANS:
                    break
                try:
                    with ExitStack() as lock:
                        is_orphan = lock.enter_context(orphaned(file))
                        spool = read_spool(file)
                        if is_orphan:
                            orphans += 1
                            locks.push(lock.pop_all())
                except LedgerError as error:
                    refused.append(error)
                    continue
                taken_in += _take_in(connection, spool, marks, is_orphan, done)
            # Closing the file would do so too, and not say when it cannot: rows would be in the write-ahead log
            # alone, and whoever loses that loses them.
            checkpoint(connection)
        for file, damaged in done:
            (own.remove if own is not None and own.owns(file) else remove)(file, damaged=damaged)
    if refused and own is None:
        raise refused[0]
    return taken_in, orphans == _ORPHANS


def _take_in(
    connection: DuckDBPyConnection,
    spool: SpoolFile,
    marks: Mapping[str, int],
    complete: bool,
    done: list[tuple[Path, bool]],
) -> int:
    """Commit what a file holds beyond its writer's mark; how many entries. Of a complete one, note that it is done."""
    taken_in = 0
    for batch in _batches(spool.entries(after=marks.get(spool.writer, 0))):
        _store(connection, spool.writer, batch)
        taken_in += len(batch)
    if complete:
        if spool.damaged:
            # Of a file that is being written, it would be a frame that is not whole yet.
            connection.execute("BEGIN")
            _mark(connection, spool.writer, spool.last, damaged=spool.damaged)
            commit(connection)
        done.append((spool.path, spool.damaged > 0))
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
    """Commit a batch; where something in it cannot be stored, its halves, down to single entries."""
    refusal = _commit(connection, writer, batch)
    if refusal is None:
        return
    if len(batch) > 1:
        half = len(batch) // 2
        _store(connection, writer, batch[:half])
        _store(connection, writer, batch[half:])
        return
    [(number, entry)] = batch
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)",
        [writer, number, time.time_ns() // 1_000, refusal, entry.beside, entry.record],
    )
    _mark(connection, writer, number)
    commit(connection)


def _commit(connection: DuckDBPyConnection, writer: str, batch: Sequence[tuple[int, Entry]]) -> str | None:
    """Why the batch cannot be stored, whoever tries; None when it has been. Other errors are raised."""
    import duckdb

    connection.execute("BEGIN")
    try:
        insert(connection, [entry for _, entry in batch])
        _mark(connection, writer, batch[-1][0])
        commit(connection)
    except (LedgerError, duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
        connection.execute("ROLLBACK")
        return str(error)
    return None


def _mark(connection: DuckDBPyConnection, writer: str, number: int, *, damaged: int = 0) -> None:
    """Say that the entries up to ``number`` are in; what was said before of more, and of damage, stays."""
    before = connection.execute(
        "DELETE FROM writers WHERE writer = ? RETURNING entries, damaged_bytes", [writer]
    ).fetchone()
    if before is not None:
        number, damaged = max(number, before[0]), damaged + before[1]
    connection.execute(
        "INSERT INTO writers VALUES (?, ?, ?, ?)", [writer, number, time.time_ns() // 1_000, damaged]
    )
