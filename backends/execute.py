"""Targets and a request in, an answer and the attempts made out.

Targets are tried in order, each at most once, and nothing is called that the sequence does not hold. A
failure goes on to the next target; only ``cancelled`` ends the work at once, and so does any failure of a
stream that has already shown text: half an answer is never started again in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .cost import PriceFacts, cost_nano
from .errors import BackendError, ErrorClass
from .protocol import (
    NO_LIMITS,
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    TextDelta,
    Timings,
    TokenSource,
    Usage,
)

__all__ = ["Answer", "Attempt", "AttemptStatus", "Execution", "Request", "Target", "execute", "execute_sync"]

Request = ChatRequest | EmbedRequest | RerankRequest
Answer = ChatAnswer | EmbedAnswer | RerankAnswer

AttemptRole = Literal["answer", "fallback"]
AttemptStatus = Literal["ok", "failed", "partial"]

_FORBIDS_FALLBACK: Final[frozenset[ErrorClass]] = frozenset({"cancelled"})


@dataclass(frozen=True, slots=True)
class Target:
    """A model to try: where it is, what it costs, how long it may take."""

    model_id: str
    backend_id: str
    tag: str
    role: AttemptRole = "answer"
    price: PriceFacts | None = None
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of one backend, whatever came of it.

    ``number`` counts from 1. ``status`` is ``partial`` when a stream failed after its first text. Token
    counts and cost are ``None`` when unknown; ``cost_source`` says whether the counts behind the cost were
    reported by the server or estimated.
    """

    number: int
    role: AttemptRole
    model_id: str
    backend_id: str
    model_said: str | None
    started_at_us: int
    load_us: int | None
    first_token_us: int | None
    total_us: int
    status: AttemptStatus
    error_class: ErrorClass | None
    finish_reason: str | None
    streamed: bool
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    tokens_source: TokenSource | None
    cost_nano: int | None
    currency: str | None
    cost_source: TokenSource | None
    price_since: str | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of it: an answer, or the error of the last attempt; and every attempt, in order.

    The answer's type follows the request's: ChatAnswer for ChatRequest, and so on.
    """

    answer: Answer | None
    attempts: tuple[Attempt, ...]
    error: BackendError | None


async def execute(
    targets: Sequence[Target],
    request: Request,
    backends: Mapping[str, Backend],
    *,
    clock: Callable[[], int],
    on_text: Callable[[str], None] | None = None,
) -> Execution:
    """The first answer that a target gives, with one attempt for each target that was tried.

    ``backends`` is by backend id; ``clock`` gives microseconds since 1970. With ``on_text`` a chat is
    streamed: it gets the text piece by piece. No targets give no answer, no attempts and no error. Failures
    of a backend are returned, never raised.
    """
    attempts: list[Attempt] = []
    error: BackendError | None = None
    free_from_us = 0
    for number, target in enumerate(targets, start=1):
        # Attempts follow each other, also where a backend reports time that did not pass.
        started_us = max(clock(), free_from_us)
        call = _Call(target, request, backends.get(target.backend_id), on_text)
        outcome = await call.run()
        timings = outcome.timings or Timings(None, None, max(0, clock() - started_us))
        free_from_us = started_us + timings.total_us
        attempts.append(call.attempt(number, outcome, started_us, timings))
        if not isinstance(outcome, BackendError):
            return Execution(outcome, tuple(attempts), None)
        error = outcome
        if call.shown or outcome.error_class in _FORBIDS_FALLBACK:
            break
    return Execution(None, tuple(attempts), error)


def execute_sync(
    targets: Sequence[Target],
    request: Request,
    backends: Mapping[str, Backend],
    *,
    clock: Callable[[], int],
    on_text: Callable[[str], None] | None = None,
) -> Execution:
    """``execute`` for callers without an event loop; raises RuntimeError inside a running one."""
    return asyncio.run(execute(targets, request, backends, clock=clock, on_text=on_text))


class _Call:
    """One call of one target; ``shown`` says whether the caller has seen text of it."""

    def __init__(
        self,
        target: Target,
        request: Request,
        backend: Backend | None,
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._target, self._request, self._backend = target, request, backend
        self._on_text = on_text if isinstance(request, ChatRequest) else None
        self.shown = False

    async def run(self) -> Answer | BackendError:
        target = self._target
        if self._backend is None:
            return BackendError(
                f"no backend `{target.backend_id}` is set up, so `{target.model_id}` was not called",
                error_class="not_found",
                timings=Timings(None, None, 0),
                usage=Usage(0, 0, 0, 0, "reported"),
            )
        total_ms = target.limits.total_ms
        scope = asyncio.timeout(None if total_ms is None else total_ms / 1_000)
        try:
            # Backends keep their own limits; this one holds also for a backend that hangs.
            async with scope:
                return await self._ask(self._backend)
        except BackendError as error:
            return error
        except TimeoutError as error:
            if not scope.expired():
                raise
            timeout = BackendError(
                f"`{target.model_id}` took longer than {total_ms} ms and was stopped",
                error_class="timeout.total",
            )
            timeout.__cause__ = error
            return timeout

    async def _ask(self, backend: Backend) -> Answer:
        tag, limits = self._target.tag, self._target.limits
        match self._request:
            case ChatRequest() as request if self._on_text is not None:
                return await self._streamed(backend, request, self._on_text)
            case ChatRequest() as request:
                return await backend.chat(tag, request, limits=limits)
            case EmbedRequest() as request:
                return await backend.embed(tag, request, limits=limits)
            case RerankRequest() as request:
                return await backend.rerank(tag, request, limits=limits)

    async def _streamed(
        self, backend: Backend, request: ChatRequest, on_text: Callable[[str], None]
    ) -> ChatAnswer:
        answer: ChatAnswer | None = None
        async for event in backend.stream(self._target.tag, request, limits=self._target.limits):
            if isinstance(event, TextDelta):
                self.shown = True
                on_text(event.text)
            elif isinstance(event, StreamEnd):
                answer = event.answer
        if answer is None:
            raise BackendError(
                f"the answer of `{self._target.model_id}` ended without a finish reason",
                error_class="broken_stream",
            )
        return answer

    def attempt(
        self, number: int, outcome: Answer | BackendError, started_us: int, timings: Timings
    ) -> Attempt:
        target, price = self._target, self._target.price
        failure = outcome if isinstance(outcome, BackendError) else None
        answer = outcome if not isinstance(outcome, BackendError) else None
        usage = outcome.usage
        cost = cost_nano(usage, price)
        return Attempt(
            number=number,
            role=target.role,
            model_id=target.model_id,
            backend_id=target.backend_id,
            model_said=answer.model_said if answer else None,
            started_at_us=started_us,
            load_us=timings.load_us,
            first_token_us=timings.first_token_us,
            total_us=timings.total_us,
            status="ok" if failure is None else "partial" if self.shown else "failed",
            error_class=failure.error_class if failure else None,
            finish_reason=answer.finish_reason if isinstance(answer, ChatAnswer) else None,
            streamed=self._on_text is not None,
            input_tokens=usage.input_tokens if usage else None,
            cached_input_tokens=usage.cached_input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            tokens_source=usage.source if usage else None,
            cost_nano=cost,
            currency=price.currency if price else None,
            cost_source=usage.source if usage and cost is not None else None,
            price_since=price.since if price else None,
            simulated=outcome.simulated,
        )
