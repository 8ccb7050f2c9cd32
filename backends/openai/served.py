"""What backends have in common whose models are asked in the OpenAI dialect: the clock of each call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

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

if TYPE_CHECKING:
    from .backend import OpenAIBackend

Operation = Literal["chat", "embed", "rerank"]


class ServedBackend(Backend):
    """Makes the clock of each call, and asks the server that has its model."""

    @abstractmethod
    def server_for(
        self, clock: CallClock, operation: Operation
    ) -> AbstractAsyncContextManager[OpenAIBackend]:
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
    return replace(limits, first_token_ms=None, idle_ms=None)
