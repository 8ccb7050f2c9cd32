"""Processes that append, read, load and are killed, all at once, while somebody else sits on the ledger.

What was acknowledged is there once in the end, and nobody was refused.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from support.children import Child, Tell
from support.ledger_clients import client_on
from support.ledger_rows import attempt, decision, decision_id
from support.new_ledgers import new_ledger
from support.sizes import APPENDED, CLIENT_SITS_S, KILLED_WRITERS, THOROUGH

from routewright.ledger import Ledger

WRITERS = 4
LONG_S = 600
TAKES_S = 1.5 * CLIENT_SITS_S
"""How long they append at least, and are killed meanwhile."""
NUMBERS = struct.Struct("<Q")


class Counters:
    """Numbers that all processes share, and that survive the one that counts."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size * NUMBERS.size)

    def __getitem__(self, index: int) -> int:
        (value,) = NUMBERS.unpack_from(self._memory, index * NUMBERS.size)
        return int(value)

    def __setitem__(self, index: int, value: int) -> None:
        NUMBERS.pack_into(self._memory, index * NUMBERS.size, value)


class Restarted(ABC):
    """A process that is started again whenever it is killed."""

    def __init__(self) -> None:
        self.child = Child(self.work)

    @abstractmethod
    def work(self, tell: Tell) -> None: ...

    def restart(self) -> None:
        self.child.kill()
        self.child = Child(self.work)


class Appender(Restarted):
    """One that appends; ``acknowledged`` are the numbers it was told of."""

    def __init__(self, path: Path, first: int) -> None:
        self._path, self._next, self._left = path, first, APPENDED
        self._counts = Counters(1)
        self.acknowledged: list[int] = []
        super().__init__()

    def work(self, tell: Tell) -> None:
        writer = Ledger.open(self._path, lock_timeout_s=LONG_S).writer()
        for number in range(self._next, self._next + self._left):
            writer.add(decision(number), [attempt(number)])
            self._counts[0] += 1
            time.sleep(TAKES_S / APPENDED)
        writer.close()

    def restart(self) -> None:
        self.child.kill()
        self._count()
        super().restart()

    def finish(self) -> None:
        assert self.child.wait() == 0, "it was refused"
        self._count()

    def _count(self) -> None:
        count, self._counts[0] = self._counts[0], 0
        self.acknowledged += range(self._next, self._next + count)
        # The one after may have been written, and nobody was told.
        self._next += count + 1
        self._left -= count


class Loader(Restarted):
    """One that loads what waits, again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def work(self, tell: Tell) -> None:
        ledger = Ledger.open(self._path, lock_timeout_s=LONG_S)
        while True:
            ledger._refresh()
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers load what they have written at once, so that kills and readers fall into that."""
    monkeypatch.setattr("routewright.ledger.background._INGEST_AFTER_S", 0.05)


def reading(path: Path, stop: Counters) -> Child:
    def work(_: Tell) -> None:
        ledger, before = Ledger.open(path, lock_timeout_s=LONG_S), 0
        while not stop[0]:
            [[found]] = ledger.query("SELECT count(*) FROM decision_records").rows
            assert found >= before, "what was there once stays"
            before = found
            stop[1] += 1
            time.sleep(0 if THOROUGH else 0.05)

    return Child(work)


def pauses(random: Random) -> Iterator[None]:
    """Moments in which somebody may be killed."""
    for _ in range(KILLED_WRITERS):
        time.sleep(random.uniform(0, 2 * TAKES_S / KILLED_WRITERS))
        yield


def test_what_many_processes_were_told_is_recorded_is_there_once_whoever_is_killed(tmp_path: Path) -> None:
    path = new_ledger(tmp_path / "ledger.duckdb").path
    random, stop = Random(4), Counters(2)
    with ExitStack() as stack:

        def killed_in_the_end(one: Restarted) -> None:
            stack.callback(lambda: one.child.kill())

        appenders = [Appender(path, number * 10_000_000) for number in range(WRITERS)]
        loader = Loader(path)
        for one in (*appenders, loader):
            killed_in_the_end(one)
        readers = [stack.enter_context(reading(path, stop)) for _ in range(2)]
        with client_on(path, reads=True) as client:
            left = threading.Timer(CLIENT_SITS_S, client.kill)
            left.start()
            for _ in pauses(random):
                appenders[0].restart()
                loader.restart()
            left.join()
        for appender in appenders:
            appender.finish()
        stop[0] = 1
        assert [reader.wait() for reader in readers] == [0, 0], "they were refused, or read too little"
    check(Ledger.open(path), [number for one in appenders for number in one.acknowledged])
    assert stop[1] > 0


def check(ledger: Ledger, acknowledged: list[int]) -> None:
    assert len(acknowledged) == len(set(acknowledged)) == WRITERS * APPENDED
    stored = {
        str(id)
        for (id,) in ledger.query(
            "SELECT decision_id FROM decision_records", max_rows=2 * WRITERS * APPENDED
        ).rows
    }
    assert ledger.notices() == ()
    assert {decision_id(number) for number in acknowledged} <= stored
    assert len(stored) - len(acknowledged) <= KILLED_WRITERS, "written, and nobody was told"
    counts = """SELECT (SELECT count(*) FROM decision_records), (SELECT count(*) FROM attempt_rows),
        (SELECT count(*) FROM rejected), (SELECT count(*) FROM in_flight)"""
    assert ledger.query(counts).rows == ((len(stored), len(stored), 0, 0),)
