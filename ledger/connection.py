"""Opens DuckDB files for the rest of the ledger; the only module that imports ``duckdb``.

A file is open for a moment only: while one process has it open for writing, every other is shut out. Who comes first
is served first; a file that another client holds is tried again until a limit, then refused with the name of whoever
holds it. Every DuckDB error leaves as LedgerError.

A ledger file is not trusted: anybody may have put macros, types and views into it. No connection can reach another
file, the network or its own settings, and statements of ours resolve names to DuckDB's own objects before the file's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from routewright.private_files import ensure_private, make_private_folder

from .errors import InputError, LedgerError
from .limits import Limits
from .opening import ROW_GROUP, Wait, in_turn, quoted
from .sql_errors import translate_error

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


STORAGE_VERSION = "v1.5.0"
"""The oldest storage format that knows VARIANT."""

_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
    "errors_as_json": "true",
}
"""Settings that keep statements, and whatever the file contains, from reading or writing anything else; errors have
their place."""

# One thread: others would take the processor from whoever serves calls meanwhile, and gain next to nothing. Checkpoints
# are ours: each writes the last row group of every table anew, and leaves the old one in the file. Few rows are in
# memory at a time, and VARIANT is kept in columns also where a row group has few.
_WRITING = {
    "threads": "1",
    "wal_autocheckpoint": "512MB",
    "write_buffer_row_group_count": "1",
    "variant_minimum_shredding_size": "2048",
}


@contextmanager
def open_for_writing(
    path: Path, *, lock_timeout_s: float, client_timeout_s: float | None = None
) -> Iterator[DuckDBPyConnection]:
    """The ledger at ``path``, open for writing; what is not committed when the block ends is rolled back.

    It is waited for until ``lock_timeout_s`` have passed, but for a client that does not queue only
    ``client_timeout_s``, if that is given. Raises BusyError then.
    """
    config = _CLOSED | _WRITING | {"temp_directory": str(spill_folder(path))}
    wait = Wait(lock_timeout_s, client_timeout_s)
    with _opened(path, read_only=False, config=config, wait=wait) as connection:
        _built_in_first(connection)
        try:
            yield connection
        except OSError as error:
            raise LedgerError(f"ledger `{path}` cannot be written: {error.strerror}") from error
        finally:
            _drop_empty_log(path)


@contextmanager
def open_for_reading(
    path: Path,
    *,
    lock_timeout_s: float,
    client_timeout_s: float | None = None,
    limits: Limits | None = None,
    timezone: str = "UTC",
    writes: Path | None = None,
    own_statement: bool = False,
) -> Iterator[DuckDBPyConnection]:
    """A connection to the ledger at ``path`` on which a user's statement can read the ledger and touch nothing else.

    It is waited for as in ``open_for_writing``. Times are shown in ``timezone``, and days are days there. ``writes`` is
    the one file that the connection may write. For an ``own_statement`` of Routewright, names resolve to DuckDB's own
    objects before the file's.
    """
    # DuckDB knows zones only once it is open, so the settings are locked after that.
    bounds = {} if limits is None else limits.settings
    config = _CLOSED | bounds | {"lock_configuration": "false"}
    if writes is not None:
        del config["enable_external_access"]  # while it is off, nothing can be allowed
    wait = Wait(lock_timeout_s, client_timeout_s)
    with _opened(path, read_only=True, config=config, wait=wait) as connection:
        if writes is not None:
            connection.execute(f"SET allowed_paths = [{quoted(str(writes))}]")
            connection.execute("SET enable_external_access = false")
        _set_time_zone(connection, timezone)
        # Measured, and not shown: nobody may be watching.
        connection.execute("SET enable_progress_bar_print = false")
        connection.execute("SET enable_progress_bar = true")
        connection.execute("SET lock_configuration = true")
        if own_statement:
            _built_in_first(connection)
        yield connection


@contextmanager
def open_for_creation(path: Path) -> Iterator[DuckDBPyConnection]:
    """A new file at ``path`` in a storage format that knows VARIANT."""
    config = _CLOSED | {"storage_compatibility_version": STORAGE_VERSION}
    with _opened(path, read_only=False, config=config, wait=Wait(0, None)) as connection:
        yield connection


@contextmanager
def copied_anew(path: Path, draft: Path) -> Iterator[None]:
    """Copy all that is in the file at ``path`` into a new one at ``draft``; nobody writes to the old in the block.

    The new file has nothing of what was deleted from the old one. Raises BusyError while another client has it open for
    writing.
    """
    import duckdb

    installs = {name: value for name, value in _CLOSED.items() if name.startswith("auto")}
    # INVARIANT: no temporary directory: the copy goes to disk nowhere else.
    with duckdb.connect(":memory:", config={**installs, **_WRITING, "temp_directory": ""}) as connection:
        try:
            connection.execute(f"ATTACH {quoted(str(path))} AS ledger (READ_ONLY)")
            connection.execute(
                f"ATTACH {quoted(str(draft))} AS draft "
                f"(ROW_GROUP_SIZE {ROW_GROUP}, STORAGE_VERSION '{STORAGE_VERSION}')"
            )
            connection.execute("SET enable_external_access = false")
            connection.execute("COPY FROM DATABASE ledger TO draft")
            connection.execute("DETACH draft")
        except duckdb.Error as error:
            raise translate_error(error) from error
        yield


@contextmanager
def open_in_memory() -> Iterator[DuckDBPyConnection]:
    """A database without anything in it: to parse what is to be asked later."""
    import duckdb

    with duckdb.connect(":memory:", config={**_CLOSED}) as connection:
        yield connection


@contextmanager
def file_first(connection: DuckDBPyConnection) -> Iterator[None]:
    """Resolve names to the file's objects first, as creating tables needs; refuse a file in which one shadows ours."""
    _set_search_path(connection, database(connection))
    yield
    _built_in_first(connection)


def commit(connection: DuckDBPyConnection) -> None:
    """Commit the transaction. DuckDB creates its write-ahead log with the umask's mode, so it is created here first.

    Raises OSError if that fails.
    """
    if (path := _attached(connection, "path")) is not None:
        ensure_private(_log_of(Path(path)))
    connection.execute("COMMIT")


def checkpoint(connection: DuckDBPyConnection) -> None:
    """Write committed changes into the file itself."""
    connection.execute(f"CHECKPOINT {database(connection)}")


def _built_in_first(connection: DuckDBPyConnection) -> None:
    # Qualified names are not enough: operators, `a.b`, `[a]` and `count(*)` are functions too and cannot be qualified.
    _set_search_path(connection, "system.main", database(connection))


def _set_time_zone(connection: DuckDBPyConnection, timezone: str) -> None:
    import duckdb

    try:
        connection.execute(f"SET TimeZone = {quoted(timezone)}")
    except duckdb.Error as error:
        raise InputError(
            f"there is no time zone `{timezone}`", help="give one as in `Europe/Berlin` or `UTC`"
        ) from error


def _set_search_path(connection: DuckDBPyConnection, *names: str) -> None:
    connection.execute(f"SET search_path = {quoted(','.join(names))}")


def database(connection: DuckDBPyConnection) -> str:
    """The quoted name under which the ledger's file is attached."""
    name = str(_attached(connection, "database_name")).replace('"', '""')
    return f'"{name}"'


def _attached(connection: DuckDBPyConnection, column: str) -> str | None:
    """What DuckDB says of the ledger's file, or of the database in memory where no file is open."""
    sql = f"SELECT {column} FROM system.main.duckdb_databases() WHERE NOT internal ORDER BY (path IS NULL) LIMIT 1"
    row: tuple[str | None] | None = connection.execute(sql).fetchone()
    return None if row is None else row[0]


def remove_spilled(path: Path) -> None:
    """Remove what statements of this process have put on disk, if the process ends while they run.

    DuckDB removes what other dead processes have left when it next has something to put there. Raises OSError.
    """
    folder = spill_folder(path)
    if not folder.exists():
        return
    ours = f"duckdb_temp_{os.getpid()}_"
    if all(name.startswith(ours) for name in os.listdir(folder)):
        # Its threads go on meanwhile: under another name they put nothing more into it.
        folder = folder.rename(folder.with_name(f"{folder.name}.{os.getpid()}"))
    for name in os.listdir(folder):
        if name.startswith(ours):
            (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def spill_folder(path: Path) -> Path:
    """Where statements put what does not fit into memory."""
    return path.with_name(f"{path.name}.tmp")


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _drop_empty_log(path: Path) -> None:
    # Before the file is closed: after that another process may have started a log of its own.
    log = _log_of(path)
    with suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()


@contextmanager
def _opened(
    path: Path, *, read_only: bool, config: dict[str, str], wait: Wait
) -> Iterator[DuckDBPyConnection]:
    import duckdb

    with in_turn(path, read_only, wait) as connect:
        # DuckDB spills there what does not fit into memory; it would create the folder with the umask's mode.
        spill = spill_folder(path)
        try:
            connection = connect(config)
            try:
                with suppress(OSError):  # if it cannot be created, DuckDB cannot spill there either
                    make_private_folder(spill)
                yield connection
            except duckdb.Error as error:
                raise translate_error(error) from error
            finally:
                try:
                    connection.close()
                except duckdb.Error as error:
                    raise translate_error(error) from error
                finally:
                    with suppress(OSError):  # another process may be using it
                        spill.rmdir()
        except RuntimeError as error:
            # In the main thread DuckDB takes Ctrl-C itself, and says so in its own words.
            if str(error) != "Query interrupted":
                raise
            raise KeyboardInterrupt from None
