"""Makes the attempt of a call. Unknown stays unknown; what is estimated says so."""

from __future__ import annotations

from routewright.engine.record import Attempt

from ..cost import cost_nano
from ..errors import BackendError
from ..protocol import NOTHING_USED, ChatAnswer, ChatRequest, Timings, Usage
from ..wire import estimated_usage
from .actions import ACTIONS
from .attempts import AttemptStatus
from .work import Answer, AttemptRole, Request, Target


def usage_of(outcome: Answer | BackendError, request: Request, received: int) -> Usage | None:
    """The tokens of a call as far as they are known. ``received`` counts the characters that had come.

    A call that was refused before it did anything has used none. Of one that broke off and reported nothing, the
    part that came is estimated: it is paid for. A call that gave nothing at all stays unknown.
    """
    if outcome.usage is not None or not isinstance(outcome, BackendError):
        return outcome.usage
    if received and isinstance(request, ChatRequest):
        return estimated_usage(request, received)
    return None if ACTIONS[outcome.error_class].billed else NOTHING_USED


def attempt_of(
    target: Target,
    role: AttemptRole,
    number: int,
    outcome: Answer | BackendError,
    *,
    usage: Usage | None,
    timings: Timings,
    started_us: int,
    shown: bool,
    streamed: bool,
    reason: str | None,
) -> Attempt:
    """The attempt of a call that was made."""
    failure = outcome if isinstance(outcome, BackendError) else None
    answer = None if isinstance(outcome, BackendError) else outcome
    price = target.price
    # No tokens cost nothing at any price; of an answer, a server may say 0 that counts none.
    unused = failure is not None and usage is not None and usage.input_tokens == usage.output_tokens == 0
    uncounted = usage is None or (usage.input_tokens is None and usage.output_tokens is None)
    cost = 0 if unused else cost_nano(usage, price)
    status: AttemptStatus = "ok" if failure is None else "partial" if shown else "failed"
    return Attempt(
        number=number,
        role=role,
        model_id=target.model_id,
        backend_id=target.backend_id,
        model_said=answer.model_said if answer else None,
        started_at_us=started_us,
        load_us=timings.load_us,
        first_token_us=timings.first_token_us,
        total_us=timings.total_us,
        status=status,
        error_class=failure.error_class if failure else None,
        finish_reason=answer.finish_reason if isinstance(answer, ChatAnswer) else None,
        streamed=streamed,
        input_tokens=usage.input_tokens if usage else None,
        cached_input_tokens=usage.cached_input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        tokens_source=None if usage is None or uncounted else usage.source,
        cost_nano=cost,
        currency=price.currency if price else None,
        cost_source=usage.source if usage and cost is not None else None,
        price_since=price.since if price else None,
        simulated=outcome.simulated,
        reason=reason,
        message=str(failure) if failure else None,
    )


def not_called(
    target: Target,
    role: AttemptRole,
    number: int,
    *,
    at_us: int,
    reason: str | None = None,
    cached: Answer | None = None,
    saved_nano: int | None = None,
) -> Attempt:
    """The attempt of a call that was not made: skipped for ``reason``, or answered from the cache. It cost 0."""
    price = target.price
    return Attempt(
        number=number,
        role=role,
        model_id=target.model_id,
        backend_id=target.backend_id,
        model_said=None if cached is None else cached.model_said,
        started_at_us=at_us,
        load_us=None,
        first_token_us=None,
        total_us=0,
        status="skipped" if cached is None else "cached",
        error_class=None,
        finish_reason=cached.finish_reason if isinstance(cached, ChatAnswer) else None,
        streamed=False,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        tokens_source=None,
        cost_nano=0,
        currency=price.currency if price else None,
        cost_source=None,
        price_since=price.since if price else None,
        simulated=cached is not None and cached.simulated,
        cached_answer=cached is not None,
        reason=reason,
        saved_nano=saved_nano,
    )
