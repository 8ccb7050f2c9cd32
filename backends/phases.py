"""The clock of one call: measures its phases, and ends a phase that takes longer than its limit.

A call goes through ``turn`` (our own queue: others go first), ``connect``, ``load``, ``first_token`` and ``idle``, as
far as a backend can tell them apart; the total limit holds all along. Only waiting for the model counts: while a
reader of a stream is busy with what it got, no phase runs out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import ContextVar
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeVar

from .errors import BackendError, ErrorClass
from .protocol import NO_LIMITS, Limits, Timings, Usage

T = TypeVar("T")

Phase = Literal["turn", "connect", "load", "first_token", "idle"]


class _PhaseFacts(NamedTuple):
    missing: str
    timeout: ErrorClass
    limit_ms: Callable[[Limits], int | None]
    unsent: bool = False
    """Whether nothing of the request has left yet."""


def _queue_ms(limits: Limits) -> int | None:
    """Whoever waits for a first token waits no longer for a turn, unless that has a limit of its own."""
    return limits.first_token_ms if limits.queue_ms is None else limits.queue_ms


_FACTS: Final[dict[Phase, _PhaseFacts]] = {
    "turn": _PhaseFacts("no turn at {}", "timeout.queue", _queue_ms, unsent=True),
    "connect": _PhaseFacts("no connection to {}", "timeout.connect", attrgetter("connect_ms"), unsent=True),
    "load": _PhaseFacts("{} was not loaded", "timeout.load", attrgetter("load_ms")),
    "first_token": _PhaseFacts("no first token from {}", "timeout.first_token", attrgetter("first_token_ms")),
    "idle": _PhaseFacts("no next token from {}", "timeout.idle", attrgetter("idle_ms")),
}


class Progress:
    """How far a call has come: whoever made it reads its clock, once the backend has one."""

    __slots__ = ("clock",)

    def __init__(self) -> None:
        self.clock: CallClock | None = None


FOLLOWED: ContextVar[Progress | None] = ContextVar("followed", default=None)
"""The progress of the call that is made in this context. A call that is cut from outside has no other way to tell."""


class CallClock:
    """Starts when it is made, in phase ``connect``. ``who`` names the model or server in messages.

    ``load_us`` stays ``None`` until a backend that knows it sets it (``loaded``).
    """

    def __init__(self, limits: Limits, *, who: str) -> None:
        self.limits, self.who = limits, who
        self.phase: Phase = "connect"
        self.load_us: int | None = None
        self.first_token_us: int | None = None
        self.usage: Usage | None = None
        self._start = self._phase_start = self._left = time.monotonic()
        self._queued_s = 0.0
        self._phase_ms = limits.connect_ms
        self._limited = limits != NO_LIMITS
        self._waiting: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._expired = False
        self._token_came = False
        progress = FOLLOWED.get()
        if progress is not None:
            progress.clock = self

    @property
    def is_unsent(self) -> bool:
        """Whether nothing of the request has left yet."""
        return _FACTS[self.phase].unsent

    def enter(self, phase: Phase, *, limit_ms: int | None = None) -> None:
        """Begin a phase now; its limit is the one of ``limits`` unless ``limit_ms`` gives another."""
        if self.phase == "turn":
            self._queued_s = self._in_queue_s()
        self.phase = phase
        self._phase_start = self._left = time.monotonic()
        self._phase_ms = _FACTS[phase].limit_ms(self.limits) if limit_ms is None else limit_ms
        self._arm()

    def loaded(self, load_us: int | None = None) -> None:
        """The model is in memory: note how long that took (default: since ``load`` began), await a token."""
        self.load_us = self._phase_us() if load_us is None else load_us
        self.enter("first_token")

    def reported_load(self, load_us: int | None) -> None:
        """The load time that the server reports; unknown if the first token came sooner."""
        most_us = self.total_us() if self.first_token_us is None else self.first_token_us
        self.load_us = load_us if load_us is not None and load_us <= most_us else None

    def token(self) -> None:
        """Something of the answer has come: note the time of the first, and await the next."""
        now = time.monotonic()
        if self.first_token_us is None:
            self.first_token_us = _microseconds(now - self._start)
        self.phase = "idle"
        self._token_came = True
        self._phase_start = self._left = now
        self._phase_ms = self.limits.idle_ms
        self._arm()

    def ending(self, limit_ms: int) -> None:
        """The answer is complete: what may still come of it has so long from now, and no other phase follows."""
        self._limited = True
        self.enter("idle", limit_ms=limit_ms)

    async def wait(self, work: Awaitable[T]) -> T:
        """What ``work`` gives; BackendError ``timeout.<phase>`` when the phase, or the whole, runs out first.

        The awaited work is cancelled then. Time in which nobody waits does not count for a phase.
        """
        if not self._limited:
            return await work
        task = asyncio.current_task()
        assert task is not None  # inside a coroutine there is one
        cancelling = task.cancelling()
        self._phase_start += time.monotonic() - self._left
        self._waiting = task
        self._arm()
        try:
            return await work
        except asyncio.CancelledError as error:
            # As asyncio.timeout has it: ours to turn into an error unless somebody else cancelled too.
            if self._expired:
                self._expired = False
                if task.uncancel() <= cancelling:
                    raise self.timeout() from error
            raise
        finally:
            if self._expired:  # the work ended all the same
                self._expired = False
                task.uncancel()
            self._waiting = None
            self._left = time.monotonic()

    async def turn(self) -> None:
        """Let the event loop do other work while there is still data to read; BackendError when a limit has run out.

        For long runs of data that has already arrived: no wait happens there, so no timer ends them. The time counts
        for the phase unless a token came in it, since the reader of the stream may then have been working.
        """
        now = time.monotonic()
        if self._token_came:
            self._phase_start += now - self._left
            self._token_came = False
        self._left = now
        if now >= self._deadline():
            raise self.timeout()
        await asyncio.sleep(0)

    def stop(self) -> None:
        """The call is over: nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def timeout(self) -> BackendError:
        """The error of a limit that has run out: the total one if that is over, else the phase's.

        Whoever is still in our own queue then was never slow.
        """
        total = self.limits.total_ms
        over = total is not None and self.total_us() >= total * 1_000
        if over and self.phase != "turn":
            return self.error(f"`{self.who}` did not answer within {total} ms", "timeout.total")
        limit_ms = total if over else self._phase_ms
        waited = "" if limit_ms is None else f" within {limit_ms} ms"
        facts = _FACTS[self.phase]
        return self.error(facts.missing.format(f"`{self.who}`") + waited, facts.timeout)

    def error(
        self,
        message: str,
        error_class: ErrorClass,
        *,
        help: str | None = None,
        retry_after_ms: int | None = None,
        begun: bool = False,
    ) -> BackendError:
        """A failure of this call, with the times so far and the usage as far as it was reported."""
        return BackendError(
            message,
            error_class=error_class,
            retry_after_ms=retry_after_ms,
            timings=self.timings(),
            usage=self.usage,
            begun=begun,
            help=help,
        )

    def again(self, error: BackendError) -> BackendError:
        """The same failure as one of this call: several calls may wait for what failed, and each gets its own."""
        return self.error(str(error), error.error_class, help=error.help)

    def timings(self) -> Timings:
        """What was measured until now."""
        return Timings(self.load_us, self.first_token_us, self.total_us())

    def queued_us(self) -> int:
        """Microseconds that the call has spent in our own queue so far."""
        return _microseconds(self._in_queue_s())

    def total_us(self) -> int:
        """Microseconds since the call began."""
        return _microseconds(time.monotonic() - self._start)

    def _in_queue_s(self) -> float:
        waiting_s = time.monotonic() - self._phase_start if self.phase == "turn" else 0.0
        return self._queued_s + waiting_s

    def _phase_us(self) -> int:
        return _microseconds(time.monotonic() - self._phase_start)

    def _deadline(self) -> float:
        """When the phase or the whole runs out, on ``time.monotonic``."""
        phase_ms, total_ms = self._phase_ms, self.limits.total_ms
        phase_end = math.inf if phase_ms is None else self._phase_start + phase_ms / 1_000
        return phase_end if total_ms is None else min(phase_end, self._start + total_ms / 1_000)

    def _arm(self) -> None:
        """Have the timer go off no later than the deadline.

        A timer that goes off too early is set anew then. Most deadlines move away before they are reached, and
        setting the timer anew each time costs more than the rest of the clock.
        """
        if self._waiting is None:
            return
        deadline = self._deadline()
        if deadline == math.inf or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)
        self._timer_at = deadline

    def _ring(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if time.monotonic() < self._deadline():
            self._arm()
        else:
            self._expired = True
            self._waiting.cancel()


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def shared(work: Future[T]) -> Awaitable[T]:
    """What ``work`` gives to whoever waits for it; if one of them gives up, it goes on for the others."""
    waiting = asyncio.wrap_future(work)
    # Its failure may come when nobody waits any more: asyncio would print one that nobody looked at.
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return asyncio.shield(waiting)
