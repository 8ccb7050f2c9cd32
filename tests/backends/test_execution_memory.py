"""Nothing grows with the number of requests: no history is kept beside what was asked for."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path

from support.executing_parts import START_US, target

from routewright.backends import ChatRequest, Message, SimulatedBackend, SimulatedModel
from routewright.backends.control import QuotaLimit, StateStore
from routewright.backends.executing import AnswerCache, CacheUse, Executor, TaskLimits, Work
from routewright.backends.simulated.backend import CALLS_KEPT


def test_memory_stays_flat_over_many_requests(tmp_path: Path) -> None:
    """A short run of what `benchmarks/memory.py` does a hundred thousand times."""
    store = StateStore(tmp_path / "state.sqlite")
    quota = QuotaLimit("daily", "requests", 10**9, 0, "day")
    faults = {"a": ["overloaded", "ok"] * 2_000}
    backend = SimulatedBackend({"a": SimulatedModel(), "b": SimulatedModel()}, seed=1, faults=faults)  # type: ignore[arg-type]  # the list's type is wider
    cache = AnswerCache(clock=lambda: START_US, max_bytes=200_000)
    limits = TaskLimits(deadline_ms=600_000, first_token_within_ms=60_000)
    work = Work((target("a"), target("b", quotas=(quota,))), limits=limits, cache=CacheUse(1_000))

    async def main() -> tuple[int, int]:
        executor = Executor({"b": backend}, clock=lambda: START_US, store=store, cache=cache)

        async def many(first: int, count: int) -> int:
            for number in range(first, first + count):
                request = ChatRequest((Message("user", f"question {number}"),))
                assert (await executor.run(work, request)).answer is not None
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await many(0, 800)
        tracemalloc.start()
        before = await many(2_000, 200)
        return before, await many(3_000, 800)

    before, after = asyncio.run(main())
    tracemalloc.stop()
    store.close()
    assert after - before < 60_000, "about 75 bytes for each request would be too much"
    assert len(backend.calls) == CALLS_KEPT
