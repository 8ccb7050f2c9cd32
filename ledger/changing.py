"""Opens a ledger for a change that does not come from a spool: what was imported, and outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .connection import commit, open_for_writing
from .migrate import apply_migrations
from .shadows import refuse_shadows
from .snapshot import refuse_snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def changing(path: Path, lock_timeout_s: float) -> Iterator[DuckDBPyConnection]:
    """A transaction in the ledger at ``path``, with its layout brought up to date; committed when the block ends.

    Raises LedgerError, with nothing changed, for a snapshot, for objects in the file that shadow names of ours, and
    where the file stays open elsewhere.
    """
    with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
        refuse_snapshot(connection, path)
        refuse_shadows(connection)
        apply_migrations(connection, path)
        connection.execute("BEGIN")
        yield connection
        commit(connection)
