"""The spool files of all writers, read by whoever loads them into the ledger's tables.

Each writer has its own files in a folder next to the ledger. A frame is written by one call and has a number, a length
and a checksum, so damage costs only the frames that it is in.

A writer locks its files for as long as it lives: a process that gets the lock knows that the file is complete. While
calls of it are in flight it has at least one file, so a writer without a file of its own is gone.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import LedgerError
from .frames import MAGIC, Damage, Frame, begins_as_spool, find_frames, first_frame

SUFFIX: Final = ".spool"
_NAME: Final = re.compile(r"[0-9a-f]{32}\.\d{8}\.spool")
_SET_ASIDE: Final = ".damaged"


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A spool file that is open for reading.

    ``complete`` says that nothing more will be written to it. ``last`` is the number of its last entry, if known.
    """

    path: Path
    descriptor: int
    size: int
    complete: bool
    last: int | None = None

    @property
    def writer(self) -> str:
        """The id of its writer."""
        return writer_of(self.path)

    @property
    def is_first(self) -> bool:
        """Whether it is its writer's first file, whose entries begin with number 1."""
        return self.path.name == f"{self.writer}.{0:08d}{SUFFIX}"

    def frames(self, start: int | None = None) -> Iterator[Frame | Damage]:
        """Its whole frames in file order, and the damage between them.

        Begins at ``start``, the offset of a frame, or at the beginning. Raises LedgerError for a file of another kind.
        """
        if (
            _NAME.fullmatch(self.path.name) is None
            and not begins_as_spool(self.descriptor, self.size)
            and first_frame(self.descriptor, self.size) is None
        ):
            raise _no_spool(self.path)
        return find_frames(self.descriptor, self.size, start)


def files_of(folder: Path, writer: str = "") -> list[Path]:
    """All files of one writer, or of every writer: each one's in the order in which they were written."""
    return sorted(folder.glob(f"{writer}*{SUFFIX}"))


def spool_files(folder: Path) -> list[Path]:
    """The files in which something waits, and the empty ones of writers that are gone, as of ``files_of``."""
    found = []
    for path in files_of(folder):
        try:
            size = path.stat().st_size
            if size > len(MAGIC) or _is_left(path):
                found.append(path)
        except FileNotFoundError:
            # Removed meanwhile: whoever did so has put its entries into the tables.
            continue
        except OSError:
            found.append(path)  # who reads it says why that cannot be
    return found


def _is_left(path: Path) -> bool:
    """Whether an empty file is a writer's that is gone."""
    if _NAME.fullmatch(path.name) is None:
        return False
    try:
        with open_spool_file(path) as spool:
            return spool is not None and spool.complete
    except LedgerError:
        return False


def writer_of(path: Path) -> str:
    """The id of the writer in a file's name."""
    return path.name.partition(".")[0]


def set_aside(folder: Path) -> list[Path]:
    """The damaged files that are kept for inspection."""
    return sorted(folder.glob(f"*{_SET_ASIDE}"))


def keep_aside(path: Path) -> None:
    """Give a damaged file a second name, under which it is kept.

    Done before its entries are committed: a gap can no longer be seen once the entries after it are in the tables. On
    a file system without hard links, ``remove`` renames the file instead.
    """
    with suppress(OSError):
        os.link(path, path.with_suffix(_SET_ASIDE))


def remove(path: Path, *, damaged: bool) -> None:
    """Remove a file whose entries are in the tables; what is ``damaged`` is kept aside."""
    kept = path.with_suffix(_SET_ASIDE)
    # Renaming a file to another hard link of itself would do nothing.
    if damaged and not kept.exists():
        with suppress(FileNotFoundError):
            path.replace(kept)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def open_spool_file(path: Path) -> Iterator[SpoolFile | None]:
    """Another writer's file, complete if that writer is dead; None if the file has been removed in the meantime.

    While a complete file is open here, no other process sees it as complete. Raises LedgerError if it cannot be opened.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO could block forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _no_spool(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            complete = True
        except BlockingIOError:
            complete = False
        except OSError as error:
            raise _unreadable(path, error) from error
        # Read the size after locking: the writer may have written once more before it ended.
        yield SpoolFile(path, descriptor, os.fstat(descriptor).st_size, complete)
    finally:
        os.close(descriptor)


def _no_spool(path: Path) -> LedgerError:
    return LedgerError(f"`{path}` is not a spool file of a ledger; left unchanged", help="move it away")


def _unreadable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(f"`{path}` cannot be read: {error.strerror}")
