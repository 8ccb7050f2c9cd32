"""Makes the attempt of a call. Unknown stays unknown; what is estimated says so."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from routewright.engine.record import Attempt, Intent

from ..cost import cost_of
from ..errors import BackendError
from ..protocol import NOTHING_USED, ChatAnswer, ChatRequest, Timings, Usage
from ..wire import estimated_usage
from .outcomes import Outcome
from .work import Answer, AttemptRole, Request, Target


def usage_of(came: Answer | BackendError, outcome: Outcome, request: Request, received: int) -> Usage | None:
    """The tokens of a call: as reported, else as its ``outcome`` says; None is unknown.

    ``received`` counts the characters that came. Nothing can be estimated where the backend passed none on.
    """
    if came.usage is not None or not isinstance(came, BackendError):
        return came.usage
    if outcome.cost == "none":
        return NOTHING_USED
    if outcome.cost == "estimated" and received and isinstance(request, ChatRequest):
        return estimated_usage(request, received)
    return None


_NOT_CALLED: Final[dict[str, Any]] = {
    **dict.fromkeys(("load_us", "first_token_us", "error_class", "tokens_source", "cost_source")),
    **dict.fromkeys(("total_us", "cost_nano"), 0),
    **dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"), 0),
}
"""What every attempt says that is no call."""


class Call(NamedTuple):
    """A call that is made now, or is not.

    ``streamed`` is whether text is passed on as it comes, ``simulated`` whether no model is called.
    """

    target: Target
    role: AttemptRole
    number: int
    started_us: int
    streamed: bool = False
    simulated: bool = False

    @property
    def intent(self) -> Intent:
        """What is known of its attempt before it is made."""
        target, price = self.target, self.target.price
        return Intent(
            number=self.number,
            role=self.role,
            model_id=target.model_id,
            backend_id=target.backend_id,
            started_at_us=self.started_us,
            streamed=self.streamed,
            currency=price.currency if price else None,
            price_since=price.since if price else None,
            simulated=self.simulated,
            location=target.location,
            host=target.host,
        )


def attempt_of(
    made: Call,
    outcome: Answer | BackendError,
    *,
    usage: Usage | None,
    timings: Timings,
    shown: bool,
    reason: str | None,
) -> Attempt:
    """The attempt of a call that was made. ``shown`` is whether its caller has seen text of it."""
    failure = outcome if isinstance(outcome, BackendError) else None
    # No tokens cost nothing at any price; of an answer, a server may say 0 that counts none.
    unused = failure is not None and usage is not None and usage.input_tokens == usage.output_tokens == 0
    uncounted = usage is None or (usage.input_tokens is None and usage.output_tokens is None)
    cost = cost_of(usage, made.target.price)
    if unused and usage is not None and cost.cost_source != "billed":
        cost = cost._replace(cost_nano=0, cost_source=usage.source)
    target = made.target
    return Attempt(
        number=made.number,
        role=made.role,
        model_id=target.model_id,
        backend_id=target.backend_id,
        started_at_us=made.started_us,
        streamed=made.streamed,
        simulated=made.simulated or outcome.simulated,
        location=target.location,
        host=target.host,
        cost_nano=cost.cost_nano,
        currency=cost.currency,
        cost_source=cost.cost_source,
        price_since=cost.price_since,
        model_said=None if isinstance(outcome, BackendError) else outcome.model_said,
        load_us=timings.load_us,
        first_token_us=timings.first_token_us,
        total_us=timings.total_us,
        status="ok" if failure is None else "partial" if shown else "failed",
        error_class=failure.error_class if failure else None,
        finish_reason=outcome.finish_reason if isinstance(outcome, ChatAnswer) else None,
        input_tokens=usage.input_tokens if usage else None,
        cached_input_tokens=usage.cached_input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        tokens_source=None if usage is None or uncounted else usage.source,
        reason=reason,
        message=str(failure) if failure else None,
    )


def not_called(
    made: Call, *, reason: str | None = None, cached: Answer | None = None, saved_nano: int | None = None
) -> Attempt:
    """The attempt of a call that was not made: skipped for ``reason``, or answered from the cache. It cost 0."""
    simulated = cached is not None and cached.simulated
    return Attempt(
        **made._replace(streamed=False, simulated=simulated).intent._asdict(),
        **_NOT_CALLED,
        model_said=None if cached is None else cached.model_said,
        status="skipped" if cached is None else "cached",
        finish_reason=cached.finish_reason if isinstance(cached, ChatAnswer) else None,
        cached_answer=cached is not None,
        reason=reason,
        saved_nano=saved_nano,
    )
