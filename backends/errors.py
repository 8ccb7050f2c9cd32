"""What can go wrong in a backend, as a closed list of classes, and the error that carries one.

The class decides what happens next (another model, a pause, an end), so every backend maps its own failures
onto this list and no other exception leaves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from routewright.engine.report import RoutewrightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routewright.engine.record import Attempt

    from .protocol import Timings, Usage


ErrorClass = Literal[
    "rate_limited",  # too many requests just now; `retry_after_ms` may say when
    "quota_exhausted",  # a usage limit that lasts for hours
    "payment_required",
    "unauthorized",
    "not_found",  # the model is not there, or does not offer the operation
    "invalid_request",  # refused before anything begins: not understood, or asks for what the model cannot do
    "context_overflow",
    "refused_content",
    "timeout.queue",  # our own queue was too long: the call never left
    "timeout.connect",
    "timeout.load",
    "timeout.first_token",
    "timeout.idle",
    "timeout.total",
    "timeout.deadline",  # cut by the task's deadline, or to leave time to those who could still be asked
    "overloaded",
    "broken_stream",  # ended without a finish reason
    "bad_response",  # an answer that is not what the protocol promises
    "cancelled",
]

ERROR_CLASSES: Final[tuple[ErrorClass, ...]] = get_args(ErrorClass)


class BackendError(RoutewrightError):
    """A backend could not do what was asked of it; ``error_class`` says in which of the known ways.

    ``retry_after_ms`` is what the server asked for, if it did. ``timings`` and ``usage`` hold what was
    measured until the failure: failed calls take time and may cost money too. ``begun`` says that the server had
    begun, where the class says that it had not. ``simulated`` marks failures that no real model had. ``adjusted``
    names the parameter that the model does not take: the backend leaves it out from now on, so that the same call,
    made again, may succeed. Where a gateway raises it, ``decision_id`` and ``attempts`` say what was
    decided, and every call that was tried, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        error_class: ErrorClass,
        retry_after_ms: int | None = None,
        timings: Timings | None = None,
        usage: Usage | None = None,
        begun: bool = False,
        simulated: bool = False,
        help: str | None = None,
    ) -> None:
        super().__init__(message, help=help)
        self.error_class: ErrorClass = error_class
        self.retry_after_ms = retry_after_ms
        self.timings = timings
        self.usage = usage
        self.begun = begun
        self.simulated = simulated
        self.adjusted: str | None = None
        self.decision_id: str | None = None
        self.attempts: Sequence[Attempt] = ()
