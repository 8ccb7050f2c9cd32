"""Calls one backend under a guard: an answer, or an error of ours that says what ended the call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from ..errors import BackendError, ErrorClass
from ..protocol import (
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
)
from .guard import Guard, StreamSink
from .timing import Timeouts
from .work import Answer, Request, Target


async def call(
    backend: Backend,
    target: Target,
    request: Request,
    *,
    timeouts: Timeouts,
    sink: StreamSink,
) -> Answer | BackendError:
    """What ``target`` answers, or why it does not.

    Raises what the caller's ``on_text`` raised, and CancelledError when the caller is cancelled; the backend has
    been told to stop then.
    """
    guard = Guard(sink, timeouts)
    try:
        answer = await guard.run(_ask(backend, target, request, timeouts.limits, sink, timeouts.stream))
    except BackendError as error:
        return _past_deadline(target, error, timeouts, sink) if _is_by_deadline(error, timeouts) else error
    except Exception as error:
        if sink.caller_error is error:
            raise
        # A backend raises BackendError alone; whatever else leaves it is a mistake in it, not the caller's.
        wrapped = BackendError(
            f"the backend of `{target.model_id}` failed unexpectedly: {type(error).__name__}",
            error_class="bad_response",
        )
        wrapped.__cause__ = error
        return wrapped
    finally:
        sink.closed = True
    if isinstance(answer, str):
        return _ended(target, answer, timeouts, sink)
    return _checked(target, request, answer)


def _ask(
    backend: Backend, target: Target, request: Request, limits: Limits, sink: StreamSink, stream: bool
) -> Awaitable[Answer]:
    # No coroutine of its own: each one between the event loop and the socket costs at every step of an answer.
    match request:
        case ChatRequest() if stream:
            return _streamed(backend.stream(target.tag, request, limits=limits), target, sink)
        case ChatRequest():
            return backend.chat(target.tag, request, limits=limits)
        case EmbedRequest():
            return backend.embed(target.tag, request, limits=limits)
        case RerankRequest():
            return backend.rerank(target.tag, request, limits=limits)


async def _streamed(events: AsyncIterator[StreamEvent], target: Target, sink: StreamSink) -> ChatAnswer:
    answer: ChatAnswer | None = None
    try:
        # Read to the end, also past the answer: a connection is only used again when it was read out.
        async for event in events:
            match event:
                case TextDelta():
                    sink.text(event.text)
                case StreamEnd():
                    answer = event.answer
                case _:
                    sink.token(event.text)
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
    if answer is None:
        raise BackendError(
            f"the answer of `{target.model_id}` ended without a finish reason", error_class="broken_stream"
        )
    return answer


def _ended(target: Target, error_class: ErrorClass, timeouts: Timeouts, sink: StreamSink) -> BackendError:
    """The error of a call that the guard or the backend itself has ended."""
    clock = sink.progress.clock
    if clock is not None and clock.phase == "turn":
        return clock.timeout()
    if error_class == "cancelled":
        return BackendError(f"`{target.model_id}` stopped its own work", error_class=error_class)
    if error_class == "timeout.deadline":
        return _past_deadline(target, None, timeouts, sink)
    guard_ms: float | None
    if error_class == "timeout.first_token":
        what, guard_ms, own_ms = "gave no token within", timeouts.first_ms, timeouts.limits.first_token_ms
    else:
        what, guard_ms, own_ms = "took longer than", timeouts.total_ms, target.limits.total_ms
    # The guard holds a little longer than the limit it guards; the limit is what people know.
    limit_ms = min(guard_ms or 0, guard_ms or 0 if own_ms is None else own_ms)
    message = f"`{target.model_id}` {what} {limit_ms:.0f} ms and was stopped"
    return BackendError(message, error_class=error_class)


def _is_by_deadline(error: BackendError, timeouts: Timeouts) -> bool:
    """Whether it is the task's deadline that set the limit which the backend kept. A server may have limits as well."""
    if error.error_class not in timeouts.by_deadline:
        return False
    limits, timings = timeouts.limits, error.timings
    limit_ms = limits.total_ms if error.error_class == "timeout.total" else limits.first_token_ms
    return timings is not None and limit_ms is not None and timings.total_us >= limit_ms * 1_000


def _past_deadline(
    target: Target, error: BackendError | None, timeouts: Timeouts, sink: StreamSink
) -> BackendError:
    """The failure of a call that the task's deadline has ended, as the backend noticed it or the guard."""
    if sink.shown:  # since then the whole time was its own
        within = f"{timeouts.total_ms:.0f} ms, all the time until the deadline"
    else:
        own_ms = timeouts.total_ms if timeouts.unshown_ms is None else timeouts.unshown_ms
        within = f"{own_ms:.0f} ms, its share of the time until the deadline"
    return BackendError(
        f"`{target.model_id}` did not finish within {within}",
        error_class="timeout.deadline",
        timings=None if error is None else error.timings,
        usage=None if error is None else error.usage,
        begun=error is not None and error.begun,
        simulated=error is not None and error.simulated,
        help="the control `deadline` says how long a task may take, all its calls together",
    )


def _checked(target: Target, request: Request, answer: Answer) -> Answer | BackendError:
    """The answer, unless it is none: withheld by a content filter, or not of the request's size."""
    error_class: ErrorClass = "bad_response"
    match answer:
        case ChatAnswer(finish_reason="content_filter"):
            message, error_class = "withheld its answer: a content filter stopped it", "refused_content"
        case EmbedAnswer() if isinstance(request, EmbedRequest) and len(answer.vectors) != len(request.texts):
            message = f"gave {len(answer.vectors)} vectors for {len(request.texts)} texts"
        case RerankAnswer() if isinstance(request, RerankRequest) and len(answer.scores) != len(
            request.documents
        ):
            message = f"gave {len(answer.scores)} scores for {len(request.documents)} documents"
        case _:
            return answer
    return BackendError(
        f"`{target.model_id}` {message}",
        error_class=error_class,
        timings=answer.timings,
        usage=answer.usage,
        simulated=answer.simulated,
    )
