"""Calls are on record before they are made: ends make rows of them, and those of a process that is gone were lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.ledger_rows import attempt, begun, decision, decision_id, ended, failed, intent, policy
from support.new_ledgers import left_in_spool, new_ledger
from support.sizes import THOROUGH

from routewright.ledger import AttemptRow, FullError, Ledger, LedgerEntry, LedgerError, LedgerWriter
from routewright.ledger.frames import MAGIC
from routewright.ledger.ingest import ingest
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.spool_files import files_of, spool_files

TESTS = Path(__file__).parents[1]
DECISIONS = 30
ROWS = "SELECT decision_id::VARCHAR, number, status, cost_nano, total_us FROM attempt_rows ORDER BY ALL"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb", lock_timeout_s=30)


def add(writer: LedgerWriter, *entries: LedgerEntry) -> None:
    assert writer.add_all([[entry] for entry in entries]) == [None] * len(entries)


def statuses(ledger: Ledger) -> list[tuple[str, int, str]]:
    return [(id, number, status) for id, number, status, _, _ in ledger.query(ROWS).rows]


def in_flight(ledger: Ledger) -> int:
    return int(ledger.query("SELECT count(DISTINCT decision_id) FROM in_flight").rows[0][0])


def everything(ledger: Ledger) -> tuple[Sequence[Any], ...]:
    return tuple(
        ledger.query(f"SELECT * FROM {table} ORDER BY ALL").rows
        for table in ("decision_records", "attempt_rows", "policies", "decisions_flat")
    )


# --- what ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ingesting", [False, True], ids=["taken in together", "taken in one by one"])
def test_what_ended_makes_the_rows_of_a_decision_recorded_as_a_whole(
    ledger: Ledger, tmp_path: Path, ingesting: bool
) -> None:
    whole = new_ledger(tmp_path / "whole.duckdb")
    writer = whole.writer()
    writer.add(decision(1, answered=2), [failed(1, 1), attempt(1, 2)], [policy()])
    writer.close()

    writer = ledger.writer()
    for entry in (
        begun(1),
        LedgerEntry(None, [failed(1, 1)], (), [intent(1, 2)]),
        ended(1, attempt(1, 2), answered=2),
    ):
        assert ledger.tail(1) == (), "nothing is shown before it has ended"
        add(writer, entry)
        if ingesting:
            ledger.ingest()
    assert everything(ledger) == everything(whole)
    assert in_flight(ledger) == 0
    writer.close()


@pytest.mark.parametrize("seed", range(40 if THOROUGH else 2))
def test_entries_in_any_order_of_decisions_and_batches_make_the_same_rows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Many decisions that overlap, batches of any size, and readers and the writer's own thread in between."""
    random = Random(seed)
    monkeypatch.setattr("routewright.ledger.loading._BATCH", random.choice((1, 2, 3, 7)))
    writer = ledger.writer()
    expected: list[tuple[str, int, str]] = []
    going: dict[int, list[LedgerEntry]] = {}
    for number in range(DECISIONS):
        calls = random.randrange(4)
        parts = [AttemptRow(decision_id(number), attempt(number, at + 1).attempt) for at in range(calls)]
        expected += [(decision_id(number), at + 1, "ok") for at in range(calls)]
        if not calls:
            going[number] = [LedgerEntry(decision(number, answered=None))]
            continue
        entries = [begun(number)]
        for at in range(1, calls):
            if random.random() < 0.5:
                entries += [LedgerEntry(None, [parts[at - 1]], (), [intent(number, at + 1)])]
            else:
                entries += [
                    LedgerEntry(None, [parts[at - 1]]),
                    LedgerEntry(None, (), (), [intent(number, at + 1)]),
                ]
        going[number] = [*entries, ended(number, parts[-1], answered=calls)]
    while going:
        number = random.choice(list(going))
        add(writer, going[number].pop(0))
        if not going[number]:
            del going[number]
        if random.random() < 0.06:
            ledger.ingest() if random.random() < 0.5 else ingest(
                ledger.path, lock_timeout_s=5, own=writer._spool
            )
    writer.close()
    assert statuses(ledger) == sorted(expected)
    answered = "SELECT decision_id::VARCHAR, answered_attempt FROM decision_records ORDER BY ALL"
    last = {id: number for id, number, _ in expected}
    assert ledger.query(answered).rows == tuple(
        (decision_id(number), last.get(decision_id(number))) for number in range(DECISIONS)
    )
    assert in_flight(ledger) == 0
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((0,),)


# --- what is lost ------------------------------------------------------------------------------------------

RUNNING = """
import sys
sys.path.insert(0, {here!r})
from support.ledger_rows import attempt, begun, ended, failed, intent
from routewright.ledger import Ledger, LedgerEntry
from routewright.ledger.ingest import ingest
ledger = Ledger.open({path!r}, lock_timeout_s=60)
writer = ledger.writer()
writer.add_all([[begun(1)], [begun(2)], [begun(3, 1, 2)]])
writer.add_all([[ended(1, attempt(1))], [LedgerEntry(None, [failed(2)], (), [intent(2, 2)])]])
if {turned!r}:
    ingest(ledger.path, lock_timeout_s=60, own=writer._spool)
print("ready", flush=True)
sys.stdin.readline()
writer.add_all([[ended(2, attempt(2, 2), answered=2)]])
print("ended", flush=True)
sys.stdin.readline()
"""


@contextmanager
def running(ledger: Ledger, *, turned: bool) -> Iterator[subprocess.Popen[str]]:
    """A process with three decisions begun, of which one has ended and one has its fallback under way."""
    code = RUNNING.format(here=str(TESTS), path=str(ledger.path), turned=turned)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


ENDED = [(decision_id(1), 1, "ok")]
OF_A_KILLED_PROCESS = [
    *ENDED,
    (decision_id(2), 1, "failed"),
    (decision_id(2), 2, "lost"),
    (decision_id(3), 1, "lost"),
    (decision_id(3), 2, "lost"),
]


@pytest.mark.parametrize("turned", [False, True], ids=["in its spool", "in the tables"])
def test_calls_of_a_killed_process_were_lost_and_no_others(ledger: Ledger, turned: bool) -> None:
    with running(ledger, turned=turned) as process:
        for _ in range(2):
            assert statuses(ledger) == ENDED, "it lives"
        process.send_signal(signal.SIGSTOP)
        assert statuses(ledger) == ENDED, "it lives, although it does nothing"
        process.kill()
        process.wait()
        for _ in range(2):
            assert statuses(ledger) == OF_A_KILLED_PROCESS
    lost = ledger.query(
        "SELECT * EXCLUDE (started_at_us) FROM attempt_rows WHERE status = 'lost' AND number = 1"
    )
    known = {name: value for name, value in zip(lost.columns, lost.rows[0], strict=True) if value is not None}
    assert {name: str(value) for name, value in known.items()} == {
        "decision_id": decision_id(3),
        "number": "1",
        "role": "answer",
        "model_id": "kimi",
        "backend_id": "ollama_cloud",
        "status": "lost",
        "streamed": "False",
        "currency": "USD",
        "price_since": "2026-01-01",
        "cached_answer": "False",
        "simulated": "False",
        "location": "cloud",
        "host": "ollama.com",
    }, "all else is unknown"
    assert [(row.decision_id, row.status, row.attempts) for row in ledger.tail(9)] == [
        (decision_id(1), "ok", 1),
        (decision_id(2), "lost", 2),
        (decision_id(3), "lost", 2),
    ]
    assert in_flight(ledger) == 0
    assert left_in_spool(ledger) == []


def test_views_count_a_lost_call_as_made_of_unknown_cost_and_no_success(ledger: Ledger) -> None:
    writer = ledger.writer()
    add(writer, begun(1), begun(2, 1, 2), ended(1, attempt(1)))
    add(writer, LedgerEntry(None, [failed(2, cost_nano=0)]))
    writer.close()
    rates = "SELECT model_id, calls, ok, failed, lost FROM success_rate ORDER BY model_id"
    assert ledger.query(rates).rows == (("coder", 1, 0, 0, 1), ("kimi", 2, 1, 1, 0))
    costs = "SELECT model_id, known_cost_usd, calls, unknown_cost_calls FROM cost_daily ORDER BY model_id"
    assert ledger.query(costs).rows == (("coder", None, 1, 1), ("kimi", Decimal("0.000725"), 2, 0))
    flat = (
        "SELECT status, answered, calls, latency_ms, unknown_cost_calls FROM decisions_flat ORDER BY 1 DESC"
    )
    assert ledger.query(flat).rows == (("ok", True, 1, 1_000.0, 0), ("lost", False, 2, None, 1))
    assert ledger.query("SELECT sum(unanswered), sum(executed) FROM fallback_frequency").rows == ((1, 2),)
    assert ledger.query("SELECT sum(executed) FROM routing_daily").rows == ((2,),)
    assert ledger.query("SELECT total_ms, known_cost_usd FROM attempts_flat WHERE status = 'lost'").rows == (
        (None, None),
    )


def test_a_process_that_was_stopped_and_goes_on_has_lost_nothing(ledger: Ledger) -> None:
    with running(ledger, turned=True) as process:
        process.send_signal(signal.SIGSTOP)
        assert statuses(ledger) == ENDED
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ended\n"
        assert statuses(ledger) == [*ENDED, (decision_id(2), 1, "failed"), (decision_id(2), 2, "ok")]


def test_closing_a_writer_loses_what_has_not_ended(ledger: Ledger) -> None:
    writer = ledger.writer()
    add(writer, begun(1))
    ledger.ingest()
    writer.close()
    with Ledger.open(ledger.path) as other:
        assert other.query("SELECT status FROM attempt_rows").rows == (("lost",),)
        assert left_in_spool(ledger) == []


def test_an_end_that_comes_late_takes_the_place_of_the_lost_attempt(ledger: Ledger) -> None:
    writer = ledger.writer()
    add(writer, begun(1), begun(2))
    writer.close()
    assert statuses(ledger) == [(decision_id(1), 1, "lost"), (decision_id(2), 1, "lost")]
    # It only seemed to be gone: somebody had closed it too early.
    add(writer, LedgerEntry(None, [failed(1)], (), [intent(1, 2)]), ended(2, attempt(2)))
    assert statuses(ledger) == [(decision_id(1), 1, "lost"), (decision_id(2), 1, "ok")]
    writer.close()
    assert statuses(ledger) == [
        (decision_id(1), 1, "failed"),
        (decision_id(1), 2, "lost"),
        (decision_id(2), 1, "ok"),
    ]
    add(writer, ended(1, attempt(1, 2), answered=2))
    writer.close()
    assert statuses(ledger)[1] == (decision_id(1), 2, "ok")
    assert ledger.query("SELECT answered_attempt FROM decision_records ORDER BY decision_id").rows == (
        (2,),
        (1,),
    )
    assert [row.status for row in ledger.tail(5)] == ["ok", "ok"]


def test_what_a_damaged_end_said_is_lost_and_what_a_damaged_beginning_said_is_not(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    places: list[int] = []
    for entry in (begun(1), ended(1, attempt(1)), begun(2), ended(2, attempt(2))):
        places.append(spool.path.stat().st_size if places else len(MAGIC))
        spool.add(entry)
    path = spool.path
    spool.abandon()
    data = bytearray(path.read_bytes())
    for at in (places[1], places[2]):
        data[at + 40] ^= 1
    path.write_bytes(data)
    assert statuses(ledger) == [(decision_id(1), 1, "lost"), (decision_id(2), 1, "ok")]
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(1)]
    assert ledger.notices() != ()


def test_an_end_that_is_found_before_its_beginning_leaves_one_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.loading._BATCH", 1)
    writer = ledger.writer()
    add(writer, ended(1, attempt(1)), begun(1))
    writer.close()
    assert statuses(ledger) == [(decision_id(1), 1, "ok")]
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(1)]


# --- what cannot be taken ----------------------------------------------------------------------------------


def test_beyond_its_room_a_spool_takes_ends_and_no_new_calls(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ledger.writer()
    add(writer, begun(1), begun(2))
    monkeypatch.setattr(writer._spool._room, "most", 100)
    monkeypatch.setattr(writer._spool, "_roomy_bytes", 0)  # look again
    refused = writer.add_all(
        [
            [begun(3)],
            [LedgerEntry(None, (), (), [intent(1, 2)])],
            [ended(1, attempt(1))],
            [ended(2, attempt(2))],
        ]
    )
    assert [type(one) for one in refused] == [FullError, FullError, type(None), type(None)]
    writer.close()
    assert statuses(ledger) == [(decision_id(1), 1, "ok"), (decision_id(2), 1, "ok")]


def test_what_could_not_be_written_is_not_in_flight(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spool: Spool, data: bytes) -> None:
        raise LedgerError("the disk is full")

    writer = ledger.writer()
    add(writer, begun(1))
    with monkeypatch.context() as full:
        full.setattr(Spool, "_put", refuse)
        assert [str(error) for error in writer.add_all([[begun(2)]])] == ["the disk is full"]
    assert writer._spool.in_flight == {decision_id(1)}
    writer.close()


def test_a_decision_that_is_there_with_another_record_is_rejected_when_it_ends_or_its_writer_is_gone(
    ledger: Ledger,
) -> None:
    ledger.append([decision(1, rule="mixture_of_experts"), decision(2, rule="otherwise")])
    writer = ledger.writer()
    add(writer, begun(1), begun(2), begun(3), ended(1, attempt(1)), ended(3, attempt(3)))
    writer.close()
    assert [row.decision_id for row in ledger.tail(5)] == [decision_id(n) for n in (1, 2, 3)]
    assert statuses(ledger) == [(decision_id(3), 1, "ok")]
    rejected = ledger.query("SELECT entry, error FROM rejected ORDER BY entry").rows
    assert [(entry, error.partition("`")[2]) for entry, error in rejected] == [
        (number, f"{decision_id(number)}` is in the ledger already, with another record") for number in (1, 2)
    ]
    assert in_flight(ledger) == 0


# --- files -------------------------------------------------------------------------------------------------


def test_a_writer_has_a_file_for_as_long_as_anything_is_in_flight_and_none_longer(ledger: Ledger) -> None:
    writer = ledger.writer()
    folder = spool_folder(ledger.path)
    add(writer, begun(1), begun(2))
    for _ in range(3):
        ingest(ledger.path, lock_timeout_s=5, own=writer._spool)
        [path] = files_of(folder)
        assert path.stat().st_size == len(MAGIC) and spool_files(folder) == []
        assert writer._spool.waiting_bytes == 0
    add(writer, ended(1, attempt(1)), ended(2, attempt(2)))
    ingest(ledger.path, lock_timeout_s=5, own=writer._spool)
    assert files_of(folder) == []
    writer.prepare()
    writer.close()
    assert files_of(folder) == []


def test_empty_files_are_removed_only_of_writers_that_are_gone(ledger: Ledger) -> None:
    folder = spool_folder(ledger.path)
    living, gone = ledger.writer(), Spool(folder)
    living.prepare()
    gone.in_flight.add(decision_id(1))
    gone.prepare()
    gone.abandon()
    mine = folder / "mine.spool"
    mine.touch()
    assert len(files_of(folder)) == 3
    assert ledger.ingest() == 0
    assert files_of(folder) == sorted([living._spool.path, mine])
    living.close()


def test_a_writer_whose_next_file_cannot_be_made_keeps_the_last_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ledger.writer()
    folder = spool_folder(ledger.path)
    add(writer, begun(1))

    def refuse(*_: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("routewright.ledger.spool.create_private", refuse)
        for _ in range(2):
            with pytest.raises(LedgerError, match="No space left on device"):
                ingest(ledger.path, lock_timeout_s=5, own=writer._spool)
            assert statuses(ledger) == [] and len(files_of(folder)) == 1, "its writer is not taken to be gone"
    ingest(ledger.path, lock_timeout_s=5, own=writer._spool)
    assert statuses(ledger) == [] and len(files_of(folder)) == 1
    add(writer, ended(1, attempt(1)))
    writer.close()
    assert statuses(ledger) == [(decision_id(1), 1, "ok")]


def test_the_writers_thread_has_nothing_to_do_while_a_call_takes_long(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.background._INGEST_AFTER_S", 0.01)
    ingested: list[int] = []

    def counted(*arguments: Any, **options: Any) -> int:
        ingested.append(1)
        return ingest(*arguments, **options)

    monkeypatch.setattr("routewright.ledger.background.ingest", counted)
    writer = ledger.writer()
    add(writer, begun(1))
    until_s = time.monotonic() + 30
    while writer._spool.waiting_bytes and time.monotonic() < until_s:
        time.sleep(0.01)
    before = len(ingested)
    time.sleep(0.2)
    assert len(ingested) == before == 1
    add(writer, ended(1, attempt(1)))
    writer.close()
    assert statuses(ledger) == [(decision_id(1), 1, "ok")]
