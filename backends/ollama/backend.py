"""Calls Ollama servers: models of this machine, cloud models through them, and ollama.com itself.

All goes over plain HTTP: the package `ollama` loses what decides here (headers, the page to sign in, remote fields,
whether a stream ended well), and sends a key found in the environment to any host. Its types read the lists of models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Literal, TypeVar

from routewright.engine.policy import Server, judge

from ..errors import install_command
from ..phases import CallClock
from ..protocol import (
    NO_LIMITS,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    ModelListing,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
)
from ..wire import count_of
from .calls import embed_texts, stream_chat
from .connection import Connection
from .health import PROBE_LIMITS, check_health
from .names import full_name
from .preflight import Preflight

if TYPE_CHECKING:
    from ollama import ListResponse, ProcessResponse

    Said = TypeVar("Said", ListResponse, ProcessResponse)


class OllamaBackend:
    """The server at ``host``; by default the one on this machine.

    ``host`` is an address such as ``localhost:11434``, or the judgement on one, which then includes ``location``.

    ``api_key`` is for ``https://ollama.com``, and refused with any other host. There, models go by their names
    without the cloud suffix. ``location="cloud"`` allows a server of this machine to have models without a cloud
    tag run elsewhere; otherwise such a model is refused before it is asked. ``min_versions`` are the oldest
    servers that run a model, by tag. Raises ValueError for an address or key that cannot be one.

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
        requires_signin: bool = False,
        concurrency: int | None = None,
    ) -> None:
        server = host if isinstance(host, Server) else judge("ollama", host, location=location)
        self._link = Connection(server, api_key=api_key, concurrency=concurrency)
        self._min_version, self._needs_signin = min_version, requires_signin
        self._ready = Preflight(self._link, min_version=min_version, min_versions=min_versions or {})

    def __repr__(self) -> str:
        return f"OllamaBackend({self._link.url!r})"

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer. It is streamed inside: nothing else can tell whether the server is at work."""
        answer: ChatAnswer | None = None
        async with aclosing(self.stream(model, request, limits=limits)) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    answer = event.answer
        # INVARIANT: a stream that does not raise ends with a StreamEnd.
        assert answer is not None
        return answer

    def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent]:
        """Text and thinking as they come, then one ``StreamEnd``. Closing it early stops the generation."""
        return stream_chat(self._link, self._ready, model, request, limits)

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        return await embed_texts(self._link, self._ready, model, request, limits)

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

    async def models(self) -> Sequence[ModelListing]:
        """The models that the server has, by tag; cloud models that were never pulled are not among them."""
        clock = CallClock(PROBE_LIMITS, who=self._link.url)
        try:
            from ollama import ListResponse, ProcessResponse
        except ImportError as error:
            raise clock.error(
                "the package `ollama` is not installed", "not_found", help=install_command("ollama")
            ) from error
        listed = await self._asked(clock, "/api/tags", ListResponse)
        loaded = None
        if not self._link.direct:
            running = await self._asked(clock, "/api/ps", ProcessResponse)
            loaded = {full_name(entry.model or "") for entry in running.models}
        return tuple(
            ModelListing(
                self._link.gate.name(entry.model),
                None if loaded is None else full_name(entry.model) in loaded,
                count_of(entry.size),
            )
            for entry in sorted(listed.models, key=lambda entry: entry.model or "")
            if entry.model
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _asked(self, clock: CallClock, path: str, shape: type[Said]) -> Said:
        """What the server says at ``path``, as the package has it. Raises BackendError."""
        async with self._link.aside.request("GET", path, clock) as reply:
            if reply.status != 200:
                raise await self._link.refusal(clock, reply)
            said = await reply.json()
        with suppress(ValueError):
            return shape.model_validate(said)
        # Not chained: the package's error holds what the server said.
        raise clock.error(
            f"what answers at {self._link.url} is no Ollama server, or a very different one", "bad_response"
        )
