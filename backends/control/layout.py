"""Creates the tables of a state store, and refuses a file that holds anything else.

Anyone may have changed the file: a trigger, or a table of the same name with other constraints, could stop quotas from
counting. So a file may hold only what is created here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from .errors import StateError

APPLICATION_ID = 0x52575354
"""``RWST`` in the file's header: tells a state store from other programs' databases."""

# Usage is a row for each window in which something was used. `last_us` is when an attempt last began in it, and
# `forget_us` when the row is of no more use. A lease that has lapsed counts as used in its window.
# Unit and currency belong to the key: a control that is changed from requests to money must not take the ones for the
# others.
_LAYOUT = """
CREATE TABLE quota_used (
    control TEXT NOT NULL, unit TEXT NOT NULL, key TEXT NOT NULL, end_us INTEGER NOT NULL,
    start_us INTEGER NOT NULL, amount INTEGER NOT NULL, last_us INTEGER NOT NULL, forget_us INTEGER NOT NULL,
    PRIMARY KEY (control, unit, key, end_us)
) WITHOUT ROWID;
CREATE INDEX quota_used_by_forget ON quota_used (forget_us);
CREATE TABLE leases (
    control TEXT NOT NULL, unit TEXT NOT NULL, key TEXT NOT NULL, expires_us INTEGER NOT NULL,
    lease TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, amount INTEGER NOT NULL,
    forget_us INTEGER NOT NULL,
    PRIMARY KEY (control, unit, key, expires_us, lease)
) WITHOUT ROWID;
CREATE UNIQUE INDEX leases_by_id ON leases (lease, control, unit, key);
CREATE INDEX leases_by_forget ON leases (forget_us);
CREATE TABLE breakers (
    model TEXT PRIMARY KEY, failures INTEGER NOT NULL, failed_us INTEGER NOT NULL,
    openings INTEGER NOT NULL, opened_us INTEGER, until_us INTEGER, probe_until_us INTEGER,
    error_class TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE latencies (
    model TEXT PRIMARY KEY, mean_ms REAL NOT NULL, samples INTEGER NOT NULL, updated_us INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Since layout 2. `session` is the SHA-256 of its id.
_SESSIONS = """
CREATE TABLE sessions (
    session TEXT NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL, answered_us INTEGER NOT NULL,
    PRIMARY KEY (session, operation)
) WITHOUT ROWID;
CREATE INDEX sessions_by_answer ON sessions (answered_us);
"""

# Since layout 3: how long loading took, as `latencies` has it for answers.
_LOADS = """
CREATE TABLE loads (
    model TEXT PRIMARY KEY, mean_ms REAL NOT NULL, samples INTEGER NOT NULL, updated_us INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Since layout 4: canaries that are judged, each by the digests of its policies. `since_us` is when it was last begun
# anew, `looked_us` when it was last judged; the rest says how and when it has ended, NULL while it goes on.
_CANARIES = """
CREATE TABLE canaries (
    control TEXT NOT NULL, candidate TEXT NOT NULL, since_us INTEGER NOT NULL, looked_us INTEGER NOT NULL,
    verdict TEXT, reason TEXT, ended_us INTEGER,
    PRIMARY KEY (control, candidate)
) WITHOUT ROWID;
"""

# What each version adds to the one before it. Version 0 is a file without any tables.
_ADDED = (_LAYOUT, _SESSIONS, _LOADS, _CANARIES)

LAYOUT_VERSION = len(_ADDED)

_MADE = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)")

_STATISTICS = re.compile(r"sqlite_stat[1-4]")
"""Tables that ``ANALYZE`` creates: they change how rows are found, not which rows."""

_SHOWN_CHARACTERS = 60


def set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Put a new file into WAL mode and create its tables; check that any other file is a state store.

    Raises StateError if it is not, has a newer layout, holds objects that are not created here, or cannot be shared.
    Locks, damage and the like are sqlite3.Error.
    """
    # One transaction, so that what is read is of one moment: another process may be making the tables just now.
    if _in_transaction(connection, "DEFERRED", lambda: _is_ours(connection, path)):
        return
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        message = (
            f"the state store `{path}` cannot be shared by processes: its file system has no shared memory"
        )
        raise StateError(message, help="put it on a disk of this machine")
    _in_transaction(connection, "IMMEDIATE", lambda: _is_ours(connection, path) or _make_tables(connection))


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _in_transaction(connection: sqlite3.Connection, kind: str, action: Callable[[], bool]) -> bool:
    connection.execute(f"BEGIN {kind}")
    try:
        done = action()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _make_tables(connection: sqlite3.Connection) -> bool:
    """Make the tables that the file lacks: all of them in a new one, the later ones in one of an older layout."""
    for statement in filter(str.strip, "".join(_ADDED[_version(connection) :]).split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
    return True


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is a state store of this layout; False where it is still empty, or of an older one."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = _version(connection)
    if application == APPLICATION_ID:
        if version > LAYOUT_VERSION:
            message = f"the state store `{path}` is of a newer layout ({version}, known is {LAYOUT_VERSION})"
            raise StateError(message, help="use a newer Routewright, or another file")
        _check_objects(connection, path, version)
        return version == LAYOUT_VERSION
    if application or version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        message = f"`{path}` is a database of another program, not a state store"
        raise StateError(message, help="name another file")
    return False


def _check_objects(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Raise StateError unless the file holds exactly the tables and indexes of its version."""
    expected = _objects("".join(_ADDED[:version]))
    # Cast to text: a schema that was edited by hand may hold any type.
    found = connection.execute(
        "SELECT CAST(type AS TEXT), CAST(name AS TEXT), CAST(sql AS TEXT) FROM sqlite_master ORDER BY rowid"
    )
    for kind, name, sql in found:
        # No SQL: an index that SQLite creates for a primary key, which the table's own SQL already covers.
        if (kind == "index" and sql is None) or (kind == "table" and _STATISTICS.fullmatch(str(name))):
            continue
        wanted = expected.pop((kind, name), None)
        if wanted is None or " ".join(str(sql).split()) != wanted:
            shown = str(name)
            if len(shown) > _SHOWN_CHARACTERS:
                shown = shown[: _SHOWN_CHARACTERS - 1] + "…"
            how = "which Routewright did not make" if wanted is None else "whose definition differs"
            raise _changed(path, f"holds the {kind} `{shown}`, {how}")
    for kind, name in expected:
        raise _changed(path, f"lacks the {kind} `{name}`")


def _objects(statements: str) -> dict[tuple[str, str], str]:
    """The kind and name of the object, and the statement that creates it with runs of blanks shortened to one."""
    made = {}
    for statement in filter(str.strip, statements.split(";")):
        text = " ".join(statement.split())
        found = _MADE.match(text)
        assert found is not None
        made[found[1].lower(), found[2]] = text
    return made


def _changed(path: Path, what: str) -> StateError:
    return StateError(
        f"the state store `{path}` {what}; its counts cannot be trusted",
        help="find out who changed it; then name another file, or stop what uses it and delete it",
    )
