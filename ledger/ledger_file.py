"""A ledger's file: brings it up to date, reads it within limits, and says what keeps something out of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .asking import MOST_COUNTED, count_rejected
from .background import CLIENT_TIMEOUT_S
from .connection import open_for_reading, open_for_writing
from .errors import BlockedError, BusyError, LedgerError
from .ingest import damage_kept, ingest
from .limits import Limits
from .migrate import apply_migrations, latest_version, layout_version
from .paths import ERASING, spool_folder
from .settings import DEFAULTS, LedgerSettings
from .shadows import refuse_shadows
from .stoppable import Running, run_stoppably
from .writer import FullCounts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


T = TypeVar("T")
ShareDone = Callable[[float | None], None]
"""Is told the share that is done, from 0 to 1, or None where that is not known."""

_log = logging.getLogger(__name__)

_current: dict[Path, tuple[int, ...]] = {}
"""Files that this process has found to have the latest layout, as they were then: until somebody writes to one, it is
not opened to be asked again."""


class LedgerFile:
    """A ledger's file: it is open only while something is read from it or written to it."""

    def __init__(self, path: Path, lock_timeout_s: float, settings: LedgerSettings = DEFAULTS) -> None:
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._settings = settings
        self._full = FullCounts()
        self._blocked: LedgerError | None = None
        self._rejected = 0
        self._is_current = False

    def _bring_up_to_date(self, client_timeout_s: float | None = None) -> None:
        """Apply the migrations that the file lacks, unless that was done before."""
        if self._is_current:
            return
        as_it_is = _identity(self._path)
        if as_it_is is not None and _current.get(self._path) == as_it_is:
            self._is_current = True
            return
        lock_timeout_s = self._lock_timeout_s
        with open_for_reading(
            self._path, lock_timeout_s=lock_timeout_s, client_timeout_s=client_timeout_s, own_statement=True
        ) as connection:
            current = layout_version(connection, self._path) == latest_version()
        if current and as_it_is is not None:
            _current[self._path] = as_it_is
        if not current:
            with open_for_writing(
                self._path, lock_timeout_s=lock_timeout_s, client_timeout_s=client_timeout_s
            ) as connection:
                refuse_shadows(connection)
                apply_migrations(connection, self._path)
        self._is_current = True

    @property
    def path(self) -> Path:
        """The file, as an absolute path."""
        return self._path

    def notices(self) -> tuple[str, ...]:
        """Notices for the ledger's user: why recorded rows still wait, rejected entries, damage.

        The number of rejected entries is the one that the last ``query`` or ``tail`` found. Damage is reported until
        somebody has deleted or moved the files that are kept.
        """
        waiting = self._waiting_text()
        found = (
            waiting,
            _full_text(self._full),
            _rejected_text(self._rejected),
            damage_kept(spool_folder(self._path)),
            _unfinished_text(spool_folder(self._path)),
        )
        return tuple(notice for notice in found if notice is not None)

    def _read(
        self,
        work: Callable[[DuckDBPyConnection], T],
        limits: Limits,
        *,
        timezone: str = "UTC",
        writes: Path | None = None,
        own_statement: bool = False,
        progress: ShareDone | None = None,
    ) -> T:
        """What ``work`` gives on a connection that reads, within limits."""

        def opened(running: Running) -> tuple[T, int]:
            with open_for_reading(
                self._path,
                lock_timeout_s=self._lock_timeout_s,
                limits=limits,
                timezone=timezone,
                writes=writes,
                own_statement=own_statement,
            ) as connection:
                running.begin(connection)
                return work(connection), count_rejected(connection)

        def watch(running: Running) -> None:
            if running.seconds > limits.timeout_s:
                raise limits.too_long()
            if running.grown_bytes > limits.max_memory_mb * 1e6:
                raise limits.too_much_memory()
            if progress is not None and running.has_begun:
                progress(running.done_share)

        given, self._rejected = run_stoppably(opened, watch)
        return given

    def _refresh(self) -> str | None:
        """Why something may still wait in spools; None when nothing does.

        Raises LedgerError for what turns out to be no ledger, or one of a newer version.
        """
        try:
            self._bring_up_to_date(CLIENT_TIMEOUT_S)
            ingest(self._path, lock_timeout_s=self._lock_timeout_s, client_timeout_s=CLIENT_TIMEOUT_S)
        except LedgerError as error:
            if not self._is_current and not isinstance(error, BlockedError):
                raise
            _log.warning("the newest decisions may be missing: %s", error)
            self._blocked = error
            return str(error)
        self._blocked = None
        return None

    def _note_blocked(self, error: LedgerError) -> None:
        self._blocked = error

    def _waiting_text(self) -> str | None:
        """The notice about rows that wait."""
        match self._blocked:
            case None:
                return None
            case BusyError(holder=holder):
                return (
                    f"the newest decisions wait in `{spool_folder(self._path)}`, where they are safe, while {holder} "
                    "holds the ledger open; let other clients open a copy (`routewright ledger snapshot FILE`)"
                )
            case error:
                return f"the newest decisions may be missing: {error}"


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from what it is once somebody has written to it, or put another in its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _unfinished_text(folder: Path) -> str | None:
    """The notice about erasing or pruning that was cut short."""
    if not (folder / ERASING).exists():
        return None
    return (
        "erasing or pruning was cut short, and what was to go may still be in the ledger's files: "
        "`routewright ledger erase --finish` completes it"
    )


def _full_text(counts: FullCounts) -> str | None:
    """The notice about what found the spool full."""
    found = {"was refused": counts.refused, "waited for room": counts.blocked}
    said = [f"{what} {'once' if n == 1 else f'{n:,} times'}" for what, n in found.items() if n]
    return f"the spool was full: recording {' and '.join(said)}" if said else None


def _rejected_text(count: int) -> str | None:
    """The notice about rejected entries: anyone who counts decisions must know that some are missing."""
    if not count:
        return None
    number = f"more than {MOST_COUNTED:,}" if count > MOST_COUNTED else f"{count:,}"
    entries = "1 entry" if count == 1 else f"{number} entries"
    return (
        f"{entries} could not be stored as rows, and no table but `rejected` has them: ask"
        ' `routewright ledger sql "SELECT writer, entry, error FROM rejected"`'
    )
