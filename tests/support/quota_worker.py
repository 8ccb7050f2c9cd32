"""A process that uses a state store as the tests tell it: ``quota_worker.py PATH KIND ARGUMENTS``.

It says ``ready`` once the store is open, begins at the first line it is sent, and prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import uuid

from routewright.backends.control import Breakers, Lease, QuotaLimit, Quotas, StateStore, Unit

AT_US = 1_795_341_600_000_000
EXPIRES_US = AT_US + 60_000_000


def admitted(path: str, limit: int, amount: int, unit: Unit, requests: int) -> int:
    """How many of ``requests`` concurrent reservations are admitted: by tasks, and by threads."""
    store = StateStore(path)
    quotas = Quotas(store)
    bound = [
        QuotaLimit("daily", unit, limit, amount, "day"),
        QuotaLimit("at_once", "concurrent", 10_000, 1),
    ]
    count = 0

    def reserve() -> bool:
        lease = quotas.reserve(uuid.uuid4().hex, bound, at_us=AT_US, expires_us=EXPIRES_US)
        if not isinstance(lease, Lease):
            return False
        quotas.settle(lease, {})
        return True

    async def tasks(number: int) -> int:
        return sum(await asyncio.gather(*(store.run_in_thread(reserve) for _ in range(number))))

    def thread(number: int) -> None:
        nonlocal count
        found = sum(reserve() for _ in range(number))
        with lock:
            count += found

    lock = threading.Lock()
    threads = [threading.Thread(target=thread, args=(requests // 4,)) for _ in range(2)]
    begin()
    for one in threads:
        one.start()
    by_tasks = asyncio.run(tasks(requests // 2))
    for one in threads:
        one.join()
    store.close()
    return count + by_tasks


def hold(path: str, leases: int) -> None:
    """Reserve, and then be killed."""
    quotas = Quotas(StateStore(path))
    for number in range(leases):
        limits = [QuotaLimit("daily", "requests", 100, 1, "day"), QuotaLimit("at_once", "concurrent", 100, 1)]
        lease = quotas.reserve(f"held-{number}", limits, at_us=AT_US, expires_us=EXPIRES_US)
        assert isinstance(lease, Lease)
    begin()


def probe(path: str) -> bool:
    """Whether this process gets the only probe there is."""
    breakers = Breakers(StateStore(path))
    begin()
    return breakers.admit("kimi", at_us=AT_US) == "probe"


def open_new(path: str) -> int:
    """Open a store that perhaps nobody has made yet, and count one request."""
    begin()
    store = StateStore(path)
    limit = QuotaLimit("daily", "requests", 100, 1, "day")
    lease = Quotas(store).reserve(uuid.uuid4().hex, [limit], at_us=AT_US, expires_us=EXPIRES_US)
    assert isinstance(lease, Lease)
    Quotas(store).settle(lease, {})
    return os.getpid()


def lock_file(path: str) -> None:
    """Keep a transaction open until told otherwise."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    begin()
    connection.execute("ROLLBACK")
    connection.close()


def begin() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main(path: str, kind: str, *arguments: str) -> object:
    match kind:
        case "admitted":
            limit, amount, unit, requests = arguments
            return admitted(
                path, int(limit), int(amount), "cost" if unit == "cost" else "requests", int(requests)
            )
        case "hold":
            hold(path, int(arguments[0]))
        case "probe":
            return probe(path)
        case "open_new":
            return open_new(path)
        case _:
            lock_file(path)
    return None


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])), flush=True)
