"""An Ollama server over a real model, with every failure on demand.

    python tests/servers/ollama_server.py --port 0

prints its address and serves until it is killed. It keeps the contract of Ollama 0.33 (``server/routes.go``,
``server/cloud_proxy.go``, ``api/types.go`` in ollama/ollama) as far as a client can see it: models are loaded
on first use and listed while they run, another ``num_ctx`` loads them anew, prompts that are too long are cut,
cloud names need a sign-in. Failures: a model named ``fault-NAME``, or the knobs of ``/_control``
(``ollama_faults.py`` and ``ollama_state.py`` list them). With ``--cloud KEY`` it is ollama.com instead.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
import ollama_discovery
from aiohttp import web
from ollama_chat import chat_lines, send_lines, status_fault, stream_fault
from ollama_faults import FAULTS, STREAM_FAULTS
from ollama_library import LibraryModel, full_name
from ollama_requests import Refused, json_body, resolve, stored_name
from ollama_runner import RunnerFailed
from ollama_state import STATE, State

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note the request, refuse foreign hosts and keys, turn errors into answers."""
    state = request.app[STATE]
    if request.path.startswith("/_control"):
        return await handler(request)
    body = await request.text()
    headers = {name.lower(): value for name, value in request.headers.items()}
    state.requests.append({"method": request.method, "path": request.path, "headers": headers, "body": body})
    if not state.cloud and not _own_host(request.host):
        return web.Response(status=403)
    if state.cloud and request.path != "/api/tags":
        if headers.get("authorization") != f"Bearer {state.api_key}":
            return web.json_response({"error": "unauthorized"}, status=401)
    try:
        return await handler(request)
    except Refused as refused:
        return refused.response
    except RunnerFailed as failed:
        return web.json_response({"error": failed.body}, status=failed.status)
    except web.HTTPNotFound:
        return web.Response(status=404, text="404 page not found")


def _own_host(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_nothing(keep_alive: object) -> bool:
    return keep_alive in (0, "0s", "0m", "0h")


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options = body.get("options") or {}
    for name in ("num_ctx", "num_predict", "seed", "top_k"):
        if name in options and not isinstance(options[name], int):
            raise Refused(500, f'option "{name}" must be of type integer')
    return dict(options)


@routes.post("/api/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    return await _generate(request, operation="chat")


@routes.post("/api/generate")
async def generate(request: web.Request) -> web.StreamResponse:
    body = await json_body(request)
    if body.get("prompt"):
        raise Refused(501, "the test server loads models here, and answers prompts at /api/chat")
    return await _generate(request, operation="load")


async def _generate(request: web.Request, *, operation: str) -> web.StreamResponse:
    state, body = request.app[STATE], await json_body(request)
    started_ns = time.monotonic_ns()
    name = str(body.get("model", ""))
    fault = state.next_fault(request.path, name)
    failed = status_fault(fault, stored_name(state, name).removesuffix(":latest")) if fault else None
    if failed is None and fault is not None and operation == "chat":
        early = await stream_fault(request, fault)
        if early is not None:
            return early
    if failed is not None:
        return failed
    if state.waiting >= state.knobs.max_queue:
        raise Refused(503, "server busy, please try again.  maximum pending requests exceeded")
    model, said, extra = resolve(state, body, operation)
    messages: list[dict[str, Any]] = body.get("messages") or []
    thinks = _thinks(model, body, name)
    for feature, given in (("tools", body.get("tools")), ("vision", any(m.get("images") for m in messages))):
        if given and feature not in model.capabilities:
            raise Refused(400, f"{full_name(name)} does not support {feature}")
    if not messages and _is_nothing(body.get("keep_alive")):
        await state.unload(full_name(stored_name(state, name)))
        return _single(said, extra, {"done": True, "done_reason": "unload"}, operation)
    options = _options(body)
    state.waiting += 1
    try:
        runner, load_ns = await state.runner(
            full_name(stored_name(state, name)),
            embeds=model.embeds,
            num_ctx=options.get("num_ctx"),
            delay_s=1.5 if fault == "cold" else 0,
        )
    finally:
        state.waiting -= 1
    if not messages:
        return _single(said, extra, {"done": True, "done_reason": "load"}, operation)
    lines = chat_lines(
        state,
        runner,
        body,
        model=said,
        extra=extra,
        load_ns=load_ns,
        started_ns=started_ns,
        thinks=thinks,
        ignores_truncate=fault == "ignores_truncate",
    )
    async with aclosing(lines):  # a client that goes away stops the generation
        if body.get("stream", True):
            response: web.StreamResponse = await send_lines(request, lines, fault=fault)
        else:
            response = await _whole(lines)
    if fault == "cold":
        state.forget(full_name(stored_name(state, name)))
    if _is_nothing(body.get("keep_alive")):
        await state.unload(full_name(stored_name(state, name)))
    return response


def _thinks(model: LibraryModel, body: Mapping[str, Any], name: str) -> bool:
    """A thinking model thinks unless told not to; another one cannot be told to."""
    think = body.get("think")
    if "thinking" in model.capabilities:
        return think is not False
    if think:
        raise Refused(400, f'"{name}" does not support thinking')
    return False


def _single(said: str, extra: Mapping[str, Any], rest: Mapping[str, Any], operation: str) -> web.Response:
    content: dict[str, Any] = {"response": ""} if operation == "load" else {}
    if operation == "chat":
        content = {"message": {"role": "assistant", "content": ""}}
    return web.json_response(
        {"model": said, **extra, "created_at": "2026-11-02T09:30:00Z", **content, **rest}
    )


async def _whole(lines: AsyncIterator[dict[str, Any]]) -> web.Response:
    """The lines as one answer."""
    said = {"content": "", "thinking": ""}
    last: dict[str, Any] = {}
    async for last in lines:
        for part in said:
            said[part] += last["message"].get(part, "")
    message = {
        "role": "assistant",
        **{part: text for part, text in said.items() if text or part == "content"},
    }
    return web.json_response({**last, "message": message})


@routes.post("/api/embed")
async def embed(request: web.Request) -> web.StreamResponse:
    state, body = request.app[STATE], await json_body(request)
    started_ns = time.monotonic_ns()
    name = str(body.get("model", ""))
    fault = state.next_fault(request.path, name)
    failed = status_fault(fault, stored_name(state, name).removesuffix(":latest")) if fault else None
    failed = failed or (await stream_fault(request, fault) if fault else None)  # type: ignore[assignment]
    if failed is not None:
        return failed
    model, said, extra = resolve(state, body, "embed")
    texts = body.get("input") or []
    texts = [texts] if isinstance(texts, str) else texts
    num_ctx = _options(body).get("num_ctx")
    runner, load_ns = await state.runner(full_name(stored_name(state, name)), embeds=True, num_ctx=num_ctx)
    vectors, tokens = [], 0
    if texts:
        answer = await runner.ask(state.session, "/v1/embeddings", {"input": texts, "model": "smollm2"})
        vectors, tokens = [entry["embedding"] for entry in answer["data"]], answer["usage"]["prompt_tokens"]
    if fault == "wrong_types":
        vectors = [["a"]]
    if fault == "half_line":
        vectors = vectors[:-1]
    return web.json_response(
        {
            "model": said,
            **extra,
            "embeddings": vectors,
            "total_duration": time.monotonic_ns() - started_ns,
            **({"load_duration": load_ns} if load_ns else {}),
            **({"prompt_eval_count": tokens} if fault != "no_metrics" else {}),
        }
    )


async def serve(args: argparse.Namespace) -> None:
    app = web.Application(middlewares=[gate], client_max_size=64 * 1024 * 1024)
    app.add_routes([*routes, *ollama_discovery.routes])
    # A connection for each request: llama.cpp's server closes those it holds open, also under a request's feet.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as session:
        app[STATE] = State(cloud=args.cloud is not None, api_key=args.cloud, session=session)
        # The handler of a client that has gone is cancelled: so generations and loads stop.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        context = None
        if args.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(args.certificate)
        await web.TCPSite(runner, "127.0.0.1", args.port, ssl_context=context).start()
        port = runner.addresses[0][1]
        print(f"http{'s' if context else ''}://127.0.0.1:{port}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="An Ollama server for tests.", epilog=f"faults: {', '.join([*FAULTS, *STREAM_FAULTS])}"
    )
    parser.add_argument("--port", type=int, default=11434, help="0 takes a free one")
    parser.add_argument("--cloud", metavar="KEY", help="be ollama.com, which wants this API key")
    parser.add_argument("--certificate", help="serve HTTPS with this PEM file (certificate and key)")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
