"""Lets many callers share one sync to disk of what they have written."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

Begin = Callable[[], tuple[int, Callable[[], None]]]
"""Notes what has been written: the number of its last entry, and what puts it onto the disk and may raise OSError."""


class GroupSync:
    """Waits for a sync that another thread does, and does one where none would do. Safe in many threads.

    Whoever comes while one runs waits for the next, which one thread does for all of them.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._changed = threading.Condition()
        self._runs = False
        self._done = 0
        self._failed: list[tuple[int, int, OSError]] = []

    def wait_for(self, number: int) -> None:
        """Return once entry ``number``, which has been written, is on the disk. Raises OSError if it may not be."""
        with self._changed:
            while self._runs and self._done < number:
                self._changed.wait()
            # After a sync that failed, one that succeeds says nothing of what the first should have put there.
            for above, last, error in self._failed:
                if above < number <= last:
                    raise error
            if self._done >= number:
                return
            self._runs = True
        self._run(number)

    def _run(self, number: int) -> None:
        last, failure = number, None
        try:
            last, sync = self._begin()
            sync()
        except OSError as error:
            failure = error
            raise
        finally:
            with self._changed:
                if failure is not None:
                    above = self._done
                    if (
                        self._failed and self._failed[-1][1] == above
                    ):  # one range, however long the disk fails
                        above, _, _ = self._failed.pop()
                    self._failed.append((above, last, failure))
                self._done = max(self._done, last)
                self._runs = False
                self._changed.notify_all()


def put_on_disk(file: int) -> None:
    """Have the disk itself keep what was written to an open file. Raises OSError."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # on macOS, fsync leaves it in the disk's own memory
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def put_names_on_disk(folder: Path) -> None:
    """Have the disk keep which files there are in ``folder``, and that there is this folder. Raises OSError."""
    for one in (folder, folder.parent):
        descriptor = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
