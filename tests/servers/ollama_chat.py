"""`/api/chat` and `/api/generate` of the test server: the real model's words in Ollama's lines, or a fault."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from ollama_faults import FAULTS
from ollama_runner import Runner, RunnerFailed
from ollama_state import State

__all__ = ["chat_lines", "send_lines", "status_fault", "stream_fault"]

_TOKENS_BEFORE_FAULT = 3
_THINKING_TOKENS = 6
_FOR_EVER_S = 3600.0
_TOOL_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "call_1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}
    ],
}


def status_fault(name: str, model: str) -> web.Response | None:
    """The answer of a fault that has a status of its own."""
    fault = FAULTS.get(name)
    if fault is None:
        return None
    headers = {"Content-Type": fault.content_type, **dict(fault.headers)}
    return web.Response(status=fault.status, text=fault.text(model), headers=headers)


async def _truncated(
    runner: Runner, state: State, messages: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """The messages that fit the window, and their tokens: system turns and the last one stay."""
    kept = list(messages)
    while True:
        tokens = await runner.prompt_tokens(state.session, _plain(kept))
        oldest = next((m for m in kept[:-1] if m.get("role") != "system"), None)
        if tokens <= runner.num_ctx or oldest is None:
            return kept, tokens
        kept.remove(oldest)


def _openai_body(body: Mapping[str, Any], messages: list[dict[str, Any]], num_ctx: int) -> dict[str, Any]:
    """What llama.cpp's server is asked."""
    options = body.get("options") or {}
    asked: dict[str, Any] = {"messages": _plain(messages)}
    for theirs, ours in (
        ("temperature", "temperature"),
        ("seed", "seed"),
        ("top_k", "top_k"),
        ("stop", "stop"),
    ):
        if theirs in options:
            asked[ours] = options[theirs]
    predict = options.get("num_predict", -1)
    asked["max_tokens"] = predict if predict > 0 else min(256, num_ctx)
    if body.get("format") == "json":
        asked["response_format"] = {"type": "json_object"}
    elif body.get("format"):
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": body["format"]}}
    return asked


def _plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": _role(message), "content": message.get("content") or ""} for message in messages]


def _role(message: Mapping[str, Any]) -> str:
    return "user" if message["role"] == "tool" else str(message["role"])


async def chat_lines(
    state: State,
    runner: Runner,
    body: Mapping[str, Any],
    *,
    model: str,
    extra: Mapping[str, Any],
    load_ns: int,
    started_ns: int,
    thinks: bool,
    ignores_truncate: bool,
) -> AsyncGenerator[dict[str, Any]]:
    """Ollama's lines for one chat, the last with `done: true`; raises RunnerFailed."""
    messages = list(body["messages"])
    if ignores_truncate or body.get("truncate", True):
        messages, _ = await _truncated(runner, state, messages)
    first_ns = 0
    usage: Mapping[str, Any] = {}
    reason = "stop"
    count = 0
    asked = _openai_body(body, messages, runner.num_ctx)
    async with aclosing(runner.generate(state.session, asked)) as chunks:
        async for chunk in chunks:
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                text = choice["delta"].get("content") or ""
                reason = choice["finish_reason"] or reason
                if text:
                    first_ns = first_ns or time.monotonic_ns()
                    count += 1
                    part = "thinking" if thinks and count <= _THINKING_TOKENS else "content"
                    message = {"role": "assistant", "content": "", part: text}
                    yield {**_head(model, extra), "message": message, "done": False}
    now_ns = time.monotonic_ns()
    yield {
        **_head(model, extra),
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": reason,
        "total_duration": now_ns - started_ns,
        **({"load_duration": load_ns} if load_ns else {}),
        "prompt_eval_count": usage.get("prompt_tokens", 0),
        "prompt_eval_duration": max(1, (first_ns or now_ns) - started_ns - load_ns),
        "eval_count": usage.get("completion_tokens", 0),
        "eval_duration": max(1, now_ns - (first_ns or now_ns)),
    }


def _head(model: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, **extra, "created_at": created}


async def send_lines(
    request: web.Request, lines: AsyncIterator[dict[str, Any]], *, fault: str | None
) -> web.StreamResponse:
    """Stream the lines as NDJSON, with the fault in them. Errors before the first line are the caller's."""
    first = await anext(lines)  # before the headers: the status of a failure until here is a real one
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    tokens = 0
    line: dict[str, Any] | None = first
    while line is not None:
        if (
            fault is not None
            and tokens == _TOKENS_BEFORE_FAULT
            and await _misbehave(request, response, fault)
        ):
            return response
        if fault == "tool_call" and line["done"]:
            await response.write(_encoded({**line, "message": _TOOL_CALL, "done": False}))
        await response.write(_encoded(_twisted(line, fault)))
        if fault == "slow":
            await asyncio.sleep(0.3)
        if fault == "keepalive_lines":
            await response.write(b"\n")
        tokens += 1
        try:
            line = await anext(lines, None)
        except RunnerFailed as failed:  # the status is sent: what is left is a line that says so
            await response.write(_encoded({"error": failed.body}))
            break
    await response.write_eof()
    return response


async def stream_fault(request: web.Request, fault: str) -> web.StreamResponse | None:
    """The answers of faults that come before the first token, without asking the model."""
    if fault == "stalled_before":
        await asyncio.sleep(_FOR_EVER_S)
    if fault == "html":
        return web.Response(text="<html><body>Welcome to the proxy</body></html>", content_type="text/html")
    if fault == "empty":
        return web.Response(headers={"Content-Type": "application/x-ndjson"})
    if fault not in ("cut_before", "stalled_headers", "error_line_first", "not_object", "wrong_types"):
        return None
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    match fault:
        case "cut_before":
            _abort(request)
        case "stalled_headers":
            await asyncio.sleep(_FOR_EVER_S)
        case "error_line_first":
            await response.write(b'{"error":"model runner has unexpectedly stopped"}\n')
        case "not_object":
            await response.write(b'["done"]\n')
        case "wrong_types":
            await response.write(b'{"model":7,"message":"hello","done":"yes"}\n')
    return response


async def _misbehave(request: web.Request, response: web.StreamResponse, fault: str) -> bool:
    """Do what the fault says in the middle of a stream; true when the stream is over."""
    match fault:
        case "cut":
            _abort(request)
        case "stalled":
            await asyncio.sleep(_FOR_EVER_S)
        case "malformed":
            await response.write(b'{"model":"smollm2", "message": oops}\n')
        case "half_line":
            await response.write(b'{"model":"smollm2","message":{"role":"assis')
        case "not_utf8":
            await response.write(b'{"message":{"role":"assistant","content":"\xff\xfe"},"done":false}\n')
        case "error_line":
            await response.write(
                b'{"error":"an error was encountered while running the model: CUDA error"}\n'
            )
        case "error_line_object":
            await response.write(b'{"error":{"message":"the model went away","code":500}}\n')
        case "error_line_status":
            line = {"StatusCode": 429, "Status": "429 Too Many Requests", "error": "rate limit exceeded"}
            await response.write(_encoded(line))
        case "no_done":
            await response.write_eof()
        case _:
            return False
    return True


def _twisted(line: dict[str, Any], fault: str | None) -> dict[str, Any]:
    """The last line as the fault wants it."""
    if not line["done"]:
        return line
    match fault:
        case "load_reason" | "unload_reason":
            return {**line, "done_reason": fault.removesuffix("_reason")}
        case "odd_reason":
            return {**line, "done_reason": "tired"}
        case "no_reason":
            return {name: value for name, value in line.items() if name != "done_reason"}
        case "no_metrics":
            return {name: line[name] for name in ("model", "created_at", "message", "done", "done_reason")}
        case _:
            return line


def _abort(request: web.Request) -> None:
    """Break the connection without a goodbye."""
    if request.transport is not None:
        request.transport.abort()


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
