"""The embedded state store: one SQLite file in WAL mode, shared by the processes of one machine.

A connection for each thread; every change is one transaction that takes the write lock at its start, so that
read-then-write is exact under any concurrency. Commits are not synced to disk one by one: a killed process
loses nothing, a power cut may lose the last moments, and the file stays whole.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from routewright.engine.errors import RoutewrightError

__all__ = ["BUSY_TIMEOUT_S", "LAYOUT_VERSION", "StateError", "StateStore"]

BUSY_TIMEOUT_S = 10.0
"""How long another process's transaction is waited for."""

LAYOUT_VERSION = 1

_LAYOUT = """
CREATE TABLE quota_used (
    control TEXT NOT NULL, key TEXT NOT NULL, window TEXT NOT NULL,
    amount INTEGER NOT NULL, ends_us INTEGER NOT NULL,
    PRIMARY KEY (control, key, window)
) WITHOUT ROWID;
CREATE TABLE leases (
    lease TEXT NOT NULL, control TEXT NOT NULL, key TEXT NOT NULL, window TEXT NOT NULL,
    amount INTEGER NOT NULL, expires_us INTEGER NOT NULL,
    PRIMARY KEY (control, key, window, lease)
) WITHOUT ROWID;
CREATE INDEX leases_by_id ON leases (lease);
CREATE INDEX leases_by_expiry ON leases (expires_us);
CREATE TABLE breakers (
    model TEXT PRIMARY KEY, failures INTEGER NOT NULL, opened_us INTEGER, until_us INTEGER,
    probe_until_us INTEGER, error_class TEXT
) WITHOUT ROWID;
CREATE TABLE latencies (
    model TEXT PRIMARY KEY, mean_ms REAL NOT NULL, samples INTEGER NOT NULL, updated_us INTEGER NOT NULL
) WITHOUT ROWID;
"""


class StateError(RoutewrightError):
    """The state store could not be opened or used."""

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


class StateStore:
    """The store at ``path``; made with its folders where there is none. Safe to use from many threads."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from None
        with self.change() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > LAYOUT_VERSION:
                message = f"the state store `{self.path}` is of a newer version ({version})"
                raise StateError(message, help="use a newer Routewright, or another file")
            if version == 0:
                for statement in filter(str.strip, _LAYOUT.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; committed unless an exception leaves it.

        Raises StateError when the file cannot be used or stays locked for ``BUSY_TIMEOUT_S``.
        """
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None
        try:
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            raise _unusable(self.path, error) from None
        except BaseException:
            _roll_back(connection)
            raise

    def read(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """The rows of one reading statement. Raises StateError."""
        try:
            return self._connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None

    def version(self) -> tuple[int, int]:
        """Two numbers that change when the store does: by others, and by this thread."""
        connection = self._connection()
        return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes

    def close(self) -> None:
        """Close every connection; no other method may be called afterwards."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
            except sqlite3.Error:
                connection.close()
                raise
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _unusable(path: Path, error: Exception) -> StateError:
    said = str(error).lower()
    if "locked" in said or "busy" in said:
        message = f"the state store `{path}` stayed locked for {BUSY_TIMEOUT_S:g} s"
        return StateError(message, help="another process holds a transaction open")
    return StateError(f"the state store `{path}` cannot be used: {said}")
