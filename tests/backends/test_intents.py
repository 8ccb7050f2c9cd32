"""A call leaves only once it is announced: one that cannot be is not made, and takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    Act,
    Fails,
    Scripted,
    cost_of,
    run_virtual,
    target,
    targets,
)

from routewright.backends import ChatAnswer
from routewright.backends.control import QuotaLimit, Quotas, StateStore
from routewright.backends.executing import Execution, Executor, NotCalledError, Step, TaskLimits, Work
from routewright.engine.record import Intent
from routewright.engine.report import RoutewrightError

DAILY = QuotaLimit("daily", "requests", 5, 0, "day")


class Told:
    """Hears of calls before they are made; refuses from the ``refused_at``th on, so often."""

    def __init__(self, refused_at: int | None = None) -> None:
        self.heard: list[Intent] = []
        self._refused_at = refused_at

    async def __call__(self, intent: Intent) -> None:
        self.heard.append(intent)
        if self._refused_at is not None and len(self.heard) >= self._refused_at:
            raise RoutewrightError("the disk is full")

    @property
    def outline(self) -> list[tuple[int, str, str]]:
        return [(intent.number, intent.role, intent.model_id) for intent in self.heard]


def carried_out(
    work: Work,
    told: Told,
    script: Mapping[str, Sequence[Act]] | None = None,
    store: StateStore | None = None,
) -> tuple[Execution, Scripted]:
    backend = Scripted(script or {})

    async def main(clock: Callable[[], int]) -> Execution:
        executor = Executor({"b": backend}, clock=clock, store=store, random=Random(1))
        return await executor.run(work, HELLO, before_call=told)

    return run_virtual(main), backend


def outline(execution: Execution) -> list[tuple[int, str, str, str | None]]:
    return [(a.number, a.role, a.status, a.error_class or a.reason) for a in execution.attempts]


def test_each_call_is_announced_by_itself() -> None:
    told = Told()
    work = Work(
        targets("a", "b"),
        steps=(Step("verify", target("judge")),),
        limits=TaskLimits(backoff_ms=1),
        retries=1,
    )
    script = {"a": [Fails("overloaded")] * 2}
    execution, backend = carried_out(work, told, script)
    assert told.outline == [
        (1, "answer", "a"),
        (2, "retry", "a"),
        (3, "fallback", "b"),
        (4, "verify", "judge"),
    ]
    assert backend.tags == ["a", "a", "b", "judge"]
    assert [attempt.number for attempt in execution.attempts] == [1, 2, 3, 4]


def test_what_is_skipped_is_not_announced(store: StateStore) -> None:
    told = Told()
    work = Work((target("a", quotas=(QuotaLimit("none", "requests", 0, 0, "day"),)), *targets("b")))
    execution, _ = carried_out(work, told, store=store)
    assert told.outline == [(2, "answer", "b")]
    assert [attempt.status for attempt in execution.attempts] == ["skipped", "ok"]


def test_a_call_that_cannot_be_announced_is_not_made_and_takes_nothing(store: StateStore) -> None:
    told = Told(refused_at=1)
    work = Work((target("a", quotas=(DAILY,)), *targets("b")), limits=TaskLimits(cost=cost_of(10**9)))
    execution, backend = carried_out(work, told, store=store)
    assert backend.tags == []
    assert outline(execution) == [(1, "answer", "skipped", "the disk is full")]
    assert isinstance(execution.error, NotCalledError)
    assert str(execution.error) == "`a` was not called: the disk is full"
    use = Quotas(store).use(DAILY, at_us=START_US)
    assert (use.used, use.reserved) == (0, 0)


def test_a_failure_stays_what_it_was_where_no_fallback_can_be_announced() -> None:
    execution, backend = carried_out(
        Work(targets("a", "b")), Told(refused_at=2), {"a": [Fails("overloaded")]}
    )
    assert backend.tags == ["a"]
    assert execution.error is not None and execution.error.error_class == "overloaded"
    assert execution.error.help == "`b` was not called: the disk is full"


def test_an_answer_stands_where_its_step_cannot_be_announced() -> None:
    work = Work(targets("a"), steps=(Step("verify", target("judge")),))
    execution, backend = carried_out(work, Told(refused_at=2))
    assert backend.tags == ["a"]
    assert isinstance(execution.answer, ChatAnswer) and execution.answer.text == "hello there"
    assert [(step.role, step.outcome) for step in execution.steps] == [("verify", "dropped")]


def test_who_is_cancelled_while_a_call_is_announced_has_reserved_nothing(store: StateStore) -> None:
    backend = Scripted()

    async def never(_: Intent) -> None:
        await asyncio.sleep(3_600)

    async def main(clock: Callable[[], int]) -> list[str]:
        statuses: list[str] = []
        executor = Executor({"b": backend}, clock=clock, store=store)
        work = Work((target("a", quotas=(DAILY,)),))
        run = executor.run(work, HELLO, before_call=never, on_attempt=lambda one: statuses.append(one.status))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run, 1)
        return statuses

    assert run_virtual(main) == ["skipped"]
    assert backend.tags == []
    use = Quotas(store).use(DAILY, at_us=START_US)
    assert (use.used, use.reserved) == (0, 0)
