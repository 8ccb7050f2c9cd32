"""A backend of one server that speaks OpenAI's API, and what such backends have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import replace
from typing import Literal

from routewright.engine.policy import CompiledModel, Server, kinds

from ..phases import CallClock
from ..protocol import (
    NO_LIMITS,
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    ModelListing,
    RerankAnswer,
    RerankRequest,
    StreamEvent,
)
from ..registry import Opening
from .server import OpenAIServer

Operation = Literal["chat", "embed", "rerank"]


class ServedBackend(Backend):
    """Makes the clock of each call, and asks the server that has its model."""

    @abstractmethod
    def server_for(self, clock: CallClock, operation: Operation) -> AbstractAsyncContextManager[OpenAIServer]:
        """The server of the model that ``clock`` names, held meanwhile. Entering it raises BackendError."""

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer."""
        clock = CallClock(limits, who=model)
        async with self.server_for(clock, "chat") as server:
            return await server.chat(clock, request)

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, then one ``StreamEnd``."""
        clock = CallClock(limits, who=model)
        async with (
            self.server_for(clock, "chat") as server,
            aclosing(server.stream(clock, request)) as events,
        ):
            async for event in events:
                yield event

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        clock = CallClock(_without_tokens(limits), who=model)
        async with self.server_for(clock, "embed") as server:
            return await server.embed(clock, request)

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """One score for each document; no documents need no call."""
        clock = CallClock(_without_tokens(limits), who=model)
        async with self.server_for(clock, "rerank") as server:
            return await server.rerank(clock, request)


class OpenAIBackend(ServedBackend):
    """The server at ``base_url``; the keywords are those of ``OpenAIServer``. Raises ValueError like it."""

    def __init__(
        self,
        base_url: str | Server,
        *,
        api_key: str | None = None,
        concurrency: int | None = None,
        health_url: str | None = None,
        logits: bool = False,
    ) -> None:
        self._link = OpenAIServer(
            base_url, api_key=api_key, concurrency=concurrency, health_url=health_url, logits=logits
        )

    def __repr__(self) -> str:
        return f"OpenAIBackend({self._link.http.base_url!r})"

    def server_for(self, clock: CallClock, operation: Operation) -> AbstractAsyncContextManager[OpenAIServer]:
        """The one server."""
        return nullcontext(self._link)

    async def health(self) -> HealthReport:
        """Whether the server answers: at its health address, at ``/health``, or with its list of models."""
        return await self._link.health()

    async def models(self) -> Sequence[ModelListing]:
        """What ``/models`` lists, in the server's order; of llama.cpp also sizes and what is loaded."""
        return await self._link.models()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()


def open_backend(
    shape: kinds.OpenAIShape, models: Sequence[CompiledModel], opening: Opening
) -> OpenAIBackend:
    """The server that ``shape`` declares. Raises BackendError and ValueError."""
    return OpenAIBackend(
        shape.server,
        api_key=opening.key(shape.api_key),
        concurrency=shape.concurrency,
        health_url=shape.health,
    )


def _without_tokens(limits: Limits) -> Limits:
    """For answers that have no tokens, and come at once."""
    return replace(limits, first_token_ms=None, idle_ms=None)
