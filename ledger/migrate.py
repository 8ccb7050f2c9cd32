"""Creates ledgers and brings their layout up to date: ordered SQL files, each applied once and recorded.

A released file is never edited; a change is a new file. An older ledger is brought up to date when it is
opened, a newer one is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from routewright.private_files import make_private_folder

from .connection import checkpoint, commit, file_first, open_for_creation
from .errors import LedgerError, OtherLayoutError
from .proof.entering import enter_older
from .views import make_views

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_NAME = re.compile(r"(\d{4})_([a-z_]+)\.sql")

_LOG = 16
"""The layout from which on rows have leaves in the log."""

_RECORD = """
CREATE TABLE IF NOT EXISTS migrations (
    version       INTEGER NOT NULL,
    name          VARCHAR NOT NULL,
    digest        VARCHAR NOT NULL,
    applied_at_us BIGINT NOT NULL
);
COMMENT ON TABLE migrations IS 'The layout changes that this ledger has had.';
COMMENT ON COLUMN migrations.version IS 'the change''s number; the highest is the ledger''s layout';
COMMENT ON COLUMN migrations.name IS 'the change''s name';
COMMENT ON COLUMN migrations.digest IS 'the SHA-256 of its text: a released one is never edited';
COMMENT ON COLUMN migrations.applied_at_us IS 'when it was applied';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of the layout."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of its text."""
        return "sha256:" + hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """All changes, in order; versions count from 1 without gaps."""
    found: list[Migration] = []
    for path in sorted((Path(__file__).parent / "migrations").glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise LedgerError(f"the layout change `{path.name}` is out of order; the installation is damaged")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return tuple(found)


def latest_version() -> int:
    """The layout that this version of Routewright writes."""
    return len(migrations())


def create_ledger(path: Path) -> bool:
    """Create the file in a folder of its own, then link it into place, so that nobody ever sees half a ledger.

    False if another process made it first. Raises LedgerError if it cannot be created.
    """
    # DuckDB creates its files with the umask's mode, and refuses an empty file that exists already.
    drafts = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    draft = drafts / "ledger.duckdb"
    try:
        make_private_folder(drafts)
        try:
            write_new_file(draft, path)
            draft.chmod(0o600)
            os.link(draft, path)
        finally:
            shutil.rmtree(drafts)
    except FileExistsError as error:
        if not path.is_file():
            raise LedgerError(f"the ledger `{path}` cannot be created: {error.strerror}") from error
        return False  # theirs is as good as ours
    except OSError as error:
        raise LedgerError(f"the ledger `{path}` cannot be created: {error.strerror}") from error
    return True


def write_new_file(draft: Path, path: Path) -> None:
    """Write a ledger without a row, which will be ``path``, to ``draft``."""
    with open_for_creation(draft) as connection:
        apply_migrations(connection, path)


def layout_version(connection: DuckDBPyConnection, path: Path) -> int:
    """The ledger's layout; raises LedgerError for a file that holds something else, another layout too."""
    rows = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
    tables = {name for (name,) in rows}
    if "migrations" not in tables:
        if not tables:
            return 0
        raise LedgerError(
            f"`{path}` is a DuckDB file, but not a ledger; left it as it is", help="name another file"
        )
    row = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
    assert row is not None
    _check_digests(connection, path, int(row[0]))
    return int(row[0])


def apply_migrations(connection: DuckDBPyConnection, path: Path) -> None:
    """Apply what is missing, all or nothing. Raises LedgerError for a ledger that is newer than this code."""
    have = layout_version(connection, path)
    if have > latest_version():
        raise LedgerError(
            f"ledger `{path}` has layout {have}, and this version of Routewright knows layouts up to "
            f"{latest_version()}; left it as it is",
            help="upgrade Routewright, or name another file",
        )
    missing = migrations()[have:]
    if not missing:
        return
    with file_first(connection):
        connection.execute("BEGIN")
        if have == 0:
            connection.execute(_RECORD)
        for migration in missing:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, ?)",
                [migration.version, migration.name, migration.digest, time.time_ns() // 1_000],
            )
        if have < _LOG:
            enter_older(connection)
        make_views(connection)
        commit(connection)
    # Changes of the layout go into the file at once: replaying them from the WAL is not something to rely on.
    checkpoint(connection)


def _check_digests(connection: DuckDBPyConnection, path: Path, have: int) -> None:
    """Refuse a ledger of a build between two releases, whose layout has the same number and is another one."""
    if have == 0:
        return
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'migrations'"
    ).fetchall()
    found: dict[int, str] = {}
    if ("digest",) in columns:
        found = dict(connection.execute("SELECT version, digest FROM migrations").fetchall())
    if any(found.get(one.version) != one.digest for one in migrations()[:have]):
        raise OtherLayoutError(
            f"ledger `{path}` was made by an unreleased version of Routewright, with another layout; left it as it is",
            help="name another file, or move this one and its `.spool` folder away",
        )
