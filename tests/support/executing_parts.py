"""Parts for tests of executing: an event loop whose time is virtual, and a backend that does as it is told."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeVar

from routewright.backends import (
    NO_LIMITS,
    Backend,
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    ErrorClass,
    HealthReport,
    Limits,
    Message,
    PriceFacts,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
    Usage,
)
from routewright.backends.control import StateStore
from routewright.backends.executing import (
    AnswerCache,
    Attempt,
    Execution,
    Executor,
    Request,
    Target,
    TaskCost,
    Work,
)
from routewright.backends.phases import CallClock, Phase
from routewright.backends.protocol import FinishReason

T = TypeVar("T")

START_US = 1_700_000_000_000_000
HELLO = ChatRequest((Message("user", "which model?"),))
PRICE = PriceFacts(1_000_000_000, 2_000_000_000, None, "USD", "2026-01-01")
USED = Usage(10, 0, 5, 0, "reported")
USED_NANO = 10 * 1_000 + 5 * 2_000


def cost_of(limit: int) -> TaskCost:
    """A cap of ``limit`` nano-dollars on all calls, under which no model without a price is called."""
    return TaskCost("cost", limit, "USD", refuses_unknown=True)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing can run, its time jumps to the next timer."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._virtual_s

    def jump(self, by_s: float) -> None:
        self._virtual_s += by_s


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everything waits, and nothing will ever happen")
            self._loop.jump(max(timeout, 1e-6) if timeout else 0)
        return ready


def run_virtual(main: Callable[[Callable[[], int]], Coroutine[Any, Any, T]]) -> T:
    """What ``main`` gives in virtual time; it gets a clock in microseconds that follows the loop's."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        return runner.run(main(lambda: START_US + round(loop.time() * 1e6)))


def execute_sync(
    targets: Sequence[Target],
    request: Request,
    backends: Mapping[str, Backend],
    *,
    clock: Callable[[], int],
    on_text: Callable[[str], None] | None = None,
) -> Execution:
    """What comes of work that holds nothing but targets."""
    return asyncio.run(Executor(backends, clock=clock).run(Work(tuple(targets)), request, on_text=on_text))


@dataclass(frozen=True)
class Says:
    """Answers, with the first token after ``first_s`` and the end ``rest_s`` later."""

    text: str = "hello there"
    first_s: float = 0.0
    rest_s: float = 0.0
    usage: Usage = USED
    finish: FinishReason = "stop"
    thinks: bool = False
    load_s: float = 0.0
    truncated: bool = False
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Fails:
    """Raises an error of a class, after ``text`` has come and ``after_s`` has passed.

    ``phase`` is how far its clock says that the call had come; without one the backend does not say.
    """

    error_class: ErrorClass
    after_s: float = 0.0
    retry_after_ms: int | None = None
    text: str = ""
    usage: Usage | None = None
    phase: Phase | None = None
    begun: bool = False


@dataclass(frozen=True)
class Hangs:
    """Gives ``text`` and then nothing for ever; a ``stubborn`` one does not stop when it is told to."""

    text: str = ""
    stubborn: bool = False


@dataclass(frozen=True)
class Ends:
    """Gives ``text`` and ends without an end."""

    text: str = ""


@dataclass(frozen=True)
class Crashes:
    """Raises what a backend never should."""

    text: str = ""


Act = Says | Fails | Hangs | Ends | Crashes


@dataclass
class Scripted(Backend):
    """A backend that does for each call of a tag what its script says next; after that it answers.

    ``calls`` holds what was asked, ``stopped`` the tags of calls that were told to stop.
    """

    script: Mapping[str, Sequence[Act]] = field(default_factory=dict)
    calls: list[tuple[str, Request, Limits]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    simulated: bool = False

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _, _ in self.calls]

    def asked(self, number: int) -> ChatRequest:
        request = self.calls[number][1]
        assert isinstance(request, ChatRequest)
        return request

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        answer: ChatAnswer | None = None
        async for event in self.stream(model, request, limits=limits):
            if isinstance(event, StreamEnd):
                answer = event.answer
        if answer is None:
            raise BackendError("no end", error_class="broken_stream")
        return answer

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncIterator[StreamEvent]:
        act = self._next(model, request, limits)
        try:
            match act:
                case Says():
                    await asyncio.sleep(act.load_s + act.first_s)
                    if act.thinks:
                        yield ThinkingDelta("hm")
                    half = len(act.text) // 2
                    for piece in filter(None, (act.text[:half], act.text[half:])):
                        yield TextDelta(piece)
                    await asyncio.sleep(act.rest_s)
                    load_us, first_us = round(act.load_s * 1e6), round((act.load_s + act.first_s) * 1e6)
                    timings = Timings(load_us, first_us, first_us + round(act.rest_s * 1e6))
                    yield StreamEnd(
                        ChatAnswer(
                            act.text,
                            act.finish,
                            act.usage,
                            model,
                            timings,
                            tool_calls=act.tool_calls,
                            truncated=act.truncated,
                        )
                    )
                case Fails():
                    if act.phase is not None:
                        CallClock(NO_LIMITS, who=model).enter(act.phase)
                    if act.text:
                        yield TextDelta(act.text)
                    await asyncio.sleep(act.after_s)
                    raise self._error(act)
                case Hangs():
                    if act.text:
                        yield TextDelta(act.text)
                    await self._hang(act.stubborn)
                case Ends():
                    if act.text:
                        yield TextDelta(act.text)
                case Crashes():
                    if act.text:
                        yield TextDelta(act.text)
                    raise ZeroDivisionError("a mistake in the backend")
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped.append(model)
            raise

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        act = self._next(model, request, limits)
        if isinstance(act, Fails):
            raise self._error(act)
        return EmbedAnswer(tuple((1.0, 0.0) for _ in request.texts), USED, model, Timings(0, None, 0))

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        act = self._next(model, request, limits)
        if isinstance(act, Fails):
            raise self._error(act)
        return RerankAnswer(tuple(0.5 for _ in request.documents), USED, model, Timings(0, None, 0))

    async def health(self) -> HealthReport:
        return HealthReport(True, "scripted")

    async def models(self) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        return None

    def _next(self, tag: str, request: Request, limits: Limits) -> Act:
        done = self.tags.count(tag)
        self.calls.append((tag, request, limits))
        acts = self.script.get(tag, ())
        return acts[done] if done < len(acts) else Says()

    def _error(self, act: Fails) -> BackendError:
        return BackendError(
            f"failed as scripted: {act.error_class}",
            error_class=act.error_class,
            retry_after_ms=act.retry_after_ms,
            usage=act.usage,
            begun=act.begun,
        )

    async def _hang(self, stubborn: bool) -> None:
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                # Stubborn once: the end of the test tells it again.
                if not stubborn:
                    raise
                stubborn = False


def target(name: str, **facts: Any) -> Target:
    """A target whose id, backend and tag are ``name``, ``b`` and ``name``; it needs no loading."""
    return replace(Target(name, "b", name, price=PRICE, may_load=False), **facts)


def targets(*names: str) -> tuple[Target, ...]:
    """The answer's target and its fallbacks."""
    return tuple(target(name, role="fallback" if at else "answer") for at, name in enumerate(names))


@dataclass(frozen=True)
class RunResult:
    """An execution with how long it took in virtual seconds, what was shown, and what the sink got."""

    execution: Execution
    backend: Scripted
    took_s: float
    shown: str
    heard: tuple[Attempt, ...]

    @property
    def text(self) -> str | None:
        answer = self.execution.answer
        return answer.text if isinstance(answer, ChatAnswer) else None

    @property
    def error_class(self) -> str | None:
        return None if self.execution.error is None else self.execution.error.error_class

    def outline(self) -> list[tuple[str, str, str, str | None]]:
        """Role, model, status and class or reason of each attempt."""
        return [(a.role, a.model_id, a.status, a.error_class or a.reason) for a in self.execution.attempts]


def carry_out(
    work: Work,
    script: Mapping[str, Sequence[Act]] | None = None,
    *,
    request: Request = HELLO,
    stream: bool = False,
    store: StateStore | None = None,
    cache: AnswerCache | None = None,
    random: Random | None = None,
    backend: Scripted | None = None,
) -> RunResult:
    """What comes of ``work`` in virtual time, with a scripted backend."""
    scripted = Scripted(script or {}) if backend is None else backend
    shown: list[str] = []
    heard: list[Attempt] = []

    async def main(clock: Callable[[], int]) -> tuple[Execution, float]:
        loop = asyncio.get_running_loop()
        executor = Executor(
            {"b": scripted}, clock=clock, store=store, cache=cache, random=random or Random(1)
        )
        began = loop.time()
        execution = await executor.run(
            work, request, on_text=shown.append if stream else None, on_attempt=heard.append
        )
        return execution, loop.time() - began

    execution, took_s = run_virtual(main)
    return RunResult(execution, scripted, took_s, "".join(shown), tuple(heard))


def every_target(work: Work) -> Iterator[Target]:
    """All that may be called, in no order that matters."""
    yield from work.targets
    yield from (step.target for step in work.steps)
    if work.ensemble is not None:
        yield from work.ensemble.members
        if work.ensemble.judge is not None:
            yield work.ensemble.judge
