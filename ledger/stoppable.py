"""Runs work on a connection in a thread of its own, so that whoever waits for it can stop it, or stop waiting.

DuckDB misses a Ctrl-C that comes while it starts, and hears no interrupt while it makes one large value, such as
``repeat('x', 4000000000)``. The thread that waits always hears both.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.02
_GRACE_S: Final = 0.25
"""How long DuckDB is given to hear that it is interrupted: in a second it may take gigabytes."""

_STATM: Final = Path("/proc/self/statm")

_left: set[Future[object]] = set()


class StoppedError(Exception):
    """The work was to be stopped before it had begun."""


class Running:
    """Work on a connection, as whoever watches it sees it; nothing of it is known until it has begun."""

    def __init__(self) -> None:
        self._connection: DuckDBPyConnection | None = None
        self._began_at_s = self._began_with_bytes = 0.0
        self._stopped = False

    def begin(self, connection: DuckDBPyConnection) -> None:
        """Time and memory are counted from now on. Raises StoppedError if nobody waits for the work any more."""
        self._began_at_s, self._began_with_bytes = time.monotonic(), resident_bytes()
        self._connection = connection
        if self._stopped:
            raise StoppedError

    @property
    def has_begun(self) -> bool:
        """Whether the file is open and the work runs."""
        return self._connection is not None

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began_at_s if self.has_begun else 0.0

    @property
    def grown_bytes(self) -> float:
        """By how much the memory of this process has grown meanwhile."""
        return resident_bytes() - self._began_with_bytes if self.has_begun else 0.0

    @property
    def done_share(self) -> float | None:
        """How much of its statement is done, from 0 to 1, as DuckDB estimates it; None where it cannot."""
        percent = -1.0
        if self._connection is not None:
            with _may_be_closed():
                percent = float(self._connection.query_progress())
        return None if percent < 0 else min(percent / 100, 1.0)

    def interrupt(self) -> None:
        """Ask it to stop; one interrupt may fall between two steps of it and be lost."""
        self._stopped = True
        if self._connection is not None:
            with _may_be_closed():
                self._connection.interrupt()


def run_stoppably(work: Callable[[Running], T], watch: Callable[[Running], None]) -> T:
    """What ``work`` gives; it should say when it begins.

    ``watch`` is called again and again meanwhile. What it raises stops the work and is raised here, and so is Ctrl-C.
    Work that does not hear at once that it is to stop is left to its thread, and goes on there until it does.
    """
    done: Future[T] = Future()
    running = Running()
    # Ctrl-C may come while the thread starts: it must do nothing until somebody is there to interrupt it.
    go = threading.Event()

    def run() -> None:
        go.wait()
        try:
            done.set_result(work(running))
        except BaseException as error:  # raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="ledger-statement", daemon=True).start()
    try:
        go.set()
        while not wait([done], _LOOK_EVERY_S).done:
            watch(running)
    finally:
        go.set()
        if not _stopped(running, done, _GRACE_S):
            _leave(running, done)
    return done.result()


def left_running() -> bool:
    """Whether work goes on that nobody waits for; a process that ends in the usual way would wait for it."""
    return bool(_left)


def resident_bytes() -> int:
    """How much memory this process has; on macOS, the most that it has had."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _may_be_closed() -> suppress:
    """Work that has just ended has closed its connection."""
    import duckdb

    return suppress(duckdb.ConnectionException)


def _stopped(running: Running, done: Future[T], within_s: float) -> bool:
    """Whether the work has ended, interrupted if need be."""
    deadline = time.monotonic() + within_s
    while not done.done() and time.monotonic() < deadline:
        running.interrupt()
        wait([done], _LOOK_EVERY_S)
    return done.done()


def _leave(running: Running, done: Future[T]) -> None:
    """Let the work go on until it hears that it is to stop."""
    _left.add(done)  # type: ignore[arg-type]  # a future of anything
    done.add_done_callback(_left.discard)
    if running.has_begun:
        _log.warning(
            "DuckDB does not stop while it makes one value; the ledger stays open until it has made it"
        )
    threading.Thread(
        target=_stopped, args=(running, done, float("inf")), name="ledger-stopping", daemon=True
    ).start()
