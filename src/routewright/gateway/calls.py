"""The calls of a gateway that give an answer alone: they make the task, and raise failures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from inspect import isfunction
from typing import Any, Final, TypedDict, Unpack

from routewright.backends.executing import Request
from routewright.engine.decision import Task
from routewright.engine.policy import CompiledPolicy
from routewright.tasks import AnyMessage, ChatOptions, chat_request, check_known, embed_request, task_of

from .own_loop import OwnLoop
from .results import ChatResult, EmbedResult, RunResult, chat_result, embed_result
from .streams import ChatStream, ChatStreamSync


class ExecuteOptions(TypedDict, total=False):
    """The options of ``ModelGateway.execute``."""

    unenforced: bool
    on_text: Callable[[str], None] | None
    tags: Mapping[str, str] | None
    trace_id: str | None


class CallOptions(TypedDict, total=False):
    """What a call says of its task: each of it may be left out, or None.

    ``model`` pins one, by its id or any other name; ``features`` and ``metadata`` are the task's; ``session`` names
    the conversation for rules with ``sticky: session`` (it is ``metadata["session"]``); ``tags``, and ``trace_id``, the
    trace that the call belongs to, are stored with the decision; ``unenforced`` allows a plan that asks for what is not
    supported yet.
    """

    model: str | None
    features: Mapping[str, object] | None
    metadata: Mapping[str, str] | None
    session: str | None
    tags: Mapping[str, str] | None
    trace_id: str | None
    unenforced: bool


class ChatCallOptions(CallOptions, ChatOptions, total=False):
    """What a chat takes: what is said of the task, and of the answer."""


_CHAT_OPTIONS: Final = ChatCallOptions.__annotations__.keys()
_ANSWER_OPTIONS: Final = ChatOptions.__annotations__.keys()

Start = Callable[[Callable[[str], None] | None], Coroutine[Any, Any, RunResult]]
"""Runs what was asked; with a function, the text goes to it piece by piece."""


class Calls(ABC):
    """The calls of whatever decides and executes tasks that say what their requests say.

    All take the options of ``CallOptions``. TaskError is raised for a request that no model can be asked with,
    NoTargetError when no model may do it, BackendError when every model of the plan failed (with ``decision_id`` and
    ``attempts``), and what ``ModelGateway.run`` raises.
    """

    def __init_subclass__(cls) -> None:
        # Python's own messages then name a method as its callers know it.
        for name, method in vars(Calls).items():
            if isfunction(method) and not name.startswith("_"):
                method.__qualname__ = f"{cls.__name__}.{name}"

    _own_loop: OwnLoop

    @abstractmethod
    def _policy_in_force(self) -> CompiledPolicy:
        """The policy whose models prompts are counted for."""

    @abstractmethod
    def _run(self, task: Task, request: Request, **options: Unpack[ExecuteOptions]) -> Awaitable[RunResult]:
        """Decide and execute a task that says what its request does."""

    async def generate_chat(
        self, messages: Sequence[AnyMessage], **options: Unpack[ChatCallOptions]
    ) -> ChatResult:
        """The answer to a conversation.

        A message is ``{"role": …, "content": …}`` as in OpenAI's API, a ``Message``, or an answer as it is. ``options``
        are those of ``CallOptions``, and of the answer: ``max_output_tokens``, ``temperature``, ``top_p``, ``seed``,
        ``stop``, ``tools``, ``json_schema``, ``think``, and ``options`` for what the backend takes besides, each as in
        ``ChatRequest``.
        """
        return chat_result(await self._chat(messages, options)(None))

    def generate_chat_sync(
        self, messages: Sequence[AnyMessage], **options: Unpack[ChatCallOptions]
    ) -> ChatResult:
        """``generate_chat`` for callers without an event loop; raises RuntimeError inside a running one."""
        chat = self._chat(messages, options)
        return chat_result(self._own_loop.run(lambda: chat(None)))

    def stream_chat(self, messages: Sequence[AnyMessage], **options: Unpack[ChatCallOptions]) -> ChatStream:
        """The answer of ``generate_chat`` piece by piece: ``async for``. At its end it has the ``answer``.

        Raises TaskError at once, everything else where the text ends. Closing it early stops the work.
        """
        return ChatStream(self._chat(messages, options))

    def stream_chat_sync(
        self, messages: Sequence[AnyMessage], **options: Unpack[ChatCallOptions]
    ) -> ChatStreamSync:
        """``stream_chat`` for callers without an event loop; raises RuntimeError inside a running one."""
        return ChatStreamSync(self._own_loop, self._chat(messages, options))

    async def embed(self, texts: Sequence[str], **options: Unpack[CallOptions]) -> EmbedResult:
        """One vector for each text, in their order, all of one embedding space."""
        return embed_result(await self._embed(texts, options)(None))

    def embed_sync(self, texts: Sequence[str], **options: Unpack[CallOptions]) -> EmbedResult:
        """``embed`` for callers without an event loop; raises RuntimeError inside a running one."""
        embed = self._embed(texts, options)
        return embed_result(self._own_loop.run(lambda: embed(None)))

    def _chat(self, messages: Sequence[AnyMessage], options: ChatCallOptions) -> Start:
        if not options.keys() <= _CHAT_OPTIONS:
            for name in options:
                check_known(name, ChatCallOptions.__annotations__)
        own = {name: value for name, value in options.items() if name in _ANSWER_OPTIONS}
        return self._start(chat_request(messages, **own), options)  # type: ignore[arg-type]  # the names are the same

    def _embed(self, texts: Sequence[str], options: CallOptions) -> Start:
        for name in options:
            check_known(name, CallOptions.__annotations__)
        return self._start(embed_request(texts), options)

    def _start(self, request: Request, options: CallOptions) -> Start:
        async def run(on_text: Callable[[str], None] | None) -> RunResult:
            task = await task_of(
                request,
                self._policy_in_force(),
                options.get("model"),
                options.get("features"),
                options.get("metadata"),
                options.get("session"),
            )
            return await self._run(
                task,
                request,
                unenforced=options.get("unenforced", False),
                on_text=on_text,
                tags=options.get("tags"),
                trace_id=options.get("trace_id"),
            )

        return run
