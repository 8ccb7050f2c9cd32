"""Serves whoever wants to open a ledger's file in the order of arrival: threads of this process, and other processes.

Between processes the queue is a file beside the ledger, of which bytes are locked. Whoever comes takes the next number
and locks the byte of that number, to read (shared) or to write. It is its turn once it can lock all bytes before its
own in the same way: a writer when all who came earlier are gone, a reader when the writers among them are. The kernel
drops the locks of a process that dies, so nobody's turn has to be cleared up.

DuckDB's own lock still decides who has the file, so one who knows nothing of the queue, or cannot write to it, is only
not served in order.
"""

from __future__ import annotations

import fcntl
import os
import sys
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
_HOLDER_AT: Final = 32
_HOLDER_BYTES: Final = 480
"""The file begins with the last number that was taken; then comes who has the ledger open, for those who wait."""
_DOOR: Final = 0
"""The byte that is locked while a number is taken."""
_FIRST_NUMBER: Final = 2
"""So that there is a byte between the door and any number."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


class NotServedError(Exception):
    """The turn did not come in time; ``holder`` is who has the ledger open, if that is known."""

    def __init__(self, holder: str | None) -> None:
        super().__init__(holder)
        self.holder = holder


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
    def take(self, *, shared: bool, deadline: float) -> Iterator[None]:
        """Wait for this thread's turn, to read if it is ``shared``. Raises NotServedError after ``deadline``.

        ``deadline`` is a time of ``time.monotonic``; also after it, a turn that has come is taken.
        """
        if not self.hold(deadline - time.monotonic()):
            raise NotServedError(None)
        try:
            # INVARIANT: a process has the file open once at most, since closing one descriptor drops all its locks.
            if self._threads.depth == 1:
                self._file = _queued(self._folder, shared, deadline)
            yield
        finally:
            if self._threads.depth == 1:
                self.leave()
            self.release()

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

    def held_by(self, holder: str) -> None:
        """Tell those who wait behind this turn that ``holder``, who is not in the queue, has the file open."""
        if self._file is not None:
            _write_holder(self._file, holder)


def _queued(folder: Path, shared: bool, deadline: float) -> int | None:
    """The queue's open file once it is this process's turn; None where there can be no such file."""
    try:
        if not shared:  # who only reads leaves nothing beside a file, which may be no ledger at all
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        _wait(file, lambda: _locks(file, fcntl.LOCK_EX, _DOOR, 1), deadline)
        number = _take_number(file, kind)
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _DOOR)
        _wait(file, lambda: _locks(file, kind, 1, number - 1), deadline)
        _write_holder(file, f"process {os.getpid()} (`{sys.argv[0] or sys.executable}`)")
    except BaseException as error:
        os.close(file)
        if isinstance(error, OSError):  # a file system without locks, or a full disk
            return None
        raise
    return file


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


def _wait(file: int, is_there: Callable[[], bool], deadline: float) -> None:
    """Wait until something ``is_there``. Raises NotServedError at the ``deadline``."""
    pause_s = _FIRST_PAUSE_S
    while not is_there():
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise NotServedError(_holder(file))
        time.sleep(min(pause_s, remaining_s))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _write_holder(file: int, holder: str) -> None:
    os.pwrite(file, holder.encode()[: _HOLDER_BYTES - 1].ljust(_HOLDER_BYTES - 1) + b"\n", _HOLDER_AT)


def _holder(file: int) -> str | None:
    return os.pread(file, _HOLDER_BYTES, _HOLDER_AT).decode(errors="replace").strip() or None
