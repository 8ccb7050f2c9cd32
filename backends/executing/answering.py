"""Asks targets in order for an answer. Nothing else is called, and each only in its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..errors import BackendError
from ..protocol import ChatAnswer
from .asking import Exhausted, Result, TargetRequest
from .attempts import NotCalledError
from .cache import CachedAnswer
from .repeating import obtain, retry
from .session import Session
from .work import Answer, AttemptRole, Request, Target


class Answered(NamedTuple):
    """An answer and where it comes from.

    ``target`` is the model that gave it, ``attempt`` the number of that call, ``next`` the position of the first
    target that was not tried. ``cached`` answers have been through every step already, and were ``verified`` then.
    """

    answer: Answer
    target: Target
    attempt: int
    next: int
    cached: bool = False
    verified: bool | None = None

    @property
    def chat(self) -> ChatAnswer:
        """The answer to a chat."""
        # INVARIANT: what a chat is answered with is a ChatAnswer.
        assert isinstance(self.answer, ChatAnswer)
        return self.answer


_LAST: Final = "its breaker is open, and no other model is left"


def from_cache(
    session: Session, kept: CachedAnswer, target: Target, role: AttemptRole, following: int
) -> Answered:
    """An answer from the cache, which is on record then."""
    attempt = session.add_cached(target, role, kept)
    return Answered(kept.answer, target, attempt.number, following, cached=True, verified=kept.verified)


class Search:
    """Asks ``targets`` in order until one answers; ``lookup`` gives the answer that is kept for a target.

    A retry leaves enough of the cap on calls for each target that follows; what is left after all of them goes to the
    retries that were put off. A model whose breaker is open is passed over, unless no model could be called at all:
    then the one whose breaker closes first is called once all the same, unless its provider's limit is used up. A
    failure whose class stops the work, and any failure of a stream that has shown text, ends the search.
    """

    def __init__(
        self,
        session: Session,
        targets: Sequence[Target],
        request: Request,
        lookup: Callable[[Target], CachedAnswer | None],
        on_text: Callable[[str], None] | None,
        after: Sequence[Target] = (),
    ) -> None:
        self._session, self._targets, self._request = session, targets, request
        self._lookup, self._on_text, self._after = lookup, on_text, after
        self._error: BackendError | None = None
        self._denied: BackendError | None = None
        self._passed_over: list[tuple[int, int]] = []
        self._put_off: list[tuple[TargetRequest, Result]] = []

    async def run(self, start: int) -> Answered | BackendError:
        """The first answer, from the target at ``start`` on; else the error of the last call, or why none was made."""
        stopped: BackendError | None = None
        try:
            for position in range(start, len(self._targets)):
                if (found := await self._ask(position)) is not None:
                    return found
            for asked, before in self._put_off:
                result = await retry(self._session, before, asked._replace(behind=()))
                if result.attempt is not before.attempt:
                    found = self._came(asked, result, len(self._targets))
                    if found is not None:
                        return found
            if self._error is None and self._passed_over:
                _, position = min(self._passed_over)
                if (found := await self._ask(position, forced=_LAST)) is not None:
                    return found
        except Exhausted as exhausted:
            stopped = exhausted.error
        if self._error is not None:
            return self._error if stopped is None else _explained(self._error, str(stopped))
        nothing = NotCalledError("there is no model left to call", error_class="quota_exhausted")
        return stopped or self._denied or nothing

    async def _ask(self, position: int, forced: str | None = None) -> Answered | BackendError | None:
        target, behind = self._targets[position], self._targets[position + 1 :]
        left = len(behind)
        kept = self._lookup(target)
        if kept is not None:
            return from_cache(self._session, kept, target, target.role, position + 1)
        if not (forced or left or self._error or self._passed_over) and self._session.may_pass(target):
            # Where there is nothing else, there is no use in passing it over first.
            forced = _LAST
        asked = TargetRequest(target, self._request, target.role, self._on_text, behind, self._after)
        result = await obtain(self._session, asked, more=left > 0, forced=forced, spare=left)
        if result.denied is not None:
            self._denied = self._denied or result.error
            if result.denied.by == "breaker" and not result.denied.holds:
                self._passed_over.append((result.denied.until_us or 0, position))
            return None
        return self._came(asked, result, position + 1)

    def _came(self, asked: TargetRequest, result: Result, following: int) -> Answered | BackendError | None:
        if result.answer is not None:
            return Answered(result.answer, asked.target, result.attempt.number, following)
        # INVARIANT: a call without an answer has an error.
        assert result.error is not None
        self._error = result.error
        if result.then == "stop":
            return result.error
        if result.held is not None:
            self._put_off.append((asked, result))
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
