"""Makes the calls of one request: within the budget, admitted, guarded, recorded.

Every way out of a call settles its lease and leaves an attempt, cancellation too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from routewright.engine.record import Attempt, Intent
from routewright.engine.report import RoutewrightError

from ..control import Breaker
from ..errors import BackendError
from ..protocol import NOTHING_USED, Backend, ChatRequest, Timings
from ..unopened import UnopenedBackend
from .admission import Admission
from .asking import COUNTED_ROLES, Exhausted, Result, Services, TargetRequest
from .attempts import NotCalledError
from .budget import Budget, Timeline
from .cache import CachedAnswer
from .calling import call
from .estimate import fitted, input_bound, output_bound
from .guard import StreamSink
from .leases import KeptLease
from .outcomes import ANSWERED, Outcome, had_its_time, outcome_of, stage_of
from .recording import Call, attempt_of, not_called, usage_of
from .rejections import Rejection
from .shares import Share, UsualTimes
from .timing import pause_ms, timeouts_of
from .work import DEFAULT_LEASE_MS, Answer, AttemptRole, Request, Target, Work


class Session:
    """The calls of one request. Every model that is called is one of ``work``'s."""

    def __init__(
        self,
        services: Services,
        work: Work,
        request: Request,
        on_attempt: Callable[[Attempt], None] | None,
        before_call: Callable[[Intent], Awaitable[None]] | None,
    ) -> None:
        self._services, self._work, self._request = services, work, request
        self._on_attempt, self._before_call = on_attempt, before_call
        lease_ms = work.limits.lease_ms
        self._lease_ms = DEFAULT_LEASE_MS if lease_ms is None else lease_ms
        self._loop_time = asyncio.get_running_loop().time
        self.random = services.random
        self.time = Timeline(services.clock)
        self.budget = Budget(work.limits, self.time, self._loop_time)
        self._usual = UsualTimes(work.observed_ms, self.budget.deadline_ms)
        self._attempts: list[Attempt] = []
        self._numbers = 0

    @property
    def retries(self) -> int:
        """How often a model may be asked again."""
        return self._work.retries

    @property
    def fallbacks(self) -> Sequence[Target]:
        """The models that may be asked after an ensemble."""
        return self._work.targets

    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts so far, in the order they began."""
        return tuple(sorted(self._attempts, key=lambda attempt: attempt.number))

    def add_cached(self, target: Target, role: AttemptRole, kept: CachedAnswer) -> Attempt:
        """Record that an answer from the cache was used."""
        made = self._planned(target, role)
        return self._record(not_called(made, cached=kept.answer, saved_nano=kept.cost_nano))

    def resting(self, target: Target) -> Breaker | None:
        """The target's breaker where it is open, else None."""
        return self._services.admission.resting(target.kept_under, self.time.now_us())

    def may_pass(self, target: Target) -> bool:
        """Whether the target's breaker is open, and may be passed where nothing else is left."""
        resting = self.resting(target)
        return resting is not None and not resting.holds

    def exhausted(self, asked: TargetRequest) -> Exhausted:
        """What to raise instead of a call; the call that is not made is on record."""
        why = self.budget.exhausted(counted=asked.role in COUNTED_ROLES)
        assert why is not None
        self._record(not_called(self._planned(asked.target, asked.role), reason=why))
        message = f"`{asked.target.model_id}` was not called: {why}"
        late = self.budget.left_us() == 0
        return Exhausted(
            NotCalledError(message, error_class="timeout.deadline" if late else "quota_exhausted")
        )

    def pause_ms(
        self, asked: TargetRequest, retry_after_ms: int | None, retry: int, *, more: bool
    ) -> float | None:
        """How long to wait before the retry, counted from 0; None if its model should not be asked again.

        Takes no time that is kept for others.
        """
        spare_us = self.budget.left_us() - 1_000 * sum(map(self._usual.kept, self._keeping(asked)))
        return pause_ms(retry_after_ms, retry, self._work.limits, spare_us, self.random, more=more)

    async def pause(self, wait_ms: float) -> None:
        """Wait, and move the request's time on by no less."""
        resume_us = self.time.now_us() + round(wait_ms * 1_000)
        await self._services.sleep(wait_ms / 1_000)
        self.time.advance_to(resume_us)

    async def call(self, asked: TargetRequest, forced: str | None = None, note: str | None = None) -> Result:
        """One call and its attempt, or the refusal of it. Raises Exhausted if no call may be made any more.

        ``forced`` is why an open breaker is passed, ``note`` the reason that the attempt gives for the call.
        """
        target, request, role, on_text, *_ = asked
        if self.budget.exhausted(counted=role in COUNTED_ROLES) is not None:
            raise self.exhausted(asked)
        backend = self._services.backends.get(target.backend_id)
        shows = on_text if isinstance(request, ChatRequest) else None
        made = self._planned(target, role, streamed=shows is not None)
        # The exact type, as `isinstance` with a protocol takes a hundred times as long.
        if backend is None or type(backend) is UnopenedBackend:
            return self._no_backend(made, backend)
        request = fitted(request, target)
        admitted = await self._admit(made, request, forced)
        if isinstance(admitted, Rejection):
            attempt = self._record(not_called(made, reason=admitted.reason))
            message = f"`{target.model_id}` was not called: {admitted.reason}"
            denial = NotCalledError(message, error_class="quota_exhausted")
            return Result(attempt, None, denial, denied=admitted)
        ticket, held_nano = admitted
        if backend.simulated:
            made = made._replace(simulated=True)
        if self._before_call is not None:
            try:
                await self._before_call(made.intent)
            except BaseException as refused:
                await self._withdraw(made, ticket, held_nano, refused)
                raise
        # INVARIANT: from here on, every way out settles ticket and budget and records an attempt.
        sink = StreamSink(shows, self._loop_time)
        share = self._usual.share(target, self._keeping(asked), self.budget.left_us())
        came, timings, interrupted = await self._ask(backend, made, request, sink, ticket, share)
        failure, outcome, queued_us = None, ANSWERED, sink.queued_us
        if isinstance(came, BackendError):
            failure = came
            enough = had_its_time(timings, queued_us, share.usual_ms)
            stage = stage_of(failure, sink)
            outcome = outcome_of(failure.error_class, stage, had_its_time=enough, queued=queued_us > 0)
        usage = usage_of(came, outcome, request, sink.received)
        attempt = attempt_of(
            made, came, usage=usage, timings=timings, shown=sink.shown, reason=ticket.reason or note
        )
        attempt = await self._settle(attempt, outcome, failure, ticket, held_nano, queued_us)
        if interrupted is not None:
            raise interrupted
        return Result(attempt, None if isinstance(came, BackendError) else came, failure, outcome.then)

    async def _withdraw(self, made: Call, ticket: Admission, held_nano: int, error: BaseException) -> None:
        """Take back a call that is not made after all, which leaves an attempt that says why.

        Raises Exhausted where it cannot be put on record, as no other call can then.
        """
        refused = isinstance(error, RoutewrightError)
        if refused:
            why = str(error)
        elif isinstance(error, asyncio.CancelledError):
            why = "the request was cancelled before"
        else:
            why = f"putting it on record failed unexpectedly: {type(error).__name__}"
        self.budget.give_back(held_nano, counted=made.role in COUNTED_ROLES)
        try:
            await self._services.admission.unused(ticket)
        finally:
            self._record(not_called(made, reason=why))
        if refused:
            message = f"`{made.target.model_id}` was not called: {why}"
            raise Exhausted(NotCalledError(message, error_class="quota_exhausted")) from error

    async def _ask(
        self,
        backend: Backend,
        made: Call,
        request: Request,
        sink: StreamSink,
        ticket: Admission,
        share: Share,
    ) -> tuple[Answer | BackendError, Timings, BaseException | None]:
        """What the backend answers, in what time, and what has interrupted the call from outside."""
        target, begun_s = made.target, self._loop_time()
        chat, within_ms = isinstance(request, ChatRequest), self._work.limits.first_token_within_ms
        timeouts = timeouts_of(target, within_ms, share, streamed=made.streamed, chat=chat)
        kept = KeptLease(self._services.admission, ticket, self._lease_ms, self.time.now_us)
        interrupted: BaseException | None = None
        outcome: Answer | BackendError
        try:
            outcome = await call(backend, target, request, timeouts=timeouts, sink=sink)
        except BaseException as error:
            interrupted = error
            outcome = BackendError(
                f"the request was cancelled while `{target.model_id}` worked on it", error_class="cancelled"
            )
        finally:
            kept.end()
        timings = outcome.timings
        if timings is None:
            first_us = None if sink.begun_s is None else int((sink.begun_s - begun_s) * 1e6)
            timings = Timings(None, first_us, max(0, self.time.now_us() - made.started_us))
        return outcome, timings, interrupted

    async def _settle(
        self,
        attempt: Attempt,
        outcome: Outcome,
        error: BackendError | None,
        ticket: Admission,
        held_nano: int,
        queued_us: int,
    ) -> Attempt:
        """Count what the call took, and record its attempt, which says what could not be counted."""
        ended_us = attempt.started_at_us + attempt.total_us
        if attempt.role != "member":
            # Members overlap; whoever waits for all of them moves the time on.
            self.time.advance_to(ended_us)
        self.budget.settle(held_nano, attempt.cost_nano, attempt.currency)
        if not outcome.request and attempt.role in COUNTED_ROLES:
            self.budget.uncount()
        uncounted: str | None = None
        try:
            at_us = max(ended_us, self.time.now_us())
            uncounted = await self._services.admission.used(
                ticket, attempt, outcome, error, queued_us=queued_us, at_us=at_us
            )
        finally:
            if uncounted is not None:
                attempt = attempt._replace(reason="; ".join(filter(None, [attempt.reason, uncounted])))
            self._record(attempt)
        return attempt

    async def _admit(
        self, made: Call, request: Request, forced: str | None
    ) -> tuple[Admission, int] | Rejection:
        """Leave of the budget and of the state, with what is held of the budget."""
        target, at_us = made.target, made.started_us
        input_tokens = output_tokens = 0
        if target.quotas or self._work.limits.cost is not None:
            input_tokens = self._input_bound(request, target)
            output_tokens = output_bound(target, request)
        # The budget first: nothing else of the request comes between its check and this.
        counted = made.role in COUNTED_ROLES
        held = self.budget.hold(target.price, input_tokens, output_tokens, counted=counted)
        if isinstance(held, str):
            return Rejection("cost", held)
        ticket: Admission | Rejection | None = None
        try:
            ticket = await self._services.admission.admit(
                target,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                at_us=at_us,
                expires_us=at_us + 1_000 * self._lease_ms,
                forced=forced,
            )
        finally:
            if not isinstance(ticket, Admission):
                self.budget.give_back(held, counted=counted)
        return ticket if isinstance(ticket, Rejection) else (ticket, held)

    def _keeping(self, asked: TargetRequest) -> Sequence[Target]:
        """For whom time is kept: who is asked after it, and who may be instead, as far as the cap on calls goes."""
        if not asked.behind:
            return asked.after
        instead = [target for target in asked.behind if self.resting(target) is None]
        return [*asked.after, *instead[: self.budget.calls_left()]]

    def _input_bound(self, request: Request, target: Target) -> int:
        """What somebody counted of the prompt, and an upper bound of what steps have added to it."""
        counted = target.prompt_tokens
        if counted is None:
            return input_bound(request)
        return counted + max(0, input_bound(request) - input_bound(self._request))

    def _no_backend(self, made: Call, unopened: UnopenedBackend | None) -> Result:
        """A failure of ours: nothing is sent, so no quota is used and no breaker hears of it."""
        target, at_once = made.target, Timings(None, None, 0)
        if unopened is None:
            message = f"no backend `{target.backend_id}` is set up, so `{target.model_id}` was not called"
            error = BackendError(message, error_class="not_found")
        else:
            error = unopened.failure()
        made = made._replace(streamed=False)
        attempt = attempt_of(made, error, usage=NOTHING_USED, timings=at_once, shown=False, reason=None)
        return Result(self._record(attempt), None, error, outcome_of(error.error_class, "unsent").then)

    def _planned(self, target: Target, role: AttemptRole, *, streamed: bool = False) -> Call:
        self._numbers += 1
        return Call(target, role, self._numbers, self.time.now_us(), streamed)

    def _record(self, attempt: Attempt) -> Attempt:
        self._attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        return attempt
