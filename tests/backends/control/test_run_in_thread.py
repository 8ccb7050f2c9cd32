"""The asynchronous face: the event loop is not blocked, and cancelling loses neither counts nor leases."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from support.state_processes import Worker, workers

from routewright.backends.control import Lease, QuotaLimit, Quotas, StateError, StateStore
from routewright.backends.control import store as store_module

NOW = 1_795_341_600_000_000
DAILY = QuotaLimit("daily", "requests", 3, 1, "day")


@contextmanager
def locked(store: StateStore) -> Iterator[Worker]:
    """The file, locked by another process until it is told to begin."""
    with workers(1, store.path, "lock_file") as (other,):
        yield other


def reserving(store: StateStore, id: str) -> Callable[[], object]:
    return lambda: Quotas(store).reserve(id, [DAILY], at_us=NOW, expires_us=NOW + 1)


def give_back(store: StateStore) -> Callable[[object], None]:
    def undo(made: object) -> None:
        assert isinstance(made, Lease)
        Quotas(store).release(made)

    return undo


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            await asyncio.sleep(0.001)


def reserved(store: StateStore) -> int:
    return Quotas(store).use(DAILY, at_us=NOW).reserved


def used(store: StateStore) -> int:
    return Quotas(store).use(DAILY, at_us=NOW).used


def test_what_needs_no_waiting_is_done_at_once_on_the_callers_thread(store: StateStore) -> None:
    threads: list[int] = []

    def call() -> object:
        threads.append(threading.get_ident())
        return reserving(store, "one")()

    assert isinstance(asyncio.run(store.run_in_thread(call)), Lease)
    assert threads == [threading.get_ident()]


def test_the_event_loop_goes_on_while_the_file_is_locked(store: StateStore) -> None:
    async def main() -> tuple[object, float]:
        with locked(store) as other:
            waiting = asyncio.create_task(store.run_in_thread(reserving(store, "one")))
            longest = 0.0
            for _ in range(50):
                before = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - before)
            assert not waiting.done()
            other.begin()
            return await waiting, longest

    made, longest = asyncio.run(main())
    assert isinstance(made, Lease)
    assert longest < store_module.BUSY_TIMEOUT_S / 2  # or it had waited for the lock


def test_a_file_that_stays_locked_is_told_to_all_who_wait_at_the_same_time(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.1)

    async def main() -> list[object]:
        calls = (store.run_in_thread(reserving(store, f"{number}")) for number in range(20))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    with locked(store):
        before = time.monotonic()
        found = asyncio.run(main())
    assert [type(one).__mro__[1] for one in found] == [StateError] * 20
    assert time.monotonic() - before < 20 * 0.1


def test_all_changes_of_a_call_are_one_transaction_and_made_once(store: StateStore) -> None:
    quotas = Quotas(store)
    calls: list[str] = []

    def call() -> bool:
        calls.append(f"{len(calls)}")
        lease = reserving(store, calls[-1])()
        assert isinstance(lease, Lease)
        assert (used(store), reserved(store)) == (0, 0)  # nobody sees half of it
        return quotas.settle(lease, {})

    async def main() -> bool:
        with locked(store) as other:
            waiting = asyncio.create_task(store.run_in_thread(call))
            await asyncio.sleep(0)
            other.begin()
            return await waiting

    assert asyncio.run(main())
    assert (calls, used(store), reserved(store)) == (["0"], 1, 0)


def test_errors_of_the_call_are_raised(store: StateStore) -> None:
    def call() -> None:
        raise StateError("no")

    with pytest.raises(StateError, match="no"):
        asyncio.run(store.run_in_thread(call))


@pytest.mark.parametrize("already_begun", [True, False])
def test_a_cancelled_reservation_is_taken_back(store: StateStore, already_begun: bool) -> None:
    async def main() -> None:
        with locked(store) as other:
            # The thread that waits does one thing after another.
            first = (
                None if already_begun else asyncio.create_task(store.run_in_thread(reserving(store, "first")))
            )
            await asyncio.sleep(0)
            task = asyncio.create_task(store.run_in_thread(reserving(store, "one"), undo=give_back(store)))
            await asyncio.sleep(0.02 if already_begun else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.begin()
            if first is not None:
                await first
            other.result()

    asyncio.run(main())
    store.close()  # waits for the thread
    after = StateStore(store.path)
    assert reserved(after) == (0 if already_begun else 1)
    after.close()


def test_a_cancelled_settlement_is_made_all_the_same(store: StateStore) -> None:
    quotas = Quotas(store)
    lease = reserving(store, "one")()
    assert isinstance(lease, Lease)

    async def main() -> None:
        with locked(store) as other:
            task = asyncio.create_task(store.run_in_thread(lambda: quotas.settle(lease, {})))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.begin()
            await until(lambda: used(store) == 1)

    asyncio.run(main())
    assert reserved(store) == 0


def test_the_log_is_copied_by_the_thread_and_not_by_the_event_loop(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_EVERY", 20)
    threads: list[str] = []
    checkpoint = StateStore._checkpoint

    def noted(self: StateStore, connection: sqlite3.Connection) -> None:
        threads.append(threading.current_thread().name)
        checkpoint(self, connection)

    monkeypatch.setattr(StateStore, "_checkpoint", noted)

    async def main() -> None:
        for number in range(50):
            made = await store.run_in_thread(reserving(store, f"{number}"))
            assert isinstance(made, Lease)
            await store.run_in_thread(partial(Quotas(store).release, made))

    asyncio.run(main())
    store.close()  # waits for the thread
    assert set(threads) == {"routewright-state_0"}
