"""Whatever the work and whatever backends do: nothing else is called, limits hold, nothing leaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import event, given
from hypothesis import strategies as st
from support.executing_parts import (
    HELLO,
    START_US,
    Act,
    Crashes,
    Ends,
    Fails,
    Hangs,
    Says,
    Scripted,
    carry_out,
    every_target,
    run_virtual,
    target,
)

from routewright.backends import (
    ERROR_CLASSES,
    NO_LIMITS,
    ChatAnswer,
    ChatRequest,
    Limits,
    PriceFacts,
    cost_nano,
)
from routewright.backends.control import QuotaLimit, Quotas, StateStore
from routewright.backends.executing import (
    AnswerCache,
    Attempt,
    CacheUse,
    Ensemble,
    Executor,
    Request,
    Step,
    Target,
    TaskCost,
    TaskLimits,
    Work,
)
from routewright.backends.executing.asking import COUNTED_ROLES
from routewright.backends.executing.estimate import input_bound, output_bound
from routewright.backends.protocol import Usage
from routewright.engine.policy import STEPS
from routewright.engine.record import Intent
from routewright.engine.report import RoutewrightError

NAMES = "abcdefgh"
CAP = QuotaLimit("cap", "requests", 4, 0, "day")
AT_ONCE = QuotaLimit("at_once", "concurrent", 2, 0)
TOKENS = QuotaLimit("tokens", "tokens", 12_000, 0, "hour")

texts = st.sampled_from(["", "yes", "ACCEPT", "REJECT: no", '{"best": 1}', "safe", "unsafe", "x" * 3_000])
seconds = st.sampled_from([0.0, 0.1, 1.0, 4.0, 20.0])
acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(
        Says,
        text=texts,
        first_s=seconds,
        rest_s=seconds,
        finish=st.sampled_from(["stop", "stop", "stop", "length", "content_filter"]),
        thinks=st.booleans(),
    ),
    st.builds(
        Fails,
        error_class=st.sampled_from(ERROR_CLASSES),
        after_s=seconds,
        retry_after_ms=st.sampled_from([None, 500, 10_000, 10**9]),
        text=texts,
    ),
    st.builds(Hangs, text=texts, stubborn=st.booleans()),
    st.builds(Ends, text=texts),
    st.builds(Crashes, text=texts),
)
scripts = st.dictionaries(st.sampled_from(NAMES), st.lists(acts, max_size=4))
phase_limits = st.sampled_from(
    [Limits(), Limits(total_ms=3_000), Limits(load_ms=1_000, first_token_ms=2_000)]
)


def a_target(quotas: bool) -> st.SearchStrategy[Target]:
    bound = st.sampled_from([(), (CAP,), (CAP, AT_ONCE), (TOKENS, AT_ONCE)]) if quotas else st.just(())
    return st.builds(
        lambda name, **facts: target(name, **facts),
        st.sampled_from(NAMES),
        limits=phase_limits,
        quotas=bound,
        price=st.sampled_from([None, PriceFacts(10**9, 10**9), PriceFacts(0, 0)]),
        may_load=st.booleans(),
        max_output_tokens=st.sampled_from([None, 100]),
    )


@st.composite
def works(draw: st.DrawFn, *, quotas: bool = False) -> Work:
    one = a_target(quotas)
    ensemble = None
    if draw(st.booleans()):
        members = draw(st.lists(one, min_size=2, max_size=4, unique_by=lambda member: member.model_id))
        ensemble = Ensemble(
            tuple(members),
            draw(st.sampled_from(["first", "vote", "judge", "consensus_or_override"])),
            draw(st.integers(1, len(members))),
            judge=draw(one),
            override=members[0].model_id,
            label="x",
            label_of=lambda text: text[:1] or None,
        )
    step = st.builds(
        Step,
        role=st.sampled_from(list(STEPS)),
        target=one,
        required=st.booleans(),
        options=st.fixed_dictionaries(
            {
                "on_reject": st.sampled_from(["annotate", "retry", "escalate"]),
                "rounds": st.integers(1, 3),
                "on": st.sampled_from(["prompt", "answer", "both"]),
            }
        ),
    )
    limits = st.builds(
        TaskLimits,
        deadline_ms=st.sampled_from([None, 0, 500, 5_000, 60_000]),
        max_attempts=st.sampled_from([None, 1, 2, 5]),
        cost=st.none()
        | st.builds(
            TaskCost,
            st.just("cost"),
            st.sampled_from([0, 5_000_000, 20_000_000]),
            st.just("USD"),
            st.booleans(),
        ),
        backoff_ms=st.sampled_from([None, 100]),
        first_token_within_ms=st.sampled_from([None, 1_000]),
    )
    return Work(
        tuple(draw(st.lists(one, max_size=4))),
        tuple(draw(st.lists(step, max_size=3))),
        ensemble,
        draw(limits),
        draw(st.sampled_from([None, CacheUse(ttl_ms=1_000)])),
        draw(st.integers(0, 3)),
    )


def ends(work: Work, script: Mapping[str, Sequence[Act]]) -> bool:
    """Whether the work ends by itself: something bounds each call that hangs."""
    hangs = any(isinstance(act, Hangs) for acts in script.values() for act in acts)
    return not hangs or work.limits.deadline_ms is not None


@contextmanager
def a_store() -> Iterator[StateStore]:
    with TemporaryDirectory() as folder:
        store = StateStore(Path(folder) / "state.sqlite")
        yield store
        store.close()


@given(work=works(), script=scripts, stream=st.booleans(), seed=st.integers(0, 9))
def test_limits_hold_and_nothing_is_called_that_the_work_does_not_hold(
    work: Work, script: dict[str, list[Act]], stream: bool, seed: int
) -> None:
    if not ends(work, script):
        return
    cache = AnswerCache(clock=lambda: START_US)
    ran = carry_out(work, script, stream=stream, random=Random(seed), cache=cache)
    attempts, limits = ran.execution.attempts, work.limits
    calls = [attempt for attempt in attempts if attempt.status in ("ok", "failed", "partial")]
    held = {one.model_id for one in every_target(work)}
    assert {attempt.model_id for attempt in attempts} <= held
    assert sorted(ran.backend.tags) == sorted(attempt.model_id for attempt in calls), (
        "each call is an attempt"
    )
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
    assert sorted(ran.heard, key=lambda attempt: attempt.number) == list(attempts)
    if limits.max_attempts is not None:
        counted = [attempt for attempt in calls if attempt.role in COUNTED_ROLES]
        assert len(counted) <= limits.max_attempts
    if limits.deadline_ms is not None:
        assert ran.took_s <= limits.deadline_ms / 1_000 + 0.3
    # Exactly one of the two, and what was shown is the answer or the beginning of a partial one.
    assert (ran.execution.answer is None) != (ran.execution.error is None)
    if ran.execution.answer is not None:
        assert ran.shown in ("", ran.text)
        by = attempts[(ran.execution.answered_by or 0) - 1]
        assert by.status in ("ok", "cached")
    else:
        assert len(cache) == 0
        partial = [attempt for attempt in attempts if attempt.status == "partial"]
        assert not ran.shown or partial or work.steps
    event(f"answer: {ran.execution.answer is not None}, calls: {min(len(calls), 5)}")


@given(work=works(), script=scripts)
def test_reservations_never_pass_the_cost_cap(work: Work, script: dict[str, list[Act]]) -> None:
    """What is reserved for a call, with what others have reserved or spent before it, fits the cap."""
    limit = None if work.limits.cost is None else work.limits.cost.limit
    cap = limit or 0
    if limit is None or not ends(work, script):
        return
    open_calls: list[tuple[str, int]] = []

    class Watching(Scripted):
        def _next(self, tag: str, request: Request, limits: Limits) -> Act:
            # A name may stand for targets with different prices: the cheapest bounds what was reserved.
            bounds = [
                cost_nano(
                    Usage(input_bound(request), 0, output_bound(one, request), 0, "estimated"), one.price
                )
                for one in every_target(work)
                if one.model_id == tag
            ]
            least = min(bound or 0 for bound in bounds)
            assert sum(held for _, held in open_calls) + least <= cap
            open_calls.append((tag, least))
            return super()._next(tag, request, limits)

    backend = Watching(script)

    def ended(attempt: Attempt) -> None:
        if attempt.status in ("ok", "failed", "partial"):
            at = next(at for at, (tag, _) in enumerate(open_calls) if tag == attempt.model_id)
            _, held = open_calls.pop(at)
            if attempt.cost_nano is not None:
                open_calls.append(("", min(attempt.cost_nano, held)))

    async def main(clock: Callable[[], int]) -> None:
        await Executor({"b": backend}, clock=clock, random=Random(1)).run(work, HELLO, on_attempt=ended)

    run_virtual(main)


@given(
    work=works(quotas=True),
    script=scripts,
    cancel_after_s=st.sampled_from([None, 0.0, 0.05, 0.5, 1.0, 3.0, 30.0]),
    again=st.booleans(),
    announcing_s=st.sampled_from([0.0, 0.0, 0.03, 0.7]),
    refused_at=st.sampled_from([None, None, 1, 2, 4]),
)
def test_leases_never_leak_and_no_attempt_is_lost_wherever_the_caller_is_cancelled(
    work: Work,
    script: dict[str, list[Act]],
    cancel_after_s: float | None,
    again: bool,
    announcing_s: float,
    refused_at: int | None,
) -> None:
    """Wherever the caller is cancelled, and whichever call is refused: nothing is called that was not announced."""
    if cancel_after_s is None and not ends(work, script):
        return
    announced: list[Intent] = []
    announcing: list[int] = []

    class Announced(Scripted):
        def _next(self, tag: str, request: Request, limits: Limits) -> Act:
            before = sum(one.model_id == tag for one in announced)
            assert before > self.tags.count(tag), "its intent was there first"
            return super()._next(tag, request, limits)

    async def before_call(intent: Intent) -> None:
        announcing.append(intent.number)
        await asyncio.sleep(announcing_s)
        if refused_at is not None and len(announcing) >= refused_at:
            raise RoutewrightError("it cannot be put on record")
        announced.append(intent)

    backend = Announced(script)
    heard: list[Attempt] = []
    shown: list[str] = []
    with a_store() as store:

        async def main(clock: Callable[[], int]) -> None:
            executor = Executor({"b": backend}, clock=clock, store=store, random=Random(1))
            task = asyncio.create_task(
                executor.run(
                    work, HELLO, on_text=shown.append, on_attempt=heard.append, before_call=before_call
                )
            )
            if cancel_after_s is not None:
                await asyncio.sleep(cancel_after_s)
                task.cancel()
                if again:
                    await asyncio.sleep(0)
                    task.cancel()
            await asyncio.wait({task})
            # Members that were told to stop twice end in their own time.
            await asyncio.sleep(1)

        run_virtual(main)
        calls = [attempt for attempt in heard if attempt.status in ("ok", "failed", "partial")]
        assert sorted(backend.tags) == sorted(attempt.model_id for attempt in calls)
        numbers = [attempt.number for attempt in heard]
        assert len(numbers) == len(set(numbers)) and set(announcing) <= set(numbers), "each intent is closed"
        for intent in announced:
            ended = next(attempt for attempt in heard if attempt.number == intent.number)
            known = {name: getattr(ended, name) for name in Intent._fields}
            if ended.status == "skipped":
                known["streamed"] = intent.streamed
            assert known == intent._asdict()
        quotas = Quotas(store)
        for limit in (CAP, AT_ONCE, TOKENS):
            assert quotas.use(limit, at_us=START_US).reserved == 0
        assert quotas.use(CAP, at_us=START_US).used <= CAP.limit
        rows = store.read("SELECT count(*) FROM breakers WHERE probe_until_us IS NOT NULL")
        assert rows == [(0,)], "no probe is left taken"


def test_at_once_is_a_limit_of_calls_at_the_same_time() -> None:
    running, most = 0, 0

    class Counting(Scripted):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(1)
                return await super().chat(model, request, limits=limits)
            finally:
                running -= 1

    async def main(clock: Callable[[], int]) -> int:
        with a_store() as store:
            executor = Executor({"b": Counting()}, clock=clock, store=store)
            work = Work((target("a", quotas=(AT_ONCE,)),))
            done = await asyncio.gather(*(executor.run(work, HELLO) for _ in range(20)))
        return sum(one.answer is not None for one in done)

    assert (run_virtual(main), most) == (2, 2)
