"""Rewrites the files of a ledger, so that what was erased from its tables is in none of their bytes any more.

DuckDB leaves old rows in the blocks of its file. So all that is in the tables is copied into a new file, which takes
the place of the old one. Whoever is killed loses nothing, and leaves a file that says that this is to be completed.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import to_json

from routewright.private_files import ensure_private, make_private_folder

from .changing import changing
from .connection import checkpoint, copied_anew, open_for_writing, spill_folder
from .erasing import Erased, ToErase, erase
from .errors import LedgerError
from .frames import Damage, encode_frame, find_frames
from .group_sync import put_names_on_disk, put_on_disk
from .ingest import ingest
from .opening import Wait, in_turn
from .paths import ERASING, spool_folder
from .snapshot import logs_of
from .spool_files import files_of, set_aside, writer_of


def would_erase(path: Path, lock_timeout_s: float, what: ToErase) -> Erased:
    """What ``erase_from`` would erase. Nothing changes."""
    with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
        connection.execute("BEGIN")
        try:
            return erase(connection, what)
        finally:
            connection.execute("ROLLBACK")


def erase_from(path: Path, lock_timeout_s: float, what: ToErase) -> Erased:
    """Erase from the tables of the ledger at ``path``, and rewrite its files."""
    with rewritten(path, lock_timeout_s), changing(path, lock_timeout_s) as connection:
        return erase(connection, what)


@contextmanager
def rewritten(path: Path, lock_timeout_s: float) -> Iterator[None]:
    """Rewrite the files of the ledger at ``path`` when the block ends, while nobody else can open it meanwhile.

    What waits in spools is taken in first. If the block raises LedgerError, it has changed nothing. Raises LedgerError
    where damaged spool files are kept, since nobody can tell what they hold, and where a file cannot be written.
    """
    folder = spool_folder(path)
    try:
        with in_turn(path, False, Wait(lock_timeout_s, None)):
            ingest(path, lock_timeout_s=lock_timeout_s)
            if damaged := set_aside(folder):
                raise LedgerError(
                    f"`{damaged[0]}` is a damaged spool file that is kept, and may hold what is to go; nothing was "
                    "changed",
                    help="delete or move it, after you have looked at it",
                )
            make_private_folder(folder)
            was_unfinished = (folder / ERASING).exists()
            ensure_private(folder / ERASING)
            put_names_on_disk(folder)
            try:
                yield
            except LedgerError:
                if not was_unfinished:
                    (folder / ERASING).unlink()
                raise
            with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
                checkpoint(connection)
                marks = dict(connection.execute("SELECT writer, entries FROM writers").fetchall())
            shutil.rmtree(spill_folder(path), ignore_errors=True)  # of statements whose process was killed
            _replace(Path(os.path.realpath(path)))
            for file in files_of(folder):
                _strip(file, marks.get(writer_of(file), 0))
            (folder / ERASING).unlink()
    except OSError as error:
        raise LedgerError(f"the files of ledger `{path}` cannot be rewritten: {error.strerror}") from error


def is_unfinished(path: Path) -> bool:
    """Whether rewriting the files of the ledger at ``path`` was cut short."""
    return (spool_folder(path) / ERASING).exists()


def _replace(path: Path) -> None:
    """Put a new file with the same tables in the place of the ledger's."""
    drafts = path.with_name(f".{path.name}.erasing")
    if drafts.exists():  # of one who was killed
        shutil.rmtree(drafts)
    make_private_folder(drafts)
    try:
        draft = drafts / "ledger.duckdb"
        with copied_anew(path, draft):
            if any(log.stat().st_size for log in logs_of(path)):
                raise LedgerError(f"another client writes to `{path}`", help="close it, and try again")
            draft.chmod(stat.S_IMODE(path.stat().st_mode))
            _sync(draft)
            os.replace(draft, path)
            put_names_on_disk(path.parent)
    finally:
        shutil.rmtree(drafts)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        put_on_disk(descriptor)
    finally:
        os.close(descriptor)


def _strip(file: Path, mark: int) -> None:
    """Take what is in the tables out of a file of a living writer, but for what later entries refer to.

    Each frame keeps its place, size and number: the writer appends at the end, and knows nothing of this.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for one in find_frames(descriptor, os.fstat(descriptor).st_size):
            if isinstance(one, Damage) or one.number > mark:
                continue
            if one.entry.record is not None:
                raise LedgerError(
                    f"`{file}` is written by an earlier version of Routewright that still runs",
                    help="end it, and run `routewright ledger erase --finish`",
                )
            os.pwrite(descriptor, encode_frame(one.number, _stripped(one.entry.text)), one.at)
        put_on_disk(descriptor)
    finally:
        os.close(descriptor)


def _stripped(text: str) -> bytes:
    """An entry with its parts and states alone, and blanks in place of the rest."""
    values = json.loads(text)
    kept = to_json({name: values[name] for name in ("entry", "p", "s") if name in values})
    return kept.ljust(len(text.encode()))
