"""One way to make the same chat call, timed in a process of its own; prints its figures as JSON.

    python benchmarks/callers.py WAY URL CALLS AT_ONCE

A way is a function below. Each library is imported by its own way alone, so that one environment need not hold
them all. Every answer is checked: a way that loses answers has no time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

QUESTION = "What is the answer to everything, in one sentence?"
_SAID = "Forty-two, as far as anybody knows."

Call = Callable[[int], Awaitable[str | None]]
"""Makes the call of that number, and gives the text of its answer."""

POLICY = Path(__file__).parent / "execute.yaml"


@asynccontextmanager
async def aiohttp(url: str, at_once: int) -> AsyncIterator[Call]:
    """The bare HTTP call: what everything else is held against."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def call(number: int) -> str | None:
            body = {"model": "answering", "messages": [{"role": "user", "content": QUESTION}]}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                said = await reply.json()
                text: str = said["choices"][0]["message"]["content"]
                return text

        yield call


@asynccontextmanager
async def openai(url: str, at_once: int) -> AsyncIterator[Call]:
    """The ``openai`` package, without its own retries."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def call(number: int) -> str | None:
            said = await client.chat.completions.create(
                model="answering", messages=[{"role": "user", "content": QUESTION}]
            )
            text: str | None = said.choices[0].message.content
            return text

        yield call


@asynccontextmanager
async def litellm_router(url: str, at_once: int) -> AsyncIterator[Call]:
    """LiteLLM's ``Router`` with one deployment and one fallback, without retries; nothing is stored."""
    import litellm

    litellm.suppress_debug_info = True
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {"model": "openai/answering", "api_base": url, "api_key": "none"},
            }
            for name in ("first", "second")
        ],
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
    )

    async def call(number: int) -> str | None:
        said = await router.acompletion(model="first", messages=[{"role": "user", "content": QUESTION}])
        text: str | None = said.choices[0].message.content
        return text

    yield call


@asynccontextmanager
async def routewright(url: str, at_once: int) -> AsyncIterator[Call]:
    """A routed call: decided, executed with breakers and latencies, recorded, stored in a ledger."""
    async with _routewright(url, ledger=True) as call:
        yield call


@asynccontextmanager
async def routewright_no_ledger(url: str, at_once: int) -> AsyncIterator[Call]:
    """The same, and nothing is stored."""
    async with _routewright(url, ledger=False) as call:
        yield call


@asynccontextmanager
async def routewright_quota(url: str, at_once: int) -> AsyncIterator[Call]:
    """The same with a ledger, under a quota: reserved before each call, and settled after it."""
    async with _routewright(url, ledger=True, quota=True) as call:
        yield call


@asynccontextmanager
async def _routewright(url: str, *, ledger: bool, quota: bool = False) -> AsyncIterator[Call]:
    from routewright import ModelGateway

    with TemporaryDirectory() as name:
        folder = Path(name)
        policy = POLICY.read_text(encoding="utf-8").replace("http://localhost:1/v1", url)
        if not quota:
            policy = policy[: policy.index("# The quota")]
        (folder / "execute.yaml").write_text(policy, encoding="utf-8")
        gateway = ModelGateway.from_policy(
            folder / "execute.yaml",
            ledger=folder / "ledger.duckdb" if ledger else None,
            state=folder / "state.sqlite",
        )

        async def call(number: int) -> str | None:
            answer = await gateway.generate_chat(
                messages=[{"role": "user", "content": QUESTION}],
                features={"complexity": (number % 10) / 10, "task_type": "chat", "urgent": number % 7 == 0},
                metadata={"team": "research"},
            )
            return answer.text

        def stored() -> int:
            assert gateway.ledger is not None
            [[count]] = gateway.ledger.query("SELECT count(*) FROM attempt_rows WHERE status = 'ok'").rows
            return int(count)

        # Leaving the gateway writes what is not in the ledger's tables yet: that is part of the time.
        async with gateway:
            yield call
        _CLOSED.append((time.perf_counter(), time.process_time()))
        if ledger:
            _STORED.append(stored())


_STORED: list[int] = []
_CLOSED: list[tuple[float, float]] = []
"""When a way was done that checks something after that."""

WAYS = {
    way.__name__: way
    for way in (aiohttp, openai, litellm_router, routewright, routewright_no_ledger, routewright_quota)
}


async def timed(way: str, url: str, calls: int, at_once: int) -> dict[str, object]:
    """Wall and processor seconds of ``calls`` calls, closing included, and each call's milliseconds."""
    took_ms: list[float] = []

    async def one(call: Call, numbers: AsyncIterator[int] | None = None) -> None:
        for number in remaining:
            begun = time.perf_counter()
            text = await call(number)
            took_ms.append((time.perf_counter() - begun) * 1e3)
            if text != _SAID:
                raise SystemExit(f"{way} answered {text!r}")

    async with WAYS[way](url, at_once) as call:
        warm = max(at_once * 2, 50)
        remaining = iter(range(warm))
        await asyncio.gather(*(one(call) for _ in range(at_once)))
        took_ms.clear()
        # As a server does once it is up: else looking for garbage costs most whoever loaded most.
        gc.collect()
        gc.freeze()
        remaining = iter(range(calls))
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(call) for _ in range(at_once)))
        answered = time.perf_counter()
        gc.unfreeze()
    closed = _CLOSED[0] if _CLOSED else (time.perf_counter(), time.process_time())
    wall_s, cpu_s = closed[0] - wall, closed[1] - cpu
    if _STORED and _STORED != [calls + warm]:
        raise SystemExit(f"{way}: {calls + warm} calls, {_STORED} in the ledger")
    return {"wall_s": wall_s, "answered_s": answered - wall, "cpu_s": cpu_s, "took_ms": sorted(took_ms)}


if __name__ == "__main__":
    way, url, calls, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    print(json.dumps(asyncio.run(timed(way, url, calls, at_once))))
