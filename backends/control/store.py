"""The embedded state store: one SQLite file in WAL mode, shared by the processes of one machine.

Every change is one transaction that takes the write lock at its start, so that read-then-write is exact under
any concurrency. Commits are not synced to disk one by one: a killed process loses nothing, a power cut may lose
the last moments, and the file stays whole.

One connection writes and one reads, each behind a lock of its own: threads of one process queue up fairly, a
reader never waits for a writer, and what the reader knows is told apart from what is new by one number.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from routewright.private_files import make_private_folder

from .connections import (
    Connections,
    LockedError,
    cannot_be_made,
    connect,
    file_number,
    is_locked,
    locked,
    roll_back,
    unusable,
)
from .errors import StateError
from .forks import close_before_forks

T = TypeVar("T")

Parameters = tuple[object, ...] | Mapping[str, object]

BUSY_TIMEOUT_S = 10.0
"""How long another process's transaction is waited for."""

CHECKPOINT_EVERY = 1000
"""After so many commits of a process the log is copied into the file, which is when the disk is waited for."""

VERSION_MS = 5
"""How old what is known of other processes' changes may be, in milliseconds."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0002, 0.005
_CHECKPOINT_BUSY_MS = 1000

_LOOP_WAIT_S = 0.05
"""How long an event loop looks for a lock by itself before a thread waits for it."""


class _Changes:
    """How often this process has changed any store: two stores may be of one file."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.count += 1


_changes = _Changes()


class StateStore:
    """The store at ``path``; made with its folders where there is none.

    Safe to use from many threads and, as each process opens the file for itself, across a fork.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._opened: Connections | None = None
        self._openings = 0
        self._closed = False
        self._commits = 0
        self._asked = (-1, 0.0, (0, 0))
        self._known: dict[str, tuple[tuple[int, int], Mapping[str, Any]]] = {}
        self._writing_thread: int | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._renew()
        try:
            make_private_folder(self.path.parent)
        except OSError as error:
            raise cannot_be_made(self.path, error) from None
        with self._write_lock:
            self._open()
        close_before_forks(self)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; committed unless an exception leaves it.

        Inside another change of the same thread it is a part of that one. The body must not await. Raises
        StateError when the file cannot be used, or stays locked for ``BUSY_TIMEOUT_S``.
        """
        if self._writing_thread == threading.get_ident():
            assert self._opened is not None
            yield self._opened.writer
            return
        self._take_lock(self._write_lock)
        try:
            connection = self._begin()
            self._writing_thread = threading.get_ident()
            try:
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                roll_back(connection)
                raise unusable(self.path, error) from None
            except BaseException:
                roll_back(connection)
                raise
            finally:
                self._writing_thread = None
            self._commits += 1
            _changes.add()
            if self._commits >= CHECKPOINT_EVERY and self._deadline() != 0.0:
                self._checkpoint(connection)
        finally:
            self._write_lock.release()

    def read(self, sql: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
        """The rows of one reading statement, as they were last committed. Raises StateError."""
        with self._read_lock:
            try:
                return self._connections().reader.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise unusable(self.path, error) from None

    def known(self, sql: str, row: Callable[..., T]) -> Mapping[str, T]:
        """The rows of a reading statement, made by ``row`` of their other columns, by the first one.

        They are read again only when anyone has changed the store. Raises StateError.
        """
        changes, asked, version = self._asked
        if changes != _changes.count or time.monotonic() >= asked:
            version = self.version()
        found = self._known.get(sql)
        if found is None or found[0] != version:
            # The number was read before the rows, so rows that are newer than it are only read once more.
            rows = {str(key): row(*columns) for key, *columns in self.read(sql)}
            found = self._known[sql] = version, rows
        return found[1]

    def version(self) -> tuple[int, int]:
        """Two numbers that change when anyone has changed the store. Raises StateError.

        A change of this process shows at once, one of another within ``VERSION_MS``: a call asks several times, and
        asking SQLite costs more than the rest of what a healthy call needs of the store.
        """
        changes, asked, known = self._asked
        if changes == _changes.count and time.monotonic() < asked:
            return known
        with self._read_lock:
            changes = _changes.count
            asked = time.monotonic() + VERSION_MS / 1_000
            try:
                row = self._connections().reader.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise unusable(self.path, error) from None
            known = self._openings, row[0]
            self._asked = (changes, asked, known)
            return known

    async def run_in_thread(self, call: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """The result of ``call``, without blocking the event loop.

        All changes that ``call`` makes are one transaction. It is tried at once; if the store is locked, a thread
        waits and makes it. If the caller is cancelled, ``call`` still commits, but its result is dropped; ``undo``,
        if given, then gets the result and takes it back. Raises what ``call`` raises.
        """
        try:
            return self._call_until(0.0, call)
        except LockedError:
            pass
        finally:
            if self._commits >= CHECKPOINT_EVERY:
                self._commits = 0
                self._worker().submit(self._checkpoint_apart)
        made = await self._retry_in_loop(call, undo is None)
        if made is not None:
            return made[0]
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        future = self._worker().submit(self._call_until, deadline, call)
        waiting = asyncio.wrap_future(future)
        try:
            # Cancelling the task must not cancel the call: half of the callers count on its being made.
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.add_done_callback(_hear)
            if undo is not None and not future.cancel():
                future.add_done_callback(lambda made: self._take_back(made, undo))
            raise

    async def _retry_in_loop(self, call: Callable[[], T], always: bool) -> tuple[T] | None:
        """What ``call`` gives where the lock is free within a moment, else None.

        Most locks are held for less than a millisecond. A thread that waits for them competes with the event loop
        for the interpreter while it holds the lock, so that the next call meets it again: under load all would go
        that way. ``always`` says that the call is made also when the caller is cancelled.
        """
        until, pause = time.monotonic() + _LOOP_WAIT_S, _FIRST_PAUSE_S
        while time.monotonic() < until:
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                if always:
                    deadline = time.monotonic() + BUSY_TIMEOUT_S
                    self._worker().submit(self._call_until, deadline, call)
                raise
            with suppress(LockedError):
                return (self._call_until(0.0, call),)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        return None

    def close(self) -> None:
        """Close the file; no other method may be called afterwards."""
        if self._thread is not None:
            self._thread.shutdown()
        with self._write_lock, self._read_lock:
            self._closed = True
            self._drop()

    # --- opening ---------------------------------------------------------------------------------------------

    def _connections(self) -> Connections:
        """The open connections; whoever asks holds one of the locks."""
        # Opened here only after a fork, or after the file was replaced.
        return self._opened or self._open()

    def _open(self) -> Connections:
        with self._open_lock:
            if self._closed:
                raise StateError(f"the state store `{self.path}` is closed")
            if self._opened is None:
                self._opened = self._retry(lambda: connect(self.path))
                self._openings += 1
            return self._opened

    def _drop(self) -> None:
        _changes.add()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _renew(self) -> None:
        """Locks and thread as a process has them that has not used the store yet."""
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._open_lock = threading.Lock()
        self._local = threading.local()
        self._writing_thread = None
        self._thread = None
        self._commits = 0

    def hold(self) -> None:
        """Close the file and keep everyone from using it: a fork follows."""
        self._write_lock.acquire()
        self._read_lock.acquire()
        self._drop()

    def let_go(self, *, child: bool) -> None:
        """End what ``hold`` began; in the child no other thread exists, so nothing is held or waited for."""
        if child:
            self._renew()
        else:
            self._read_lock.release()
            self._write_lock.release()

    # --- waiting ---------------------------------------------------------------------------------------------

    def _begin(self) -> sqlite3.Connection:
        connections = self._connections()
        if file_number(self.path) != connections.file:
            with self._read_lock:
                self._drop()
            message = f"the state store `{self.path}` was deleted or replaced while it was in use"
            raise StateError(
                message, help="from now on the file that is there now counts, from what it holds"
            )
        self._retry(lambda: connections.writer.execute("BEGIN IMMEDIATE"))
        return connections.writer

    def _retry(self, action: Callable[[], T]) -> T:
        """The result of ``action``, which is tried again while another process holds the lock."""
        deadline: float | None = None
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return action()
            except sqlite3.Error as error:
                if not is_locked(error):
                    raise unusable(self.path, error) from None
            if deadline is None:
                known = self._deadline()
                deadline = time.monotonic() + BUSY_TIMEOUT_S if known is None else known
            if time.monotonic() >= deadline:
                raise locked(self.path, BUSY_TIMEOUT_S)
            # SQLite's own waiting goes up to 100 ms, which is a thousand transactions.
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _take_lock(self, lock: threading.Lock) -> None:
        if not lock.acquire(blocking=False):
            deadline = self._deadline()
            wait = BUSY_TIMEOUT_S if deadline is None else max(0.0, deadline - time.monotonic())
            if not lock.acquire(timeout=wait):
                raise locked(self.path, BUSY_TIMEOUT_S)

    def _deadline(self) -> float | None:
        """Until when this thread waits for locks, if it was told; 0.0 is not at all."""
        deadline: float | None = getattr(self._local, "deadline", None)
        return deadline

    # --- the thread that waits -------------------------------------------------------------------------------

    def _worker(self) -> ThreadPoolExecutor:
        # One thread: more would only wait for each other.
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="routewright-state")
        return self._thread

    def _call_until(self, deadline: float, call: Callable[[], T]) -> T:
        before = self._deadline()
        self._local.deadline = deadline
        try:
            # INVARIANT: the lock is taken before the call begins, so a call that met one has done nothing yet.
            with self.change():
                return call()
        finally:
            self._local.deadline = before

    def _take_back(self, made: Future[T], undo: Callable[[T], object]) -> None:
        if made.exception() is None:
            self._worker().submit(undo, made.result())

    def _checkpoint_apart(self) -> None:
        with self._write_lock:
            if self._opened is not None:
                self._checkpoint(self._opened.writer)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Copy the log into the file.

        FULL holds the write lock meanwhile. A passive checkpoint would not, but beside a commit that begins the
        log anew it can damage the file in SQLite before 3.51.3: https://www.sqlite.org/wal.html#walresetbug
        """
        self._commits = 0
        # What it cannot do now is done next time: the change before it is made, and must not look as if it failed.
        with suppress(sqlite3.Error):
            connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_BUSY_MS}")
            try:
                connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            finally:
                connection.execute("PRAGMA busy_timeout = 0")


def _hear(future: asyncio.Future[T]) -> None:
    """Take note of an outcome that nobody waits for any more, or asyncio complains of it."""
    if not future.cancelled():
        future.exception()
