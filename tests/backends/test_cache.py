"""Kept answers are exact, whole, bounded, and nobody else's."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED,
    USED_NANO,
    Act,
    Fails,
    RunResult,
    Says,
    Scripted,
    carry_out,
    cost_of,
    run_virtual,
    target,
    targets,
)

from routewright.backends import (
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    Message,
    RerankRequest,
    Timings,
    ToolCall,
    Usage,
)
from routewright.backends.control import Breakers, StateStore
from routewright.backends.executing import (
    AnswerCache,
    CacheUse,
    Ensemble,
    Execution,
    Executor,
    Request,
    Step,
    TaskLimits,
    Work,
)
from routewright.backends.executing.cache import CachedAnswer, cache_key

HOUR = CacheUse(ttl_ms=3_600_000, given={"team": "research"}, constraints=("local_only",), policy="sha256:1")


@dataclass
class Clock:
    now_us: int = START_US

    def __call__(self) -> int:
        return self.now_us


def run(
    cache: AnswerCache,
    work: Work | None = None,
    script: Mapping[str, Sequence[Act]] | None = None,
    **more: Any,
) -> RunResult:
    return carry_out(work or Work(targets("a", "b"), cache=HOUR), script, cache=cache, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> AnswerCache:
    return AnswerCache(clock=clock)


def test_a_hit_is_an_attempt_of_its_own_kind_with_what_it_saved(cache: AnswerCache) -> None:
    first = run(cache)
    again = run(cache, stream=True)
    assert again.backend.calls == []
    assert (again.text, again.shown) == (first.text, first.text)
    [hit] = again.execution.attempts
    assert (hit.role, hit.model_id, hit.status, hit.cached_answer) == ("answer", "a", "cached", True)
    assert (hit.cost_nano, hit.saved_nano, hit.input_tokens, hit.output_tokens) == (0, USED_NANO, 0, 0)
    assert again.heard == (hit,)
    answer = again.execution.answer
    assert answer is not None and answer.usage == Usage(0, 0, 0, 0, "reported"), "tokens are counted once"


def test_after_its_time_an_answer_is_made_again(cache: AnswerCache, clock: Clock) -> None:
    run(cache)
    clock.now_us += 3_600_000_000 - 1
    assert run(cache).backend.calls == []
    clock.now_us += 1
    assert run(cache).backend.tags == ["a"]


def test_without_a_use_nothing_is_kept(cache: AnswerCache) -> None:
    run(cache, Work(targets("a")))
    assert len(cache) == 0


@pytest.mark.parametrize(
    "answer",
    [
        Says("half", finish="length"),
        Says("", finish="content_filter"),
        Says("", finish="tool_calls", tool_calls=(ToolCall("1", "f", {}),)),
        Says("x", tool_calls=(ToolCall("1", "f", {}),)),
        Says("x", truncated=True),
        Says(""),
        Says(" \n"),
        Fails("broken_stream", text="half"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_whole_is_not_kept(cache: AnswerCache, answer: Act, stream: bool) -> None:
    run(cache, Work(targets("a"), cache=HOUR), {"a": [answer]}, stream=stream)
    assert len(cache) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"given": {"team": "sales"}},
        {"constraints": ()},
        {"constraints": ("local_only", "more")},
        {"policy": "sha256:2"},
    ],
)
def test_answers_are_not_shared_across(cache: AnswerCache, changed: dict[str, Any]) -> None:
    run(cache)
    assert run(cache, Work(targets("a"), cache=replace(HOUR, **changed))).backend.tags == ["a"]


CHAT_CHANGES: list[dict[str, Any]] = [
    {"messages": (Message("user", "which models?"),)},
    {"messages": (Message("system", "which model?"),)},
    {"messages": (Message("user", "which model?", images=(b"png",)),)},
    {"top_p": 0.5},
    {"messages": (*HELLO.messages, Message("assistant", ""))},
    {"max_output_tokens": 5},
    {"temperature": 0.0},
    {"seed": 1},
    {"stop": ("x",)},
    {"tools": ({"name": "f"},)},
    {"json_schema": {"type": "object"}},
    {"context_tokens": 1},
    {"think": False},
    {"keep_alive": "1m"},
    {"options": {"top_k": 1}},
]


def test_every_field_of_a_request_is_part_of_the_key() -> None:
    work = Work(targets("a"), cache=HOUR)
    requests: list[Request] = [HELLO, *(replace(HELLO, **change) for change in CHAT_CHANGES)]
    requests += [EmbedRequest(("a", "b")), EmbedRequest(("ab",)), EmbedRequest(("a", "b"), {"x": 1})]
    requests += [RerankRequest("a", ("b",)), RerankRequest("b", ("a",))]
    keys = [cache_key(work, work.targets[0], request, {}, "") for request in requests]
    assert None not in keys and len(set(keys)) == len(requests)
    changed = {name for change in CHAT_CHANGES for name in change}
    assert changed == set(ChatRequest.__dataclass_fields__)


def test_model_place_and_steps_are_part_of_the_key() -> None:
    one = target("a")
    works = [
        Work((one,), cache=HOUR),
        Work((one,), (Step("verify", target("v")),), cache=HOUR),
        Work((one,), (Step("verify", target("v"), options={"on_reject": "retry"}),), cache=HOUR),
        Work((one,), (Step("verify", target("w")),), cache=HOUR),
    ]
    keys = {cache_key(work, one, HELLO, {}, "p") for work in works}
    keys.add(cache_key(works[1], one, HELLO, {}, "other prompts"))
    for other in (target("a", tag="x"), target("a", backend_id="c"), target("a", think=True)):
        keys.add(cache_key(works[0], other, HELLO, {}, "p"))
    keys.add(cache_key(works[0], one, HELLO, {"b": Scripted()}, "p"))
    ensemble = Ensemble((one, target("b")), "first", 1)
    keys.add(cache_key(works[0], ensemble, HELLO, {}, "p"))
    keys.add(cache_key(works[0], replace(ensemble, quorum=2), HELLO, {}, "p"))
    assert len(keys) == 11


@pytest.mark.parametrize("options", [{"x": object()}, {"x": float("nan")}, {"x": 2**60}, {1: 2}])
def test_options_that_json_cannot_say_are_not_cached_and_do_no_harm(
    cache: AnswerCache, options: dict[Any, Any]
) -> None:
    request = ChatRequest(HELLO.messages, options=options)
    assert run(cache, request=request).text == "hello there"
    assert len(cache) == 0


def test_an_answer_of_a_fallback_is_found_when_its_turn_comes(cache: AnswerCache) -> None:
    run(cache, script={"a": [Fails("overloaded")]})
    again = run(cache, script={"a": [Fails("overloaded")]})
    assert again.outline() == [("answer", "a", "failed", "overloaded"), ("fallback", "b", "cached", None)]
    assert run(cache).backend.tags == ["a"], "while the first model can answer, it does"


def test_a_hit_takes_no_quota_and_asks_no_breaker(cache: AnswerCache, tmp_path: Path) -> None:
    run(cache)
    store = StateStore(tmp_path / "state.sqlite")
    Breakers(store).failed("a", at_us=START_US, error_class="overloaded", cool_ms=60_000)
    assert run(cache, store=store, work=None).outline() == [("answer", "a", "cached", None)]
    store.close()


def test_an_accepted_answer_is_kept_with_its_steps_and_a_rejected_one_is_not(cache: AnswerCache) -> None:
    steps = (Step("draft", target("d")), Step("verify", target("v")), Step("refine", target("r")))
    work = Work(targets("a"), steps, cache=HOUR)
    for rejected in (Says("REJECT"), Says("?"), Fails("overloaded")):
        run(cache, work, {"v": [rejected]})
        assert len(cache) == 0
    run(cache, work, {"v": [Says("ACCEPT")], "r": [Fails("overloaded")]})
    assert len(cache) == 0, "a step that was left out is missing"
    run(cache, work, {"v": [Says("ACCEPT")], "r": [Says("better")]})
    again = run(cache, work, stream=True)
    assert (again.backend.calls, again.text, again.shown) == ([], "better", "better")
    assert again.execution.attempts[0].saved_nano == 4 * USED_NANO


def test_an_ensembles_answer_is_kept_as_the_ensembles(cache: AnswerCache) -> None:
    ensemble = Ensemble((target("a"), target("b")), "consensus_or_override", 2, override="b")
    work = Work((target("z", role="fallback"),), ensemble=ensemble, cache=HOUR)
    run(cache, work, {"b": [Says("b")]})
    again = run(cache, work)
    assert (again.text, again.outline()) == ("b", [("member", "a", "cached", None)])
    assert run(cache, Work(targets("b"), cache=HOUR)).backend.tags == ["b"]


def test_an_escalated_answer_is_the_fallbacks(cache: AnswerCache) -> None:
    steps = (Step("verify", target("v"), options={"on_reject": "escalate"}),)
    work = Work(targets("a", "b"), steps, cache=HOUR)
    run(cache, work, {"v": [Says("REJECT"), Says("ACCEPT")]})
    again = run(cache, work, {"v": [Says("REJECT")]})
    assert again.outline()[-1] == ("fallback", "b", "cached", None)
    assert again.backend.tags == ["a", "v"]


def test_unknown_costs_are_unknown_savings(cache: AnswerCache) -> None:
    work = Work((target("a", price=None),), cache=HOUR)
    run(cache, work)
    assert run(cache, work).execution.attempts[0].saved_nano is None


def test_costs_in_two_currencies_are_no_sum(cache: AnswerCache) -> None:
    one = target("a")
    assert one.price is not None
    other = target("v", price=replace(one.price, currency="EUR"))
    work = Work((one,), (Step("verify", other),), cache=HOUR)
    run(cache, work, {"v": [Says("ACCEPT")]})
    assert run(cache, work).execution.attempts[0].saved_nano is None


def test_embeddings_and_rankings_are_kept_too(cache: AnswerCache) -> None:
    for request in (EmbedRequest(("x",)), RerankRequest("q", ("x",))):
        run(cache, request=request)
        assert run(cache, request=request).backend.calls == []


async def ask_together(
    cache: AnswerCache, clock: Callable[[], int], works: Sequence[Work], script: Mapping[str, Sequence[Act]]
) -> tuple[list[Execution], Scripted]:
    backend = Scripted(script)
    executor = Executor({"b": backend}, clock=clock, cache=cache)
    return list(await asyncio.gather(*(executor.run(work, HELLO) for work in works))), backend


def test_of_equal_requests_at_the_same_time_one_is_made(cache: AnswerCache) -> None:
    equal = [Work(targets("a", "b"), cache=HOUR)] * 20
    other = [Work(targets("a"), cache=replace(HOUR, given={"team": "sales"}))]
    ran, backend = run_virtual(
        lambda clock: ask_together(cache, clock, [*equal, *other], {"a": [Says("one", first_s=1)] * 2})
    )
    assert backend.tags == ["a", "a"], "one for each team"
    assert all(execution.answer is not None for execution in ran)
    statuses = Counter(attempt.status for execution in ran[:20] for attempt in execution.attempts)
    assert statuses == {"ok": 1, "cached": 19}


def test_who_waits_for_a_failure_or_a_cancelled_call_makes_the_call_itself(cache: AnswerCache) -> None:
    works = [Work(targets("a"), cache=HOUR)] * 3
    failed, backend = run_virtual(
        lambda clock: ask_together(cache, clock, works, {"a": [Fails("not_found", after_s=1)]})
    )
    assert backend.tags == ["a"] * 3
    assert [execution.error is None for execution in failed] == [False, True, True]

    async def cancel_the_first(clock: Callable[[], int]) -> Scripted:
        backend = Scripted({"x": [Says("late", first_s=5), Says("now")]})
        executor = Executor({"b": backend}, clock=clock, cache=cache)
        work = Work(targets("x"), cache=HOUR)
        first, second = (asyncio.ensure_future(executor.run(work, HELLO)) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        assert (await second).answer is not None
        return backend

    assert run_virtual(cancel_the_first).tags == ["x", "x"]


# A fork beside threads is deprecated since Python 3.12, and done by web servers all the same.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_what_its_parent_makes(cache: AnswerCache) -> None:
    claim = cache.claim("asked", lambda: False)
    assert claim is not None
    child = os.fork()
    if child == 0:
        own = cache.claim("asked", lambda: False)
        if own is not None:
            cache.finished(own)
        os._exit(1 if own is None else 0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.claim("asked", lambda: False) is None and not claim.made.done()
    cache.finished(claim)
    assert claim.made.done() and cache.making("asked") is None


def test_nobody_waits_for_a_call_whose_event_loop_was_closed(cache: AnswerCache) -> None:
    backend = Scripted({"a": [Says("late", first_s=60)]})
    executor = Executor({"b": backend}, clock=lambda: START_US, cache=cache)
    work = Work(targets("a"), cache=HOUR, limits=TaskLimits(deadline_ms=60_000))
    closed = asyncio.new_event_loop()
    left = closed.create_task(executor.run(work, HELLO))
    closed.run_until_complete(asyncio.sleep(0.01))
    waiting = cache.making(next(key for _, key in cache._made))
    assert waiting is not None and not waiting.done()
    running = asyncio.all_tasks(closed)
    closed.close()
    ran = asyncio.run(asyncio.wait_for(executor.run(work, HELLO), 10))
    assert ran.answer is not None and waiting.done(), "who waited before goes on as well"
    for task in (left, *running):  # asyncio would say that they never ended
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_who_waits_keeps_half_of_its_time(cache: AnswerCache) -> None:
    hanging = Work(targets("a"), cache=HOUR)
    hurried = replace(hanging, limits=TaskLimits(deadline_ms=2_000))
    script = {"a": [Says("late", first_s=60), Says("now")]}
    (_, second), _ = run_virtual(lambda clock: ask_together(cache, clock, [hanging, hurried], script))
    assert second.answer is not None
    [attempt] = second.attempts
    assert attempt.started_at_us - START_US == 1_000_000


def test_the_cache_is_bounded_and_the_least_used_answers_give_way(clock: Clock) -> None:
    cache = AnswerCache(clock=clock, max_bytes=40_000)

    def entry(size: int) -> CachedAnswer:
        answer = ChatAnswer("x" * size, "stop", USED, None, Timings(0, 0, 0))
        return CachedAnswer(answer, None, START_US + 10)

    for number in range(100):
        cache.put(str(number), entry(1_000))
        cache.get("0")
    assert len(cache) == 8
    assert cache.get("0") is not None and cache.get("1") is None and cache.get("99") is not None
    cache.put("large", entry(2_000))
    assert cache.get("large") is None, "one answer must not push all the others out"


def test_a_cache_hit_needs_no_call_to_be_left(cache: AnswerCache) -> None:
    run(cache)
    work = Work(targets("a"), cache=HOUR, limits=TaskLimits(max_attempts=1, cost=cost_of(0)))
    assert run(cache, work).text == "hello there"
