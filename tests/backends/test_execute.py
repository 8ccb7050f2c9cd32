"""Targets are tried in order, each once, and every call is an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executing_parts import execute_sync

from routewright.backends import (
    ERROR_CLASSES,
    NO_LIMITS,
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Fault,
    Limits,
    Message,
    PriceFacts,
    RerankAnswer,
    RerankRequest,
    SimulatedBackend,
    SimulatedModel,
    StreamEvent,
    TextDelta,
    Timings,
    Usage,
)
from routewright.backends.executing import Attempt, Execution, Executor, NotCalledError, Target, Work
from routewright.backends.executing.recording import Call, attempt_of

HELLO = ChatRequest((Message("user", "which model?"),))
PRICE = PriceFacts(600_000_000, 2_500_000_000, None, "USD", "2026-01-01")
TARGETS = (
    Target("kimi", "cloud", "kimi-k2:1t-cloud", "answer", PRICE),
    Target("coder", "cloud", "qwen3-coder:480b-cloud", "fallback"),
    Target("local", "mlx", "qwen3-coder-30b", "fallback", PriceFacts(0, 0)),
)


def clock() -> Callable[[], int]:
    ticks = count(1_000_000, 10)
    return lambda: next(ticks)


def run(
    faults: Mapping[str, Sequence[Fault]] | None = None,
    *,
    targets: Sequence[Target] = TARGETS,
    on_text: Callable[[str], None] | None = None,
) -> tuple[Execution, list[str]]:
    everything = frozenset({"chat", "embed", "rerank"})
    backend = SimulatedBackend(
        {target.tag: SimulatedModel(everything) for target in TARGETS}, seed=7, faults=faults
    )
    backends = {"cloud": backend, "mlx": backend}
    result = execute_sync(targets, HELLO, backends, clock=clock(), on_text=on_text)
    return result, backend.calls


def summary(attempts: Sequence[Attempt]) -> list[tuple[int, str, str, str, str | None]]:
    return [(a.number, a.role, a.model_id, a.status, a.error_class) for a in attempts]


def test_the_target_answers_and_no_fallback_is_called() -> None:
    result, calls = run()
    assert isinstance(result.answer, ChatAnswer)
    assert result.error is None
    assert calls == ["kimi-k2:1t-cloud"]
    [attempt] = result.attempts
    usage, timings = result.answer.usage, result.answer.timings
    assert usage.input_tokens is not None and usage.output_tokens is not None
    assert attempt == Attempt(
        number=1,
        role="answer",
        model_id="kimi",
        backend_id="cloud",
        model_said="kimi-k2:1t-cloud (simulated)",
        started_at_us=1_000_020,
        load_us=0,
        first_token_us=timings.first_token_us,
        total_us=timings.total_us,
        status="ok",
        error_class=None,
        finish_reason="stop",
        streamed=False,
        input_tokens=usage.input_tokens,
        cached_input_tokens=0,
        output_tokens=usage.output_tokens,
        reasoning_tokens=0,
        tokens_source="estimated",
        cost_nano=600 * usage.input_tokens + 2_500 * usage.output_tokens,
        currency="USD",
        cost_source="estimated",
        price_since="2026-01-01",
        simulated=True,
    )


def test_fallbacks_are_tried_in_order_until_one_answers() -> None:
    result, calls = run({"kimi-k2:1t-cloud": ["rate_limited"], "qwen3-coder:480b-cloud": ["overloaded"]})
    assert calls == ["kimi-k2:1t-cloud", "qwen3-coder:480b-cloud", "qwen3-coder-30b"]
    assert summary(result.attempts) == [
        (1, "answer", "kimi", "failed", "rate_limited"),
        (2, "fallback", "coder", "failed", "overloaded"),
        (3, "fallback", "local", "ok", None),
    ]
    kimi, coder, local = result.attempts
    assert (kimi.cost_nano, kimi.currency) == (0, "USD"), "a call refused before any token cost nothing"
    assert (coder.cost_nano, coder.currency) == (0, None), "nor did it without a price"
    assert local.cost_nano == 0, "a price of 0 is a known cost"


def test_attempts_never_overlap() -> None:
    result, _ = run({"kimi-k2:1t-cloud": ["timeout.total"], "qwen3-coder:480b-cloud": ["overloaded"]})
    for before, after in zip(result.attempts, result.attempts[1:], strict=False):
        assert after.started_at_us >= before.started_at_us + before.total_us


def test_when_all_fail_the_last_error_is_given() -> None:
    result, _ = run({target.tag: ["unauthorized"] for target in TARGETS})
    assert result.answer is None
    assert result.error is not None and result.error.error_class == "unauthorized"
    assert [attempt.status for attempt in result.attempts] == ["failed"] * 3


def test_cancelled_work_goes_nowhere_else() -> None:
    result, calls = run({"kimi-k2:1t-cloud": ["cancelled"]})
    assert calls == ["kimi-k2:1t-cloud"]
    assert result.error is not None and result.error.error_class == "cancelled"


def test_no_targets_give_no_answer_and_say_so() -> None:
    result, calls = run(targets=())
    assert (result.answer, result.attempts, calls) == (None, (), [])
    assert isinstance(result.error, NotCalledError)
    assert str(result.error) == "there is no model left to call"


def test_a_target_whose_backend_is_not_set_up_is_a_failed_attempt() -> None:
    lost = Target("lost", "nowhere", "lost", "answer")
    result, calls = run(targets=[lost, *TARGETS])
    assert summary(result.attempts)[0] == (1, "answer", "lost", "failed", "not_found")
    assert calls == ["kimi-k2:1t-cloud"]


def test_a_streamed_answer_is_shown_piece_by_piece() -> None:
    pieces: list[str] = []
    result, _ = run(on_text=pieces.append)
    assert result.answer is not None and isinstance(result.answer, ChatAnswer)
    assert "".join(pieces) == result.answer.text and len(pieces) > 1
    assert result.attempts[0].streamed


def test_before_the_first_text_falling_back_is_free() -> None:
    pieces: list[str] = []
    result, calls = run({"kimi-k2:1t-cloud": ["overloaded"]}, on_text=pieces.append)
    assert len(calls) == 2
    assert isinstance(result.answer, ChatAnswer) and "".join(pieces) == result.answer.text


def test_after_the_first_text_a_failure_is_partial_and_never_restarted() -> None:
    pieces: list[str] = []
    result, calls = run({"kimi-k2:1t-cloud": ["broken_stream"]}, on_text=pieces.append)
    assert calls == ["kimi-k2:1t-cloud"]
    assert pieces
    assert result.answer is None
    assert summary(result.attempts) == [(1, "answer", "kimi", "partial", "broken_stream")]
    assert result.attempts[0].cost_nano, "the input of a broken answer is still paid for"


def test_a_broken_answer_that_nobody_saw_falls_back() -> None:
    result, _ = run({"kimi-k2:1t-cloud": ["broken_stream"]})
    assert [attempt.status for attempt in result.attempts] == ["failed", "ok"]


def test_embeddings_and_reranking_run_the_same_way() -> None:
    backend = SimulatedBackend({"e": SimulatedModel(frozenset({"embed", "rerank"}), dimensions=4)}, seed=1)
    target = Target("e", "b", "e", "answer")
    embedded = execute_sync([target], EmbedRequest(("one",)), {"b": backend}, clock=clock())
    ranked = execute_sync([target], RerankRequest("q", ("d",)), {"b": backend}, clock=clock())
    assert isinstance(embedded.answer, EmbedAnswer) and isinstance(ranked.answer, RerankAnswer)
    assert embedded.attempts[0].finish_reason is None


class Endless(SimulatedBackend):
    """Never answers by itself, or ends its stream without an end."""

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        await asyncio.sleep(60)
        raise AssertionError("not stopped")

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncIterator[StreamEvent]:
        yield TextDelta("half an")


def test_a_backend_that_hangs_is_stopped_at_the_total_limit() -> None:
    target = Target("m", "b", "m", "answer", None, Limits(total_ms=20))
    result = execute_sync([target], HELLO, {"b": Endless({}, seed=1)}, clock=clock())
    assert summary(result.attempts) == [(1, "answer", "m", "failed", "timeout.total")]
    assert result.attempts[0].cost_nano is None
    assert str(result.error) == "`m` took longer than 20 ms and was stopped"


def test_a_stream_without_a_finish_reason_is_a_failure() -> None:
    target = Target("m", "b", "m", "answer")
    pieces: list[str] = []
    backends = {"b": Endless({}, seed=1)}
    result = execute_sync([target], HELLO, backends, clock=clock(), on_text=pieces.append)
    assert summary(result.attempts) == [(1, "answer", "m", "partial", "broken_stream")]


def test_cancelling_the_caller_cancels_the_call() -> None:
    async def cancelled() -> bool:
        target = Target("m", "b", "m", "answer")
        work = asyncio.create_task(
            Executor({"b": Endless({}, seed=1)}, clock=clock()).run(Work((target,)), HELLO)
        )
        await asyncio.sleep(0.01)
        work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            return True
        return False

    assert asyncio.run(cancelled())


@given(
    order=st.permutations(TARGETS).flatmap(lambda p: st.integers(0, 3).map(lambda n: p[:n])),
    faults=st.fixed_dictionaries(
        {target.tag: st.sampled_from(["ok", *ERROR_CLASSES]).map(lambda f: [f]) for target in TARGETS}
    ),
)
def test_nothing_is_called_that_the_targets_do_not_hold(
    order: list[Target], faults: dict[str, list[Fault]]
) -> None:
    result, calls = run(faults, targets=order)
    assert calls == [target.tag for target in order][: len(calls)]
    assert [attempt.number for attempt in result.attempts] == list(range(1, len(calls) + 1))
    assert (result.answer is None) == all(attempt.status != "ok" for attempt in result.attempts)


def test_backend_errors_are_ours() -> None:
    from routewright.engine.report.errors import RoutewrightError

    with pytest.raises(RoutewrightError):
        raise BackendError("x", error_class="overloaded")


def test_a_backend_may_give_any_awaitable() -> None:
    class Shielding(SimulatedBackend):
        def chat(  # type: ignore[override]  # a future instead of a coroutine
            self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
        ) -> asyncio.Future[ChatAnswer]:
            return asyncio.ensure_future(super().chat(model, request, limits=limits))

    backend = Shielding({TARGETS[0].tag: SimulatedModel(frozenset({"chat"}))}, seed=7)
    backends: dict[str, Any] = {"cloud": backend}
    result = execute_sync(TARGETS[:1], HELLO, backends, clock=clock())
    assert isinstance(result.answer, ChatAnswer)


@pytest.mark.parametrize(
    ("words", "window", "asked", "expected"),
    [
        (10, 32_768, None, None),  # the server's own holds it
        (3_000, 32_768, None, 16_384),
        (3_000, 8_192, None, 8_192),  # no more than the model can hold
        (3_000, None, None, None),  # nobody says what it can hold
        (3_000, 32_768, 6_000, 6_000),  # who asks has it
    ],
)
def test_a_local_model_is_asked_for_the_window_that_a_request_needs(
    words: int, window: int | None, asked: int | None, expected: int | None
) -> None:
    windows: list[int | None] = []

    class Noting(SimulatedBackend):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            windows.append(request.context_tokens)
            return await super().chat(model, request, limits=limits)

    backend = Noting({"it": SimulatedModel(frozenset({"chat"}))}, seed=7)
    text = "word " * words
    request = ChatRequest((Message("user", text),), max_output_tokens=100, context_tokens=asked)
    execute_sync([Target("it", "one", "it", window=window)], request, {"one": backend}, clock=clock())
    assert windows == [expected]


def test_a_call_that_was_refused_before_it_did_anything_costs_nothing_priced_or_not() -> None:
    target = Target("free?", "cloud", TARGETS[0].tag)
    result, _ = run({TARGETS[0].tag: ["overloaded", "timeout.idle"]}, targets=[target, target])
    # Of one that may have done something nobody knows.
    assert [(a.error_class, a.cost_nano) for a in result.attempts] == [
        ("overloaded", 0),
        ("timeout.idle", None),
    ]


@pytest.mark.parametrize(
    ("counted", "source"),
    [((None, None), None), ((3, None), "reported"), ((None, 3), "reported"), ((0, 0), "reported")],
)
def test_counts_that_nobody_gave_have_no_source(
    counted: tuple[int | None, int | None], source: str | None
) -> None:
    given, written = counted
    answer = ChatAnswer(
        "text", "stop", Usage(given, None, written, None, "reported"), None, Timings(None, None, 5)
    )
    call = Call(TARGETS[0], "answer", 1, started_us=1)
    made = attempt_of(call, answer, usage=answer.usage, timings=answer.timings, shown=False, reason=None)
    assert (made.input_tokens, made.output_tokens) == counted
    assert made.tokens_source == source
