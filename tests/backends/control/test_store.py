from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest
from support.state_processes import workers

from routewright.backends.control import (
    Breakers,
    Latencies,
    Lease,
    LoadTimes,
    QuotaLimit,
    Quotas,
    StateError,
    StateStore,
)
from routewright.backends.control import store as store_module

NOW = 1_795_341_600_000_000
DAILY = QuotaLimit("daily", "requests", 3, 1, "day")


def reserve(store: StateStore, id: str = "one") -> object:
    return Quotas(store).reserve(id, [DAILY], at_us=NOW, expires_us=NOW + 1_000_000)


def change_nothing(store: StateStore) -> None:
    with store.change():
        pass


def older(connection: sqlite3.Connection, layout: int) -> None:
    """Make a store one of an older layout."""
    for table in ("sessions", "loads", "canaries")[layout - 1 :]:
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version = {layout}")


def said(error: pytest.ExceptionInfo[StateError]) -> tuple[str, str | None]:
    return str(error.value), error.value.help


# --- files that cannot be used -----------------------------------------------------------------------------


def test_a_file_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    StateStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StateError) as error:
        StateStore(path)
    message = f"the state store `{path}` is of a newer layout (7, known is 4)"
    assert said(error) == (message, "use a newer Routewright, or another file")


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError) as error:
        StateStore(path)
    message = f"`{path}` is a database of another program, not a state store"
    assert said(error) == (message, "name another file")
    assert path.read_bytes() == before


LONG = "x" * 5_000
COLUMNS = (
    "control TEXT NOT NULL, unit TEXT NOT NULL, key TEXT NOT NULL, end_us INTEGER NOT NULL, "
    "start_us INTEGER NOT NULL, amount INTEGER NOT NULL, last_us INTEGER NOT NULL, forget_us INTEGER NOT NULL"
)


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (
            "CREATE TRIGGER ours BEFORE INSERT ON leases BEGIN SELECT RAISE(IGNORE); END",
            "holds the trigger `ours`, which Routewright did not make",
        ),
        (
            f"CREATE TRIGGER {LONG} AFTER INSERT ON quota_used BEGIN DELETE FROM quota_used; END",
            f"holds the trigger `{'x' * 59}…`, which Routewright did not make",
        ),
        (
            "DROP TABLE quota_used; CREATE VIEW quota_used AS SELECT * FROM leases WHERE false",
            "holds the view `quota_used`, which Routewright did not make",
        ),
        ("CREATE VIEW mine AS SELECT 1", "holds the view `mine`, which Routewright did not make"),
        ("CREATE TABLE mine (a)", "holds the table `mine`, which Routewright did not make"),
        (
            "CREATE UNIQUE INDEX one ON leases (lease)",
            "holds the index `one`, which Routewright did not make",
        ),
        (
            f"DROP TABLE quota_used; CREATE TABLE quota_used ({COLUMNS}, PRIMARY KEY (control, unit, key, end_us)"
            " ON CONFLICT IGNORE) WITHOUT ROWID",
            "holds the table `quota_used`, whose definition differs",
        ),
        ("DROP INDEX leases_by_id", "lacks the index `leases_by_id`"),
        ("DROP TABLE latencies", "lacks the table `latencies`"),
    ],
)
@pytest.mark.parametrize("layout", [1, 2, 3, 4])
def test_a_file_in_which_quotas_might_not_count_is_refused(
    tmp_path: Path, script: str, what: str, layout: int
) -> None:
    path = tmp_path / "state.db"
    store = StateStore(path)
    for number in range(DAILY.limit):
        assert isinstance(reserve(store, str(number)), Lease)
    assert not isinstance(reserve(store, "one more"), Lease)
    store.close()
    with sqlite3.connect(path) as connection:
        older(connection, layout)
        connection.executescript(script)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError) as error:
        StateStore(path)
    help = "find out who changed it; then name another file, or stop what uses it and delete it"
    assert said(error) == (f"the state store `{path}` {what}; its counts cannot be trusted", help)
    assert path.read_bytes() == before


@pytest.mark.parametrize("layout", [1, 2, 3])
def test_a_file_of_an_older_layout_keeps_what_it_holds_and_gets_what_it_lacks(
    tmp_path: Path, layout: int
) -> None:
    path = tmp_path / "state.db"
    store = StateStore(path)
    reserve(store)
    Latencies(store).observed("kimi", 5.0, at_us=NOW)
    used = Quotas(store).use(DAILY, at_us=NOW)
    store.close()
    with sqlite3.connect(path) as connection:
        older(connection, layout)
    connection.close()
    again = StateStore(path)
    assert Quotas(again).use(DAILY, at_us=NOW) == used
    assert again.read("SELECT model, samples FROM latencies") == [("kimi", 1)]
    LoadTimes(again).observed("kimi", 4_000.0, at_us=NOW)
    again.close()
    third = StateStore(path)
    assert LoadTimes(third).all(at_us=NOW) == {"kimi": 4_000.0}
    third.close()


def test_statistics_and_a_smaller_file_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = StateStore(path)
    reserve(store)
    used = Quotas(store).use(DAILY, at_us=NOW)
    store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ANALYZE")
    connection.execute("VACUUM")
    connection.close()
    again = StateStore(path)
    assert Quotas(again).use(DAILY, at_us=NOW) == used
    again.close()


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "State.db"
    path.write_text("This is no database, but a text that is long enough to be read as a header. " * 20)
    with pytest.raises(StateError) as error:
        StateStore(path)
    message = f"the state store `{path}` cannot be used: file is not a database"
    told, help = said(error)
    assert told == message
    # It may be a file of somebody's that was named by mistake, which is not to be deleted.
    assert help is not None and help.startswith("name another file; or, if it was the state store, stop ")


def test_a_file_that_is_damaged_while_it_is_used_is_told_as_ours(store: StateStore) -> None:
    for number in range(200):
        Quotas(store).reserve(f"{number}", [DAILY], at_us=NOW + number * 86_400_000_000, expires_us=2**60)
    store.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    damaged = StateStore(store.path)
    with pytest.raises(StateError, match="malformed"):
        reserve(damaged, "new")
    damaged.close()


@pytest.mark.parametrize(
    "refused", [("state.db",), (".",), ("state.db", ".")], ids=["file", "folder", "both"]
)
def test_who_may_not_write_a_store_hears_which_permission_is_missing(
    tmp_path: Path, refused: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    StateStore(path).close()
    paths = [tmp_path / name for name in refused]
    monkeypatch.setattr(os, "access", lambda path, mode: path not in paths)

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StateError) as error:
        StateStore(path)
    named = " and ".join(f"`{one}`" for one in paths)
    assert said(error) == (
        f"the state store `{path}` cannot be used: unable to open database file",
        f"this user may not write {named}, which reading a state store takes too: "
        "do it as the user whose store it is",
    )


@pytest.mark.parametrize("name", ["folder", "file/state.db"])
def test_a_path_that_can_hold_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=f"the state store `{tmp_path / name}` cannot be"):
        StateStore(tmp_path / name)


def test_a_deleted_file_is_told_once_and_then_the_new_one_counts(tmp_path: Path) -> None:
    store, other = StateStore(tmp_path / "state.db"), StateStore(tmp_path / "state.db")
    breakers = Breakers(store)
    reserve(store)
    breakers.failed("kimi", at_us=NOW, error_class="overloaded")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(StateError) as error:
        reserve(store)
    message = f"the state store `{store.path}` was deleted or replaced while it was in use"
    assert said(error) == (message, "from now on the file that is there now counts, from what it holds")
    assert isinstance(reserve(store, "two"), Lease)
    assert breakers.all(at_us=NOW) == {}
    # The other one notices too, instead of counting by itself in a file that nobody else sees.
    with pytest.raises(StateError, match="was deleted or replaced"):
        reserve(other)
    assert reserve(other, "three") and reserve(other, "four")
    assert Quotas(store).use(DAILY, at_us=NOW).reserved == 3
    store.close()
    other.close()


def test_a_closed_store_says_so(store: StateStore) -> None:
    store.close()
    with pytest.raises(StateError, match="is closed"):
        reserve(store)
    with pytest.raises(StateError, match="is closed"):
        store.version()
    store.close()


# --- locks -------------------------------------------------------------------------------------------------


def test_a_file_that_stays_locked_is_told_and_can_still_be_read(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.05)
    reserve(store)
    with workers(1, store.path, "lock_file") as (other,):
        with pytest.raises(StateError) as error:
            reserve(store, "two")
        message = f"the state store `{store.path}` stayed locked for 0.05 s"
        assert said(error) == (message, "another process holds a transaction open")
        assert Quotas(store).use(DAILY, at_us=NOW).reserved == 1
        late = StateStore(store.path)  # opening needs no lock either
        assert Quotas(late).use(DAILY, at_us=NOW).reserved == 1
        late.close()
        other.begin()
        other.result()
    assert isinstance(reserve(store, "two"), Lease)


def test_a_lock_that_is_given_back_in_time_is_waited_for(store: StateStore) -> None:
    with workers(1, store.path, "lock_file") as (other,):
        threading.Timer(0.1, other.begin).start()
        assert isinstance(reserve(store), Lease)


def test_changes_inside_a_change_are_one_transaction(store: StateStore) -> None:
    quotas, breakers, latencies = Quotas(store), Breakers(store), Latencies(store)
    lease = reserve(store)
    assert isinstance(lease, Lease)
    before = store.version()
    with pytest.raises(RuntimeError), store.change():
        quotas.settle(lease, {})
        breakers.failed("kimi", at_us=NOW, error_class="overloaded")
        latencies.observed("kimi", 5.0, at_us=NOW)
        raise RuntimeError
    assert store.version() == before
    assert (breakers.all(at_us=NOW), quotas.use(DAILY, at_us=NOW).used) == ({}, 0)
    with store.change():
        assert quotas.settle(lease, {})
        breakers.failed("kimi", at_us=NOW, error_class="overloaded")
        assert Quotas(store).use(DAILY, at_us=NOW).used == 0  # nobody sees half of it
    assert (list(breakers.all(at_us=NOW)), quotas.use(DAILY, at_us=NOW).used) == (["kimi"], 1)


def test_the_log_is_copied_into_the_file_and_does_not_grow_without_end(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_EVERY", 50)
    log, sizes = store.path.with_name("state.db-wal"), []
    for round_ in range(4):
        for number in range(100):
            lease = reserve(store, f"{round_}-{number}")
            assert isinstance(lease, Lease)
            Quotas(store).release(lease)
        sizes.append(log.stat().st_size)
    assert sizes[-1] == sizes[0]


# --- forks -------------------------------------------------------------------------------------------------


def test_both_processes_go_on_after_a_fork(store: StateStore) -> None:
    lease = reserve(store, "before")
    assert isinstance(lease, Lease)
    child = os.fork()
    if child == 0:
        try:
            fine = isinstance(reserve(store, "child"), Lease) and Quotas(store).settle(lease, {})
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    assert isinstance(reserve(store, "parent"), Lease)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not Quotas(store).settle(lease, {})
    use = Quotas(store).use(DAILY, at_us=NOW)
    assert (use.used, use.reserved) == (1, 2)
