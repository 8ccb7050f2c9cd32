"""Quotas and breakers around calls, in a real state store: what is refused, what is counted, what never leaks."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED_NANO,
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

from routewright.backends import NO_LIMITS, ChatAnswer, ChatRequest, Limits
from routewright.backends.control import (
    Breakers,
    Latencies,
    LoadTimes,
    QuotaLimit,
    Quotas,
    StateError,
    StateStore,
)
from routewright.backends.executing import Attempt, Execution, Executor, NotCalledError, TaskLimits, Work

DAILY = QuotaLimit("daily", "requests", 2, 0, "day")
TOKENS = QuotaLimit("tokens", "tokens", 100_000, 0, "day")
MONEY = QuotaLimit("money", "cost", 10**9, 0, "month", currency="USD")
AT_ONCE = QuotaLimit("at_once", "concurrent", 1, 0)


def used(store: StateStore, limit: QuotaLimit) -> tuple[int, int]:
    use = Quotas(store).use(limit, at_us=START_US)
    return use.used, use.reserved


# --- quotas ------------------------------------------------------------------------------------------------


def test_a_refused_lease_is_a_skipped_attempt_and_the_fallback_answers(store: StateStore) -> None:
    work = Work((target("a", quotas=(DAILY,)), target("b", role="fallback")))
    for _ in range(2):
        assert carry_out(work, store=store).outline() == [("answer", "a", "ok", None)]
    refused = carry_out(work, store=store)
    why = "`daily` has no room until 2023-11-15T00:00:00Z: 2 of 2 requests, and 1 more wanted"
    assert refused.outline() == [("answer", "a", "skipped", why), ("fallback", "b", "ok", None)]
    assert refused.backend.tags == ["b"]
    assert used(store, DAILY) == (2, 0)


def test_a_refusal_for_money_names_its_currency(store: StateStore) -> None:
    dear = target("a", quotas=(replace(MONEY, limit=1_000),))
    refused = carry_out(Work((dear,)), store=store)
    ((_, _, _, why),) = refused.outline()
    assert why == "`money` has no room: 0 of 0.000001 USD, and 0.008208 more wanted"


def test_a_call_that_was_not_made_counts_for_no_cap(store: StateStore) -> None:
    full = target("a", quotas=(replace(DAILY, limit=0),))
    bound = 16 * 1_000 + 4_096 * 2_000
    limits = TaskLimits(max_attempts=1, cost=cost_of(bound))
    ran = carry_out(Work((full, target("b", role="fallback")), limits=limits), store=store)
    assert [attempt.status for attempt in ran.execution.attempts] == ["skipped", "ok"]


def test_when_nothing_may_be_called_the_error_says_that_it_was_our_limit(store: StateStore) -> None:
    work = Work((target("a", quotas=(replace(DAILY, limit=0),)),))
    ran = carry_out(work, store=store)
    assert isinstance(ran.execution.error, NotCalledError)
    assert str(ran.execution.error).startswith("`a` was not called: `daily` has no room: 0 of 0")
    assert ran.error_class == "quota_exhausted"


def test_what_was_used_replaces_what_was_reserved(store: StateStore) -> None:
    work = Work((target("a", quotas=(DAILY, TOKENS, MONEY, AT_ONCE)),))
    assert carry_out(work, store=store).text == "hello there"
    assert used(store, DAILY) == (1, 0)
    assert used(store, TOKENS) == (15, 0)
    assert used(store, MONEY) == (USED_NANO, 0)
    assert used(store, AT_ONCE) == (0, 0)


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (Fails("unauthorized"), 0),  # refused before it did anything
        (Fails("broken_stream", text="eightchr"), 3 + 2),  # what came
        (Fails("bad_response"), 8 + 8 + 4_096),  # nobody knows: what was reserved
    ],
    ids=["refused", "broken off", "unknown"],
)
def test_failed_calls_are_counted_with_what_they_used(store: StateStore, error: Fails, counted: int) -> None:
    work = Work((target("a", quotas=(DAILY, TOKENS)),), limits=TaskLimits(first_token_within_ms=5_000))
    assert carry_out(work, {"a": [error]}, store=store).text is None
    assert used(store, DAILY) == (1, 0), "a call that was made is a request"
    assert used(store, TOKENS)[0] == counted


def test_a_counted_prompt_is_what_is_reserved_for_it(store: StateStore) -> None:
    limit = replace(TOKENS, limit=600)
    counted = target("a", quotas=(limit,), max_output_tokens=100, prompt_tokens=500)
    assert carry_out(Work((counted,)), store=store).text == "hello there"
    longer = replace(counted, prompt_tokens=501)
    assert carry_out(Work((longer,)), store=store).text is None


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_lease_holds_for_as_long_as_its_call_and_no_longer(store: StateStore, cancelled: bool) -> None:
    """A call of five minutes under a lease of two seconds; the loop's time is virtual."""
    backend = Scripted({"a": [Says(first_s=300.0)]})
    work = Work((target("a", quotas=(AT_ONCE,)),), limits=TaskLimits(lease_ms=2_000))
    reserved: list[int] = []

    async def main(clock: Callable[[], int]) -> None:
        executor = Executor({"b": backend}, clock=clock, store=store)
        task = asyncio.create_task(executor.run(work, HELLO))
        for _ in range(29):
            await asyncio.sleep(10)
            reserved.append(Quotas(store).use(AT_ONCE, at_us=clock()).reserved)
        if cancelled:
            task.cancel()
        await asyncio.wait({task})
        reserved.append(Quotas(store).use(AT_ONCE, at_us=clock()).reserved)
        # Nothing renews it any more.
        await asyncio.sleep(10)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
    assert reserved == [1] * 29 + [0]


def test_a_lease_that_cannot_be_renewed_is_a_warning(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise StateError("the disk is full")

    monkeypatch.setattr(Quotas, "renew", refuse)
    work = Work((target("a", quotas=(AT_ONCE,)),), limits=TaskLimits(lease_ms=3_000))
    ran = carry_out(work, {"a": [Says(first_s=2.5)]}, store=store)
    assert ran.outline() == [("answer", "a", "ok", None)]
    warning = "the lease of a call of `a` was not renewed: the disk is full"
    assert [(one.name, one.getMessage()) for one in caplog.records] == [("routewright", warning)] * 2


def test_without_a_state_store_nothing_is_called_that_a_quota_binds() -> None:
    ran = carry_out(Work((target("a", quotas=(DAILY,)), target("b", role="fallback"))))
    why = "`daily` cannot be counted: there is no state store (`state=`)"
    assert ran.outline() == [("answer", "a", "skipped", why), ("fallback", "b", "ok", None)]


def test_a_state_that_cannot_be_read_refuses_quotas_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StateStore(tmp_path / "state.sqlite")
    store.close()
    ran = carry_out(Work((target("a", quotas=(DAILY,)), target("b", role="fallback"))), store=store)
    [skipped, answered] = ran.execution.attempts
    assert (skipped.status, answered.status) == ("skipped", "ok")
    why = f"the state store `{store.path}` is closed"
    assert skipped.reason == f"its quotas cannot be counted: {why}"
    assert answered.reason == f"its breaker could not be read: {why}; its use could not be counted: {why}"
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("routewright", "WARNING", f"the breaker of `{name}` could not be read and counts as closed: {why}")
        for name in "ab"
    ]


def test_a_locked_state_is_waited_for_without_blocking_the_loop(store: StateStore) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def main() -> Execution:
        executor = Executor({"b": Scripted()}, clock=lambda: START_US, store=store)
        work = Work((target("a", quotas=(DAILY,)),))
        task = asyncio.create_task(executor.run(work, HELLO))
        await asyncio.sleep(0.1)
        assert not task.done()
        # Had the loop been blocked, this would have come after the task had given up.
        other.execute("ROLLBACK")
        return await task

    assert asyncio.run(main()).error is None
    other.close()
    assert used(store, DAILY) == (1, 0)


def test_who_is_cancelled_while_waiting_for_the_state_holds_nothing_of_it(store: StateStore) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    backend = Scripted()

    async def main() -> None:
        executor = Executor({"b": backend}, clock=lambda: START_US, store=store)
        task = asyncio.create_task(executor.run(Work((target("a", quotas=(DAILY,)),)), HELLO))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        other.execute("ROLLBACK")
        await asyncio.sleep(0.05)

    asyncio.run(main())
    other.close()
    assert (used(store, DAILY), backend.calls) == ((0, 0), [])


def test_no_attempt_is_lost_when_the_caller_is_cancelled_while_its_use_is_counted(store: StateStore) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    heard: list[Attempt] = []

    class Locking(Scripted):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            other.execute("BEGIN IMMEDIATE")
            return await super().chat(model, request, limits=limits)

    async def main() -> None:
        executor = Executor({"b": Locking()}, clock=lambda: START_US, store=store)
        work = Work((target("a", quotas=(DAILY,)),))
        task = asyncio.create_task(executor.run(work, HELLO, on_attempt=heard.append))
        while not other.in_transaction:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        other.execute("ROLLBACK")
        await asyncio.sleep(0.05)

    asyncio.run(main())
    other.close()
    assert [(attempt.model_id, attempt.status) for attempt in heard] == [("a", "ok")]
    assert used(store, DAILY) == (1, 0)


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 1.5, 2.5, 10.0])
def test_no_lease_leaks_wherever_the_caller_is_cancelled(store: StateStore, after_s: float) -> None:
    """Cancelled at once, in the first call, in the pause, in the retry, in a call that hangs."""
    backend = Scripted(
        {"a": [Fails("overloaded", after_s=1.0), Fails("overloaded", after_s=1.0)], "b": [Hangs()]}
    )
    bound = (DAILY, replace(AT_ONCE, limit=5))
    work = Work((target("a", quotas=bound), target("b", quotas=bound)), limits=TaskLimits(backoff_ms=1_000))
    made = 0

    async def main(clock: Callable[[], int]) -> None:
        nonlocal made
        executor = Executor({"b": backend}, clock=clock, store=store)
        heard: list[object] = []
        task = asyncio.create_task(executor.run(work, HELLO, on_attempt=heard.append))
        await asyncio.sleep(after_s)
        task.cancel()
        await asyncio.wait({task})
        made = len(heard)

    run_virtual(main)
    assert used(store, AT_ONCE) == (0, 0)
    assert used(store, DAILY)[1] == 0
    assert used(store, DAILY)[0] == len(backend.calls) <= made


# --- breakers ----------------------------------------------------------------------------------------------


def fail_three_times(store: StateStore, name: str) -> None:
    for _ in range(3):
        carry_out(Work(targets(name)), {name: [Fails("overloaded")]}, store=store)


def test_a_model_that_keeps_failing_is_passed_over(store: StateStore) -> None:
    fail_three_times(store, "a")
    ran = carry_out(Work(targets("a", "b")), store=store)
    why = "its breaker is open until 2023-11-14T22:13:30Z after overloaded"
    assert ran.outline() == [("answer", "a", "skipped", why), ("fallback", "b", "ok", None)]


def test_the_last_model_is_tried_although_its_breaker_is_open(store: StateStore) -> None:
    fail_three_times(store, "a")
    ran = carry_out(Work(targets("a")), store=store)
    assert [(a.status, a.reason) for a in ran.execution.attempts] == [
        ("ok", "its breaker is open, and no other model is left"),
    ]
    assert Breakers(store).all(at_us=START_US) == {}, "its answer closes the breaker"


def test_the_last_model_is_asked_once_and_not_again_and_again(store: StateStore) -> None:
    fail_three_times(store, "a")
    work = Work(targets("a"), limits=TaskLimits(backoff_ms=1), retries=5)
    ran = carry_out(work, {"a": [Fails("overloaded")] * 9}, store=store)
    assert ran.outline() == [("answer", "a", "failed", "overloaded")]


def test_of_several_open_ones_the_one_that_closes_first_is_tried(store: StateStore) -> None:
    carry_out(Work(targets("a")), {"a": [Fails("payment_required")]}, store=store)
    fail_three_times(store, "b")
    ran = carry_out(Work(targets("a", "b")), store=store)
    assert [(a.model_id, a.status) for a in ran.execution.attempts] == [
        ("a", "skipped"),
        ("b", "skipped"),
        ("b", "ok"),
    ]


def test_a_limit_that_is_used_up_holds_for_the_last_model_too(store: StateStore) -> None:
    carry_out(Work(targets("a")), {"a": [Fails("quota_exhausted", retry_after_ms=18_000_000)]}, store=store)
    for _ in range(3):
        ran = carry_out(Work(targets("a")), store=store)
        why = "its breaker is open until 2023-11-15T03:13:20Z after quota_exhausted"
        assert ran.outline() == [("answer", "a", "skipped", why)]
        assert ran.backend.tags == []


def test_a_call_that_fails_meanwhile_does_not_hide_why_a_model_rests(store: StateStore) -> None:
    breakers = Breakers(store)
    breakers.failed("a", at_us=START_US, error_class="quota_exhausted", cool_ms=18_000_000)
    later_us = START_US + 1_000_000
    breakers.failed("a", at_us=later_us, error_class="overloaded", began_us=START_US - 1)
    breakers.failed("a", at_us=later_us, error_class="rate_limited", cool_ms=1_000, began_us=START_US - 1)
    found = breakers.all(at_us=later_us)["a"]
    assert (found.error_class, found.until_us) == ("quota_exhausted", START_US + 18_000_000_000)


def test_a_model_that_is_resting_is_not_tried_after_another_one_failed(store: StateStore) -> None:
    carry_out(Work(targets("a")), {"a": [Fails("payment_required")]}, store=store)
    ran = carry_out(Work(targets("a", "b")), {"b": [Fails("bad_response")]}, store=store)
    assert ran.backend.tags == ["b"] and ran.error_class == "bad_response"


@pytest.mark.parametrize(
    ("error", "until_s"),
    [
        (Fails("quota_exhausted", retry_after_ms=18_000_000), 18_000),
        (Fails("quota_exhausted"), 3_600),
        (Fails("quota_exhausted", retry_after_ms=10**12), 7 * 86_400),
        (Fails("payment_required"), 3_600),
        (Fails("unauthorized"), 900),
        (Fails("rate_limited", retry_after_ms=20_000), 20),
        (Fails("rate_limited"), None),
        (Fails("overloaded"), None),
    ],
)
def test_how_long_one_failure_cools_a_model(store: StateStore, error: Fails, until_s: int | None) -> None:
    carry_out(Work(targets("a")), {"a": [error]}, store=store)
    breaker = Breakers(store).all(at_us=START_US)["a"]
    assert breaker.until_us == (None if until_s is None else START_US + until_s * 1_000_000)


@pytest.mark.parametrize("error_class", ["context_overflow", "refused_content", "cancelled"])
def test_what_says_nothing_of_a_models_health_is_not_held_against_it(
    store: StateStore, error_class: str
) -> None:
    error = Fails(error_class)  # type: ignore[arg-type]  # from a list of names
    for _ in range(5):
        carry_out(Work(targets("a")), {"a": [error]}, store=store)
    assert Breakers(store).all(at_us=START_US) == {}


def test_a_retry_that_its_own_failures_forbid_is_not_made(store: StateStore) -> None:
    work = Work(targets("a", "b"), limits=TaskLimits(backoff_ms=1), retries=9)
    ran = carry_out(work, {"a": [Fails("overloaded")] * 9}, store=store)
    assert [(a.role, a.model_id, a.status) for a in ran.execution.attempts] == [
        ("answer", "a", "failed"),
        ("retry", "a", "failed"),
        ("retry", "a", "failed"),
        ("retry", "a", "skipped"),
        ("fallback", "b", "ok"),
    ]


def test_a_probe_that_is_refused_or_cancelled_is_given_back(store: StateStore) -> None:
    fail_three_times(store, "a")
    later = START_US + 60_000_000
    backend = Scripted({"a": [Hangs()]})

    async def main(clock: Callable[[], int]) -> None:
        executor = Executor({"b": backend}, clock=lambda: clock() + 60_000_000, store=store)
        full = Work((target("a", quotas=(replace(DAILY, limit=0),)),))
        assert (await executor.run(full, HELLO)).answer is None
        task = asyncio.create_task(executor.run(Work(targets("a")), HELLO))
        await asyncio.sleep(1)
        other = await executor.run(Work(targets("a", "c")), HELLO)
        assert [(a.model_id, a.reason) for a in other.attempts] == [
            ("a", "its breaker is half open, and another call is trying it"),
            ("c", None),
        ]
        task.cancel()
        await asyncio.wait({task})

    run_virtual(main)
    assert Breakers(store).admit("a", at_us=later + 2_000_000) == "probe"


# --- latencies ---------------------------------------------------------------------------------------------


def test_latencies_are_those_of_warm_answers(store: StateStore) -> None:
    for _ in range(5):
        carry_out(Work(targets("a")), {"a": [Says(first_s=0.5, load_s=0.1)]}, store=store)
    carry_out(Work(targets("a")), {"a": [Says(first_s=0.5, load_s=30.0)]}, store=store)
    carry_out(Work(targets("a")), {"a": [Fails("overloaded", after_s=9.0)]}, store=store)
    assert Latencies(store).all(at_us=START_US + 60_000_000) == {"a": pytest.approx(500.0)}


def test_load_times_are_those_of_cold_starts(store: StateStore) -> None:
    carry_out(Work(targets("a")), {"a": [Says(first_s=0.5, load_s=0.1)]}, store=store)
    assert LoadTimes(store).all(at_us=START_US) == {}
    carry_out(Work(targets("a")), {"a": [Says(first_s=4.5, load_s=4.0)]}, store=store)
    assert LoadTimes(store).all(at_us=START_US + 60_000_000) == {"a": pytest.approx(4_000.0)}
