"""Runs a call in a task of its own and ends it in time, whatever the backend does.

Backends keep their limits themselves; the guard is for those that hang all the same, or that do not stop when
they are told to. Text is passed on as it comes, and never after the call has ended for the caller.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Final

from ..errors import ErrorClass
from ..phases import FOLLOWED, Progress
from .timing import Timeouts
from .work import Answer

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


class Guard:
    """Runs a call in a task of its own, so that it can be left behind.

    ``run`` gives the answer; else the limit that was reached, or ``cancelled`` where the backend itself cancelled it.
    """

    __slots__ = ("_expired", "_loop", "_queued_ms", "_sink", "_task", "_timeouts", "_timers", "_waiter")

    def __init__(self, sink: StreamSink, timeouts: Timeouts) -> None:
        self._sink, self._timeouts = sink, timeouts
        self._expired: ErrorClass | None = None
        self._queued_ms = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self, work: Awaitable[Answer]) -> Answer | ErrorClass:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] = self._loop.create_future()
        coroutine = work if isinstance(work, CoroutineType) else _awaited(work)
        context = contextvars.copy_context()
        context.run(FOLLOWED.set, self._sink.progress)
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
        if self._sink.begun_s is not None:
            return
        # The model has its whole time once the call has left our own queue, which has a limit of its own.
        queued_ms = self._sink.queued_us / 1_000
        more_ms, self._queued_ms = queued_ms - self._queued_ms, queued_ms
        if more_ms > 0:
            self._after(more_ms, self._first_over)
        else:
            self._expire("timeout.first_token")

    def _share_over(self) -> None:
        if not self._sink.shown:
            self._expire("timeout.deadline")

    def _expire(self, expired: ErrorClass) -> None:
        if self._expired is None and not self._task.done():
            self._expired = expired
            self._sink.closed = True
            self._task.cancel()
            self._after(STOP_GRACE_S * 1_000, self._wake)

    async def _stop(self) -> None:
        """Tell the call to stop, and wait a moment for it."""
        self._sink.closed = True
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
