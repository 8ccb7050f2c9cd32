"""Loads spool files into the ledger's tables: each entry exactly once, even if a process dies in between.

The number up to which a writer's entries have been ingested is committed together with their rows. A file is emptied
or removed only after the tables are on disk, so an interrupted run is repeated and skips what was done.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .assembling import Assembler
from .connection import checkpoint, commit, open_for_writing
from .errors import LedgerError
from .loading import Loading
from .migrate import apply_migrations, create_ledger
from .paths import spool_folder
from .shadows import refuse_shadows
from .snapshot import refuse_snapshot
from .spool import Spool
from .spool_files import files_of, open_spool_file, remove, set_aside, spool_files, writer_of
from .storing import store
from .views import make_views

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_log = logging.getLogger(__name__)

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
            loading = Loading(connection)
            if own is not None:
                # Only now that the ledger is open: each file holds a descriptor until it is ingested.
                own.turn(last=last)
                for file in own.full():
                    with own.open(file) as spool:
                        if spool is not None:
                            ingested += loading.load(spool, None, done)
            others = [file for file in spool_files(folder) if own is None or not own.owns(file)]
            found, orphans, refused = _ingest_others(loading, others, done, locks)
            ingested += found
            if gone := _gone(loading.assembler, folder, {file for file, _ in done}):
                loading.assembler.end_of(gone)
                store(connection, loading.assembler)
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
    loading: Loading, files: Sequence[Path], done: list[tuple[Path, bool]], locks: ExitStack
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
                    ingested += loading.load(spool, following, done)
                    if spool.complete:
                        orphans += 1
                        locks.push(lock.pop_all())
        except LedgerError as error:
            refused[writer_of(file)] = error
    return ingested, orphans, refused
