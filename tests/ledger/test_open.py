"""Opening: making, bringing up to date, refusing, and sharing with other processes."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from support.ledger_clients import client_on
from support.ledger_rows import attempt, decision, policy
from support.sizes import APPENDED_AT_ONCE

from routewright.ledger import (
    BusyError,
    Ledger,
    LedgerError,
    OtherLayoutError,
    default_ledger_path,
    ledger_file,
    migrate,
)
from routewright.ledger.connection import STORAGE_VERSION, open_for_creation, open_for_reading
from routewright.ledger.migrate import latest_version, layout_version, migrations

TESTS = Path(__file__).parents[1]


def refused(path: Path, *, create: bool = True) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path, create=create, lock_timeout_s=0.2)
    return caught.value


def test_a_new_ledger_is_made_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ledger.duckdb"
    with Ledger.open(path) as ledger:
        assert ledger.path == path
        assert ledger.query("SELECT version FROM migrations ORDER BY version").rows == tuple(
            (migration.version,) for migration in migrations()
        )
        tags = ledger.query("SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal").rows
    assert tags == ((STORAGE_VERSION + "+",),)
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.duckdb"]


def test_a_file_that_another_process_makes_first_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = migrate.write_new_file

    def late(draft: Path, path: Path) -> None:
        write(draft, path)
        path.write_bytes(b"made by another")

    monkeypatch.setattr(migrate, "write_new_file", late)
    path = tmp_path / "ledger.duckdb"
    assert "is not a ledger" in str(refused(path))
    assert path.read_bytes() == b"made by another"


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    assert str(refused(path, create=False)) == f"there is no ledger at `{path}`"
    assert not path.exists()


def test_any_duckdb_client_can_open_it(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    ledger.append([decision(1)], [attempt(1)], [policy()])
    with duckdb.connect(str(ledger.path), read_only=True) as client:
        row = client.execute("SELECT features.task_type FROM decisions_hybrid").fetchone()
    assert row == ("chat",)


def test_an_old_ledger_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    first = migrations()[0]
    with open_for_creation(path) as connection:
        columns = "version INTEGER, name VARCHAR, digest VARCHAR, applied_at_us BIGINT"
        connection.execute(f"CREATE TABLE migrations ({columns})")
        connection.execute(first.sql)
        connection.execute("INSERT INTO migrations VALUES (1, 'initial', ?, 0)", [first.digest])
        connection.execute("INSERT INTO policies VALUES ('d', 'policy', 'n', 't', 1)")
    ledger = Ledger.open(path)
    assert ledger.query("SELECT max(version), count(*) FROM migrations").rows == (
        (latest_version(), latest_version()),
    )
    assert ledger.query("SELECT name FROM policies").rows == (("n",),)
    assert ledger.tail(1) == ()


def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = Ledger.open(tmp_path / "ledger.duckdb").path
    with duckdb.connect(str(path)) as client:
        client.execute("INSERT INTO migrations VALUES (99, 'later', 'sha256:0', 0)")
    before = path.read_bytes()
    error = refused(path)
    assert str(error) == (
        f"ledger `{path}` has layout 99, and this version of Routewright knows layouts up to "
        f"{latest_version()}; left it as it is"
    )
    assert error.help == "upgrade Routewright, or name another file"
    assert path.read_bytes() == before


def test_a_ledger_is_asked_for_its_layout_again_once_somebody_has_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def listening(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
        asked.append(path)
        return layout_version(connection, path)

    monkeypatch.setattr(ledger_file, "layout_version", listening)
    path = Ledger.open(tmp_path / "ledger.duckdb").path
    for _ in range(3):
        Ledger.open(path).query("SELECT 1")
    assert asked == [path]
    Ledger.open(path).append([decision(1)])
    for _ in range(3):
        Ledger.open(path)
    assert asked == [path, path]
    later = path.with_name("later.duckdb")
    shutil.copy(path, later)
    with duckdb.connect(str(later)) as client:
        client.execute("INSERT INTO migrations VALUES (99, 'later', 'sha256:0', 0)")
    later.replace(path)
    assert "has layout 99" in str(refused(path))


def test_a_ledger_of_another_layout_with_the_same_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE migrations SET digest = 'sha256:0' WHERE version = 2")
    for create in (True, False):
        with pytest.raises(OtherLayoutError, match="made by an unreleased version of Routewright") as caught:
            Ledger.open(path, create=create)
        assert caught.value.help == "name another file, or move this one and its `.spool` folder away"


def test_files_that_are_not_ledgers_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database\n" * 1_000)
    assert str(refused(text)) == f"`{text}` is not a ledger: it is no DuckDB file; left it as it is"
    assert text.read_text().startswith("not a database")

    # DuckDB knows these by their first bytes, and asks for an extension: a state store that was named by mistake.
    state = tmp_path / "state.sqlite"
    with sqlite3.connect(state) as store:
        store.execute("CREATE TABLE mine (a INTEGER)")
    store.close()
    before = state.read_bytes()
    assert str(refused(state)) == f"`{state}` is not a ledger: it is no DuckDB file; left it as it is"
    assert state.read_bytes() == before

    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as client:
        client.execute("CREATE TABLE mine (a INTEGER)")
    assert str(refused(other)) == f"`{other}` is a DuckDB file, but not a ledger; left it as it is"

    empty = tmp_path / "empty.duckdb"
    empty.touch()
    assert str(refused(empty)).startswith(f"`{empty}` is not a ledger")
    assert str(refused(tmp_path)).startswith(f"ledger `{tmp_path}` cannot be opened: ")
    assert str(refused(text / "ledger.duckdb")).startswith(
        f"the ledger `{text}/ledger.duckdb` cannot be created"
    )


def test_a_busy_ledger_is_refused_with_the_name_of_its_holder(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb", lock_timeout_s=0.2)
    with client_on(ledger.path) as holder:
        with pytest.raises(BusyError) as caught:
            ledger.append([decision(1)])
        error = caught.value
        assert str(error).startswith(f"ledger `{ledger.path}` is held open by process {holder.pid} (`")
        assert str(error).endswith("; gave up after 0.2 s and changed nothing")
        assert error.help == "close what holds it, or try again later"


def test_a_ledger_that_becomes_free_is_waited_for(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb", lock_timeout_s=20)
    with client_on(ledger.path) as holder:
        timer = threading.Timer(0.3, holder.kill)
        timer.start()
        ledger.append([decision(1)])
        timer.join()
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((1,),)


def test_ctrl_c_that_duckdb_takes_itself_is_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path)
    with pytest.raises(KeyboardInterrupt), open_for_reading(path, lock_timeout_s=0):
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="another"), open_for_reading(path, lock_timeout_s=0):
        raise RuntimeError("another")


def test_threads_may_append_and_ask_at_the_same_time(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb", lock_timeout_s=60)
    errors: list[Exception] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 4):
                ledger.append([decision(number)], [attempt(number)], [policy()])
                ledger.query("SELECT count(*) FROM decision_records")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ledger.query("SELECT count(*), count(DISTINCT decision_id) FROM decision_records").rows == (
        (12, 12),
    )
    assert ledger.query("SELECT count(*) FROM policies").rows == ((1,),)


APPENDER = """
import sys
sys.path.insert(0, sys.argv[3])
from support.ledger_rows import attempt, decision, policy
from routewright.ledger import Ledger
ledger = Ledger.open(sys.argv[1], lock_timeout_s=60)
first, last, step = (int(part) for part in sys.argv[2].split(":"))
for number in range(first, last, step):
    batch = range(number, number + step)
    ledger.append([decision(n) for n in batch], [attempt(n) for n in batch])
    print(number, flush=True)
"""


def appender(path: Path, numbers: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-W", "error", "-c", APPENDER, str(path), numbers, str(TESTS)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_may_make_and_append_to_one_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    each = APPENDED_AT_ONCE
    workers = [appender(path, f"0:{each}:5"), appender(path, f"1000:{1000 + each}:5")]
    for worker in workers:
        _, stderr = worker.communicate(timeout=120)
        assert (worker.returncode, stderr) == (0, "")
    sql = """SELECT count(*), count(DISTINCT decision_id), (SELECT count(*) FROM attempt_rows),
                    (SELECT count(*) FROM migrations) FROM decision_records"""
    assert Ledger.open(path).query(sql).rows == ((*[2 * each] * 3, latest_version()),)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == [
        "ledger.duckdb",
        "ledger.duckdb.spool",
        "queue",
    ]


@pytest.mark.parametrize("acknowledged", [1, 2, 3, 5])
def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "ledger.duckdb"
    step = 300
    with appender(path, f"0:{1_000 * step}:{step}") as worker:
        assert worker.stdout is not None
        seen = [int(worker.stdout.readline()) for _ in range(acknowledged)]
        # Killed here it is most often in the middle of the next append.
        worker.send_signal(signal.SIGKILL)
        seen += [int(line) for line in worker.stdout.read().split()]
    ledger = Ledger.open(path)
    [(decisions, attempts)] = ledger.query(
        "SELECT count(DISTINCT decision_id), (SELECT count(*) FROM attempt_rows) FROM decision_records"
    ).rows
    done = seen[-1] + step
    # The batch under way may be there whole, or not at all.
    assert (decisions, attempts) in {(done, done), (done + step, done + step)}
    again = ledger.append([decision(n) for n in range(done)], [attempt(n) for n in range(done)])
    assert (again.decisions, again.attempts) == (0, 0)


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", "/home/me/.local/share/routewright/ledger.duckdb"),
        ({"XDG_DATA_HOME": "/data"}, "linux", "/data/routewright/ledger.duckdb"),
        ({"XDG_DATA_HOME": "relative"}, "linux", "/home/me/.local/share/routewright/ledger.duckdb"),
        ({}, "darwin", "/home/me/Library/Application Support/routewright/ledger.duckdb"),
        ({"ROUTEWRIGHT_LEDGER": "/x/y.duckdb", "XDG_DATA_HOME": "/data"}, "linux", "/x/y.duckdb"),
        ({"ROUTEWRIGHT_LEDGER": ""}, "linux", "/home/me/.local/share/routewright/ledger.duckdb"),
    ],
)
def test_the_default_path_follows_the_platform(
    environment: dict[str, str], platform: str, expected: str
) -> None:
    assert default_ledger_path(environment, platform=platform, home=Path("/home/me")) == Path(expected)
