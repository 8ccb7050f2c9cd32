"""Whether memory stays flat: a hundred thousand simulated requests, with state store, quotas, breakers and cache.

Prints resident memory every tenth of the way. ``python benchmarks/memory.py [REQUESTS]``
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from routewright.backends import (
    AnswerCache,
    CacheUse,
    ChatRequest,
    Executor,
    Fault,
    Message,
    SimulatedBackend,
    SimulatedModel,
    Target,
    Work,
    WorkLimits,
)
from routewright.backends.control import QuotaLimit, StateStore

REQUESTS = 100_000
AT_ONCE = 64
_FAULTS: tuple[Fault, ...] = ("ok", "overloaded", "ok", "broken_stream", "ok", "ok", "rate_limited")


def main(requests: int) -> None:
    """Run and print."""
    with TemporaryDirectory() as folder:
        asyncio.run(_run(requests, Path(folder)))


async def _run(requests: int, folder: Path) -> None:
    store = StateStore(folder / "state.sqlite")
    daily = QuotaLimit("daily", "requests", 10**9, 0, "day")
    tokens = QuotaLimit("tokens", "tokens", 10**12, 0, "hour")
    backend = SimulatedBackend(
        {"a": SimulatedModel(), "b": SimulatedModel()},
        seed=1,
        faults={"a": tuple(islice(cycle(_FAULTS), requests))},
    )
    work = Work(
        (
            Target("a", "simulated", "a", quotas=(daily, tokens)),
            Target("b", "simulated", "b", "fallback", quotas=(daily,)),
        ),
        limits=WorkLimits(deadline_ms=600_000, first_token_within_ms=60_000, max_attempts=4),
        cache=CacheUse(ttl_ms=60_000),
    )
    cache = AnswerCache(clock=_now_us, max_bytes=4 * 1024 * 1024)
    executor = Executor({"simulated": backend}, clock=_now_us, store=store, cache=cache)
    numbers = iter(range(requests))

    async def worker() -> None:
        for number in numbers:
            request = ChatRequest((Message("user", f"question {number}"),))
            await executor.run(work, request)
            if (number + 1) % (requests // 10 or 1) == 0:
                gc.collect()
                print(f"{number + 1:>8} requests  {_resident_mb():6.1f} MB", flush=True)

    print(f"{0:>8} requests  {_resident_mb():6.1f} MB", flush=True)
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    store.close()


def _now_us() -> int:
    return time.time_ns() // 1_000


def _resident_mb() -> float:
    """Resident memory now where the system tells, else the most so far."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024
    import resource

    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS)
