"""Copies a ledger into a file for other clients, which may sit on it for as long as they like.

The file is copied as it is: measured, that takes a hundredth of what `COPY FROM DATABASE` takes, and what other people
keep in the file comes along. The copy has one table more, by which it is known.
"""

from __future__ import annotations

import glob
import os
import shutil
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from routewright.private_files import create_private, make_private_folder

from .connection import checkpoint, file_first, open_for_reading, open_for_writing
from .errors import BusyError, LedgerError, SnapshotError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_TABLE: Final = "ledger_snapshot"

_MARK: Final = f"""
CREATE OR REPLACE TABLE {_TABLE} (taken_at TIMESTAMPTZ NOT NULL, ledger VARCHAR NOT NULL);
COMMENT ON TABLE {_TABLE} IS 'What this file is: a copy of a ledger, which the next copy replaces.';
COMMENT ON COLUMN {_TABLE}.taken_at IS 'when it was taken';
COMMENT ON COLUMN {_TABLE}.ledger IS 'the path of the ledger';
"""

_IS_MARKED: Final = "SELECT 1 FROM system.main.duckdb_tables() WHERE table_name = ? AND NOT internal"


class Snapshot(NamedTuple):
    """A snapshot that was taken; ``stale`` says why the newest decisions may be missing, None when none are."""

    path: Path
    taken_at: datetime
    stale: str | None


def take_snapshot(ledger: Path, path: Path, *, lock_timeout_s: float, stale: str | None = None) -> Snapshot:
    """Copy ``ledger`` to ``path``, in place of an earlier snapshot; nobody ever sees half a file there.

    Raises BusyError while another client writes to the ledger, and LedgerError for a file at ``path`` that is no
    snapshot, and where none can be written.
    """
    # What a link leads to is replaced, and not the link.
    path = Path(os.path.realpath(path))
    _check_target(ledger, path)
    drafts = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    taken_at = datetime.now(UTC)
    try:
        if not path.parent.is_dir():
            raise LedgerError(f"there is no folder `{path.parent}`", help="create it, or name another file")
        make_private_folder(drafts)
        try:
            draft = drafts / "snapshot.duckdb"
            _copy(ledger, draft, lock_timeout_s)
            with open_for_writing(draft, lock_timeout_s=0) as connection:
                with file_first(connection):
                    connection.execute(_MARK)
                    connection.execute(f"INSERT INTO {_TABLE} VALUES (?, ?)", [taken_at, str(ledger)])
                checkpoint(connection)
            for log in logs_of(path):  # of a client that wrote into the one before, and was killed
                log.unlink()
            os.replace(draft, path)
        finally:
            shutil.rmtree(drafts)
    except OSError as error:
        raise LedgerError(f"the snapshot `{path}` cannot be written: {error.strerror}") from error
    return Snapshot(path, taken_at, stale)


def refuse_snapshot(connection: DuckDBPyConnection, path: Path) -> None:
    """Raise SnapshotError if the open file is a snapshot."""
    if is_snapshot(connection):
        raise SnapshotError(
            f"`{path}` is a snapshot of a ledger, and nothing is written into it",
            help=f"name the ledger itself: `SELECT ledger FROM {_TABLE}` says where it was",
        )


def is_snapshot(connection: DuckDBPyConnection) -> bool:
    """Whether the open file is a snapshot."""
    return connection.execute(_IS_MARKED, [_TABLE]).fetchone() is not None


def _check_target(ledger: Path, path: Path) -> None:
    if not os.path.lexists(path):
        return
    found = False
    if path.is_file() and not path.samefile(ledger):
        try:
            with open_for_reading(path, lock_timeout_s=0, own_statement=True) as connection:
                found = is_snapshot(connection)
        except BusyError:
            raise
        except LedgerError:  # what DuckDB does not know is no snapshot either
            pass
    if not found:
        raise LedgerError(
            f"`{path}` is there and is no snapshot of a ledger; left it as it is", help="name another file"
        )


def _copy(ledger: Path, draft: Path, lock_timeout_s: float) -> None:
    """Copy the file, and the logs of what is committed and not in it yet, while nobody can write to them."""
    # Closing a descriptor of a file drops the locks that this process has on it, DuckDB's own too: so these are closed
    # after DuckDB has closed the file.
    with ExitStack() as files, open_for_reading(ledger, lock_timeout_s=lock_timeout_s):
        for path in (ledger, *logs_of(ledger)):
            source = files.enter_context(path.open("rb"))
            target = draft.with_name(draft.name + path.name.removeprefix(ledger.name))
            with open(create_private(target), "wb") as copy:
                shutil.copyfileobj(source, copy, 1024**2)


def logs_of(path: Path) -> list[Path]:
    """DuckDB's write-ahead logs of a file: one, and another while a checkpoint is made, or if one was cut short."""
    beside = path.parent.glob(f"{glob.escape(path.name)}.*")
    return [one for one in beside if "wal" in one.name.removeprefix(path.name).split(".")]
