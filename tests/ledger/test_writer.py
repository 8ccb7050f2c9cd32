"""Writing through a spool: nothing that was taken is lost, nothing is stored twice, nobody waits for the file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ledger_clients import client_on
from support.ledger_rows import attempt, broken, decision, decision_id, policy
from support.new_ledgers import left_in_spool, new_ledger

from routewright.ledger import Ledger, LedgerEntry, LedgerError, storing
from routewright.ledger.background import keep_ingesting
from routewright.ledger.connection import open_for_writing
from routewright.ledger.flights import Flight
from routewright.ledger.frames import Frame
from routewright.ledger.ingest import ingest
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.spool_files import SpoolFile, open_spool_file, spool_files

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TESTS = Path(__file__).parents[1]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb", lock_timeout_s=5)


def waiting(ledger: Ledger) -> int:
    return len(spool_files(spool_folder(ledger.path)))


def test_what_was_added_is_there_for_whoever_asks(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1, 1), attempt(1, 2)], [policy()])
    writer.add(decision(2), [attempt(2)], [policy()])
    tables = "(SELECT count(*) FROM decision_records), (SELECT count(*) FROM attempt_rows)"
    counts = f"SELECT {tables}, count(*) FROM policies"
    assert ledger.query(counts).rows == ((2, 3, 1),), "also before the writer is closed"
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(1), decision_id(2)]
    writer.add(decision(3))
    writer.close()
    assert ledger.query(counts).rows == ((3, 3, 1),)
    assert left_in_spool(ledger) == [], "an empty spool leaves nothing"


def test_a_row_is_the_same_by_either_way(ledger: Ledger, tmp_path: Path) -> None:
    other = new_ledger(tmp_path / "other.duckdb")
    other.append([decision(1)], [attempt(1)], [policy()])
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1)], [policy()])
    writer.close()
    for table in ("decision_records", "attempt_rows", "policies"):
        assert ledger.query(f"SELECT * FROM {table}") == other.query(f"SELECT * FROM {table}")


ADDER = """
import sys
sys.path.insert(0, {here!r})
from support.ledger_rows import attempt, decision
from routewright.ledger import Ledger
writer = Ledger.open({path!r}, lock_timeout_s=120).writer()  # with many others, on a busy machine
for number in range({start}, {end}):
    writer.add(decision(number), [attempt(number)])
    print(number, flush=True)
{then}
"""


def adder(path: Path, start: int, end: int, then: str = "writer.close()") -> subprocess.Popen[str]:
    code = ADDER.format(here=str(TESTS), path=str(path), start=start, end=end, then=then)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_nothing_that_was_added(ledger: Ledger) -> None:
    with adder(ledger.path, 0, 100_000) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 400:
            pass
        process.send_signal(signal.SIGKILL)
        told = 400 + len(process.stdout.read().splitlines())
    assert waiting(ledger), "it died with entries in its spool"
    [[stored, attempts, distinct]] = ledger.query(
        """SELECT (SELECT count(*) FROM decision_records), count(*), count(DISTINCT decision_id) FROM attempt_rows"""
    ).rows
    assert stored == attempts == distinct
    # What was written and not yet told may be one more.
    assert told + 1 <= stored <= told + 2
    assert not waiting(ledger), "a dead writer's spool is removed once it is in the tables"


def test_a_writer_that_nobody_closes_is_finished_in_order(ledger: Ledger) -> None:
    with adder(ledger.path, 0, 20, then="pass") as process:
        assert process.stdout is not None
        process.stdout.read()
    assert process.returncode == 0
    assert len(ledger.tail(50)) == 20


def test_many_processes_write_into_one_ledger_at_once(ledger: Ledger) -> None:
    with ExitStack() as stack:
        processes = []
        for start in (0, 1_000, 2_000, 3_000):
            processes.append(adder(ledger.path, start, start + 200))
            stack.callback(processes[-1].wait)
            stack.callback(processes[-1].kill)
        for process in processes:
            process.communicate()
            assert process.returncode == 0
    assert len(ledger.tail(1_000)) == 800


def test_many_threads_share_a_writer_that_is_being_emptied(ledger: Ledger) -> None:
    writer = ledger.writer()

    def add_all(start: int) -> None:
        for number in range(start, start + 250):
            writer.add(decision(number))

    threads = [threading.Thread(target=add_all, args=(start,)) for start in (0, 1_000, 2_000, 3_000)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ingest(ledger.path, lock_timeout_s=5, own=writer._spool)
    writer.close()
    assert len(ledger.tail(2_000)) == 1_000
    [[entries]] = ledger.query("SELECT entries FROM writers").rows
    assert entries == 1_000


def test_a_fork_writes_a_spool_of_its_own(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    child = os.fork()
    if child == 0:
        writer.add(decision(2))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    writer.add(decision(3))
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(n) for n in (1, 2, 3)]
    writer.close()


def test_a_torn_end_is_cut_at_the_last_whole_entry_and_said(ledger: Ledger) -> None:
    folder = spool_folder(ledger.path)
    spool = Spool(folder)
    for number in range(3):
        spool.add(entry(number))
    spool.abandon()
    [path] = spool_files(folder)
    whole = path.read_bytes()
    for cut in (1, 7, 30, 400):
        path.write_bytes(whole[:-cut])
        assert numbers(path) == [1, 2], "the third is not whole"
    path.write_bytes(whole[:-30])
    assert len(ledger.tail(5)) == 2
    [[entries, damaged]] = ledger.query("SELECT entries, damaged_bytes FROM writers").rows
    assert entries == 2 and damaged > 0
    assert [Path(name).suffix for name in left_in_spool(ledger)] == [".damaged"], (
        "kept for whoever wants to look"
    )


def test_entries_written_in_one_go_are_numbered_one_by_one_and_cut_one_by_one(ledger: Ledger) -> None:
    folder = spool_folder(ledger.path)
    spool = Spool(folder)
    assert (spool.add(entry(0)), spool.add(entry(1), entry(2), entry(3)), spool.add(entry(4))) == (1, 4, 5)
    spool.abandon()
    [path] = spool_files(folder)
    assert numbers(path) == [1, 2, 3, 4, 5]
    with open_spool_file(path) as opened:
        assert opened is not None
        places = [one.at for one in opened.frames() if isinstance(one, Frame)]
    with path.open("r+b") as file:
        file.truncate(places[3] - 9)
    kept = numbers(path)
    assert kept == [1, 2], "what stands whole in one go is kept"
    assert len(ledger.tail(9)) == len(kept)


def test_a_flipped_bit_is_found(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    for number in range(3):
        spool._encoder.forget()  # each says all that it refers to
        spool.add(entry(number))
    spool.abandon()
    [path] = spool_files(spool_folder(ledger.path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(0), decision_id(2)]
    assert ledger.query("SELECT damaged_bytes > 0 FROM writers").rows == ((True,),)


def test_what_cannot_be_a_row_is_kept_aside_and_the_rest_is_stored(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    writer.add(decision(2, id="seven"))
    writer.add(decision(1, reason="another"), [attempt(1)])
    writer.add(decision(3), [attempt(3, total_us=2**70)])
    writer.add(broken(decision(4, reason="not the one of its digest")))
    writer.add(decision(5), [attempt(5)])
    writer.add(decision(6, id=decision_id(6).upper()))
    writer.close()
    assert [row.decision_id for row in ledger.tail(9)] == [decision_id(1), decision_id(5)]
    rejected = ledger.query("SELECT entry, error, beside FROM rejected ORDER BY entry").rows
    assert [row[0] for row in rejected] == [2, 3, 4, 5, 7]
    assert [row[1] for row in rejected if row[0] != 4] == [
        "`seven` is not a decision id as it is written here",
        f"decision `{decision_id(1)}` is in the ledger already, with another record",
        "a part of its record is in a damaged part of its file",
        f"`{decision_id(6).upper()}` is not a decision id as it is written here",
    ]
    assert decision_id(4) in rejected[3][2], "kept as it was"


def test_what_is_recorded_twice_is_there_once_with_all_its_calls(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1)])
    writer.add(decision(1), [attempt(1), attempt(1, 2)])
    writer.close()
    assert ledger.query("SELECT number FROM attempt_rows ORDER BY 1").rows == ((1,), (2,))
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((1,),)


def test_frames_are_taken_in_once_whatever_is_left_over(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    spool.turn()
    ledger.ingest()
    assert waiting(ledger) == 1, "its writer lives, and removes it itself"
    spool.add(entry(2))
    assert ledger.ingest() == 1
    assert ledger.ingest() == 0
    assert len(ledger.tail(5)) == 2
    spool.abandon()


def test_a_full_disk_refuses_and_keeps_what_was_there(ledger: Ledger) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(TESTS)!r})
from support.ledger_rows import decision
from routewright.ledger import Ledger, LedgerError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = Ledger.open({str(ledger.path)!r}).writer()
writer.add(decision(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
taken = 1
try:
    for number in range(1, 100):
        writer.add(decision(number))
        taken += 1
except LedgerError as error:
    print(taken, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    taken, _, message = done.stdout.partition(" ")
    assert "cannot be written" in message, done.stderr
    assert len(ledger.tail(100)) == int(taken)
    assert ledger.query("SELECT damaged_bytes FROM writers").rows == ((0,),), "no half entry was left"


def test_a_disk_that_is_full_is_known_before_the_next_call(ledger: Ledger) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(TESTS)!r})
from support.ledger_rows import decision
from routewright.ledger import Ledger, LedgerError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = Ledger.open({str(ledger.path)!r}).writer()
writer.prepare()
writer.add(decision(0))
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, unlimited[1]))
for number in range(1, 100):
    try:
        writer.prepare()
        writer.add(decision(number))
    except LedgerError:
        break
try:
    writer.prepare()
except LedgerError as error:
    print(number, error)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
writer.prepare()
writer.add(decision(100))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    number, _, message = done.stdout.partition(" ")
    assert "cannot be written" in message, done.stderr
    assert len(ledger.tail(200)) == int(number) + 1
    assert ledger.query("SELECT sum(damaged_bytes) FROM writers").rows == ((0,),), "no probe was left"


def test_a_folder_that_cannot_be_written_is_known_before_the_first_call(ledger: Ledger) -> None:
    spool_folder(ledger.path).write_text("in the way")
    with pytest.raises(LedgerError, match="cannot be written"):
        ledger.writer().prepare()


def test_a_file_of_another_kind_is_left_alone_and_said(ledger: Ledger) -> None:
    folder = spool_folder(ledger.path)
    folder.mkdir()
    (folder / "0notes.spool").write_text("not a spool at all, but long enough")
    writer = ledger.writer()
    writer.add(decision(1))
    writer.close()
    Spool(folder).add(entry(2))
    result = ledger.query("SELECT count(*) FROM decision_records")
    assert result.rows == ((2,),), "nobody else waits for it"
    assert result.stale is not None and "is not a spool file of a ledger; left unchanged" in result.stale
    assert (folder / "0notes.spool").exists()


def test_a_child_that_closes_leaves_the_parents_spool_alone(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    child = os.fork()
    if child == 0:
        writer.close()
        os._exit(0)
    os.waitpid(child, 0)
    writer.add(decision(2))
    writer.close()
    assert len(ledger.tail(5)) == 2


def test_a_fork_waits_until_no_thread_has_the_file_open(ledger: Ledger) -> None:
    code = f"""
import os, sys, threading
sys.path.insert(0, {str(TESTS)!r})
from support.ledger_rows import decision
from routewright.ledger import Ledger
ledger = Ledger.open({str(ledger.path)!r}, lock_timeout_s=60)
writer = ledger.writer()
over = threading.Event()
def read():
    while not over.is_set():
        ledger.tail(1)
threads = [threading.Thread(target=read) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range(4):
    child = os.fork()
    if child == 0:
        writer.add(decision(number))
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
over.set()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert len(ledger.tail(10)) == 4


def test_one_that_cannot_be_a_row_is_found_by_halving(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One by one, each with a commit of its own, two thousand held the ledger for a minute and a half.
    tried: list[int] = []

    def counted(connection: DuckDBPyConnection, ended: Sequence[Flight]) -> None:
        tried.append(len(ended))
        insert(connection, ended)

    insert = storing._insert_ended
    monkeypatch.setattr("routewright.ledger.storing._insert_ended", counted)
    writer = ledger.writer()
    for number in range(64):
        writer.add(decision(number), [attempt(number, **({"total_us": 2**70} if number == 40 else {}))])
    writer.close()
    assert len(tried) == 15
    assert len(ledger.tail(100)) == 63
    assert ledger.query("SELECT entry FROM rejected").rows == ((41,),)


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {here!r})
from support.ledger_rows import decision
from routewright.ledger import Ledger, LedgerError
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger.open({path!r})
writer = ledger.writer()
"""


def limited(ledger: Ledger, code: str) -> str:
    """What a process prints that can limit the size of the files it writes."""
    code = LIMITED.format(here=str(TESTS), path=str(ledger.path)) + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", [0, 5, 20, 40])
def test_a_disk_that_was_full_at_the_first_entry_takes_the_next(ledger: Ledger, size: int) -> None:
    said = limited(
        ledger,
        f"""
limit({size})
try:
    writer.add(decision(1))
except LedgerError as error:
    refused = str(error)
limit(resource.RLIM_INFINITY)
writer.add(decision(2))
writer.close()
print(refused)
""",
    )
    assert "nothing was kept" in said
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(2)]


def test_a_spool_stays_until_its_rows_are_in_the_file_itself(ledger: Ledger) -> None:
    said = limited(
        ledger,
        """
for number in range(50):
    writer.add(decision(number))
limit(ledger.path.stat().st_size)
try:
    writer.close()
except LedgerError as error:
    refused = str(error)
limit(resource.RLIM_INFINITY)
print(refused)
""",
    )
    assert "what was recorded is kept in" in said
    ledger.path.with_name(ledger.path.name + ".wal").unlink()
    assert len(ledger.tail(100)) == 50


def test_half_an_entry_that_cannot_be_taken_back_spoils_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    write = os.write

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(LedgerError, match="nothing was kept"):
            writer.add(decision(2))
    writer.add(decision(3))
    writer.close()
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(1), decision_id(3)]
    [[entries, damaged]] = ledger.query("SELECT entries, damaged_bytes FROM writers").rows
    assert entries == 2 and damaged > 0
    assert [Path(name).suffix for name in left_in_spool(ledger)] == [".damaged"]


def test_what_cannot_be_written_as_text_is_refused(ledger: Ledger) -> None:
    writer = ledger.writer()
    for rows in (
        (decision(1)._replace(tags={"a": "\ud800"}), ()),
        (decision(1)._replace(trace_id="\ud800"), ()),
    ):
        with pytest.raises(LedgerError, match="what the ledger cannot store: .*surrogates not allowed"):
            writer.add(*rows)
    writer.add(decision(2))
    writer.close()
    assert len(ledger.tail(5)) == 1


def test_a_deleted_ledger_is_made_anew(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1)])
    ledger.path.unlink()
    writer.close()
    assert len(Ledger.open(ledger.path, create=False).tail(5)) == 1


def test_a_spool_that_is_deleted_while_it_is_written_is_not_lost(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    shutil.rmtree(spool_folder(ledger.path))
    writer.add(decision(2))
    writer.close()
    assert len(ledger.tail(5)) == 2


def test_a_ledger_that_stays_busy_costs_no_file_for_each_try(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    with client_on(ledger.path):
        for number in range(5):
            spool.add(entry(number))
            with pytest.raises(LedgerError, match="is held open by"):
                ingest(ledger.path, lock_timeout_s=0, own=spool)
    assert waiting(ledger) == 1
    assert ingest(ledger.path, lock_timeout_s=5, own=spool) == 5
    spool.abandon()


def test_a_newer_ledger_takes_nothing_in(ledger: Ledger) -> None:
    writer = ledger.writer()
    writer.add(decision(1))
    with open_for_writing(ledger.path, lock_timeout_s=5) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 'later', 'sha256:0', 0)")
    with pytest.raises(LedgerError, match="has layout 99"):
        writer.close()
    assert waiting(ledger) == 1


def test_a_writer_tries_again_soon_after_a_failure(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []

    def fail(*_: object, **__: object) -> int:
        if len(waits) == 9:
            ended.set()
        raise LedgerError("busy")

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            return self.is_set()

    monkeypatch.setattr("routewright.ledger.background.ingest", fail)
    monkeypatch.setattr("routewright.ledger.background._INGEST_AFTER_S", 0)
    spool, ended = Spool(spool_folder(ledger.path)), Ended()
    spool.add(entry(1))
    keep_ingesting(ledger.path, 0, spool, threading.Event(), ended)
    spool.abandon()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    [record] = caplog.records
    assert record.getMessage().startswith(f"0 MiB wait in `{spool_folder(ledger.path)}`")
    assert record.getMessage().endswith(": busy"), "once, until it succeeds"


def test_more_dead_writers_than_files_may_be_open(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routewright.ledger.ingest._ORPHANS", 3)
    opened: list[int] = []

    @contextmanager
    def counted(path: Path) -> Iterator[SpoolFile | None]:
        opened.append(1)
        assert len(opened) <= 4
        with open_spool_file(path) as spool:
            yield spool
        opened.pop()

    monkeypatch.setattr("routewright.ledger.ingest.open_spool_file", counted)
    living = [Spool(spool_folder(ledger.path)) for _ in range(5)]
    for number in range(10):
        spool = living[number] if number < 5 else Spool(spool_folder(ledger.path))
        spool.add(entry(number))
        if number >= 5:
            spool.abandon()
    assert ledger.ingest() == 10
    assert waiting(ledger) == 5, "of those that live"
    for spool in living:
        spool.abandon()
    assert ledger.ingest() == 0
    assert waiting(ledger) == 0


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(decision(number), [attempt(number)])


def numbers(path: Path) -> list[int]:
    """Those of the frames in a file."""
    with open_spool_file(path) as spool:
        assert spool is not None
        return [found.number for found in spool.frames() if isinstance(found, Frame)]
