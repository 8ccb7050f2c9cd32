"""The calls of a gateway that give an answer alone: they make the task, and raise failures."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TypedDict, Unpack

from routewright.backends import ChatAnswer, EmbedAnswer, Message
from routewright.backends.executing import Request
from routewright.engine.decision import Task
from routewright.engine.policy import CompiledPolicy
from routewright.tasks import ChatOptions, chat_request, embed_request, task_of

from .results import RunResult, answer_of


class ExecuteOptions(TypedDict, total=False):
    """The options of ``ModelGateway.execute``."""

    unenforced: bool
    on_text: Callable[[str], None] | None
    tags: Mapping[str, str] | None


class Calls(ABC):
    """The calls of whatever decides and executes tasks that say what their requests say.

    They have in common: ``model`` pins one, ``features`` and ``metadata`` are the task's, ``session`` names the
    conversation for rules with ``sticky: session`` (it is ``metadata["session"]``), ``tags`` are stored with the
    decision, ``unenforced`` allows a plan that asks for what is not supported yet. NoTargetError is raised when no
    model may do it, BackendError when every model of the plan failed, and what ``ModelGateway.run`` raises.
    """

    @abstractmethod
    def _policy_in_force(self) -> CompiledPolicy:
        """The policy whose models prompts are counted for."""

    @abstractmethod
    def _run(self, task: Task, request: Request, **options: Unpack[ExecuteOptions]) -> Awaitable[RunResult]:
        """Decide and execute a task that says what its request does."""

    async def generate_chat(
        self,
        *,
        messages: Sequence[Message | Mapping[str, str]],
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        tags: Mapping[str, str] | None = None,
        unenforced: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatAnswer:
        """The answer to a conversation; messages may be ``{"role": …, "content": …}``.

        ``options`` are ``max_output_tokens``, ``temperature``, ``seed``, ``stop``, ``tools`` and ``json_schema``, each
        as in ``ChatRequest``.
        """
        request = chat_request(messages, **options)
        task = await task_of(request, self._policy_in_force(), model, features, metadata, session)
        answer = answer_of(await self._run(task, request, unenforced=unenforced, tags=tags))
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
        tags: Mapping[str, str] | None = None,
        unenforced: bool = False,
        **options: Unpack[ChatOptions],
    ) -> AsyncGenerator[str, None]:
        """The answer of ``generate_chat`` piece by piece. Closing the iterator early stops the work."""
        request = chat_request(messages, **options)
        task = await task_of(request, self._policy_in_force(), model, features, metadata, session)
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        run = self._run(task, request, unenforced=unenforced, on_text=pieces.put_nowait, tags=tags)
        running = asyncio.ensure_future(run)
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
        tags: Mapping[str, str] | None = None,
        unenforced: bool = False,
    ) -> EmbedAnswer:
        """One vector for each text, all of one embedding space."""
        request = embed_request(texts)
        task = await task_of(request, self._policy_in_force(), model, features, metadata, session)
        answer = answer_of(await self._run(task, request, unenforced=unenforced, tags=tags))
        assert isinstance(answer, EmbedAnswer)
        return answer
