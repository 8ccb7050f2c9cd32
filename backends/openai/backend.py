"""Any server that speaks OpenAI's API, over plain HTTP.

OpenAI's own package is not used: a call through it costs five times as much, and it retries by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from routewright.engine.policy import CompiledModel, HttpWay, Server, judge, kinds

from ..errors import BackendError
from ..ollama import DeclaredPlaces
from ..phases import CallClock
from ..protocol import (
    NOTHING_USED,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    Usage,
)
from ..registry import Opening
from ..wire import (
    NOT_COUNTED,
    NOTHING_ASKED,
    PROBE_LIMITS,
    ChatIntake,
    HttpClient,
    Readable,
    Reply,
    Sizes,
    checked_input,
    complaint_in,
    own_name,
    vector_sizes,
)
from .chat import ChatReader
from .errors import failure, refusal_of
from .lists import read_scores, read_tags, read_vectors, score_sizes
from .parameters import Parameters
from .request import RESERVED_OPTIONS, chat_body, embed_body, is_genuine, rerank_body
from .served import Operation, ServedBackend
from .usage import read_usage

WARM_S: Final = 240.0
"""A model that answered this long ago is held to be in memory: less than the shortest keep-alive in use (5 min)."""


class OpenAIBackend(ServedBackend):
    """The server at ``base_url``, such as ``https://api.openai.com/v1``; without a path, ``/v1`` is added.

    ``base_url`` may also be the judgement on an address. If that makes models local, the server is asked before it
    gets a prompt whether it is an Ollama, which would forward some of them.

    ``api_key`` goes to that server alone. ``concurrency`` is how many calls it gets at once, ``health_url`` an
    address of the same server that answers 200 while it is well (default: tried out). ``logits`` says that its
    rerank scores are logits, ``unsupported`` which parameters the models with these tags do not take, ``way`` how
    it is reached besides its address. Raises ValueError for an address or key that cannot be one.

    ``answer``, ``events``, ``vectors`` and ``scores`` ask for the model that the clock of a call names.

    A server that loads models on demand does not say so. While a model has not answered for a while, its first
    token may therefore take ``load_ms`` longer, if that limit is given.
    """

    def __init__(
        self,
        base_url: str | Server,
        *,
        api_key: str | None = None,
        concurrency: int | None = None,
        health_url: str | None = None,
        logits: bool = False,
        unsupported: Mapping[str, Collection[str]] = MappingProxyType({}),
        way: HttpWay = HttpWay(),  # noqa: B008  # frozen
        extra: str = "openai",
    ) -> None:
        server = base_url if isinstance(base_url, Server) else judge("openai", base_url)
        base_url = server.url or ""
        parts = urlsplit(base_url)
        if parts.path in ("", "/"):
            base_url = base_url.rstrip("/") + "/v1"
        self.http = HttpClient(
            base_url,
            extra=extra,
            api_key=api_key,
            concurrency=concurrency,
            this_machine=server.is_local,
            way=way,
        )
        self._places = DeclaredPlaces(self.http, server) if server.stays else None
        if health_url is not None and not self.http.owns(health_url):
            raise ValueError(f"the health address `{health_url}` is on another server than `{base_url}`")
        self._health_url = health_url
        self._genuine = is_genuine(parts.hostname or "")
        self._parameters = Parameters(unsupported)
        self._logits = logits
        self._answered_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"OpenAIBackend({self.http.base_url!r})"

    def server_for(
        self, clock: CallClock, operation: Operation
    ) -> AbstractAsyncContextManager[OpenAIBackend]:
        """The server that has every model."""
        return nullcontext(self)

    async def answer(self, clock: CallClock, request: ChatRequest) -> ChatAnswer:
        """The whole answer.

        With a limit for the first token, or between tokens, it is streamed inside: nothing else can tell whether
        the server is at work.
        """
        if clock.limits.first_token_ms is not None or clock.limits.idle_ms is not None:
            async with aclosing(self.events(clock, request)) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        return event.answer
        name = await self._name(clock, request.options)
        body = self._chat_body(clock, name, request, stream=False)
        async with self._post(clock, "/chat/completions", body) as reply:
            await self._accept(clock, reply, body)
            answer = await self._reader(clock, request, body).whole(reply)
        self._answered(clock)
        return answer

    async def events(self, clock: CallClock, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, then one ``StreamEnd``.

        Once the server has given its finish reason, nothing that happens on the wire takes the answer back.
        """
        name = await self._name(clock, request.options)
        body = self._chat_body(clock, name, request, stream=True)
        async with self._post(clock, "/chat/completions", body) as reply:
            await self._accept(clock, reply, body)
            reader = self._reader(clock, request, body)
            async for event in reader.events(reply):
                yield event
            for event in reader.rest():
                yield event
            answer = reader.finished()
            self._answered(clock)
        yield StreamEnd(answer)

    async def vectors(self, clock: CallClock, request: EmbedRequest) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        if not request.texts:
            return EmbedAnswer((), NOTHING_ASKED, None, clock.timings())
        sizes = vector_sizes(len(request.texts), request.options.get("dimensions"))
        name = await self._name(clock, request.options)
        said = await self._ask(clock, "/embeddings", embed_body(name, request), sizes)
        clock.usage = usage = checked_input(_usage(said), request)
        with Readable(clock, self.http.gate):
            vectors = read_vectors(said, len(request.texts))
        return EmbedAnswer(vectors, usage, self._model(said, name, clock), clock.timings())

    async def scores(self, clock: CallClock, request: RerankRequest) -> RerankAnswer:
        """One score for each document, from servers that offer ``/rerank``; no documents need no call."""
        if not request.documents:
            return RerankAnswer((), NOTHING_ASKED, None, clock.timings())
        name = await self._name(clock, request.options)
        sizes = score_sizes(request.documents)
        said = await self._ask(clock, "/rerank", rerank_body(name, request), sizes)
        clock.usage = usage = checked_input(_usage(said), request)
        with Readable(clock, self.http.gate):
            scores = read_scores(said, len(request.documents), logits=self._logits)
        return RerankAnswer(scores, usage, self._model(said, name, clock), clock.timings())

    async def health(self) -> HealthReport:
        """Whether the server answers: at its health address, at ``/health``, or with its list of models."""
        urls = [self._health_url] if self._health_url else [f"{self.http.root_url}/health", "/models"]
        status, said = 0, None
        for url in urls:
            clock = CallClock(PROBE_LIMITS, who=self.http.base_url)
            try:
                async with self.http.request("GET", url, clock) as reply:
                    status = reply.status
                    if status == 200:
                        await reply.read()
                        return HealthReport(True, "the server answers")
                    said = complaint_in((await reply.refusal())[0])
            except BackendError as error:
                return HealthReport(False, str(error))
            if status in (401, 403, 429) or status >= 500:
                break
        words = f": {self.http.gate.message(said.message)}" if said and said.message else ""
        return HealthReport(False, f"the server answers {status}{words}")

    async def models(self) -> Sequence[str]:
        """What ``/models`` lists, in the server's order."""
        clock = CallClock(PROBE_LIMITS, who=self.http.base_url)
        async with self.http.request("GET", "/models", clock) as reply:
            if reply.status != 200:
                raise await refusal_of(clock, self.http.gate, reply)
            said = await reply.json()
        with Readable(clock, self.http.gate):
            return read_tags(said, self.http.gate)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def _name(self, clock: CallClock, options: Mapping[str, object]) -> str:
        """The name under which to ask for the model. Raises BackendError if it must not be asked.

        The plan chose the model and the way of calling; options may not choose others behind its back.
        """
        if options and (taken := sorted(RESERVED_OPTIONS & set(options))):
            named = ", ".join(f"`{name}`" for name in taken)
            raise clock.error(
                f"{named} cannot be set by options", "invalid_request", help="leave it out of `options`"
            )
        if self._places is None:
            return clock.who
        try:
            return await self._places.name_for(clock, clock.who)
        except BackendError as error:
            error.usage = NOTHING_USED
            raise

    def _chat_body(
        self, clock: CallClock, name: str, request: ChatRequest, *, stream: bool
    ) -> dict[str, Any]:
        body = chat_body(name, request, stream=stream, genuine=self._genuine)
        self._parameters.fit(clock.who, body)
        return body

    def _reader(self, clock: CallClock, request: ChatRequest, body: Mapping[str, Any]) -> ChatReader:
        asked = body.get("max_completion_tokens", body.get("max_tokens"))
        return ChatReader(clock, ChatIntake(self.http.gate, request, asked_tokens=asked), body["model"])

    def _model(self, said: Any, name: str, clock: CallClock) -> str | None:
        model = said.get("model") if isinstance(said, Mapping) else None
        named = self.http.gate.name(model) if isinstance(model, str) and model else None
        return own_name(named, name, clock.who)

    async def _ask(self, clock: CallClock, path: str, body: Mapping[str, Any], sizes: Sizes) -> Any:
        """The JSON of an answer that comes at once."""
        async with self._post(clock, path, body) as reply:
            await self._accept(clock, reply, {})
            said = await reply.json(sizes)
        complaint = complaint_in(said)
        if complaint is not None:  # some proxies say 200 all the same
            raise failure(clock, self.http.gate, complaint, headers=reply.headers)
        self._answered(clock)
        return said

    def _post(
        self, clock: CallClock, path: str, body: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Reply]:
        """The reply, whatever it is: ``_accept`` looks at it first."""
        return self.http.request("POST", path, clock, body=body, next_phase_ms=self._cold_limit(clock))

    async def _accept(self, clock: CallClock, reply: Reply, body: Mapping[str, Any]) -> None:
        if not 200 <= reply.status < 300:
            error = await refusal_of(clock, self.http.gate, reply)
            _, text = await reply.refusal()
            error.adjusted = self._parameters.learn(clock.who, body, reply.status, text)
            raise error

    def _cold_limit(self, clock: CallClock) -> int | None:
        """How long the first token may take when the model may have to be loaded first; else ``None``."""
        load_ms, first_token_ms = clock.limits.load_ms, clock.limits.first_token_ms
        warm = time.monotonic() - self._answered_at.get(clock.who, -WARM_S) < WARM_S
        warm = warm or clock.load_us is not None
        return None if warm or load_ms is None or first_token_ms is None else load_ms + first_token_ms

    def _answered(self, clock: CallClock) -> None:
        self._answered_at[clock.who] = time.monotonic()


def open_backend(
    shape: kinds.OpenAIShape, models: Sequence[CompiledModel], opening: Opening
) -> OpenAIBackend:
    """The server that ``shape`` declares. Raises BackendError and ValueError."""
    return OpenAIBackend(
        shape.server,
        api_key=opening.key(shape.api_key),
        concurrency=shape.concurrency,
        health_url=shape.health,
        way=shape.way,
        unsupported={model.tag: model.shape.unsupported or () for model in models},
    )


def _usage(said: Any) -> Usage:
    return read_usage(said.get("usage")) if isinstance(said, Mapping) else NOT_COUNTED
