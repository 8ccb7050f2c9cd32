"""Calls one backend under a guard, which gives an answer or an error of ours in time, whatever the backend does.

Backends keep their limits themselves; the guard is for those that hang all the same, or that do not stop when
they are told to. Text is passed on as it comes, and never after the call has ended for the caller.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from types import CoroutineType
from typing import Any, Final

from ..errors import BackendError, ErrorClass
from ..phases import FOLLOWED, Progress
from ..protocol import (
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
)
from .timing import Timeouts
from .work import Answer, Request, Target

STOP_GRACE_S: Final = 0.25
"""How long a call that was told to stop is waited for; then it is left to itself."""

_LEFT_BEHIND: Final[set[asyncio.Task[Any]]] = set()
"""Calls that did not stop in time: kept so that they are not collected while they run."""


class StreamSink:
    """Passes text on to the caller while the call is open, and notes what came.

    ``progress`` follows the call in its backend. ``begun_s`` is when the first token came, thinking included, on the
    event loop's clock. ``shown`` says whether the caller has seen text; ``caller_error`` is what the caller's own
    function raised.
    """

    __slots__ = ("_on_text", "_time", "begun_s", "caller_error", "closed", "progress", "received", "shown")

    def __init__(self, on_text: Callable[[str], None] | None, time: Callable[[], float]) -> None:
        self._on_text, self._time = on_text, time
        self.begun_s: float | None = None
        self.caller_error: BaseException | None = None
        self.closed = self.shown = False
        self.received = 0
        self.progress = Progress()

    @property
    def queued_us(self) -> int:
        """How long the call has waited in our own queue."""
        return 0 if self.progress.clock is None else self.progress.clock.queued_us()

    def token(self, text: str) -> None:
        """Note a piece of text or thinking."""
        if self.begun_s is None:
            self.begun_s = self._time()
        self.received += len(text)

    def text(self, text: str) -> None:
        """Note a piece of the answer and show it."""
        if not text:
            return
        self.token(text)
        if self._on_text is not None and not self.closed:
            self.shown = True
            try:
                self._on_text(text)
            except BaseException as error:
                self.caller_error = error
                raise


async def call(
    backend: Backend,
    target: Target,
    request: Request,
    *,
    timeouts: Timeouts,
    relay: StreamSink,
) -> Answer | BackendError:
    """What ``target`` answers, or why it does not.

    Raises what the caller's ``on_text`` raised, and CancelledError when the caller is cancelled; the backend has
    been told to stop then.
    """
    guard = _Guard(relay, timeouts)
    try:
        answer = await guard.run(_ask(backend, target, request, timeouts.limits, relay, timeouts.stream))
    except BackendError as error:
        return _past_deadline(target, error, timeouts, relay) if _is_by_deadline(error, timeouts) else error
    except Exception as error:
        if relay.caller_error is error:
            raise
        # A backend raises BackendError alone; whatever else leaves it is a mistake in it, not the caller's.
        wrapped = BackendError(
            f"the backend of `{target.model_id}` failed unexpectedly: {type(error).__name__}",
            error_class="bad_response",
        )
        wrapped.__cause__ = error
        return wrapped
    finally:
        relay.closed = True
    if isinstance(answer, str):
        return _ended(target, answer, timeouts, relay)
    return _checked(target, request, answer)


class _Guard:
    """Runs a call in a task of its own, so that it can be left behind.

    ``run`` gives the answer; else the limit that was reached, or ``cancelled`` where the backend itself cancelled it.
    """

    __slots__ = ("_expired", "_loop", "_queued_ms", "_relay", "_task", "_timeouts", "_timers", "_waiter")

    def __init__(self, relay: StreamSink, timeouts: Timeouts) -> None:
        self._relay, self._timeouts = relay, timeouts
        self._expired: ErrorClass | None = None
        self._queued_ms = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self, work: Awaitable[Answer]) -> Answer | ErrorClass:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] = self._loop.create_future()
        coroutine = work if isinstance(work, CoroutineType) else _awaited(work)
        context = contextvars.copy_context()
        context.run(FOLLOWED.set, self._relay.progress)
        self._task: asyncio.Task[Answer] = self._loop.create_task(coroutine, context=context)
        self._task.add_done_callback(self._wake)
        self._after(self._timeouts.total_ms, self._total_over)
        if self._timeouts.first_ms is not None:
            self._after(self._timeouts.first_ms, self._first_over)
        if self._timeouts.unshown_ms is not None:
            self._after(self._timeouts.unshown_ms, self._share_over)
        try:
            await self._waiter
        except asyncio.CancelledError:
            await self._stop()
            raise
        finally:
            for timer in self._timers:
                timer.cancel()
        if self._expired is not None:
            self._leave_behind()
            return self._expired
        return "cancelled" if self._task.cancelled() else self._task.result()

    def _after(self, delay_ms: float, then: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(delay_ms / 1_000, then))

    def _wake(self, _: object = None) -> None:
        if not self._waiter.done():
            self._waiter.set_result(None)

    def _total_over(self) -> None:
        self._expire(self._timeouts.total_by)

    def _first_over(self) -> None:
        if self._relay.begun_s is not None:
            return
        # The model has its whole time once the call has left our own queue, which has a limit of its own.
        queued_ms = self._relay.queued_us / 1_000
        more_ms, self._queued_ms = queued_ms - self._queued_ms, queued_ms
        if more_ms > 0:
            self._after(more_ms, self._first_over)
        else:
            self._expire("timeout.first_token")

    def _share_over(self) -> None:
        if not self._relay.shown:
            self._expire("timeout.deadline")

    def _expire(self, expired: ErrorClass) -> None:
        if self._expired is None and not self._task.done():
            self._expired = expired
            self._relay.closed = True
            self._task.cancel()
            self._after(STOP_GRACE_S * 1_000, self._wake)

    async def _stop(self) -> None:
        """Tell the call to stop, and wait a moment for it."""
        self._relay.closed = True
        self._task.cancel()
        try:
            await asyncio.wait({self._task}, timeout=STOP_GRACE_S)
        finally:
            self._leave_behind()

    def _leave_behind(self) -> None:
        if not self._task.done():
            _LEFT_BEHIND.add(self._task)
            self._task.add_done_callback(_forget)
        else:
            _forget(self._task)


async def _awaited(work: Awaitable[Answer]) -> Answer:
    return await work


def _forget(task: asyncio.Task[Any]) -> None:
    _LEFT_BEHIND.discard(task)
    if not task.cancelled():
        task.exception()  # asked for, so that nobody warns that it was not


def _ask(
    backend: Backend, target: Target, request: Request, limits: Limits, relay: StreamSink, stream: bool
) -> Awaitable[Answer]:
    # No coroutine of its own: each one between the event loop and the socket costs at every step of an answer.
    match request:
        case ChatRequest() if stream:
            return _streamed(backend.stream(target.tag, request, limits=limits), target, relay)
        case ChatRequest():
            return backend.chat(target.tag, request, limits=limits)
        case EmbedRequest():
            return backend.embed(target.tag, request, limits=limits)
        case RerankRequest():
            return backend.rerank(target.tag, request, limits=limits)


async def _streamed(events: AsyncIterator[StreamEvent], target: Target, relay: StreamSink) -> ChatAnswer:
    answer: ChatAnswer | None = None
    try:
        # Read to the end, also past the answer: a connection is only used again when it was read out.
        async for event in events:
            match event:
                case TextDelta():
                    relay.text(event.text)
                case StreamEnd():
                    answer = event.answer
                case _:
                    relay.token(event.text)
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
    if answer is None:
        raise BackendError(
            f"the answer of `{target.model_id}` ended without a finish reason", error_class="broken_stream"
        )
    return answer


def _ended(target: Target, error_class: ErrorClass, timeouts: Timeouts, relay: StreamSink) -> BackendError:
    """The error of a call that the guard or the backend itself has ended."""
    clock = relay.progress.clock
    if clock is not None and clock.phase == "turn":
        return clock.timeout()
    if error_class == "cancelled":
        return BackendError(f"`{target.model_id}` stopped its own work", error_class=error_class)
    if error_class == "timeout.deadline":
        return _past_deadline(target, None, timeouts, relay)
    guard_ms: float | None
    if error_class == "timeout.first_token":
        what, guard_ms, own_ms = "gave no token within", timeouts.first_ms, timeouts.limits.first_token_ms
    else:
        what, guard_ms, own_ms = "took longer than", timeouts.total_ms, target.limits.total_ms
    # The guard holds a little longer than the limit it guards; the limit is what people know.
    limit_ms = min(guard_ms or 0, guard_ms or 0 if own_ms is None else own_ms)
    message = f"`{target.model_id}` {what} {limit_ms:.0f} ms and was stopped"
    return BackendError(message, error_class=error_class)


def _is_by_deadline(error: BackendError, timeouts: Timeouts) -> bool:
    """Whether it is the task's deadline that set the limit which the backend kept. A server may have limits as well."""
    if error.error_class not in timeouts.by_deadline:
        return False
    limits, timings = timeouts.limits, error.timings
    limit_ms = limits.total_ms if error.error_class == "timeout.total" else limits.first_token_ms
    return timings is not None and limit_ms is not None and timings.total_us >= limit_ms * 1_000


def _past_deadline(
    target: Target, error: BackendError | None, timeouts: Timeouts, relay: StreamSink
) -> BackendError:
    """The failure of a call that the task's deadline has ended, as the backend noticed it or the guard."""
    if relay.shown:  # since then the whole time was its own
        within = f"{timeouts.total_ms:.0f} ms, all the time until the deadline"
    else:
        own_ms = timeouts.total_ms if timeouts.unshown_ms is None else timeouts.unshown_ms
        within = f"{own_ms:.0f} ms, its share of the time until the deadline"
    return BackendError(
        f"`{target.model_id}` did not finish within {within}",
        error_class="timeout.deadline",
        timings=None if error is None else error.timings,
        usage=None if error is None else error.usage,
        begun=error is not None and error.begun,
        simulated=error is not None and error.simulated,
        help="the control `deadline` says how long a task may take, all its calls together",
    )


def _checked(target: Target, request: Request, answer: Answer) -> Answer | BackendError:
    """The answer, unless it is none: withheld by a content filter, or not of the request's size."""
    error_class: ErrorClass = "bad_response"
    match answer:
        case ChatAnswer(finish_reason="content_filter"):
            message, error_class = "withheld its answer: a content filter stopped it", "refused_content"
        case EmbedAnswer() if isinstance(request, EmbedRequest) and len(answer.vectors) != len(request.texts):
            message = f"gave {len(answer.vectors)} vectors for {len(request.texts)} texts"
        case RerankAnswer() if isinstance(request, RerankRequest) and len(answer.scores) != len(
            request.documents
        ):
            message = f"gave {len(answer.scores)} scores for {len(request.documents)} documents"
        case _:
            return answer
    return BackendError(
        f"`{target.model_id}` {message}",
        error_class=error_class,
        timings=answer.timings,
        usage=answer.usage,
        simulated=answer.simulated,
    )
