"""A gateway's calls for whoever wants an answer and nothing else: the task is made here, and failures are raised."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from routewright.backends import ChatAnswer, ChatRequest, EmbedAnswer, EmbedRequest, Message
from routewright.backends.executing import Request
from routewright.engine.decision.task import State, Task

from .results import Ran, answer_of
from .targets import messages_of, task_of, texts_of

__all__ = ["Calls"]


class Calls(ABC):
    """Calls over ``run``, which decides and executes."""

    @abstractmethod
    async def run(
        self,
        task: Task,
        request: Request,
        *,
        state: State | None = None,
        strict: bool = True,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """Decide and execute."""

    async def generate_chat(
        self,
        *,
        messages: Sequence[Message | Mapping[str, str]],
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        max_output_tokens: int | None = None,
        unenforced: bool = False,
    ) -> ChatAnswer:
        """The answer to a conversation. ``model`` pins one; messages may be ``{"role": …, "content": …}``.

        ``session`` names the conversation, for rules with ``sticky: session``: it is ``metadata["session"]``.
        Raises NoTargetError when no model may do it, BackendError when every model of the plan failed, and what
        ``run`` raises.
        """
        request = ChatRequest(messages_of(messages), max_output_tokens=max_output_tokens)
        task = task_of(request, model, features, metadata, session)
        answer = answer_of(await self.run(task, request, unenforced=unenforced))
        assert isinstance(answer, ChatAnswer)
        return answer

    async def stream_chat(
        self,
        *,
        messages: Sequence[Message | Mapping[str, str]],
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        max_output_tokens: int | None = None,
        unenforced: bool = False,
    ) -> AsyncGenerator[str, None]:
        """The answer piece by piece. Closing the iterator early stops the work. Raises as ``generate_chat`` does."""
        request = ChatRequest(messages_of(messages), max_output_tokens=max_output_tokens)
        task = task_of(request, model, features, metadata, session)
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        running = asyncio.ensure_future(
            self.run(task, request, unenforced=unenforced, on_text=pieces.put_nowait)
        )
        running.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            answer_of(await running)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        unenforced: bool = False,
    ) -> EmbedAnswer:
        """One vector for each text, all of one embedding space. Raises as ``generate_chat`` does."""
        request = EmbedRequest(texts_of(texts))
        task = task_of(request, model, features, metadata, session)
        answer = answer_of(await self.run(task, request, unenforced=unenforced))
        assert isinstance(answer, EmbedAnswer)
        return answer
