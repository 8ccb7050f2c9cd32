"""What a writer does beside its callers: loads its spool into the tables, and writes what its spool keeps in memory."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

from .errors import BusyError, LedgerError
from .ingest import ingest
from .spool import Spool

_log = logging.getLogger(__name__)

_INGEST_AFTER_S: Final = 30.0
"""How long rows wait for more to come: readers do not wait for that, and many at once cost half as much."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
"""How long is waited after a failure, at first and at most; each one doubles the wait, until no room is left."""

_WARN_BYTES: Final = 64 * 1024**2
"""From here on it is said who holds the ledger open; what waits until then is no matter."""

CLIENT_TIMEOUT_S: Final = 0.5
"""How long a client that does not queue is waited for where nothing is lost by going on without the tables."""

_FLUSH_EVERY_S: Final = 1.0
"""How often what need not survive the process is written."""


def keep_flushing(spool: Spool, ended: threading.Event) -> None:
    """Write every second what the spool keeps in memory, so that no more than that is lost with the process."""
    reported = False
    while not ended.wait(_FLUSH_EVERY_S):
        reported = not _flush(spool, quietly=reported)


def _flush(spool: Spool, *, quietly: bool = False) -> bool:
    try:
        spool.flush()
    except LedgerError as error:
        if not quietly:
            _log.warning("%s", error)
        return False
    return True


def keep_ingesting(
    path: Path, lock_timeout_s: float, spool: Spool, wake: threading.Event, ended: threading.Event
) -> None:
    """Load the spool now and then, and at once when ``wake`` is set, until ``ended`` is; a failure is tried again."""
    pause_s = _FIRST_PAUSE_S
    reported = False
    while True:
        wake.wait(_INGEST_AFTER_S)
        wake.clear()
        if ended.is_set():
            return
        if spool.waiting_bytes == 0 and not spool.is_full:
            continue
        try:
            ingest(path, lock_timeout_s=lock_timeout_s, client_timeout_s=CLIENT_TIMEOUT_S, own=spool)
            pause_s = _FIRST_PAUSE_S
            reported = False
        except LedgerError as error:
            # Nothing is lost: it waits in the spool, and closing the writer says why if it still does then.
            if not reported and not (isinstance(error, BusyError) and spool.waiting_bytes < _WARN_BYTES):
                _log.warning("%s: %s", spool.filling, error)
                reported = True
            if ended.wait(_FIRST_PAUSE_S if spool.is_full else pause_s):
                return
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)


def finish(
    process: int, thread: threading.Thread, wake: threading.Event, ended: threading.Event, spool: Spool
) -> None:
    """End the threads of a writer that began in ``process``, and write what its spool keeps in memory."""
    if os.getpid() != process:
        return  # a child of the process has no such thread, and may have its locks as they were held
    ended.set()
    wake.set()
    if thread is not threading.current_thread():  # who forgets a writer may do so in any thread
        thread.join()
    _flush(spool)
