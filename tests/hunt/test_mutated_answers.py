"""A damaged reply of a server is an answer or a BackendError; the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from support.sizes import ANSWERS, THOROUGH

from routewright.backends import BackendError, ChatRequest, EmbedRequest, Limits, Message
from routewright.backends.ollama.backend import OllamaBackend
from routewright.backends.openai.backend import OpenAIBackend

from .mutations import encoded, mutate_bytes, mutate_value

MOST_STALLED_S = 0.25
ASK = ChatRequest((Message("user", "What is the weather?"),), max_output_tokens=50)
MODEL = "m:1b-cloud"
"""A model that an Ollama server forwards in any case: of others it is asked first where they run."""

LIMITS = Limits(connect_ms=5_000, total_ms=5_000)

TOOL = {"name": "weather", "arguments": {"city": "Paris"}}
CALL = {
    "id": "c1",
    "type": "function",
    "index": 0,
    "function": {**TOOL, "arguments": json.dumps(TOOL["arguments"])},
}
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTS = {
    "total_duration": 5_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": 11,
    "prompt_eval_duration": 1_000_000,
    "eval_count": 7,
    "eval_duration": 2_000_000,
}


def _openai(message: dict[str, Any], finish: str) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish,
        "logprobs": None,
    }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def _ollama(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "", **message}
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": said, "done": False, **more}


_DONE = {"done": True, "done_reason": "stop", **COUNTS}
WHOLE: dict[str, list[Any]] = {
    "openai": [
        _openai({"content": "It rains.", "reasoning_content": "Hm."}, "stop"),
        _openai({"content": None, "tool_calls": [CALL]}, "tool_calls"),
        {
            "error": {
                "message": "slow down",
                "type": "rate_limit",
                "code": "rate_limit_exceeded",
                "param": None,
            }
        },
    ],
    "ollama": [
        _ollama({"content": "It rains.", "thinking": "Hm."}, **_DONE),
        _ollama({"tool_calls": [{"function": TOOL}]}, **_DONE),
        {"error": "model 'm' not found"},
    ],
    "embed openai": [{"data": [{"index": 0, "embedding": [0.6, 0.8]}], "model": "m", "usage": USAGE}],
    "embed ollama": [{"model": "m", "embeddings": [[0.6, 0.8]], **COUNTS}],
}
STREAMED: dict[str, list[list[Any]]] = {
    "openai": [
        [
            _chunk({"role": "assistant", "content": ""}),
            _chunk({"reasoning_content": "Hm."}),
            _chunk({"content": "It "}),
            _chunk({"content": "rains."}),
            _chunk({}, "stop", usage=USAGE),
        ],
        [_chunk({"tool_calls": [CALL]}), _chunk({}, "tool_calls"), {"choices": [], "usage": USAGE}],
    ],
    "ollama": [
        [
            _ollama({"thinking": "Hm."}),
            _ollama({"content": "It "}),
            _ollama({"content": "rains."}),
            _ollama({}, **_DONE),
        ],
        [_ollama({"tool_calls": [{"function": TOOL}]}), _ollama({}, **_DONE)],
    ],
}


@dataclass(frozen=True)
class Case:
    seed: int
    dialect: str
    streamed: bool
    raw: bytes


@dataclass
class Result:
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    stalled_s: float = 0.0
    """The longest that the loop stood still."""
    worked_s: float = 0.0
    """The longest that this process worked meanwhile: the rest is other processes'."""
    stalled: str = ""


def case_of(seed: int) -> Case:
    """A whole reply as it goes over the wire, damaged in its JSON or anywhere behind its first line."""
    random = Random(seed)
    streamed = random.random() < 0.5
    dialect = random.choice(list(STREAMED if streamed else WHOLE))
    in_json = random.random() < 0.6
    parts = random.choice(STREAMED[dialect]) if streamed else [random.choice(WHOLE[dialect])]
    if in_json:
        position = random.randrange(len(parts))
        parts = [*parts[:position], mutate_value(random, parts[position]), *parts[position + 1 :]]
    if not streamed:
        kind, body = "application/json", encoded(parts[0])
    elif dialect == "openai":
        kind = "text/event-stream"
        body = b"".join(b"data: " + encoded(part) + b"\n\n" for part in parts) + b"data: [DONE]\n\n"
    else:
        kind, body = "application/x-ndjson", b"".join(encoded(part) + b"\n" for part in parts)
    if not in_json:
        body = mutate_bytes(random, body)
    status = random.choice((200, 200, 200, 200, 400, 429, 500))
    lines = [f"HTTP/1.1 {status} x", f"Content-Type: {kind}", "Connection: close"]
    if random.random() < 0.3:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    if random.random() < 0.05:
        first, _, rest = head.partition(b"\r\n")
        head = first + b"\r\n" + mutate_bytes(random, rest)
    return Case(seed, dialect, streamed, head + body)


class Replies:
    """A server that gives each request the reply that its path asks for."""

    def __init__(self) -> None:
        self.cases: dict[int, Case] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            if length:
                await reader.readexactly(int(length[0].partition(":")[2]))
            seed = int(head.split("/")[1])
            writer.write(self.cases[seed].raw)
            await writer.drain()
        writer.close()


async def hunt(seeds: range) -> Result:
    result, replies = Result(), Replies()
    server = await asyncio.start_server(replies.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for start in range(0, len(seeds), 50):
            batch = seeds[start : start + 50]
            # Made before the clock runs, so that only what the program does can hold the loop up.
            replies.cases = {seed: case_of(seed) for seed in batch}
            monitor = asyncio.create_task(_watch(result, f"seeds {batch[0]} to {batch[-1]}"))
            await asyncio.gather(*(_ask(url, case, result) for case in replies.cases.values()))
            monitor.cancel()
    return result


async def _watch(result: Result, what: str) -> None:
    while True:
        before, worked_before = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.002)
        result.stalled_s = max(result.stalled_s, time.perf_counter() - before - 0.002)
        worked_s = time.process_time() - worked_before
        if worked_s > result.worked_s:
            result.worked_s, result.stalled = worked_s, what


async def _ask(url: str, case: Case, result: Result) -> None:
    here = f"{url}/{case.seed}"
    backend = OllamaBackend(here) if case.dialect.endswith("ollama") else OpenAIBackend(here)
    try:
        if case.dialect.startswith("embed"):
            await backend.embed(MODEL, EmbedRequest(("hello",)), limits=LIMITS)
        elif case.streamed:
            async for _ in backend.stream(MODEL, ASK, limits=LIMITS):
                pass
        else:
            await backend.chat(MODEL, ASK, limits=LIMITS)
        result.counts["answers"] += 1
    except BackendError as error:
        result.counts[error.error_class] += 1
    except Exception:
        result.faults.append(f"seed {case.seed} ({case.dialect}): {traceback.format_exc(limit=-4)}")
    finally:
        await backend.close()


def test_a_mutated_answer_is_an_answer_or_our_error() -> None:
    result = asyncio.run(hunt(range(ANSWERS)))
    counted = ", ".join(f"{count:,} {name}" for name, count in sorted(result.counts.items()))
    stalled = f"{result.stalled_s * 1000:.0f} ms, {result.worked_s * 1000:.0f} ms at work ({result.stalled})"
    print(f"{counted}; {len(result.faults)} faults; longest stall {stalled}")
    assert result.faults == []
    assert result.counts["answers"] > ANSWERS // 20 and result.counts["bad_response"] > ANSWERS // 20
    if THOROUGH:
        assert result.worked_s < MOST_STALLED_S
