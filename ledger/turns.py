"""Serves whoever wants to open a ledger's file in the order of arrival: threads of this process, and other processes.

Between processes the queue is a file beside the ledger, of which bytes are locked. Whoever comes takes the next number
and locks the byte of that number, to read (shared) or to write. It is its turn once it can lock all bytes before its
own in the same way: a writer when all who came earlier are gone, a reader when the writers among them are. The kernel
drops the locks of a process that dies, so nobody's turn has to be cleared up.

DuckDB's own lock still decides who has the file. So whoever knows nothing of the queue, cannot write to it or has
waited too long, perhaps behind a process that was stopped, only does not come in order.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .paths import spool_folder

_NAME: Final = "queue"
_DIGITS: Final = 20
"""The file has the last number that was taken."""
_DOOR: Final = 0
"""The byte that is locked while a number is taken."""
_FIRST_NUMBER: Final = 2
"""So that there is a byte between the door and any number."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


class _Threads:
    """A lock that serves threads in the order of arrival; the one that has it may take it again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._owner: int | None = None
        self.depth = 0

    def acquire(self, timeout_s: float) -> bool:
        me = threading.get_ident()
        with self._lock:
            if self._owner is None or self._owner == me:
                self._owner = me
                self.depth += 1
                return True
            served = threading.Lock()
            served.acquire()
            self._waiting.append((me, served))
        # INVARIANT: whoever is taken off the queue has the lock, so it is never free while somebody waits.
        came = False
        try:
            came = served.acquire(timeout=max(timeout_s, 0))
        finally:
            if not came:  # in time, or because of a Ctrl-C
                with self._lock:
                    came = (me, served) not in self._waiting
                    if not came:
                        self._waiting.remove((me, served))
        return came

    def release(self) -> None:
        with self._lock:
            self.depth -= 1
            if self.depth == 0:
                self._owner = None
                if self._waiting:
                    self._owner, served = self._waiting.popleft()
                    self.depth = 1
                    served.release()


class Turns:
    """The turns at the file of one ledger; each process has one of these for each file."""

    def __init__(self, path: Path) -> None:
        self._folder = spool_folder(path)
        self._threads = _Threads()
        self._file: int | None = None

    @contextmanager
    def take(self, *, shared: bool, deadline: float) -> Iterator[bool]:
        """Wait for this thread's turn, to read if it is ``shared``, until ``deadline``; whether it has come.

        ``deadline`` is a time of ``time.monotonic``. Raises TimeoutError if another thread of this process still has
        its turn then: DuckDB does not let two into one file.
        """
        if not self.hold(deadline - time.monotonic()):
            raise TimeoutError
        try:
            outermost = self._threads.depth == 1
            # INVARIANT: a process has the file open once at most, since closing one descriptor drops all its locks.
            yield self._join(shared, deadline) if outermost else True
        finally:
            if outermost:
                self.leave()
            self.release()

    def _join(self, shared: bool, deadline: float) -> bool:
        """Wait in the queue between processes; whether the turn has come, or cannot be waited for."""
        self._file = _opened(self._folder, create=not shared)
        if self._file is None:
            return True
        try:
            if _came(self._file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, deadline):
                return True
        except OSError:  # a file system without locks, or a full disk
            self.leave()
            return True
        self.leave()
        return False

    def hold(self, timeout_s: float) -> bool:
        """Keep the other threads of this process from the file; whether that was possible in time."""
        return self._threads.acquire(timeout_s)

    def release(self) -> None:
        """End what ``hold`` began."""
        self._threads.release()

    def leave(self) -> None:
        """Give up the place in the queue between processes."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _opened(folder: Path, *, create: bool) -> int | None:
    """The queue's file; None where there can be none. Who only reads leaves no folder beside a file of any kind."""
    try:
        if create:
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        return os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _came(file: int, kind: int, deadline: float) -> bool:
    """Take a place in the queue and wait; whether the turn came before the ``deadline``."""
    if not _wait(lambda: _locks(file, fcntl.LOCK_EX, _DOOR, 1), deadline):
        return False
    number = _take_number(file, kind)
    fcntl.lockf(file, fcntl.LOCK_UN, 1, _DOOR)
    return _wait(lambda: _locks(file, kind, 1, number - 1), deadline)


def _take_number(file: int, kind: int) -> int:
    try:
        number = max(int(os.pread(file, _DIGITS, 0)), _FIRST_NUMBER - 1)
    except ValueError:
        number = _FIRST_NUMBER - 1
    number += 1
    # Somebody else has it only if the file was overwritten.
    while not _locks(file, kind, number, 1):
        number += 1
    os.pwrite(file, f"{number:0{_DIGITS}d}\n".encode(), 0)
    return number


def _locks(file: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):  # POSIX allows both
        return False
    return True


def _wait(is_there: Callable[[], bool], deadline: float) -> bool:
    """Wait until something ``is_there``; whether that was before the ``deadline``."""
    pause_s = _FIRST_PAUSE_S
    while not is_there():
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return False
        time.sleep(min(pause_s, remaining_s))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return True
