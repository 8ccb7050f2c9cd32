"""How long a call may take, and how long to wait before a model is asked again. Pure."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from routewright.engine.policy import DEFAULT_TIMEOUTS, TaskLimits, default_timeouts

from ..errors import ErrorClass
from ..protocol import Limits
from .shares import Share
from .work import Target

GUARD_GRACE_MS: Final = 100
"""How much later than a backend's own limit the guard ends a call: the backend knows better what happened."""

MOST_BACKOFF_MS: Final = 30_000
"""The backoff grows no further."""

MOST_PAUSE_MS: Final = 60_000
"""No pause is longer, deadline or not: a server that asks for more is left alone instead."""

PATIENCE_MS: Final = 2_000
"""While another model could be asked, no pause is longer than this."""

_BACKENDS_PART: Final = 0.98
"""Of the time until the deadline, what the backend gets: a little less, so that it can say itself what happened."""


class Timeouts(NamedTuple):
    """The limits that the backend keeps, and those of the guard, in milliseconds.

    ``stream`` is whether the call is streamed inside. The guard's are for the whole call, for its first token, and
    until something is shown to the caller. ``by_deadline`` are the classes of those of the backend's limits that the
    task's deadline has set.
    """

    limits: Limits
    stream: bool
    total_ms: float
    first_ms: float | None
    unshown_ms: float | None
    total_by: ErrorClass
    by_deadline: frozenset[ErrorClass]


def timeouts_of(
    target: Target, within_ms: int | None, share: Share, *, streamed: bool, chat: bool
) -> Timeouts:
    """The limits of a call that is made now.

    ``within_ms`` is how long the policy lets it keep others waiting. Only chats have a first token: embeddings and
    rankings come at once. A chat is ``streamed`` to its caller, or inside where a limit that is written needs tokens;
    after something of it was shown nobody else can be asked, and the whole time until the deadline is its own.
    """
    own, within = target.limits, within_ms if chat else None
    stream = chat and (streamed or (own.first_token_ms, own.idle_ms, within) != (None, None, None))
    limits, total_ms, guarded_ms, first_ms = _bounded(own, within, stream, target.may_load)
    left_ms = share.left_ms if streamed else share.own_ms
    unshown_ms = share.own_ms if streamed and share.own_ms < share.left_ms else None
    by_deadline: dict[ErrorClass, int] = {}
    if left_ms * _BACKENDS_PART < total_ms:
        by_deadline["timeout.total"] = max(1, int(left_ms * _BACKENDS_PART))
    if unshown_ms is not None and unshown_ms * _BACKENDS_PART < (limits.first_token_ms or total_ms):
        by_deadline["timeout.first_token"] = max(1, int(unshown_ms * _BACKENDS_PART))
    if by_deadline:
        limits = limits._replace(
            first_token_ms=by_deadline.get("timeout.first_token", limits.first_token_ms),
            total_ms=by_deadline.get("timeout.total", total_ms),
        )
    return Timeouts(
        limits,
        stream,
        min(left_ms, guarded_ms),
        first_ms,
        unshown_ms,
        "timeout.deadline" if left_ms < guarded_ms else "timeout.total",
        frozenset(by_deadline),
    )


class _Bounds(NamedTuple):
    """The limits of a call, its total one, and those of the guard for the whole and for the first token."""

    limits: Limits
    total_ms: int
    guarded_ms: float
    first_ms: float | None


@lru_cache(maxsize=256)
def _bounded(own: Limits, within: int | None, streamed: bool, may_load: bool) -> _Bounds:
    """The limits that are written, with the defaults for what is not."""
    if within is not None:
        queue_ms = None if own.queue_ms is None else _least(own.queue_ms, within)
        own = own._replace(queue_ms=queue_ms, first_token_ms=_least(own.first_token_ms, within))
    written = {phase: getattr(own, f"{phase}_ms") for phase in DEFAULT_TIMEOUTS}
    added = default_timeouts(written, streamed=streamed, may_load=may_load)
    own = own._replace(**{f"{phase}_ms": ms for phase, ms in added.items()})
    first_ms, first_token = None, own.first_token_ms
    if first_token is not None and (own.load_ms is not None or not may_load):
        # Where loading has no limit, only the backend can tell it from slowness.
        first_ms = first_token + _grace_ms(first_token) + ((own.load_ms or 0) if may_load else 0)
    assert own.total_ms is not None  # it has a default
    return _Bounds(own, own.total_ms, own.total_ms + _grace_ms(own.total_ms), first_ms)


def pause_ms(
    retry_after_ms: int | None,
    retry: int,
    work: TaskLimits,
    spare_us: float,
    random: Random,
    *,
    more: bool,
) -> float | None:
    """How long to wait before the same model is asked again; None when it should not be.

    ``retry_after_ms`` is what the server asked for. ``retry`` counts from 0; ``more`` says that another model could be
    asked instead, and ``spare_us`` is the time that nobody else needs. Exponential backoff with full jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    base = work.backoff_ms
    if base is None:
        return None
    pause = random.uniform(0, min(MOST_BACKOFF_MS, base * 2**retry))
    # Jitter comes on top: a server's own time is the earliest that makes sense.
    pause += retry_after_ms or 0
    if pause > (PATIENCE_MS if more else MOST_PAUSE_MS):
        return None
    return None if pause * 1_000 >= spare_us else pause


def _least(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)


def _grace_ms(limit_ms: int) -> float:
    """Short limits get a short grace."""
    return min(GUARD_GRACE_MS, limit_ms / 4)
