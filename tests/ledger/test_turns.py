"""Whoever wants to open a ledger is served in the order of arrival, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.children import Child, Tell
from support.ledger_clients import client_on
from support.ledger_rows import decision
from support.new_ledgers import new_ledger

from routewright.ledger import LedgerError
from routewright.ledger.connection import open_for_reading, open_for_writing
from routewright.ledger.turns import Turns

LONG_S = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "ledger.duckdb.spool").mkdir()
    return tmp_path / "ledger.duckdb"


@contextmanager
def turn(path: Path, *, shared: bool = False, timeout_s: float = LONG_S) -> Iterator[bool]:
    """A turn of another process, or of one that has never been here: one process has one ``Turns`` for a file."""
    with Turns(path).take(shared=shared, deadline=time.monotonic() + timeout_s) as has_come:
        yield has_come


def holding(path: Path, *, shared: bool = False) -> Child:
    """A process that says when its turn has come, and keeps it."""

    def work(tell: Tell) -> None:
        tell(b"?")
        with turn(path, shared=shared):
            tell(b"!")
            time.sleep(LONG_S)

    child = Child(work)
    assert child.heard() == b"?"
    return child


def idle(tell: Tell) -> None:
    tell(b".")
    time.sleep(LONG_S)


def numbers_taken(path: Path) -> int:
    return int((path.parent / f"{path.name}.spool" / "queue").read_bytes()[:20])


def arrived(path: Path, number: int) -> None:
    """Wait until so many have come."""
    while numbers_taken(path) < number + 1:
        time.sleep(0.001)


def is_served(path: Path, *, shared: bool) -> bool:
    with turn(path, shared=shared, timeout_s=0) as has_come:
        return has_come


def test_readers_share_and_a_writer_is_alone(path: Path) -> None:
    with holding(path, shared=True) as reader:
        assert reader.heard() == b"!"
        assert is_served(path, shared=True)
        assert not is_served(path, shared=False)
    with holding(path) as writer:
        assert writer.heard() == b"!"
        assert not is_served(path, shared=True)
    assert is_served(path, shared=False)


def test_those_who_wait_are_served_in_the_order_in_which_they_came(path: Path) -> None:
    told, tell = os.pipe()

    def queued(name: str) -> Child:
        def work(_: object) -> None:
            with turn(path, shared=name.islower()):
                os.write(tell, name.encode())
                time.sleep(0.05)
                os.write(tell, b"/")

        return Child(work)

    children = [holding(path)]
    assert children[0].heard() == b"!"
    for count, name in enumerate("AbcDeF", 2):
        children.append(queued(name))
        arrived(path, count)
    children[0].kill()
    order = b""
    while len(order) < 12:
        order += os.read(told, 12)
    for child in children:
        child.kill()
    assert order in (b"A/bc//D/e/F/", b"A/cb//D/e/F/"), "readers that come one after the other share a turn"


def test_who_is_killed_while_it_waits_or_holds_gives_its_turn_up(path: Path) -> None:
    with holding(path) as first, holding(path) as second, holding(path) as third:
        assert first.heard() == b"!"
        second.kill()
        first.kill()
        assert third.heard() == b"!"


def test_a_child_has_no_part_in_its_parents_turn(path: Path) -> None:
    with turn(path):
        child = Child(idle)
        assert child.heard() == b"."
    with child, holding(path) as other:
        assert other.heard() == b"!"


def test_who_gives_up_leaves_the_queue(path: Path) -> None:
    with holding(path) as holder:
        assert holder.heard() == b"!"
        with turn(path, timeout_s=0.01) as has_come:
            assert not has_come
            with holding(path) as next_one:
                arrived(path, 3)
                holder.kill()
                assert next_one.heard() == b"!"


def test_a_process_that_was_stopped_while_it_waited_keeps_nobody_from_a_file_that_is_free(path: Path) -> None:
    new_ledger(path).query("SELECT 1")  # the first in the queue

    def wait(_: Tell) -> None:
        with open_for_writing(path, lock_timeout_s=LONG_S):
            pass

    before = numbers_taken(path)
    with holding(path) as holder, Child(wait) as stopped:
        assert holder.heard() == b"!"
        arrived(path, before + 1)
        os.kill(stopped.pid, signal.SIGSTOP)
        holder.kill()
        assert not is_served(path, shared=True)
        with open_for_writing(path, lock_timeout_s=0.01):
            pass
        os.kill(stopped.pid, signal.SIGCONT)
        assert stopped.wait() == 0


def test_threads_are_served_in_the_order_in_which_they_came(path: Path) -> None:
    turns, order = Turns(path), list[int]()
    deadline = time.monotonic() + LONG_S

    def work(number: int) -> None:
        with turns.take(shared=False, deadline=deadline):
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    with turns.take(shared=False, deadline=deadline):
        for count, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._threads._waiting) < count:
                time.sleep(0.001)
        late = threading.Thread(target=lambda: order.append(turns.hold(0)))
        late.start()
        late.join()
    for thread in threads:
        thread.join()
    assert order == [False, *range(8)], "who gives up is not waited for"


def test_a_file_that_was_overwritten_keeps_nobody_out_for_ever(path: Path) -> None:
    with holding(path) as holder:
        assert holder.heard() == b"!"
        (path.parent / f"{path.name}.spool" / "queue").write_bytes(b"")
        assert not is_served(path, shared=False)
    assert is_served(path, shared=False)


def test_who_reads_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    path = new_ledger(tmp_path / "ledger.duckdb").path
    with open_for_reading(path, lock_timeout_s=0):
        assert not (tmp_path / "ledger.duckdb.spool").exists()


def test_where_no_queue_can_be_kept_the_ledger_is_opened_without(path: Path) -> None:
    (path.parent / f"{path.name}.spool" / "queue").mkdir()
    ledger = new_ledger(path)
    with open_for_reading(path, lock_timeout_s=0) as connection:
        assert connection.execute("SELECT count(*) FROM decision_records").fetchone() == (0,)
    assert ledger.append([decision(1)]).decisions == 1


def test_a_writer_gets_its_turn_between_readers_that_never_pause(path: Path) -> None:
    new_ledger(path)

    def read(tell: Tell) -> None:
        while True:
            with open_for_reading(path, lock_timeout_s=LONG_S):
                tell(b".")

    with Child(read) as one, Child(read) as other:
        assert one.heard() and other.heard()
        for _ in range(3):
            before = numbers_taken(path)
            with open_for_writing(path, lock_timeout_s=LONG_S):
                passed = numbers_taken(path) - before - 1
            # Each reader may have come between the count and the writer, and waits behind it now.
            assert passed <= 2 + 2


def test_those_behind_a_turn_are_told_which_other_client_has_the_file(path: Path) -> None:
    new_ledger(path).query("SELECT 1")  # the first in the queue

    def write(_: object) -> None:
        with open_for_writing(path, lock_timeout_s=LONG_S):
            pass

    with client_on(path, reads=True) as client:
        before = numbers_taken(path)
        with Child(write):
            arrived(path, before)
            message = f"is held open by process {client.pid} (`"
            with (
                pytest.raises(LedgerError, match="gave up after 1 s") as caught,
                open_for_writing(path, lock_timeout_s=1),
            ):
                pass
            assert message in str(caught.value)
