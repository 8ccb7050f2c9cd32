"""Loads spool files into the ledger's tables: each entry exactly once, even if a process dies in between.

The number up to which a writer's entries have been ingested is committed together with their rows. A file is emptied
or removed only after the tables are on disk, so an interrupted run is repeated and skips what was done.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import version_1
from .assembling import Assembler, StateAsOf
from .connection import checkpoint, commit, open_for_writing
from .entries import Entry, decode, says_more
from .errors import LedgerError
from .frames import MAX_NUMBER, Damage, Frame, first_frame
from .migrate import apply_migrations, create_ledger
from .paths import spool_folder
from .sequence import Missing, continuing, in_order
from .shadows import refuse_shadows
from .snapshot import refuse_snapshot
from .spool import Spool
from .spool_files import (
    SpoolFile,
    files_of,
    keep_aside,
    open_spool_file,
    remove,
    set_aside,
    spool_files,
    writer_of,
)
from .storing import assembler_of, mark, reject_entry, store
from .views import make_views

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_log = logging.getLogger(__name__)

_BATCH: Final = 10_000
"""Entries for one transaction: two of most decisions."""

_BATCH_BYTES: Final = 16 * 1024**2
"""Bytes of entries in one transaction, which takes several times that in memory."""

_ORPHANS: Final = 64
"""Files of dead writers that are ingested at once: each is held open, and a process may open only a few hundred."""


def damage_kept(folder: Path) -> str | None:
    """The notice about damaged files in a ledger's spool folder; None if there are none.

    Deleting or moving the files acknowledges the damage.
    """
    files = set_aside(folder)
    if not files:
        return None
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return (
        f"entries of the spool were damaged or are missing; the rest is in the ledger, and the damaged files are kept: "
        f"`{files[0]}`{more}; delete or move them after you have looked at them"
    )


def ingest(
    path: Path,
    *,
    lock_timeout_s: float,
    client_timeout_s: float | None = None,
    own: Spool | None = None,
    last: bool = False,
) -> int:
    """Load the spools of the ledger at ``path`` into its tables; return the number of entries.

    Files of ``own``, the caller's spool, and of dead writers are then removed, and calls of dead writers that have not
    ended were lost; ``last`` says that nothing more will be written to ``own``. An entry that cannot be stored as a row
    goes into the table ``rejected``, and a damaged file is kept as ``.damaged`` once the rest of it is in the tables.
    A ledger that was deleted is created again; one that is open elsewhere is waited for as in ``open_for_writing``.
    Raises BusyError when it stays so, LedgerError when it cannot be written, and ShadowedError when something in it
    shadows names of ours: then everything stays in the spool. Without ``own``, also
    raises LedgerError for a file that cannot be read, after the other files are ingested.
    """
    ingested, more = 0, True
    try:
        while more:
            opening = open_for_writing(path, lock_timeout_s=lock_timeout_s, client_timeout_s=client_timeout_s)
            count, more = _ingest(path, opening, own, last)
            ingested += count
        return ingested
    except OSError as error:
        raise LedgerError(f"what waits for ledger `{path}` cannot be ingested: {error.strerror}") from error


def _ingest(
    path: Path, opening: AbstractContextManager[DuckDBPyConnection], own: Spool | None, last: bool
) -> tuple[int, bool]:
    """How many entries, and whether files of writers that are gone are left for the next time."""
    folder = spool_folder(path)
    if not spool_files(folder) and (own is None or not (own.waiting_bytes or (last and own.in_flight))):
        return 0, False
    if not path.exists():
        create_ledger(path)
    ingested = 0
    done: list[tuple[Path, bool]] = []
    with ExitStack() as locks:
        with opening as connection:
            refuse_snapshot(connection, path)
            refuse_shadows(connection)
            apply_migrations(connection, path)
            marks = dict(connection.execute("SELECT writer, entries FROM writers").fetchall())
            assembler = assembler_of(connection)
            if own is not None:
                # Only now that the ledger is open: each file holds a descriptor until it is ingested.
                own.turn(last=last)
                for file in own.full():
                    with own.open(file) as spool:
                        if spool is not None:
                            ingested += _ingest_file(connection, assembler, spool, marks, None, done)
            others = [file for file in spool_files(folder) if own is None or not own.owns(file)]
            found, orphans, refused = _ingest_others(connection, assembler, others, marks, done, locks)
            ingested += found
            if gone := _gone(assembler, folder, {file for file, _ in done}):
                assembler.end_of(gone)
                store(connection, assembler, {})
            connection.execute("BEGIN")
            make_views(connection)
            commit(connection)
            # Closing the file would do so too, and not say when it cannot: rows would be in the write-ahead log
            # alone, and whoever loses that loses them.
            checkpoint(connection)
        for file, damaged in done:
            (own.remove if own is not None and own.owns(file) else remove)(file, damaged=damaged)
            if damaged and (notice := damage_kept(folder)) is not None:
                _log.warning("%s", notice)
    if refused and own is None:
        raise next(iter(refused.values()))
    return ingested, orphans == _ORPHANS


def _gone(assembler: Assembler, folder: Path, done: Collection[Path]) -> list[str]:
    """The writers of what is in flight that are gone: none of their files is left, beside those that are ``done``."""
    writers = {flight.writer for flight in assembler.flights.values()}
    return [writer for writer in writers if all(file in done for file in files_of(folder, writer))]


def _ingest_others(
    connection: DuckDBPyConnection,
    assembler: Assembler,
    files: Sequence[Path],
    marks: dict[str, int],
    done: list[tuple[Path, bool]],
    locks: ExitStack,
) -> tuple[int, int, dict[str, LedgerError]]:
    """The entries of other writers' files, how many writers are gone, and by writer why a file cannot be read.

    Files of writers that are gone stay locked as long as ``locks``.
    """
    ingested = orphans = 0
    refused: dict[str, LedgerError] = {}
    for file, following in zip_longest(files, files[1:]):
        if orphans == _ORPHANS:
            break
        if writer_of(file) in refused:
            # Its later entries wait for the earlier ones: the mark only says that all up to a number are in.
            continue
        try:
            with ExitStack() as lock:
                spool = lock.enter_context(open_spool_file(file))
                if spool is not None:
                    ingested += _ingest_file(connection, assembler, spool, marks, following, done)
                    if spool.complete:
                        orphans += 1
                        locks.push(lock.pop_all())
        except LedgerError as error:
            refused[writer_of(file)] = error
    return ingested, orphans, refused


def _ingest_file(
    connection: DuckDBPyConnection,
    assembler: Assembler,
    spool: SpoolFile,
    marks: dict[str, int],
    following: Path | None,
    done: list[tuple[Path, bool]],
) -> int:
    """Commit the entries of a file beyond its writer's mark; return their number. A complete file goes into ``done``.

    ``following`` is the next file, perhaps of the same writer. Raises LedgerError for a file of another kind.
    """
    damaged_bytes = missing = 0
    batch = _Batch(connection, assembler, spool.writer, marks)
    for one in _found(spool, marks, following, batch.state):
        if isinstance(one, Damage | Missing) and not (damaged_bytes or missing):
            keep_aside(spool.path)
        if isinstance(one, Damage):
            damaged_bytes += one.size
        elif isinstance(one, Missing):
            missing += one.entries
        else:
            batch.add(one)
    batch.store()
    missing += _missing_at_end(spool, marks)
    if spool.complete:
        if damaged_bytes or missing:
            connection.execute("BEGIN")
            mark(connection, spool.writer, marks.get(spool.writer, 0), damaged=damaged_bytes)
            commit(connection)
        done.append((spool.path, bool(damaged_bytes or missing)))
    return batch.ingested


class _Batch:
    """Entries of one file on their way into the tables."""

    def __init__(
        self, connection: DuckDBPyConnection, assembler: Assembler, writer: str, marks: dict[str, int]
    ) -> None:
        self.state = StateAsOf()
        self.ingested = 0
        self._connection, self._assembler = connection, assembler
        self._writer, self._marks = writer, marks
        self._entries = self._bytes = self._last = 0

    def add(self, frame: Frame) -> None:
        """Take one entry in; what cannot be read is rejected with the reason."""
        try:
            entry = _entry(frame)
            self.state.see(entry)
            self._assembler.take(self._writer, frame.number, entry, self.state)
        except LedgerError as error:
            self.store()
            self._connection.execute("BEGIN")
            reject_entry(
                self._connection, self._writer, frame.number, str(error), frame.entry.text, frame.entry.record
            )
            mark(self._connection, self._writer, frame.number)
            commit(self._connection)
        self._entries, self._bytes, self._last = self._entries + 1, self._bytes + frame.size, frame.number
        if self._entries == _BATCH or self._bytes > _BATCH_BYTES:
            self.store()

    def store(self) -> None:
        """Commit what was taken in."""
        if self._entries:
            store(self._connection, self._assembler, {self._writer: self._last})
            self._marks[self._writer] = self._last
            self.ingested += self._entries
            self._entries = self._bytes = 0


def _entry(frame: Frame) -> Entry:
    text, record = frame.entry
    if text.startswith(version_1.BEGINNING.decode()):
        return version_1.decode(text, record)
    return decode(text)


def _missing_at_end(spool: SpoolFile, marks: dict[str, int]) -> int:
    """How many entries a file should have beyond those that were found; its writer's mark then passes them."""
    missing = 0 if spool.last is None else max(0, spool.last - marks.get(spool.writer, 0))
    if missing and spool.last is not None:
        keep_aside(spool.path)
        marks[spool.writer] = spool.last
    return missing


def _found(
    spool: SpoolFile, marks: Mapping[str, int], following: Path | None, state: StateAsOf
) -> Iterator[Frame | Damage | Missing]:
    """What is in a file beyond its writer's mark, and what should be.

    The entries before the mark are shown to ``state``: those after it may name their parts.
    """
    after = marks.get(spool.writer, 0 if spool.is_first else None)

    def scan(start: int | None) -> Iterator[Frame | Damage]:
        for one in spool.frames(start):
            if after is not None and isinstance(one, Frame) and one.number <= after:
                with suppress(LedgerError):  # it has been rejected
                    if says_more(one.entry.text):
                        state.see(decode(one.entry.text))
            yield one

    if spool.complete:
        return in_order(scan, after=after, most=_highest_number(spool, following))
    return continuing(scan, after=after)


def _highest_number(spool: SpoolFile, following: Path | None) -> int:
    """The highest entry number that a complete file can hold."""
    if spool.last is not None:
        return spool.last
    if following is not None and writer_of(following) == spool.writer:
        # One that cannot be opened is reported when its turn comes.
        with suppress(LedgerError), open_spool_file(following) as after:
            first = None if after is None else first_frame(after.descriptor, after.size)
            if first is not None:
                return first.number - 1
    return MAX_NUMBER
