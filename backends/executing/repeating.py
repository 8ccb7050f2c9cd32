"""Asks one target, and asks it again where that may help: without a parameter that it refused, or after a pause.

The one loop that retries.
"""

from __future__ import annotations

from typing import Final

from .asking import COUNTED_ROLES, Result, TargetRequest
from .session import Session

_MOST_ADJUSTMENTS: Final = 3
"""Parameters that a model may refuse one after the other."""


async def obtain(
    session: Session,
    asked: TargetRequest,
    *,
    more: bool = False,
    forced: str | None = None,
    spare: int = 0,
) -> Result:
    """One target's result, after retries where its failure and the work's backoff allow them.

    ``forced`` is why an open breaker is passed: by a single call, as the model has just failed. ``more`` and
    ``spare`` are those of ``retry``. Raises Exhausted when not even the first call may be made.
    """
    result = await session.call(asked, forced)
    for _ in range(_MOST_ADJUSTMENTS):
        without = None if result.error is None else result.error.adjusted
        if without is None or not _has_room(session, asked, spare) or session.budget.left_us() == 0:
            break
        asked = _again(asked)
        adjusted = await session.call(asked, forced, f"without `{without}`, which the model does not take")
        if adjusted.denied is not None:
            break
        result = adjusted
    return result if forced is not None else await retry(session, result, asked, more=more, spare=spare)


async def retry(
    session: Session, result: Result, asked: TargetRequest, *, more: bool = False, spare: int = 0
) -> Result:
    """``result``, or what came of asking its model again; from the retry on that ``result`` holds.

    ``more`` says that another model could be asked instead of waiting long. ``spare`` is how many calls of the cap
    are left to others. Raises Exhausted where nothing is left for others either.
    """
    for number in range(result.held or 0, session.retries):
        error = result.error
        if error is None or result.then != "retry":
            break
        asked = _again(asked)
        wait_ms = session.pause_ms(asked, error.retry_after_ms, number, more=more)
        if wait_ms is None or session.budget.left_us() == 0:
            break
        if not _has_room(session, asked, spare):
            if result.held is not None:
                raise session.exhausted(asked)
            return result._replace(held=number)
        await session.pause(wait_ms)
        if session.budget.left_us() == 0:
            break
        if not _has_room(session, asked, spare):
            return result._replace(held=number)  # other members were faster
        repeated = await session.call(asked)
        if repeated.denied is not None:
            # The breaker opened meanwhile: the failure that opened it is what came of the target.
            break
        result = repeated
    return result._replace(held=None)


def _again(asked: TargetRequest) -> TargetRequest:
    return asked._replace(role="retry") if asked.role in ("answer", "fallback") else asked


def _has_room(session: Session, asked: TargetRequest, spare: int) -> bool:
    """Whether the cap on calls has one for it beside the ``spare`` of others."""
    return asked.role not in COUNTED_ROLES or session.budget.leaves(spare)
