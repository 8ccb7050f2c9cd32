"""Why calls are not made, in words: a breaker is open, or a quota has no room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from routewright.engine.report import iso_time, money_text

from ..control import Breaker, Refusal, key_words


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a call may not be made, in words; ``until_us`` is when it may be, where that is known.

    ``holds`` says of an open breaker that it is not passed even where no other model is left.
    """

    by: Literal["breaker", "quota", "cost"]
    reason: str
    until_us: int | None = None
    holds: bool = False


def resting(known: Breaker | None, at_us: int) -> Rejection:
    """Why a model whose breaker is not closed is left alone."""
    if known is None or known.state != "open":
        return Rejection("breaker", "its breaker is half open, and another call is trying it", at_us)
    why = "" if known.error_class is None else f" after {known.error_class}"
    until = "" if known.until_us is None else f" until {_time_text(known.until_us)}"
    return Rejection("breaker", f"its breaker is open{until}{why}", known.until_us, known.holds)


def no_room(refusal: Refusal) -> Rejection:
    """Why a quota leaves no room for a call."""
    limit = refusal.limit
    if limit.unit == "cost":
        taken = (
            f"{money_text(refusal.taken)} of {money_text(limit.limit)} {limit.currency},"
            f" and {money_text(limit.amount)} more"
        )
    else:
        unit = "calls at once" if limit.unit == "concurrent" else limit.unit
        taken = f"{refusal.taken} of {limit.limit} {unit}, and {limit.amount} more"
    who = f" for `{key_words(limit.key)}`" if limit.key else ""
    until = "" if refusal.until_us is None else f" until {_time_text(refusal.until_us)}"
    return Rejection("quota", f"`{limit.control}`{who} has no room{until}: {taken} wanted", refusal.until_us)


def _time_text(at_us: int) -> str:
    return iso_time(at_us // 1_000_000 * 1_000_000)
