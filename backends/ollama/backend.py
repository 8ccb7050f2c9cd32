"""Calls Ollama servers: models of this machine, cloud models through them, and ollama.com itself.

All goes over plain HTTP: the package `ollama` loses what decides here (headers, the page to sign in, remote fields,
whether a stream ended well), and sends a key found in the environment to any host. Its types read the list of models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from routewright.engine.policy import CompiledModel, HttpWay, Operation, Server, judge, kinds
from routewright.engine.report import BYTES_PER_GB, install_command

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import (
    NO_LIMITS,
    Backend,
    BackendMemory,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    Timings,
)
from ..registry import Opening
from ..wire import (
    NOTHING_ASKED,
    PROBE_LIMITS,
    ChatIntake,
    Readable,
    Reply,
    Unreadable,
    checked_input,
    own_name,
    unreadable,
    vector_sizes,
)
from .answer import ChatPieces, count_usage, load_us, named_model, read_vectors, was_truncated
from .connection import Connection
from .health import check_health
from .preflight import NO_LIMIT_MS, Preflight
from .request import chat_body, embed_body
from .running import running_models


class OllamaBackend(Backend):
    """The server at ``host``; by default the one on this machine.

    ``host`` is an address such as ``localhost:11434``, or the judgement on one, which then includes ``location``.

    ``api_key`` is for ``https://ollama.com``, and refused with any other host. There, models go by their names
    without the cloud suffix. ``location="cloud"`` allows a server of this machine to have models without a cloud
    tag run elsewhere; otherwise such a model is refused before it is asked. ``min_versions`` are the oldest
    servers that run a model, by tag; ``keep_alives`` say how long it keeps one in memory whose call does not say so.
    All models together have ``memory_gb``, as far as anybody says. Raises ValueError for an address or key that cannot
    be one.

    A limit on loading or on the first token makes the backend ask whether the model is in memory, and load it
    in a phase of its own if it is not.
    """

    def __init__(
        self,
        host: str | Server | None = None,
        *,
        api_key: str | None = None,
        location: Literal["cloud"] | None = None,
        min_version: str | None = None,
        min_versions: Mapping[str, str] | None = None,
        keep_alives: Mapping[str, str] | None = None,
        memory_gb: float | None = None,
        requires_signin: bool = False,
        concurrency: int | None = None,
        way: HttpWay = HttpWay(),  # noqa: B008  # frozen
    ) -> None:
        server = host if isinstance(host, Server) else judge("ollama", host, location=location)
        self._link = Connection(server, api_key=api_key, concurrency=concurrency, way=way)
        self._min_version, self._needs_signin = min_version, requires_signin
        self._keep_alives = dict(keep_alives or {})
        self._limit_bytes = None if memory_gb is None else round(memory_gb * BYTES_PER_GB)
        self._ready = Preflight(self._link, min_version=min_version, min_versions=min_versions or {})

    def __repr__(self) -> str:
        return f"OllamaBackend({self._link.url!r})"

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent]:
        """Text and thinking as they come, then one ``StreamEnd``; raises BackendError for all that is no whole answer.

        Closing it early closes the connection, which is how the server learns to stop.
        """
        clock = CallClock(limits, who=model)
        body = chat_body(model, request)
        await self._ready.prepare(clock, body)
        asked = body.get("options", {}).get("num_predict")
        intake = ChatIntake(self._link.gate, request, asked_tokens=asked)
        pieces = ChatPieces(intake)
        async with self._link.http.request("POST", "/api/chat", clock, body=body) as reply:
            if reply.status != 200:
                raise await self._link.refusal(clock, reply)
            try:
                async for lines in reply.lines(intake.sizes):
                    for line in lines:
                        if pieces.finished is None and line.strip():
                            for event in self._take(clock, reply, pieces, intake, line):
                                yield event
                    if pieces.finished is not None:
                        await reply.drain()
                        break
                if pieces.usage is None:
                    raise clock.error(f"the answer of `{model}` ended without `done`", "broken_stream")
            except BackendError as error:
                error.usage = intake.spent(pieces.usage)
                raise
            pieces.model_said = own_name(pieces.model_said, body["model"], model)
            truncated = was_truncated(request, body, pieces.usage)
            answer = pieces.answer(clock.timings(), truncated=truncated)
        yield StreamEnd(answer)

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text, in order; no texts need no call."""
        clock = CallClock(limits, who=model)
        if not request.texts:
            return EmbedAnswer((), NOTHING_ASKED, None, clock.timings())
        body = self._embed_body(model, request)
        await self._ready.prepare(clock, body)
        async with self._link.http.request("POST", "/api/embed", clock, body=body) as reply:
            if reply.status != 200:
                raise await self._link.refusal(clock, reply)
            said = await reply.json(vector_sizes(len(request.texts), body.get("dimensions")))
            self._link.check(clock, reply, said)
        with Readable(clock, self._link.gate):
            vectors = read_vectors(said, len(request.texts))
        if clock.load_us is None:
            clock.reported_load(load_us(said))
        usage = checked_input(replace(count_usage(said, said_something=False), output_tokens=0), request)
        named = named_model(said)
        model_said = own_name(named and self._link.gate.name(named), body["model"], model)
        return EmbedAnswer(vectors, usage, model_said, clock.timings())

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """Always ``not_found``: Ollama has no rerank call."""
        clock = CallClock(limits, who=model)
        raise clock.error(f"Ollama cannot rerank, so `{model}` was not called", "not_found")

    async def health(self, model: str | None = None) -> HealthReport:
        """Whether the server answers and is new enough; with cloud models, whether it may and can reach them.

        With ``model``, a tag, also whether that model is there. Loads nothing.
        """
        return await check_health(
            self._link, min_version=self._min_version, needs_signin=self._needs_signin, tag=model
        )

    async def models(self) -> Sequence[str]:
        """The models that the server has, by tag; cloud models that were never pulled are not among them."""
        clock = CallClock(PROBE_LIMITS, who=self._link.url)
        try:
            from ollama import ListResponse
        except ImportError as error:
            raise clock.error(
                "the package `ollama` is not installed", "not_found", help=install_command("ollama")
            ) from error
        async with self._link.http.request("GET", "/api/tags", clock, in_turn=False) as reply:
            if reply.status != 200:
                raise await self._link.refusal(clock, reply)
            said = await reply.json()
        with suppress(ValueError):
            tags = [entry.model for entry in ListResponse.model_validate(said).models]
            return sorted(self._link.gate.name(tag) for tag in tags if tag)
        # Not chained: the package's error holds what the server said.
        raise clock.error(
            f"what answers at {self._link.url} is no Ollama server, or a very different one", "bad_response"
        )

    async def memory(self) -> BackendMemory | None:
        """The models that a server on this machine has in memory or loads just now; what expires first goes first."""
        if not self._link.server.is_local:
            return None
        clock = CallClock(PROBE_LIMITS, who=self._link.url)
        status, said = await self._link.ask(clock, "GET", "/api/ps")
        loaded = running_models(said, self._link.gate) if status == 200 else None
        return None if loaded is None else BackendMemory(loaded, self._limit_bytes)

    async def load(self, model: str, operation: Operation, *, limits: Limits = NO_LIMITS) -> Timings:
        """Have the server load the model, with the window that it has by itself."""
        clock = CallClock(limits._replace(load_ms=limits.load_ms or NO_LIMIT_MS), who=model)
        chat = ChatRequest((), keep_alive=self._keep_alives.get(model))
        asked = chat_body(model, chat) if operation == "chat" else self._embed_body(model, EmbedRequest(()))
        await self._ready.prepare(clock, asked)
        return clock.timings()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    def _embed_body(self, model: str, request: EmbedRequest) -> dict[str, Any]:
        kept = self._keep_alives.get(model)
        if kept is not None and "keep_alive" not in request.options:
            request = replace(request, options={**request.options, "keep_alive": kept})
        return embed_body(model, request)

    def _take(
        self, clock: CallClock, reply: Reply, pieces: ChatPieces, intake: ChatIntake, line: bytes
    ) -> list[StreamEvent]:
        """What a line of a chat adds."""
        if not line.lstrip().startswith(b"{"):
            raise unreadable(Unreadable(f"the line `{intake.gate.shown(line)}`"), clock, self._link.gate)
        said = reply.parse(line, intake.sizes)
        self._link.check(clock, reply, said)
        events = pieces.take(said, clock)
        if pieces.finished is not None and clock.load_us is None:
            clock.reported_load(pieces.load_us)
        return events


def open_backend(
    shape: kinds.OllamaShape, models: Sequence[CompiledModel], opening: Opening
) -> OllamaBackend:
    """The server that ``shape`` declares. Raises BackendError and ValueError."""
    return OllamaBackend(
        shape.server,
        api_key=opening.key(shape.api_key),
        min_version=shape.min_version,
        min_versions={m.tag: m.shape.min_version for m in models if m.shape.min_version is not None},
        keep_alives={m.tag: m.shape.keep_alive for m in models if m.shape.keep_alive is not None},
        memory_gb=shape.memory_gb,
        requires_signin=shape.requires_signin,
        concurrency=shape.concurrency,
        way=shape.way,
    )
