"""What follows the end of a call: one decision, from why it ended and how far it had come.

The two tables are all that is said of it; ``docs/executing.md`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from ..errors import BackendError, ErrorClass
from ..protocol import Timings
from .guard import StreamSink

Stage = Literal["unsent", "refused", "begun", "answering", "shown"]
"""How far a call had come when it ended."""

Then = Literal["done", "retry", "next", "stop"]
"""Who is asked after it: nobody, as there is an answer; the same model; the next one; nobody any more."""

Blame = Literal["close", "count", "slow", "cool", "ignore"]
"""What the model's breaker hears: an answer, a failure, that it must be left alone for a while, or nothing.

``slow`` counts as a failure where the model had the time that it usually takes, and gave no token in it.
"""

Cost = Literal["none", "reported", "estimated", "unknown"]
"""What a call cost of which the server reports nothing; what it does report always counts."""

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE


class Failure(NamedTuple):
    """A class of failures.

    ``stage`` is how far a call had come that gave no token, where the backend does not say. ``cool_ms`` is how long the
    model is left alone where the server does not say.
    """

    then: Then
    breaker: Blame
    stage: Stage
    why: str
    cool_ms: int | None = None


class Use(NamedTuple):
    """What a call has used that failed at a stage.

    ``request`` is whether quotas of requests and `max_attempts` count it.
    """

    means: str
    cost: Cost
    request: bool


class Outcome(NamedTuple):
    """What follows one call. Without a ``request`` its reservations are released, and no quota is used."""

    then: Then
    breaker: Blame
    cost: Cost
    request: bool
    cool_ms: int | None = None


STAGES: Final[Mapping[Stage, Use]] = MappingProxyType(
    {
        "unsent": Use("nothing of it had left this machine", "none", request=False),
        "refused": Use("the server had refused it before anything began", "none", request=True),
        "begun": Use("the server had it, and no token had come", "unknown", request=True),
        "answering": Use("tokens had come, and nobody had seen text", "estimated", request=True),
        "shown": Use("the caller had seen text", "estimated", request=True),
    }
)

FAILURES: Final[Mapping[ErrorClass, Failure]] = MappingProxyType(
    {
        "rate_limited": Failure(
            "retry", "cool", "refused", "too many just now; the server may say until when"
        ),
        "quota_exhausted": Failure(
            "next", "cool", "refused", "used up for hours: asking again only wastes calls", _HOUR
        ),
        "payment_required": Failure("next", "cool", "refused", "somebody has to pay first", _HOUR),
        "unauthorized": Failure(
            "next", "cool", "refused", "somebody has to sign in, which takes minutes, not hours", 15 * _MINUTE
        ),
        "not_found": Failure("next", "count", "refused", "the model is not there"),
        "invalid_request": Failure(
            "next", "ignore", "refused", "the request's fault; another server may understand it"
        ),
        "context_overflow": Failure(
            "next", "ignore", "refused", "the request's fault; another model may have a larger window"
        ),
        "refused_content": Failure(
            "stop", "ignore", "begun", "nobody shops around for a model that says yes; some bill the reading"
        ),
        "timeout.queue": Failure(
            "next", "ignore", "unsent", "our own queue (`concurrency`) was too long, or no socket left"
        ),
        "timeout.connect": Failure("next", "count", "unsent", "the server cannot be reached"),
        "timeout.load": Failure("next", "count", "refused", "the model did not get into memory"),
        "timeout.first_token": Failure(
            "next", "count", "begun", "hangs, or is slower than the policy allows"
        ),
        "timeout.idle": Failure("next", "count", "begun", "stopped in the middle"),
        "timeout.total": Failure("next", "count", "begun", "took too long"),
        "timeout.deadline": Failure(
            "next", "slow", "begun", "the task's time was over, or belonged to those who could still be asked"
        ),
        "overloaded": Failure("retry", "count", "refused", "busy or broken for a moment"),
        "broken_stream": Failure("retry", "count", "begun", "the connection broke; nobody has seen anything"),
        "bad_response": Failure("next", "count", "begun", "it would say the same again"),
        "cancelled": Failure("stop", "ignore", "begun", "nobody wants the answer any more"),
    }
)

ANSWERED: Final = Outcome("done", "close", "reported", request=True)
"""What follows an answer. Where the server does not count, its cost is unknown."""


def outcome_of(
    error_class: ErrorClass, stage: Stage, *, had_its_time: bool = True, queued: bool = False
) -> Outcome:
    """What follows a failure. After text that somebody has seen, nothing is started again.

    ``had_its_time`` is whether the model had at least the time that it usually takes, and ``queued`` whether the call
    has waited in our own queue.
    """
    failure, use = FAILURES[error_class], STAGES[stage]
    then: Then = "stop" if stage == "shown" else failure.then
    breaker = failure.breaker
    if error_class == "timeout.total" and queued:
        breaker = "slow"  # a part of that limit was spent in our own queue
    if breaker == "slow":
        breaker = "count" if had_its_time and stage not in ("answering", "shown") else "ignore"
    return Outcome(then, breaker, use.cost, use.request, failure.cool_ms)


def stops(error: BackendError) -> bool:
    """Whether nobody else is asked after a failure, whatever it had come to."""
    return FAILURES[error.error_class].then == "stop"


_LESS: Final = 0.95
"""A backend ends a call a little before its share is over."""


def had_its_time(timings: Timings, queued_us: int, usual_ms: float) -> bool:
    """Whether a call had the time that its model usually takes, once it had left our own queue and was loaded.

    One that is still loading then is as good as slow; servers that do not say when they load cannot be told apart.
    """
    return timings.total_us - queued_us - (timings.load_us or 0) >= _LESS * usual_ms * 1_000


def stage_of(error: BackendError, sink: StreamSink) -> Stage:
    """How far the call had come that ended with ``error``: by what came of it, what the backend says, or its class."""
    clock = sink.progress.clock
    if sink.shown:
        return "shown"
    if sink.received or (clock is not None and clock.first_token_us is not None):
        return "answering"
    if error.begun:
        return "begun"
    if clock is not None and clock.is_unsent:
        return "unsent"
    return FAILURES[error.error_class].stage
