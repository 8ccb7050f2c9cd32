"""The work at an Ollama server: one chat or one batch of embeddings, prepared, asked and read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import ChatRequest, EmbedAnswer, EmbedRequest, Limits, StreamEnd, StreamEvent, Usage
from ..wire import ChatIntake, Reply, Unreadable, checked_input, unreadable, vector_sizes
from .answer import ChatPieces, count_usage, load_us, read_vectors, was_truncated
from .connection import Connection
from .preflight import Preflight
from .request import chat_body, embed_body


async def stream_chat(
    connection: Connection, preflight: Preflight, model: str, request: ChatRequest, limits: Limits
) -> AsyncGenerator[StreamEvent]:
    """Text and thinking as they come, then one ``StreamEnd``; raises BackendError for all that is no whole answer.

    Closing it early closes the connection, which is how the server learns to stop.
    """
    clock = CallClock(limits, who=model)
    body = chat_body(model, request)
    await preflight.prepare(clock, body)
    intake = ChatIntake(connection.gate, request, asked_tokens=body.get("options", {}).get("num_predict"))
    pieces = ChatPieces(intake)
    async with connection.calls.request("POST", "/api/chat", clock, body=body) as reply:
        if reply.status != 200:
            raise await connection.refusal(clock, reply)
        try:
            async for lines in reply.lines(intake.sizes):
                for line in lines:
                    if pieces.finished is None and line.strip():
                        for event in _take(connection, clock, reply, pieces, intake, line):
                            yield event
                if pieces.finished is not None:
                    await reply.drain()
                    break
            if pieces.usage is None:
                raise clock.error(f"the answer of `{model}` ended without `done`", "broken_stream")
        except BackendError as error:
            error.usage = intake.spent(pieces.usage)
            raise
        pieces.model_said = _said(pieces.model_said, model, body)
        answer = pieces.answer(clock.timings(), truncated=was_truncated(request, body, pieces.usage))
    yield StreamEnd(answer)


async def embed_texts(
    connection: Connection, preflight: Preflight, model: str, request: EmbedRequest, limits: Limits
) -> EmbedAnswer:
    """One vector for each text, in order; no texts need no call. Raises BackendError."""
    clock = CallClock(limits, who=model)
    if not request.texts:
        return EmbedAnswer((), Usage(0, None, 0, None, "reported"), None, clock.timings())
    body = embed_body(model, request)
    await preflight.prepare(clock, body)
    async with connection.calls.request("POST", "/api/embed", clock, body=body) as reply:
        if reply.status != 200:
            raise await connection.refusal(clock, reply)
        said = await reply.json(vector_sizes(len(request.texts), body.get("dimensions")))
        connection.check(clock, reply, said)
    try:
        vectors = read_vectors(said, len(request.texts))
    except Unreadable as error:
        raise unreadable(error, clock, connection.gate) from error
    if clock.load_us is None:
        clock.reported_load(load_us(said))
    usage = checked_input(replace(count_usage(said, said_something=False), output_tokens=0), request)
    named = said.get("remote_model") or said.get("model")
    model_said = _said(connection.gate.name(named) if isinstance(named, str) else None, model, body)
    return EmbedAnswer(vectors, usage, model_said, clock.timings())


def _take(
    connection: Connection,
    clock: CallClock,
    reply: Reply,
    pieces: ChatPieces,
    intake: ChatIntake,
    line: bytes,
) -> list[StreamEvent]:
    """What a line of a chat adds."""
    if not line.lstrip().startswith(b"{"):
        raise unreadable(Unreadable(f"the line `{intake.gate.shown(line)}`"), clock, connection.gate)
    said = reply.parse(line, intake.sizes)
    connection.check(clock, reply, said)
    try:
        events = pieces.feed(said)
    except Unreadable as error:
        raise unreadable(error, clock, connection.gate) from error
    if pieces.begun:
        clock.token()
    if pieces.finished is not None and clock.load_us is None:
        clock.reported_load(pieces.load_us)
    return events


def _said(named: str | None, model: str, body: Mapping[str, Any]) -> str | None:
    """The model that an answer names; if that is the local-only name, the caller's name for the model."""
    if named is not None and named == body["model"] and named.endswith(":local"):
        return model
    return named
