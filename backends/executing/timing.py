"""How long a call may take, and how long to wait before a model is asked again.

Pure: limits and what is left of the request's time in, milliseconds out.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from routewright.engine.policy import TaskLimits

from ..protocol import Limits
from .work import Target

GUARD_GRACE_MS: Final = 100
"""How much later than a backend's own limit the guard ends a call: the backend knows better what happened."""

MOST_BACKOFF_MS: Final = 30_000
"""The backoff grows no further."""

MOST_PAUSE_MS: Final = 60_000
"""No pause is longer, deadline or not: a server that asks for more is left alone instead."""

PATIENCE_MS: Final = 2_000
"""While another model could be asked, no pause is longer than this."""


class Timeouts(NamedTuple):
    """The limits that the backend keeps, and those of the guard: for the whole call and for its first token."""

    limits: Limits
    total_ms: float | None = None
    first_ms: float | None = None


def timeouts_of(target: Target, work: TaskLimits, left_us: int | None, *, chat: bool) -> Timeouts:
    """The limits of a call that is made now. ``left_us`` is the time until the deadline, None without one.

    Only chats have a first token: embeddings and rankings come at once.
    """
    own, within = target.limits, work.first_token_within_ms if chat else None
    guarded = None if own.total_ms is None else own.total_ms + _grace_ms(own.total_ms)
    if within is None and left_us is None:
        return Timeouts(own, guarded)
    left_ms = None if left_us is None else left_us / 1_000
    # Of the time that is left the backend gets a little less, so that it can say itself what happened.
    total_own = own.total_ms if left_ms is None else _least(own.total_ms, max(1, int(left_ms * 0.98)))
    total = guarded if left_ms is None else left_ms if guarded is None else min(left_ms, guarded)
    first: float | None = None
    if within is not None and (own.load_ms is not None or not target.may_load):
        # Where loading has no limit, only the backend can tell it from slowness.
        first = within + _grace_ms(within) + ((own.load_ms or 0) if target.may_load else 0)
    limits = replace(
        own,
        queue_ms=None if own.queue_ms is None else _least(own.queue_ms, within),
        first_token_ms=_least(own.first_token_ms, within),
        total_ms=total_own,
    )
    return Timeouts(limits, total, first)


def pause_ms(
    retry_after_ms: int | None,
    retry: int,
    work: TaskLimits,
    left_us: int | None,
    random: Random,
    *,
    more: bool,
) -> float | None:
    """How long to wait before the same model is asked again; None when it should not be.

    ``retry_after_ms`` is what the server asked for. ``retry`` counts from 0; ``more`` says that another model could be
    asked instead. Exponential backoff with full jitter:
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
    return None if left_us is not None and pause * 1_000 >= left_us else pause


def _least(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)


def _grace_ms(limit_ms: int) -> float:
    """Short limits get a short grace."""
    return min(GUARD_GRACE_MS, limit_ms / 4)
