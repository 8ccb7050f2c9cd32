"""Backends whose models are asked through servers: the clock of each call, and the server that has its model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Literal, Protocol

from ..phases import CallClock
from ..protocol import (
    NO_LIMITS,
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEvent,
)

Operation = Literal["chat", "embed", "rerank"]


class ModelServer(Protocol):
    """A server that can be asked for the model that the clock of a call names. Everything may raise BackendError."""

    async def answer(self, clock: CallClock, request: ChatRequest) -> ChatAnswer:
        """The whole answer."""
        ...

    def events(self, clock: CallClock, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, then one ``StreamEnd``."""
        ...

    async def vectors(self, clock: CallClock, request: EmbedRequest) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        ...

    async def scores(self, clock: CallClock, request: RerankRequest) -> RerankAnswer:
        """One score for each document; no documents need no call."""
        ...


class ServedBackend(Backend):
    """Makes the clock of each call, and asks the server that has its model."""

    @abstractmethod
    def server_for(self, clock: CallClock, operation: Operation) -> AbstractAsyncContextManager[ModelServer]:
        """The server of the model that ``clock`` names, held meanwhile. Entering it raises BackendError."""

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer."""
        clock = CallClock(limits, who=model)
        async with self.server_for(clock, "chat") as server:
            return await server.answer(clock, request)

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, then one ``StreamEnd``."""
        clock = CallClock(limits, who=model)
        async with (
            self.server_for(clock, "chat") as server,
            aclosing(server.events(clock, request)) as events,
        ):
            async for event in events:
                yield event

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        clock = CallClock(_without_tokens(limits), who=model)
        async with self.server_for(clock, "embed") as server:
            return await server.vectors(clock, request)

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """One score for each document; no documents need no call."""
        clock = CallClock(_without_tokens(limits), who=model)
        async with self.server_for(clock, "rerank") as server:
            return await server.scores(clock, request)


def _without_tokens(limits: Limits) -> Limits:
    """For answers that have no tokens, and come at once."""
    return limits._replace(first_token_ms=None, idle_ms=None)
