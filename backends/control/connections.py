"""Opens connections to a state store's file and turns SQLite's errors into StateError."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from routewright.private_files import ensure_private

from .errors import StateError
from .layout import set_up

_READ_TIMEOUT_S = 2.0
"""Readers wait only while the file is mended after a crash, or is closed by the last other process."""

_LOST = "stop what uses it and delete it: the counts of the present windows are lost with it"
_NOT_WRITABLE = (
    "this user may not write {}, which reading a state store takes too: do it as the user whose store it is"
)
_NO_STORE = f"name another file; or, if it was the state store, {_LOST}"


class LockedError(StateError):
    """Another holds the write lock; nothing has been done yet."""


@dataclass(frozen=True, slots=True)
class Connections:
    """One connection that writes, and one that reads what was committed.

    ``file`` is the device and the number of the file, which stay the same while it is the same file.
    """

    writer: sqlite3.Connection
    reader: sqlite3.Connection
    file: tuple[int, int] | None

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


def connect(path: Path) -> Connections:
    """Open the file and create it if it does not exist. The writer does not wait for locks.

    Raises StateError if the file is not a state store or cannot be created; other failures are sqlite3.Error.
    """
    # SQLite creates the file with the umask's mode, and gives its log and index the same mode as the file.
    try:
        ensure_private(path)
    except OSError as error:
        raise cannot_be_made(path, error) from None
    writer = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        set_up(writer, path)
        writer.execute("PRAGMA synchronous = NORMAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        reader = sqlite3.connect(path, timeout=_READ_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except BaseException:
        writer.close()
        raise
    return Connections(writer, reader, file_number(path))


def cannot_be_made(path: Path, error: OSError) -> StateError:
    return StateError(f"the state store `{path}` cannot be created: {error.strerror}")


def file_number(path: Path) -> tuple[int, int] | None:
    """The device and the number of the file that is at ``path`` now; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction without its changes, if there is one."""
    with suppress(sqlite3.Error):  # the error that led here is the one to tell
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def is_locked(error: sqlite3.Error) -> bool:
    """Whether trying again later may help."""
    return _code(error) == sqlite3.SQLITE_BUSY


def locked(path: Path, waited_s: float) -> LockedError:
    message = f"the state store `{path}` stayed locked for {waited_s:g} s"
    return LockedError(message, help="another process holds a transaction open")


def unusable(path: Path, error: sqlite3.Error) -> StateError:
    """What SQLite says, as an error of ours."""
    if is_locked(error):
        return locked(path, _READ_TIMEOUT_S)
    helps = {sqlite3.SQLITE_CORRUPT: _LOST, sqlite3.SQLITE_NOTADB: _NO_STORE}
    message = f"the state store `{path}` cannot be used: {error}"
    return StateError(message, help=helps.get(_code(error) or 0) or _not_permitted(path))


def _not_permitted(path: Path) -> str | None:
    """What SQLite does not say: which permission is missing; None where none is."""
    wanted = {path: os.R_OK | os.W_OK, path.parent: os.W_OK | os.X_OK}
    refused = [f"`{one}`" for one, mode in wanted.items() if one.exists() and not os.access(one, mode)]
    return _NOT_WRITABLE.format(" and ".join(refused)) if refused else None


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for errors that Python's module makes itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
