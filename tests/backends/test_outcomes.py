"""What follows the end of a call, by its class and how far it had come: seen from outside, on a real state store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED_NANO,
    Fails,
    Says,
    Scripted,
    carry_out,
    cost_of,
    run_virtual,
    target,
)
from support.scripted_http import ScriptedHttp, Wait, events, reply

from routewright.backends import ERROR_CLASSES, NO_LIMITS, ErrorClass, Limits
from routewright.backends.control import Breakers, Latencies, QuotaLimit, Quotas, StateStore
from routewright.backends.control.latencies import MIN_SAMPLES
from routewright.backends.executing import (
    FAILURES,
    STAGES,
    Attempt,
    Executor,
    Stage,
    TaskLimits,
    Work,
    outcome_of,
)
from routewright.backends.openai.backend import OpenAIBackend
from routewright.backends.phases import CallClock

REQUESTS = QuotaLimit("requests", "requests", 100, 0, "day")
TOKENS = QuotaLimit("tokens", "tokens", 100_000, 0, "day")
MONEY = QuotaLimit("money", "cost", 10**9, 0, "month", currency="USD")
QUOTAS = (REQUESTS, TOKENS, MONEY)
RESERVED = (1, 16 + 4_096, 16 * 1_000 + 4_096 * 2_000)
TEXT = "half an answer "
ESTIMATED = (1, 3 + 4, 3 * 1_000 + 4 * 2_000)


def used(store: StateStore) -> tuple[int, ...]:
    found = [Quotas(store).use(limit, at_us=START_US) for limit in QUOTAS]
    assert all(use.reserved == 0 for use in found), "nothing is held once a call has ended"
    return tuple(use.used for use in found)


def failing(error_class: ErrorClass, stage: Stage) -> tuple[Fails, bool]:
    """A failure at a stage, and whether the call is streamed to somebody."""
    match stage:
        case "unsent":
            return Fails(error_class, phase="turn"), False
        case "refused":
            return Fails(error_class), False
        case "begun":
            return Fails(error_class, phase="first_token", begun=True), False
        case "answering":
            return Fails(error_class, text=TEXT), False
        case "shown":
            return Fails(error_class, text=TEXT), True


def test_every_class_and_every_stage_has_its_row() -> None:
    assert tuple(FAILURES) == ERROR_CLASSES
    assert tuple(STAGES) == get_args(Stage)


@pytest.mark.parametrize(("error_class", "stage"), [*product(ERROR_CLASSES, STAGES)])
def test_what_is_decided_is_what_happens(store: StateStore, error_class: ErrorClass, stage: Stage) -> None:
    act, stream = failing(error_class, stage)
    if stage == "refused":  # nobody tells: then it is what the class says
        stage = FAILURES[error_class].stage
    # What fails at once never had the time that its model usually takes.
    told = outcome_of(error_class, stage, had_its_time=False, queued=stage == "unsent")
    limits = TaskLimits(backoff_ms=1, first_token_within_ms=5_000)
    a, b = target("a", quotas=QUOTAS), target("b", role="fallback")
    ran = carry_out(Work((a, b), limits=limits, retries=1), {"a": [act]}, stream=stream, store=store)
    asked = {"retry": ["a", "a"], "next": ["a", "b"], "stop": ["a"]}[told.then]
    assert ran.backend.tags == asked
    again = (1, 15, USED_NANO) if told.then == "retry" else (0, 0, 0)
    expected = {"none": (int(told.request), 0, 0), "unknown": RESERVED, "estimated": ESTIMATED}[told.cost]
    assert used(store) == tuple(map(sum, zip(expected, again, strict=True)))
    cost = {"none": 0, "unknown": None, "estimated": ESTIMATED[2]}[told.cost]
    assert ran.execution.attempts[0].cost_nano == cost
    breaker = Breakers(store).all(at_us=START_US).get("a")
    if told.then == "retry" or told.breaker == "ignore":
        assert breaker is None, "an answer closes it, and what says nothing leaves it alone"
    else:
        assert breaker is not None
        assert breaker.state == ("open" if told.breaker == "cool" and told.cool_ms else "closed")


@pytest.mark.parametrize("status", [400, 403, 422, 301, 500])
def test_a_refusal_takes_nothing_from_a_cap_and_no_tokens_from_a_quota(
    store: StateStore, status: int
) -> None:
    """The cap and the quota hold what one call may take, beside the answers: the fallback still fits under both."""
    tight = (REQUESTS, replace(TOKENS, limit=RESERVED[1] + 2 * 15), MONEY)
    limits = TaskLimits(cost=cost_of(RESERVED[2]), deadline_ms=20_000)
    first = target("a", quotas=tight)
    second = target("c", backend_id="other", quotas=tight, role="fallback")

    async def main() -> list[Attempt]:
        async with ScriptedHttp(reply(status, {"error": {"message": "no"}})) as server:
            backends = {"b": OpenAIBackend(server.url), "other": Scripted()}
            executor = Executor(backends, clock=lambda: START_US, store=store)
            ran = [await executor.run(Work((first, second), limits=limits), HELLO) for _ in range(3)]
            await backends["b"].close()
            return [one for execution in ran for one in execution.attempts]

    attempts = asyncio.run(main())
    firsts = [one for one in attempts if one.model_id == "a" and one.status == "failed"]
    assert {one.cost_nano for one in firsts} == {0}
    assert [one.status for one in attempts if one.model_id == "c"] == ["ok"] * 3
    breaker = Breakers(store).all(at_us=START_US).get("a")
    at_fault = status in (400, 422, 301)
    assert (breaker is None) is at_fault, "the model is to blame for the other two, and not for these"


def test_what_a_server_reports_counts_whatever_the_stage(store: StateStore) -> None:
    act = Fails("overloaded", usage=Says().usage)
    ran = carry_out(Work((target("a", quotas=QUOTAS),)), {"a": [act]}, store=store)
    assert (ran.execution.attempts[0].cost_nano, used(store)) == (USED_NANO, (1, 15, USED_NANO))


# --- our own queue -------------------------------------------------------------------------------------------------


def test_calls_that_wait_here_too_long_cost_nothing_and_are_held_against_nobody(store: StateStore) -> None:
    """One at a time, ten at once: the server sees some, and what it never saw is counted nowhere."""
    answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": _usage(10, 5)}
    limits = TaskLimits(deadline_ms=20_000)

    async def main() -> tuple[int, list[Attempt]]:
        async with ScriptedHttp([Wait(0.15), *reply(200, answer)]) as server:
            backend = OpenAIBackend(server.url, concurrency=1)
            executor = Executor({"b": backend}, clock=lambda: START_US, store=store)
            bound = target("a", quotas=QUOTAS, limits=Limits(queue_ms=400))
            runs = [executor.run(Work((bound,), limits=limits), HELLO) for _ in range(10)]
            attempts = [one for run in await asyncio.gather(*runs) for one in run.attempts]
            await backend.close()
            return len(server.requests), attempts

    seen, attempts = asyncio.run(main())
    waited = [one for one in attempts if one.error_class == "timeout.queue"]
    assert 1 <= seen <= 5 and len(waited) == 10 - seen
    assert {(one.cost_nano, one.input_tokens) for one in waited} == {(0, 0)}
    assert {one.message for one in waited} == {"no turn at `a` within 400 ms"}
    assert used(store) == (seen, 15 * seen, USED_NANO * seen)
    assert Breakers(store).all(at_us=START_US) == {}


@pytest.mark.parametrize("ended_by", ["deadline", "caller"])
def test_a_call_that_is_ended_in_our_queue_never_left(store: StateStore, ended_by: str) -> None:
    class Queue(Scripted):
        async def chat(self, model: str, *_: object, **__: object) -> Any:
            clock = CallClock(Limits(), who=model)
            clock.enter("turn")
            await asyncio.sleep(3_600)

    heard: list[Attempt] = []

    async def main(clock: Callable[[], int]) -> None:
        executor = Executor({"b": Queue()}, clock=clock, store=store)
        limits = TaskLimits(deadline_ms=1_000 if ended_by == "deadline" else 60_000)
        work = Work((target("a", quotas=QUOTAS),), limits=limits)
        task = asyncio.create_task(executor.run(work, HELLO, on_attempt=heard.append))
        await asyncio.sleep(0.5)
        if ended_by == "caller":
            task.cancel()
        await asyncio.wait({task})

    run_virtual(main)
    expected = "timeout.queue" if ended_by == "deadline" else "cancelled"
    assert [(one.error_class, one.cost_nano) for one in heard] == [(expected, 0)]
    assert used(store) == (0, 0, 0)
    assert Breakers(store).all(at_us=START_US) == {}


def test_a_call_that_never_left_leaves_its_place_to_the_fallbacks() -> None:
    waited = Fails("timeout.queue", phase="turn")
    work = Work((target("a"), target("b"), target("c")), limits=TaskLimits(max_attempts=1))
    ran = carry_out(work, {"a": [waited], "b": [waited]})
    assert [one.status for one in ran.execution.attempts] == ["failed", "failed", "ok"]
    assert ran.text == "hello there"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("waits", ["first token", "total", "deadline"])
def test_a_model_is_not_blamed_for_what_its_calls_have_waited_in_our_own_queue(
    store: StateStore, waits: str, stream: bool
) -> None:
    """Each call takes 0.8 s, and the second waits as long for the first: a limit of 1.1 s is over while it works."""
    limits = {"first token": Limits(first_token_ms=1_100, queue_ms=9_000), "total": Limits(total_ms=1_100)}
    facts = target("a", limits=limits.get(waits, NO_LIMITS), expected_ms=900)
    work = Work((facts,), limits=TaskLimits(deadline_ms=1_100 if waits == "deadline" else 9_000))
    answer = [{"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}]
    whole = reply(200, {"choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}]})
    said = events(*answer) if stream or waits == "first token" else whole

    async def main() -> list[str | None]:
        async with ScriptedHttp([Wait(0.8), *said]) as server:
            backend = OpenAIBackend(server.url, concurrency=1)
            executor = Executor({"b": backend}, clock=lambda: START_US, store=store)
            shown = (lambda _: None) if stream else None
            ran = await asyncio.gather(*(executor.run(work, HELLO, on_text=shown) for _ in range(2)))
            await backend.close()
            return [one.error_class for execution in ran for one in execution.attempts]

    ended = {"first token": None, "total": "timeout.total", "deadline": "timeout.deadline"}[waits]
    assert sorted(asyncio.run(main()), key=str) == sorted([None, ended], key=str)
    assert Breakers(store).all(at_us=START_US) == {}


def test_the_latency_of_a_model_is_without_the_wait_in_our_own_queue(store: StateStore) -> None:
    said = events({"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]})

    async def main() -> list[int]:
        async with ScriptedHttp([Wait(0.2), *said]) as server:
            backend = OpenAIBackend(server.url, concurrency=1)
            executor = Executor({"b": backend}, clock=lambda: START_US, store=store)
            work = Work((target("a"),))
            ran = await asyncio.gather(
                *(executor.run(work, HELLO, on_text=lambda _: None) for _ in range(MIN_SAMPLES))
            )
            await backend.close()
            return [one.total_us for execution in ran for one in execution.attempts]

    took_us = asyncio.run(main())
    latency_ms = Latencies(store).all(at_us=START_US)["a"]
    assert 190 < latency_ms < sum(took_us) / len(took_us) / 1_000 - 190, (
        "the mean call has waited for one at least"
    )
