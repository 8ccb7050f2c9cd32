"""Snapshots: whole copies of a ledger for other clients, which replace each other and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.children import Child, Tell
from support.command_line import CommandLine
from support.ledger_clients import client_on
from support.ledger_rows import attempt, decision, policy
from support.new_ledgers import left_in_spool, new_ledger

from routewright.ledger import Ledger, LedgerError

# A view's text names what it leaves out in no fixed order.
VIEWS = "SELECT view_name, column_count, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
COMMENTS = (
    "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL "
    "AND table_name <> 'ledger_snapshot' ORDER BY ALL"
)
MACROS = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"


@pytest.fixture(scope="module")
def two_decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = new_ledger(tmp_path_factory.mktemp("two") / "ledger.duckdb")
    ledger.append([decision(1), decision(2)], [attempt(1), attempt(2)], [policy()])
    return ledger.path


@pytest.fixture
def ledger(tmp_path: Path, two_decisions: Path) -> Ledger:
    return Ledger.open(shutil.copy(two_decisions, tmp_path), lock_timeout_s=0.2)


def answers(path: Path, *statements: str) -> list[list[Any]]:
    """What a bare client finds."""
    with duckdb.connect(str(path), read_only=True) as client:
        return [client.execute(sql).fetchall() for sql in statements]


def asked(path: Path, sql: str) -> list[Any]:
    return answers(path, sql)[0]


def test_a_snapshot_is_the_whole_ledger_with_all_that_waited(ledger: Ledger, tmp_path: Path) -> None:
    with duckdb.connect(str(ledger.path)) as client:
        client.execute("CREATE MACRO twice(x) AS 2 * x")
        client.execute("CREATE TABLE mine AS SELECT 1 AS a")
    writer = ledger.writer()
    writer.add(decision(3), [attempt(3)])
    taken = ledger.snapshot(tmp_path / "other name's.duckdb")
    assert (taken.path, taken.stale) == (tmp_path / "other name's.duckdb", None)
    assert asked(taken.path, "SELECT count(*) FROM decisions_flat") == [(3,)]
    assert asked(taken.path, "SELECT twice(a) FROM mine") == [(2,)]
    same = (VIEWS, COMMENTS, MACROS, "SELECT * FROM attempt_rows ORDER BY ALL", "SELECT * FROM migrations")
    assert answers(taken.path, *same) == answers(ledger.path, *same)
    [found, [(at, source)]] = answers(
        taken.path, "FROM attempts_flat", "SELECT taken_at, ledger FROM ledger_snapshot"
    )
    assert (len(found), at, source) == (3, taken.taken_at, str(ledger.path))
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=5)
    assert stat.S_IMODE(taken.path.stat().st_mode) == 0o600
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ledger.duckdb",
        "ledger.duckdb.spool",
        "other name's.duckdb",
    ]


def test_a_snapshot_is_replaced_while_others_read_it_and_can_be_asked_by_our_own(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "s.duckdb"
    ledger.snapshot(path)
    with client_on(path, reads=True):
        ledger.append([decision(3)])
        ledger.snapshot(path)
        assert len(Ledger.open(path, create=False).tail(5)) == 3
    link = tmp_path / "link.duckdb"
    link.symlink_to(path)
    ledger.append([decision(4)])
    ledger.snapshot(link)
    assert link.is_symlink() and len(Ledger.open(path).tail(5)) == 4


def test_what_is_no_snapshot_is_left_as_it_is(ledger: Ledger, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("mine")
    other = new_ledger(tmp_path / "other.duckdb").path
    (tmp_path / "folder").mkdir()
    hard = tmp_path / "hard.duckdb"
    os.link(ledger.path, hard)
    for path in (text, other, tmp_path / "folder", ledger.path, hard):
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(LedgerError, match="is there and is no snapshot of a ledger; left it as it is"):
            ledger.snapshot(path)
        assert (path.read_bytes() if path.is_file() else None) == before
    with pytest.raises(LedgerError, match="there is no folder"):
        ledger.snapshot(tmp_path / "none" / "s.duckdb")
    assert not list(tmp_path.glob(".*.new"))


def test_a_client_that_reads_the_ledger_keeps_no_snapshot_from_being_taken(
    ledger: Ledger, tmp_path: Path
) -> None:
    writer = ledger.writer()
    writer.add(decision(3))
    with client_on(ledger.path, reads=True) as client:
        taken = ledger.snapshot(tmp_path / "s.duckdb")
        assert taken.stale is not None and f"process {client.pid}" in taken.stale
    assert asked(taken.path, "SELECT count(*) FROM decision_records") == [(2,)]
    with client_on(ledger.path), pytest.raises(LedgerError, match="is held open by process"):
        ledger.snapshot(tmp_path / "s.duckdb")
    writer.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def killed_with_a_table(path: Path, name: str) -> None:
    """A client has committed a table, and was killed before that was in the file itself."""

    def work(_: Tell) -> None:
        client = duckdb.connect(str(path))
        client.execute(f"CREATE TABLE {name} AS SELECT 42 AS a")
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(work).wait() == -signal.SIGKILL
    assert log_of(path).stat().st_size > 0


def test_what_is_committed_and_not_in_the_file_yet_is_in_the_snapshot(ledger: Ledger, tmp_path: Path) -> None:
    killed_with_a_table(ledger.path, "mine")
    taken = ledger.snapshot(tmp_path / "s.duckdb")
    assert asked(taken.path, "FROM mine") == [(42,)]
    assert not log_of(taken.path).exists()
    killed_with_a_table(taken.path, "theirs")
    ledger.snapshot(taken.path)
    assert not log_of(taken.path).exists(), "nothing of the one before gets into the next"
    with pytest.raises(duckdb.CatalogException):
        asked(taken.path, "FROM theirs")


def test_the_lock_on_the_ledger_holds_while_it_is_copied(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfileobj

    code = "import duckdb, sys; duckdb.connect(sys.argv[1])"

    def copied(*arguments: Any) -> None:
        copy(*arguments)
        # Not even this process's own descriptor may be closed before: its locks would go with it.
        words = [sys.executable, "-c", code, str(ledger.path)]
        done = subprocess.run(words, capture_output=True, check=False, text=True)
        assert "Could not set lock" in done.stderr

    monkeypatch.setattr("routewright.ledger.snapshot.shutil.copyfileobj", copied)
    ledger.snapshot(tmp_path / "s.duckdb")


def test_nothing_is_written_into_a_snapshot_and_calls_go_on(ledger: Ledger, tmp_path: Path) -> None:
    path = ledger.snapshot(tmp_path / "s.duckdb").path
    opened = Ledger.open(path)
    with pytest.raises(LedgerError, match="is a snapshot of a ledger, and nothing is written into it"):
        opened.append([decision(5)])
    writer = opened.writer()
    writer.add(decision(5))
    writer.close()
    assert len(left_in_spool(opened)) == 1
    [notice] = opened.notices()
    assert "is a snapshot of a ledger" in notice
    assert len(opened.tail(9)) == 2


def test_the_command_takes_one_and_says_what_is_missing(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.ledger.parent.mkdir(parents=True)
    with new_ledger(command.ledger) as ledger, client_on(ledger.path, reads=True):
        writer = ledger.writer()
        writer.add(decision(1))
        writer.close()
        ended = command("ledger", "snapshot", "s.duckdb")
        assert (ended.code, ended.err.count("the newest decisions wait in")) == (0, 1)
    ended = command("ledger", "snapshot", "s.duckdb")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert asked(tmp_path / "s.duckdb", "SELECT count(*) FROM decision_records") == [(1,)]
    assert command("ledger", "sql", "SELECT 1", "--ledger", "s.duckdb").code == 0
    ended = command("ledger", "snapshot", "policy.yaml")
    assert (ended.code, ended.err.splitlines()[1:]) == (6, ["  = help: name another file"])
    assert "`policy.yaml` is there and is no snapshot" in ended.err.replace(f"{tmp_path}/", "")
