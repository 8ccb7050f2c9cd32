"""Asks targets in order for an answer. Nothing else is called, and each only in its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import BackendError
from ..protocol import ChatAnswer
from .actions import ACTIONS
from .attempts import NotCalledError
from .session import Exhausted, Result, Session
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

    @property
    def chat(self) -> ChatAnswer:
        """The answer to a chat."""
        # INVARIANT: what a chat is answered with is a ChatAnswer.
        assert isinstance(self.answer, ChatAnswer)
        return self.answer


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

    A retry leaves enough of the cap on calls for each target that follows; what is left after all of them goes to the
    retries that were put off. A model whose breaker is open is passed over, unless no model could be called at all:
    then the one whose breaker closes first is called once all the same, unless its provider's limit is used up. A
    failure whose class stops the work, and any failure of a stream that has shown text, ends the search.
    """
    return await _Search(session, targets, request, lookup, on_text).run(start)


class _Search:
    """The state of one search. ``_put_off`` are targets whose retries wait until the others have been asked."""

    def __init__(
        self,
        session: Session,
        targets: Sequence[Target],
        request: Request,
        lookup: Lookup | None,
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._session, self._targets, self._request = session, targets, request
        self._lookup, self._on_text = lookup, on_text
        self._error: BackendError | None = None
        self._denied: BackendError | None = None
        self._passed_over: list[tuple[int, int]] = []
        self._put_off: list[tuple[Target, Result]] = []

    async def run(self, start: int) -> Answered | Failed:
        stopped: BackendError | None = None
        try:
            for position in range(start, len(self._targets)):
                if (found := await self._ask(position)) is not None:
                    return found
            for target, result in self._put_off:
                if (found := await self._ask_again(target, result)) is not None:
                    return found
            if self._error is None and self._passed_over:
                _, position = min(self._passed_over)
                if (found := await self._ask(position, forced=_LAST)) is not None:
                    return found
        except Exhausted as exhausted:
            stopped = exhausted.error
        if self._error is not None:
            return Failed(self._error if stopped is None else _explained(self._error, str(stopped)))
        nothing = NotCalledError("there is no model left to call", error_class="quota_exhausted")
        return Failed(stopped or self._denied or nothing)

    async def _ask(self, position: int, forced: str | None = None) -> Answered | Failed | None:
        target, left = self._targets[position], len(self._targets) - position - 1
        kept = None if self._lookup is None else self._lookup(target)
        if kept is not None:
            answer, cost_nano = kept
            attempt = self._session.add_cached(target, target.role, answer, cost_nano)
            return Answered(answer, target, attempt.number, position + 1, cached=True)
        if not (forced or left or self._error or self._passed_over) and self._session.may_pass(target):
            # Where there is nothing else, there is no use in passing it over first.
            forced = _LAST
        result = await self._session.obtain(
            target,
            self._request,
            target.role,
            on_text=self._on_text,
            more=left > 0,
            forced=forced,
            spare=left,
        )
        if result.denied is not None:
            self._denied = self._denied or result.error
            if result.denied.by == "breaker" and not result.denied.holds:
                self._passed_over.append((result.denied.until_us or 0, position))
            return None
        return self._came(target, result, position + 1)

    async def _ask_again(self, target: Target, before: Result) -> Answered | Failed | None:
        result = await self._session.retry(before, target, self._request, target.role, on_text=self._on_text)
        return None if result.attempt is before.attempt else self._came(target, result, len(self._targets))

    def _came(self, target: Target, result: Result, following: int) -> Answered | Failed | None:
        if result.answer is not None:
            return Answered(result.answer, target, result.attempt.number, following)
        # INVARIANT: a call without an answer has an error.
        assert result.error is not None
        self._error = result.error
        if result.attempt.status == "partial" or ACTIONS[result.error.error_class].then == "stop":
            return Failed(result.error)
        if result.held is not None:
            self._put_off.append((target, result))
        return None


def _explained(error: BackendError, why: str) -> BackendError:
    """The failure of the last call, with why none followed it."""
    explained = BackendError(
        str(error),
        error_class=error.error_class,
        retry_after_ms=error.retry_after_ms,
        timings=error.timings,
        usage=error.usage,
        simulated=error.simulated,
        help="; ".join(filter(None, [error.help, why])),
    )
    explained.__cause__ = error
    return explained
