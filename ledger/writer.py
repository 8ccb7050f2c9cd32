"""Accepts rows from many threads without waiting: they are appended to a spool file and ingested in the background.

A thread of the writer's own opens the ledger's file, for many rows at a time. Readers of the ledger ingest what is in
the spool themselves, so nobody has to wait for that thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from .background import CLIENT_TIMEOUT_S, finish, keep_flushing, keep_ingesting
from .errors import BlockedError, FullError, LedgerError
from .ingest import ingest
from .paths import spool_folder
from .rows import AttemptRow, DecisionRow, LedgerEntry, PolicyRow
from .settings import DEFAULTS, LedgerSettings
from .spool import Spool

_log = logging.getLogger(__name__)

_INGEST_BYTES: Final = 64 * 1024**2
"""They do not wait when there are so many; each filling writes the last part of the tables anew, so few are better."""

_LOOK_FOR_ROOM_S: Final = 0.05


@dataclass(slots=True)
class FullCounts:
    """How often a spool was full: how many entries were refused, and how often room was waited for."""

    refused: int = 0
    blocked: int = 0


class LedgerWriter:
    """Writes decisions into one ledger; get one by ``Ledger.writer``. Safe to use from many threads.

    Whoever opens the ledger next puts into the tables what a writer has left; ``LedgerSettings.durability`` says what
    that survives until it is there, within half a minute.
    """

    def __init__(
        self,
        path: Path,
        lock_timeout_s: float,
        *,
        settings: LedgerSettings = DEFAULTS,
        counts: FullCounts | None = None,
        blocked: Callable[[LedgerError], object] | None = None,
    ) -> None:
        """``blocked`` is called by ``close`` if something keeps recorded rows out of the ledger's tables.

        What is refused or waits because too much waits already is counted in ``counts``.
        """
        self._path, self._lock_timeout_s, self._blocked = path, lock_timeout_s, blocked
        self._settings = settings
        self._counts = FullCounts() if counts is None else counts
        self._begin()

    def add(
        self,
        decision: DecisionRow,
        attempts: Sequence[AttemptRow] = (),
        policies: Sequence[PolicyRow] = (),
    ) -> None:
        """Record a decision with its attempts, and policies that the ledger may lack.

        Waits if too much waits already and the settings say ``block``. Raises LedgerError, with nothing kept, when
        they cannot be written.
        """
        self.prepare()
        self._write(LedgerEntry(decision, attempts, policies))
        self.settle()

    def add_all(self, groups: Sequence[Sequence[LedgerEntry]]) -> list[LedgerError | None]:
        """``add`` for what several callers record at the same time, in one go: why each group was not kept, else None.

        What is in one group is kept together or not at all. ``settle`` is left to the caller.
        """
        try:
            self._write(*chain(*groups))
        except LedgerError:
            # Together they may be too much for the disk, or one of them no text.
            return [self._error(group) for group in groups]
        return [None] * len(groups)

    def _error(self, group: Sequence[LedgerEntry]) -> LedgerError | None:
        """Write a group by itself; why it was not kept, else None. What only says how something ended always fits."""
        is_end = not any(one.decision or one.intents for one in group)
        try:
            self._write(*group, beyond=is_end)
        except LedgerError as refused:
            if isinstance(refused, FullError):
                self._count_refused(refused)
            return refused
        return None

    @property
    def settles_at_once(self) -> bool:
        """Whether ``settle`` has nothing to wait for."""
        return self._settings.durability != "power"

    def settle(self) -> None:
        """Return once what was written is as durable as the settings say. Raises LedgerError if it may not be."""
        self._spool.settle()

    @property
    def file(self) -> int:
        """The number of the file that is written now: another whenever what was written goes into the tables."""
        return self._spool.file

    @property
    def may_wait(self) -> bool:
        """Whether ``prepare`` would wait: whoever serves others meanwhile calls ``wait_for_room`` in a thread then."""
        return self._settings.when_full == "block" and self._spool.is_full

    def prepare(self, *, waits: bool = True) -> None:
        """Nothing, if a decision can be recorded now; else raises LedgerError, before anything was paid for it.

        If too much waits and the settings say ``block``, waits for room first, unless it never ``waits``. FullError is
        raised, and counted, when there is none.
        """
        self._separate()
        if waits and self.may_wait:
            self.wait_for_room()
        try:
            self._spool.prepare()
        except FullError as error:
            self._count_refused(error)
            raise

    def _count_refused(self, error: FullError) -> None:
        if self._counts.refused == 0:
            _log.warning("no call is made that cannot be recorded: %s", error)
        self._counts.refused += 1

    def wait_for_room(self) -> None:
        """Return when there is room, or none has come for as long as the settings say."""
        self._separate()
        self._counts.blocked += 1
        self._start()
        deadline = time.monotonic() + self._settings.block_s
        while self._spool.is_full and (remaining_s := deadline - time.monotonic()) > 0:
            self._wake.set()
            time.sleep(min(_LOOK_FOR_ROOM_S, remaining_s))

    def close(self) -> None:
        """Put everything into the tables. Raises LedgerError if that fails: the rows then stay in the spool.

        If the file is open elsewhere, is a snapshot, or has something that shadows names of ours, the rows stay there
        too, but that is only logged: anyone who can open the file must not be able to make calls fail.
        """
        self._separate()
        self._finish()
        try:
            ingest(
                self._path,
                lock_timeout_s=self._lock_timeout_s,
                client_timeout_s=CLIENT_TIMEOUT_S,
                own=self._spool,
                last=True,
            )
        except BlockedError as error:
            _log.warning("what was recorded waits in `%s`: %s", spool_folder(self._path), error)
            if self._blocked is not None:
                self._blocked(error)
        except LedgerError as error:
            raise LedgerError(
                f"{error}; what was recorded is kept in `{spool_folder(self._path)}`",
                help="it is taken in when the ledger is next read: nothing has to be done",
            ) from error
        finally:
            self._spool.abandon()

    def _write(self, *entries: LedgerEntry, beyond: bool = False) -> None:
        if self._forks != _forks:
            self._separate()
        spool = self._spool
        spool.add(*entries, beyond=beyond)
        if self._thread is None:
            self._start()
        if spool.waiting_bytes > _INGEST_BYTES:
            self._wake.set()

    def _separate(self) -> None:
        """Begin anew after a fork: a child has the parent's files, which the parent writes, and not its thread."""
        if self._forks != _forks:
            self._spool.disown()
            self._begin()

    def _begin(self) -> None:
        self._process, self._forks = os.getpid(), _forks
        self._spool = Spool(spool_folder(self._path), self._settings)
        self._wake, self._starting = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._finish: Callable[[], object] = _nothing

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            ended = threading.Event()
            self._thread = threading.Thread(
                target=keep_ingesting,
                args=(self._path, self._lock_timeout_s, self._spool, self._wake, ended),
                name="ledger-writer",
                daemon=True,
            )
            self._thread.start()
            if self._settings.durability == "none":
                threading.Thread(
                    target=keep_flushing, args=(self._spool, ended), name="ledger-flusher", daemon=True
                ).start()
            # A writer that nobody closes is finished when it is forgotten, or the interpreter ends: a thread
            # that is stopped inside of DuckDB by then would take the process down.
            self._finish = weakref.finalize(
                self, finish, self._process, self._thread, self._wake, ended, self._spool
            )


# How many forks lie between this process and the one that loaded this module: asking the system is slower.
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def _nothing() -> None:
    pass
