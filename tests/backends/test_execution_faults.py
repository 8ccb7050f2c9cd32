"""The wall of faults: for each fault in each phase the class, what follows, the attempts, and the answer or failure."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.executing_parts import (
    Act,
    Crashes,
    Ends,
    Fails,
    Hangs,
    Says,
    carry_out,
    target,
    targets,
)

from routewright.backends import ERROR_CLASSES, ErrorClass, Limits
from routewright.backends.executing import AnswerCache, TaskLimits, Work
from routewright.backends.executing.work import CacheUse

RETRIED = frozenset({"rate_limited", "overloaded", "broken_stream"})
STOPS = frozenset({"refused_content", "cancelled"})
LIMITS = TaskLimits(deadline_ms=60_000, backoff_ms=100, first_token_within_ms=5_000)


@dataclass(frozen=True)
class Fault:
    """What the first model does, and what must come of it; streamed or not."""

    name: str
    act: Act
    stream: bool
    error_class: ErrorClass
    follows: str
    """``retry``, ``next``, ``stop``, or ``partial``: text was shown, so the work ends there."""


def faults() -> list[Fault]:
    wall = []
    for error_class in ERROR_CLASSES:
        follows = "retry" if error_class in RETRIED else "stop" if error_class in STOPS else "next"
        before, late = Fails(error_class), Fails(error_class, after_s=2.0)
        after = Fails(error_class, text="half an ")
        wall += [
            Fault(f"{error_class} at once", before, False, error_class, follows),
            Fault(f"{error_class} before the first token of a stream", before, True, error_class, follows),
            Fault(f"{error_class} late, nothing shown", late, True, error_class, follows),
            Fault(f"{error_class} after text that nobody saw", after, False, error_class, follows),
            Fault(f"{error_class} after text that was shown", after, True, error_class, "partial"),
        ]
    hang, stubborn, stalled = Hangs(), Hangs(stubborn=True), Hangs("half an ")
    wall += [
        Fault("hangs", hang, False, "timeout.first_token", "next"),
        Fault("hangs in a stream", hang, True, "timeout.first_token", "next"),
        Fault("hangs and does not stop", stubborn, True, "timeout.first_token", "next"),
        Fault("stalls after text", stalled, True, "timeout.total", "partial"),
        Fault("is slow", Says(first_s=9.0), True, "timeout.first_token", "next"),
        Fault("ends without an end", Ends(), True, "broken_stream", "retry"),
        Fault("ends without an end, unseen", Ends("half"), False, "broken_stream", "retry"),
        Fault("ends without an end after text", Ends("half"), True, "broken_stream", "partial"),
        Fault("crashes", Crashes(), False, "bad_response", "next"),
        Fault("crashes in a stream", Crashes(), True, "bad_response", "next"),
        Fault("crashes after text", Crashes("half"), True, "bad_response", "partial"),
        Fault("withholds", Says("", finish="content_filter"), False, "refused_content", "stop"),
        Fault("withholds in a stream", Says("", finish="content_filter"), True, "refused_content", "stop"),
        Fault(
            "withholds the rest", Says("half", finish="content_filter"), True, "refused_content", "partial"
        ),
    ]
    return wall


WALL = faults()


def test_the_wall_is_high() -> None:
    assert len(WALL) >= 40
    assert {fault.error_class for fault in WALL} == set(ERROR_CLASSES)


@pytest.mark.parametrize("fault", WALL, ids=lambda fault: fault.name)
def test_each_fault_is_recorded_and_leads_where_it_should(fault: Fault) -> None:
    cache = AnswerCache(clock=lambda: 0)
    work = Work(
        (target("a", limits=Limits(total_ms=20_000)), target("b", role="fallback")),
        limits=LIMITS,
        retries=1,
        cache=CacheUse(ttl_ms=60_000),
    )
    ran = carry_out(work, {"a": [fault.act]}, stream=fault.stream, cache=cache)
    first, *following = ran.execution.attempts
    assert (first.role, first.model_id, first.error_class) == ("answer", "a", fault.error_class)
    assert first.status == ("partial" if fault.follows == "partial" else "failed")
    assert ran.took_s <= 60.0
    match fault.follows:
        case "retry" | "next":
            [last] = following
            made_by = ("retry", "a") if fault.follows == "retry" else ("fallback", "b")
            assert (last.role, last.model_id, last.status) == (*made_by, "ok")
            assert (ran.text, ran.execution.error) == ("hello there", None)
            assert ran.shown == ("hello there" if fault.stream else ""), "nothing is shown twice"
            assert len(cache) == 1
        case _:
            assert following == []
            assert (ran.text, ran.error_class) == (None, fault.error_class)
            assert len(cache) == 0, "what failed is never kept"


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_when_every_model_fails_the_failure_is_clear(error_class: ErrorClass) -> None:
    script = {name: [Fails(error_class)] * 3 for name in "abc"}
    ran = carry_out(Work(targets("a", "b", "c")), script)
    assert (ran.text, ran.error_class) == (None, error_class)
    assert len(ran.execution.attempts) == (1 if error_class in STOPS else 3)
    assert all(attempt.status == "failed" for attempt in ran.execution.attempts)
