"""One loop owns retrying: caps and the deadline hold, nothing is lost, and no fault becomes a silent success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED,
    USED_NANO,
    Act,
    Crashes,
    Ends,
    Fails,
    Hangs,
    Says,
    Scripted,
    carry_out,
    cost_of,
    run_virtual,
    target,
    targets,
)

from routewright.backends import (
    NO_LIMITS,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    Message,
    RerankAnswer,
    RerankRequest,
    StreamEvent,
    TextDelta,
)
from routewright.backends.control import StateStore
from routewright.backends.executing import (
    Attempt,
    Executor,
    NotCalledError,
    Target,
    TaskCost,
    TaskLimits,
    Work,
)


def test_a_plain_answer_is_one_attempt_with_its_cost() -> None:
    ran = carry_out(Work(targets("a", "b")))
    assert ran.outline() == [("answer", "a", "ok", None)]
    [attempt] = ran.execution.attempts
    assert (attempt.started_at_us, attempt.cost_nano, attempt.reason) == (START_US, USED_NANO, None)
    assert ran.execution.answered_by == 1
    assert attempt.currency == "USD"
    assert ran.heard == ran.execution.attempts


# --- retries -----------------------------------------------------------------------------------------------


def test_without_a_backoff_no_model_is_asked_twice() -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Fails("overloaded")]})
    assert ran.outline() == [("answer", "a", "failed", "overloaded"), ("fallback", "b", "ok", None)]


def test_with_a_backoff_a_transient_failure_is_retried_on_the_same_model() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(backoff_ms=100))
    ran = carry_out(work, {"a": [Fails("overloaded")]})
    assert ran.outline() == [("answer", "a", "failed", "overloaded"), ("retry", "a", "ok", None)]
    assert 0 < ran.took_s < 0.1


def test_after_the_retries_the_next_model_is_asked() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(backoff_ms=100), retries=2)
    ran = carry_out(work, {"a": [Fails("overloaded")] * 9, "b": [Fails("unauthorized")]})
    assert [(role, model) for role, model, _, _ in ran.outline()] == [
        ("answer", "a"),
        ("retry", "a"),
        ("retry", "a"),
        ("fallback", "b"),
    ]
    assert ran.error_class == "unauthorized"


def test_pauses_grow_and_are_drawn_from_nothing_to_their_bound() -> None:
    drawn: list[tuple[float, float]] = []

    class Watched(Random):
        def uniform(self, a: float, b: float) -> float:
            drawn.append((a, b))
            return b

    work = Work(targets("a"), limits=TaskLimits(backoff_ms=1_000), retries=7)
    ran = carry_out(work, {"a": [Fails("overloaded")] * 9}, random=Watched())
    assert drawn == [(0, 1_000 * 2**n) for n in range(5)] + [(0, 30_000)] * 2
    assert ran.took_s == pytest.approx(31 + 60)


def test_retry_after_is_honoured_with_jitter_on_top() -> None:
    work = Work(targets("a"), limits=TaskLimits(backoff_ms=100))
    ran = carry_out(work, {"a": [Fails("rate_limited", retry_after_ms=4_000)]})
    assert ran.text == "hello there" and 4.0 <= ran.took_s <= 4.1


def test_a_long_retry_after_goes_to_the_fallback_instead() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(backoff_ms=100))
    ran = carry_out(work, {"a": [Fails("rate_limited", retry_after_ms=4_000)]})
    assert ran.outline() == [("answer", "a", "failed", "rate_limited"), ("fallback", "b", "ok", None)]
    assert ran.took_s < 0.001


@pytest.mark.parametrize(
    ("limits", "retry_after_ms"),
    [(TaskLimits(backoff_ms=100, deadline_ms=3_000), 3_000), (TaskLimits(backoff_ms=100), 3_600_000)],
    ids=["past the deadline", "an hour"],
)
def test_a_retry_after_that_cannot_be_waited_for_is_not(limits: TaskLimits, retry_after_ms: int) -> None:
    ran = carry_out(Work(targets("a"), limits=limits), {"a": [Fails("rate_limited", 0, retry_after_ms)]})
    assert (ran.error_class, ran.took_s, len(ran.backend.calls)) == ("rate_limited", 0.0, 1)


# --- caps --------------------------------------------------------------------------------------------------


BUSY: list[Act] = [Fails("overloaded")] * 9


@pytest.mark.parametrize(
    ("cap", "called", "skipped"),
    [
        (1, ["a"], ("fallback", "b", "`max_attempts: 1` is reached")),
        (2, ["a", "b"], ("fallback", "c", "`max_attempts: 2` is reached")),
        (3, ["a", "b", "c"], ("retry", "a", "`max_attempts: 3` is reached")),
        (4, ["a", "a", "b", "c"], ("retry", "a", "`max_attempts: 4` is reached")),
        (8, ["a", "a", "a", "b", "b", "b", "c", "c"], ("retry", "c", "`max_attempts: 8` is reached")),
        (9, ["a", "a", "a", "b", "b", "b", "c", "c", "c"], None),
    ],
)
def test_under_a_cap_each_fallback_is_tried_before_a_model_is_asked_again(
    cap: int, called: list[str], skipped: tuple[str, str, str] | None
) -> None:
    work = Work(targets("a", "b", "c"), limits=TaskLimits(max_attempts=cap, backoff_ms=1))
    ran = carry_out(work, dict.fromkeys("abc", BUSY))
    assert ran.backend.tags == called
    assert ran.error_class == "overloaded", "the last failure is what came of it"
    assert ran.execution.error is not None
    last = ran.execution.attempts[-1]
    if skipped is None:
        assert (last.status, ran.execution.error.help) == ("failed", None)
    else:
        assert (last.role, last.model_id, last.reason) == skipped
        assert ran.execution.error.help == f"`{skipped[1]}` was not called: {skipped[2]}"


def test_what_fallbacks_leave_of_the_cap_goes_to_retries(tmp_path: Path) -> None:
    with closing(StateStore(tmp_path / "state.sqlite")) as store:
        for name in "bc":
            carry_out(Work(targets(name)), {name: [Fails("unauthorized")]}, store=store)
        work = Work(targets("a", "b", "c"), limits=TaskLimits(max_attempts=3, backoff_ms=1))
        ran = carry_out(work, {"a": [Fails("overloaded"), Fails("overloaded"), Says("hello")]}, store=store)
        again = carry_out(work, {"a": BUSY}, store=store)
    assert [(role, model, status) for role, model, status, _ in ran.outline()] == [
        ("answer", "a", "failed"),
        ("fallback", "b", "skipped"),
        ("fallback", "c", "skipped"),
        ("retry", "a", "failed"),
        ("retry", "a", "ok"),
    ]
    assert (ran.text, again.backend.tags) == ("hello", ["a", "a", "a"])


def test_a_call_that_would_pass_the_cost_cap_is_not_made_and_a_cheaper_model_is() -> None:
    cheap = target("cheap", role="fallback", price=None)
    free = TaskLimits(cost=TaskCost("cost", 1_000, "USD", refuses_unknown=False))
    ran = carry_out(Work((target("dear"), cheap), limits=free))
    assert [(role, model, status) for role, model, status, _ in ran.outline()] == [
        ("answer", "dear", "skipped"),
        ("fallback", "cheap", "ok"),
    ]
    skipped = ran.execution.attempts[0]
    assert skipped.reason == (
        "it may cost 0.008208 USD, and of the 0.000001 USD for the request 0.000001 USD are left; "
        "ask for a shorter answer (`max_output_tokens`)"
    )
    assert (skipped.cost_nano, skipped.total_us, skipped.input_tokens) == (0, 0, 0)


def test_under_a_cost_cap_a_model_without_a_price_is_not_called() -> None:
    ran = carry_out(Work((target("a", price=None),), limits=TaskLimits(cost=cost_of(10**12))))
    assert ran.backend.calls == []
    assert isinstance(ran.execution.error, NotCalledError)
    assert str(ran.execution.error) == (
        "`a` was not called: its price in USD is unknown, and the request's cost is limited"
    )


def test_what_a_call_cost_is_what_counts_after_it() -> None:
    # 15 tokens of input may become 8.2 M nano; two calls fit a cap of 9 M only because the first cost 20,000.
    work = Work(targets("a", "b"), limits=TaskLimits(cost=cost_of(9_000_000)))
    ran = carry_out(work, {"a": [Fails("overloaded", usage=USED)]})
    assert [a.status for a in ran.execution.attempts] == ["failed", "ok"]
    unknown = carry_out(work, {"a": [Fails("bad_response")]})
    assert [a.status for a in unknown.execution.attempts] == ["failed", "skipped"], "unknown counts in full"


def test_what_was_spent_is_gone() -> None:
    bound = 16 * 1_000 + 4_096 * 2_000
    for spare, second in ((0, "ok"), (1, "skipped")):
        work = Work(targets("a", "b"), limits=TaskLimits(cost=cost_of(bound + USED_NANO - spare)))
        ran = carry_out(work, {"a": [Fails("overloaded", usage=USED)]})
        assert [a.status for a in ran.execution.attempts] == ["failed", second]


# --- time --------------------------------------------------------------------------------------------------


def test_with_everything_hanging_the_deadline_holds() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(deadline_ms=1_000))
    ran = carry_out(work, {"a": [Hangs()], "b": [Hangs()]})
    assert ran.outline() == [
        ("answer", "a", "failed", "timeout.deadline"),
        ("fallback", "b", "failed", "timeout.deadline"),
    ]
    assert ran.took_s == pytest.approx(1.0, abs=0.001)
    assert ran.backend.stopped == ["a", "b"]


def test_a_backend_that_does_not_stop_is_left_behind() -> None:
    work = Work(targets("a"), limits=TaskLimits(deadline_ms=1_000))
    ran = carry_out(work, {"a": [Hangs("half an ", stubborn=True)]}, stream=True)
    assert ran.outline() == [("answer", "a", "partial", "timeout.deadline")]
    assert 1.0 <= ran.took_s <= 1.3


def test_nothing_is_shown_after_a_call_was_told_to_stop() -> None:
    class Talkative(Scripted):
        async def stream(
            self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
        ) -> AsyncIterator[StreamEvent]:
            yield TextDelta("in time, ")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield TextDelta("too late")
            await asyncio.sleep(60)

    work = Work(targets("a"), limits=TaskLimits(deadline_ms=1_000))
    ran = carry_out(work, stream=True, backend=Talkative())
    assert (ran.shown, ran.error_class) == ("in time, ", "timeout.deadline")


def test_the_backend_gets_what_is_left_of_the_time() -> None:
    limits = Limits(connect_ms=50, total_ms=60_000)
    work = Work((target("a", limits=limits),), limits=TaskLimits(deadline_ms=1_000))
    ran = carry_out(work)
    assert ran.backend.calls[0][2] == Limits(connect_ms=50, total_ms=980)


def test_the_wall_clock_put_back_does_not_move_the_deadline() -> None:
    backend = Scripted({"a": [Hangs()]})
    times = iter([START_US, START_US + 10])

    async def main(_: Callable[[], int]) -> float:
        executor = Executor({"b": backend}, clock=lambda: next(times, 0))
        await executor.run(Work(targets("a"), limits=TaskLimits(deadline_ms=1_000)), HELLO)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == pytest.approx(1.0, abs=0.001)
    assert backend.tags == ["a"]


def test_a_model_without_a_first_token_in_time_gives_way_to_the_next() -> None:
    work = Work(targets("slow", "next"), limits=TaskLimits(first_token_within_ms=5_000))
    ran = carry_out(work, {"slow": [Hangs()], "next": [Says(first_s=2.0)]})
    assert ran.outline() == [
        ("answer", "slow", "failed", "timeout.first_token"),
        ("fallback", "next", "ok", None),
    ]
    assert ran.took_s == pytest.approx(5.1 + 2.0)
    assert ran.backend.stopped == ["slow"]
    assert str(ran.execution.attempts[0].error_class) == "timeout.first_token"


def test_the_first_token_is_watched_for_whether_text_is_shown_or_not() -> None:
    work = Work(targets("slow", "next"), limits=TaskLimits(first_token_within_ms=5_000))
    shown = carry_out(work, {"slow": [Says(first_s=9.0)]}, stream=True)
    assert (shown.shown, shown.execution.attempts[1].streamed) == ("hello there", True)
    hidden = carry_out(work, {"slow": [Says(first_s=9.0)]})
    assert (hidden.text, hidden.execution.attempts[1].streamed) == ("hello there", False)
    assert hidden.backend.calls[0][2].first_token_ms == 5_000


def test_an_answer_may_take_long_once_it_has_begun() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(first_token_within_ms=5_000))
    ran = carry_out(work, {"a": [Says(first_s=4.0, rest_s=60.0)]})
    assert ran.outline() == [("answer", "a", "ok", None)]
    thinking = carry_out(work, {"a": [Says(thinks=True, first_s=1.0, rest_s=60.0)]})
    assert thinking.outline() == [("answer", "a", "ok", None)]


@pytest.mark.parametrize(
    ("slow", "answers"),
    [
        (target("a", may_load=True), True),  # only the backend can tell loading from slowness
        (target("a", may_load=True, limits=Limits(load_ms=60_000)), True),
        (target("a", may_load=True, limits=Limits(load_ms=1_000)), False),
        (target("a", may_load=False, limits=Limits(load_ms=60_000)), False),
    ],
    ids=["may load", "in time", "too long", "needs no loading"],
)
def test_loading_is_not_slowness(slow: Target, answers: bool) -> None:
    work = Work((slow, target("b")), limits=TaskLimits(first_token_within_ms=5_000))
    ran = carry_out(work, {"a": [Says(load_s=20.0, first_s=1.0)]})
    assert (ran.execution.attempts[0].status == "ok") is answers


def test_times_of_the_attempt_are_the_backends_own_or_measured() -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Fails("broken_stream", 2.0, text="half")]}, stream=False)
    failed, answered = ran.execution.attempts
    assert (failed.load_us, failed.first_token_us, failed.total_us) == (None, None, 2_000_000)
    assert answered.started_at_us == START_US + 2_000_000


# --- streams -----------------------------------------------------------------------------------------------


def test_after_the_first_text_a_failure_ends_the_work() -> None:
    limits = TaskLimits(backoff_ms=10, first_token_within_ms=5_000)
    work = Work(targets("a", "b"), limits=limits)
    ran = carry_out(work, {"a": [Fails("broken_stream", 1.0, text="half an ")]}, stream=True)
    assert ran.outline() == [("answer", "a", "partial", "broken_stream")]
    assert (ran.text, ran.shown, ran.error_class) == (None, "half an ", "broken_stream")
    attempt = ran.execution.attempts[0]
    assert (attempt.input_tokens, attempt.output_tokens, attempt.tokens_source) == (3, 2, "estimated")
    assert attempt.cost_nano == 3 * 1_000 + 2 * 2_000, "what came is paid for"


def test_an_answer_without_an_end_is_a_failure() -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Ends("all of it, or so it seems")]}, stream=True)
    assert ran.outline() == [("answer", "a", "partial", "broken_stream")]


def test_half_an_answer_that_nobody_saw_may_be_made_again() -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(first_token_within_ms=5_000))
    ran = carry_out(work, {"a": [Ends("half")]})
    assert ran.outline() == [("answer", "a", "failed", "broken_stream"), ("fallback", "b", "ok", None)]


def test_a_withheld_answer_is_a_refusal() -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Says(finish="content_filter")]})
    assert ran.outline() == [("answer", "a", "failed", "refused_content")]
    assert ran.execution.attempts[0].cost_nano == USED_NANO
    assert str(ran.execution.error) == "`a` withheld its answer: a content filter stopped it"


@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_in_a_backend_is_a_failure_of_it_and_no_crash(stream: bool) -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Crashes()]}, stream=stream)
    assert ran.outline() == [("answer", "a", "failed", "bad_response"), ("fallback", "b", "ok", None)]


# --- cancelling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancelling_reaches_the_backend_and_the_attempt_is_not_lost(stubborn: bool) -> None:
    backend = Scripted({"a": [Fails("overloaded")], "b": [Hangs("half an ", stubborn)]})
    heard: list[Attempt] = []
    shown: list[str] = []

    async def main(clock: Callable[[], int]) -> float:
        executor = Executor({"b": backend}, clock=clock)
        work = Work(targets("a", "b"))
        task = asyncio.create_task(executor.run(work, HELLO, on_text=shown.append, on_attempt=heard.append))
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert run_virtual(main) <= 3.3
    assert [(a.model_id, a.status, a.error_class) for a in heard] == [
        ("a", "failed", "overloaded"),
        ("b", "partial", "cancelled"),
    ]
    assert heard[1].total_us == 3_000_000 + (250_000 if stubborn else 0)
    assert heard[1].cost_nano is not None
    assert stubborn or backend.stopped == ["b"]


def test_what_the_callers_own_function_raises_is_raised_and_the_call_is_stopped() -> None:
    backend = Scripted()
    heard: list[Attempt] = []

    def full(_: str) -> None:
        raise OSError("the disk is full")

    async def main(clock: Callable[[], int]) -> None:
        executor = Executor({"b": backend}, clock=clock)
        with pytest.raises(OSError, match="full"):
            await executor.run(Work(targets("a", "b")), HELLO, on_text=full, on_attempt=heard.append)

    run_virtual(main)
    assert backend.stopped == ["a"]
    assert [(a.status, a.error_class) for a in heard] == [("partial", "cancelled")]


# --- requests ----------------------------------------------------------------------------------------------


def test_embeddings_and_rankings_that_do_not_fit_the_request_are_refused() -> None:
    class Short(Scripted):
        async def embed(
            self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS
        ) -> EmbedAnswer:
            return await super().embed(model, EmbedRequest(request.texts[:1]), limits=limits)

        async def rerank(
            self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS
        ) -> RerankAnswer:
            short = RerankRequest(request.query, request.documents[:1])
            return await super().rerank(model, short, limits=limits)

    embedded = carry_out(Work(targets("a")), request=EmbedRequest(("one", "two")), backend=Short())
    assert str(embedded.execution.error) == "`a` gave 1 vectors for 2 texts"
    ranked = carry_out(Work(targets("a")), request=RerankRequest("q", ("one", "two")), backend=Short())
    assert str(ranked.execution.error) == "`a` gave 1 scores for 2 documents"
    assert ranked.outline() == [("answer", "a", "failed", "bad_response")]


def test_embeddings_have_no_first_token_to_wait_for() -> None:
    class Slow(Scripted):
        async def embed(
            self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS
        ) -> EmbedAnswer:
            await asyncio.sleep(30)
            return await super().embed(model, request, limits=limits)

    work = Work(targets("a", "b"), limits=TaskLimits(first_token_within_ms=5_000))
    ran = carry_out(work, request=EmbedRequest(("x",)), backend=Slow())
    assert ran.outline() == [("answer", "a", "ok", None)]


def test_what_the_catalog_says_of_a_model_holds_where_the_request_says_nothing() -> None:
    by_catalog = target("a", think=False, keep_alive="10m")
    ran = carry_out(Work((by_catalog,)))
    assert (ran.backend.asked(0).think, ran.backend.asked(0).keep_alive) == (False, "10m")
    own = ChatRequest((Message("user", "x"),), think="high")
    ran = carry_out(Work((by_catalog,)), request=own)
    assert (ran.backend.asked(0).think, ran.backend.asked(0).keep_alive) == ("high", "10m")


@pytest.mark.parametrize(("wanted", "asked"), [(None, 100), (500, 100), (50, 50)])
def test_no_longer_answer_is_asked_for_than_the_model_writes(wanted: int | None, asked: int) -> None:
    """What is reserved for a call rests on that."""
    request = ChatRequest((Message("user", "hi"),), max_output_tokens=wanted)
    ran = carry_out(Work((target("a", max_output_tokens=100),)), request=request)
    assert ran.backend.asked(0).max_output_tokens == asked
    unbounded = carry_out(Work((target("a"),)), request=request)
    assert unbounded.backend.asked(0).max_output_tokens == wanted
