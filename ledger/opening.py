"""Gets at a ledger's file: waits for its turn, then for whoever has the file open without one, and says who that is."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import BusyError, LedgerError
from .sql_errors import DAMAGED_HELP
from .turns import Turns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.25
_HOLDER: Final = re.compile(r"lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")

ROW_GROUP: Final = 16_384
"""Rows of a row group. A transaction of more rows writes them to the file as it goes, and not to the log, and each
checkpoint writes the last row group anew: so memory and that grow with this number, and bytes for a row shrink."""

_LAST: Final = ("enable_external_access", "lock_configuration")

# DuckDB refuses to open one file twice in a process with different settings, so its threads take turns too.
_turns: dict[Path, Turns] = {}
_turns_lock = threading.Lock()

_FORK_WAITS_S: Final = 60.0
"""How long a fork waits for each file that another thread has open."""
_held: list[Turns] = []


class Wait(NamedTuple):
    """How long a file that is open elsewhere is waited for, and how long of that for who does not queue."""

    lock_s: float
    client_s: float | None


@contextmanager
def in_turn(
    path: Path, read_only: bool, wait: Wait
) -> Iterator[Callable[[dict[str, str]], DuckDBPyConnection]]:
    """What connects to the file with given settings, once it is this thread's turn.

    It raises BusyError when the file is open elsewhere for too long, and LedgerError for what is no DuckDB file. If
    the turn does not come in time, connecting is tried once all the same: those before may have been stopped.
    """
    deadline = time.monotonic() + wait.lock_s
    # Two paths that lead to one file are one file: DuckDB locks it for the whole process.
    file = Path(os.path.realpath(path))
    with _turns_lock:
        turns = _turns.setdefault(file, Turns(file))
    with ExitStack() as turn:
        try:
            has_come = turn.enter_context(turns.take(shared=read_only, deadline=deadline))
        except TimeoutError as error:
            raise _busy(path, None, wait.lock_s) from error
        limit_s = wait.lock_s if wait.client_s is None else min(wait.client_s, wait.lock_s)
        until = min(deadline, time.monotonic() + limit_s)
        yield lambda config: _connect(path, read_only, config, until, limit_s if has_come else wait.lock_s)


def _before_fork() -> None:
    # DuckDB cannot be carried across: in the child its threads would be missing, and its locks held for ever.
    _turns_lock.acquire()
    # In one order, so that two threads that fork at the same time do not wait for each other.
    for _, turns in sorted(_turns.items()):
        if turns.hold(_FORK_WAITS_S):
            _held.append(turns)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()
    _turns_lock.release()


def _after_fork_in_child() -> None:
    global _turns_lock
    _held.clear()
    for turns in _turns.values():
        turns.leave()  # the descriptor alone: locks are not inherited
    _turns.clear()
    _turns_lock = threading.Lock()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)


def _connect(
    path: Path, read_only: bool, config: dict[str, str], deadline: float, limit_s: float
) -> DuckDBPyConnection:
    """A connection; ``limit_s`` is how long the file will have been waited for at the ``deadline``."""
    import duckdb

    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return (
                duckdb.connect(str(path), read_only=True, config=dict(config))
                if read_only
                else _attached(path, config)
            )
        except duckdb.Error as error:
            if "Could not set lock on file" not in str(error):
                raise _cannot_open(path, error) from error
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                found = _HOLDER.search(str(error))
                holder = None if found is None else f"process {found['pid']} (`{found['program']}`)"
                raise _busy(path, holder, limit_s) from error
        # Jitter keeps two waiting processes from meeting again and again.
        time.sleep(min(remaining_s, pause_s * random.uniform(0.5, 1.5)))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _attached(path: Path, config: Mapping[str, str]) -> DuckDBPyConnection:
    """A connection that writes small row groups, which only a file that is attached can have."""
    import duckdb

    # The file could not be attached without these, nor could they be set once settings are locked.
    last = [f"SET {name} = {config[name]}" for name in _LAST if name in config]
    connection = duckdb.connect(
        ":memory:", config={name: value for name, value in config.items() if name not in _LAST}
    )
    try:
        connection.execute(f"ATTACH {quoted(str(path))} AS ledger (ROW_GROUP_SIZE {ROW_GROUP})")
        connection.execute("USE ledger")
        for setting in last:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def quoted(text: str) -> str:
    """A literal in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _busy(path: Path, holder: str | None, limit_s: float) -> BusyError:
    who = holder or "another part of this program"
    return BusyError(
        f"ledger `{path}` is held open by {who}; gave up after {limit_s:g} s and changed nothing", who
    )


def _cannot_open(path: Path, error: Exception) -> LedgerError:
    text = str(error)
    # DuckDB knows files of SQLite and others by their first bytes, and would load an extension for them.
    if "not a valid DuckDB database file" in text or "Loading external extensions" in text:
        return LedgerError(
            f"`{path}` is not a ledger: it is no DuckDB file; left it as it is",
            help="name another file; a new ledger is made where there is none",
        )
    if "newer" in text and "version" in text:
        return LedgerError(
            f"`{path}` was written by a newer DuckDB; left it as it is", help="upgrade the package `duckdb`"
        )
    help = DAMAGED_HELP if "checksum" in text else None
    return LedgerError(f"ledger `{path}` cannot be opened: {_first_line(text)}", help=help)


def _first_line(text: str) -> str:
    line = text.split(":", 1)[-1].strip().splitlines()[0]
    return line[:1].lower() + line[1:]
