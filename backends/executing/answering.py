"""Targets in order and a request in, the first answer out. Nothing else is called, and each only in its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import BackendError
from .actions import ACTIONS
from .attempts import NotCalledError
from .session import Exhausted, Session
from .work import Answer, Request, Target


class Answered(NamedTuple):
    """An answer and where it comes from.

    ``target`` is the model that gave it, ``attempt`` the number of that call, ``next`` the position of the first
    target that was not tried. ``cached`` answers have been through every step already.
    """

    answer: Answer
    target: Target
    attempt: int
    next: int
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer; ``error`` is that of the last call, or why none was made."""

    error: BackendError


_LAST: Final = "its breaker is open, and no other model is left"

Lookup = Callable[[Target], tuple[Answer, int | None] | None]
"""The answer kept for a target, with what it had cost; None where there is none."""


async def first_answer(
    session: Session,
    targets: Sequence[Target],
    request: Request,
    *,
    start: int = 0,
    lookup: Lookup | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Answered | Failed:
    """The answer of the first of ``targets`` from ``start`` on that gives one.

    A model whose breaker is open is passed over, unless no model could be called at all: then the one whose
    breaker closes first is called once all the same, unless its provider's limit is used up. A failure whose
    class stops the work, and any failure of a stream that has shown text, ends the search.
    """
    error: BackendError | None = None
    denied: BackendError | None = None
    passed_over: list[tuple[int, int]] = []
    called = False
    try:
        for position in range(start, len(targets)):
            target = targets[position]
            kept = None if lookup is None else lookup(target)
            if kept is not None:
                answer, cost_nano = kept
                attempt = session.add_cached(target, target.role, answer, cost_nano)
                return Answered(answer, target, attempt.number, position + 1, cached=True)
            more = position + 1 < len(targets)
            # Where there is nothing else, there is no use in passing it over first.
            alone = not (more or called or passed_over) and session.may_pass(target)
            forced = _LAST if alone else None
            result = await session.obtain(
                target, request, target.role, on_text=on_text, more=more, forced=forced
            )
            if result.answer is not None:
                return Answered(result.answer, target, result.attempt.number, position + 1)
            if result.denied is not None:
                denied = denied or result.error
                if result.denied.by == "breaker" and not result.denied.holds:
                    passed_over.append((result.denied.until_us or 0, position))
                continue
            called, error = True, result.error
            if error is not None and _ends(error, result.attempt.status == "partial"):
                return Failed(error)
        if not called and passed_over:
            _, position = min(passed_over)
            target = targets[position]
            result = await session.obtain(target, request, target.role, on_text=on_text, forced=_LAST)
            if result.answer is not None:
                return Answered(result.answer, target, result.attempt.number, len(targets))
            error = result.error
    except Exhausted as exhausted:
        error = error or exhausted.error
    nothing = NotCalledError("there is no model left to call", error_class="quota_exhausted")
    return Failed(error or denied or nothing)


def _ends(error: BackendError, partial: bool) -> bool:
    return partial or ACTIONS[error.error_class].then == "stop"
