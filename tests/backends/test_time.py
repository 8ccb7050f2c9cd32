"""Time: what a deadline leaves to whom, who is blamed for being late, and what holds where nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    Fails,
    Hangs,
    RunResult,
    Says,
    Scripted,
    carry_out,
    run_virtual,
    target,
    targets,
)

from routewright.backends import (
    NO_LIMITS,
    ChatRequest,
    EmbedRequest,
    Limits,
    SimulatedBackend,
    SimulatedModel,
)
from routewright.backends.control import Breakers, StateStore
from routewright.backends.executing import Ensemble, Executor, Step, TaskLimits, Work
from routewright.engine.policy import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUTS

THREE_SECONDS = TaskLimits(deadline_ms=3_000)


def failures(store: StateStore) -> dict[str, int]:
    return {model: found.failures for model, found in Breakers(store).all(at_us=START_US).items()}


# --- shares of the deadline ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("observed", "expected_ms", "began_s"),
    [({"b": 1_000.0}, 500, 1.5), ({}, 500, 2.25), ({}, None, 2.7)],
    ids=["observed", "expected", "a tenth"],
)
def test_a_fallback_keeps_the_time_that_it_usually_takes(
    observed: dict[str, float], expected_ms: int | None, began_s: float, stream: bool
) -> None:
    a, b = targets("a", "b")
    work = Work((a, replace(b, expected_ms=expected_ms)), limits=THREE_SECONDS, observed_ms=observed)
    ran = carry_out(work, {"a": [Hangs()], "b": [Says(first_s=0.2)]}, stream=stream)
    assert ran.outline() == [
        ("answer", "a", "failed", "timeout.deadline"),
        ("fallback", "b", "ok", None),
    ]
    assert ran.execution.attempts[1].started_at_us - START_US == pytest.approx(began_s * 1e6, abs=1_000)
    share = f"`a` did not finish within {began_s * 1_000:.0f} ms, its share of the time until the deadline"
    assert ran.execution.attempts[0].message == share


def test_once_something_was_shown_the_whole_time_is_the_models_own() -> None:
    work = Work(targets("a", "b"), limits=THREE_SECONDS)
    ran = carry_out(work, {"a": [Says(first_s=1.0, rest_s=1.9)]}, stream=True)
    assert ran.outline() == [("answer", "a", "ok", None)] and ran.took_s == pytest.approx(2.9)


def test_what_the_deadline_ends_in_mid_answer_had_all_the_time_until_it() -> None:
    work = Work(targets("a", "b"), limits=THREE_SECONDS)
    ran = carry_out(work, {"a": [Says(first_s=1.0, rest_s=9.0)]}, stream=True)
    assert ran.outline() == [("answer", "a", "partial", "timeout.deadline")] and ran.took_s == pytest.approx(
        3
    )
    whole = "`a` did not finish within 3000 ms, all the time until the deadline"
    assert ran.execution.attempts[0].message == whole


@pytest.mark.parametrize(
    ("deadline_ms", "usual_ms", "shares"),
    [
        (6_000, [2_000, 2_000, 4_000], [3_000, 3_000]),  # a third is too little for the first
        (6_000, [1_200, 3_000, 1_500], [2_000, 2_000, 2_000]),
        (3_000, [1_000, 2_000, 2_000, 2_000], [1_500, 1_500]),  # half of 1,500 is too little for each
        (3_000, [2_500, 2_500], [3_000]),
        (3_000, [2_500, 1_100], [1_500, 1_500]),
        (1_000, [None] * 30, [100] * 10),
    ],
)
def test_where_the_time_is_not_enough_for_all_the_last_go_without(
    deadline_ms: int, usual_ms: list[int | None], shares: list[int]
) -> None:
    names = [f"m{at}" for at in range(len(usual_ms))]
    observed = {name: float(ms) for name, ms in zip(names, usual_ms, strict=True) if ms is not None}
    work = Work(targets(*names), limits=TaskLimits(deadline_ms=deadline_ms), observed_ms=observed)
    ran = carry_out(work, {name: [Hangs()] for name in names})
    took = [round(attempt.total_us / 1_000) for attempt in ran.execution.attempts if attempt.total_us]
    assert took == shares
    assert ran.took_s == pytest.approx(deadline_ms / 1_000, abs=0.01)


def test_fallbacks_that_need_more_time_than_there_is_take_none_from_a_model_that_is_well(
    store: StateStore,
) -> None:
    observed = {"a": 1_000.0, "b": 2_000.0, "c": 2_000.0, "d": 2_000.0}
    work = Work(targets("a", "b", "c", "d"), limits=THREE_SECONDS, observed_ms=observed)
    ran = carry_out(work, {"a": [Says(first_s=1.1)]})
    assert ran.outline() == [("answer", "a", "ok", None)]
    both_slow = Work(targets("a", "b"), limits=THREE_SECONDS, observed_ms={"a": 2_500.0, "b": 2_500.0})
    three_times(store, both_slow, {"a": [Hangs()]})
    assert carry_out(both_slow, {"b": [Says(first_s=2.4)]}, store=store).text == "hello there"


@pytest.mark.parametrize("limits", [TaskLimits(deadline_ms=3_000, max_attempts=1), THREE_SECONDS])
def test_no_time_is_kept_for_whom_nobody_will_call(store: StateStore, limits: TaskLimits) -> None:
    if limits.max_attempts is None:
        Breakers(store).failed("b", at_us=START_US, error_class="unauthorized", cool_ms=900_000)
    ran = carry_out(Work(targets("a", "b"), limits=limits), {"a": [Says(first_s=2.9)]}, store=store)
    assert ran.outline() == [("answer", "a", "ok", None)]


def test_a_retry_does_not_wait_in_the_time_of_a_fallback() -> None:
    limits = TaskLimits(deadline_ms=3_000, backoff_ms=1)
    work = Work(targets("a", "b"), limits=limits, observed_ms={"b": 1_250.0})
    late = Fails("overloaded", after_s=0.5, retry_after_ms=800)
    ran = carry_out(work, {"a": [late, Says()], "b": [Says(first_s=1.9)]})
    assert [a.model_id for a in ran.execution.attempts] == ["a", "b"] and ran.text == "hello there"


def test_shares_hold_in_simulated_time() -> None:
    models = {"a": SimulatedModel(expected_latency_ms=40_000), "b": SimulatedModel(expected_latency_ms=500)}
    backend = SimulatedBackend(models, seed=1)

    async def main(clock: Any) -> list[tuple[str, str | None, int]]:
        a, b = targets("a", "b")
        work = Work((replace(a, expected_ms=10_000), replace(b, expected_ms=1_000)), limits=THREE_SECONDS)
        found = []
        for on_text in (None, lambda _: None):
            ran = await Executor({"b": backend}, clock=clock).run(work, HELLO, on_text=on_text)
            found += [(one.model_id, one.error_class, one.total_us // 1_000) for one in ran.attempts[:1]]
            assert ran.error is None
        return found

    plain, streamed = run_virtual(main)
    assert plain == streamed == ("a", "timeout.deadline", 1_470)


def test_a_member_that_hangs_leaves_a_judge_its_time() -> None:
    ensemble = Ensemble((target("a"), target("b"), target("c")), "judge", 2, judge=target("j"))
    script: dict[str, Any] = {"c": [Hangs()], "j": [Says('{"best": 1}', first_s=0.2)]}
    ran = carry_out(Work((), ensemble=ensemble, limits=THREE_SECONDS), script)
    assert ran.text == "hello there" and ran.execution.attempts[-1].role == "judge"


@pytest.mark.parametrize("hangs", ["a", "v"])
def test_steps_that_an_answer_needs_keep_their_time(hangs: str) -> None:
    """The fallback answers late, or a step that may be left out hangs: the screening goes on."""
    steps = (
        Step("verify", target("v")),
        Step("screen", target("s"), required=True, options={"on": "answer"}),
    )
    work = Work(targets("a", "b"), steps=steps, limits=THREE_SECONDS)
    script: dict[str, Any] = {hangs: [Hangs()], "b": [Says(first_s=0.29)], "s": [Says("SAFE", first_s=0.29)]}
    ran = carry_out(work, script)
    assert ran.text == "hello there"
    assert ran.outline()[-1] == ("screen", "s", "ok", None)


# --- who is blamed -------------------------------------------------------------------------------------------------


def three_times(store: StateStore, work: Work, script: dict[str, Any], *, stream: bool = False) -> RunResult:
    ran = None
    for _ in range(3):
        ran = carry_out(work, script, store=store, stream=stream)
    assert ran is not None
    return ran


def test_a_model_that_hangs_through_its_share_is_slow_and_the_one_behind_it_is_not_blamed(
    store: StateStore,
) -> None:
    """The fallback needs one second and a little more at times, and gets it however long the first model hangs."""
    work = Work(targets("a", "b"), limits=THREE_SECONDS, observed_ms={"b": 1_000.0})
    ran = three_times(store, work, {"a": [Hangs()], "b": [Says(first_s=1.4)]})
    assert ran.text == "hello there"
    assert failures(store) == {"a": 3}
    assert Breakers(store).all(at_us=START_US)["a"].state == "open"


def test_a_model_that_is_cut_after_less_than_its_usual_time_is_not_blamed(store: StateStore) -> None:
    work = Work(targets("a", "b"), limits=THREE_SECONDS, observed_ms={"a": 2_500.0, "b": 1_500.0})
    three_times(store, work, {"a": [Hangs()], "b": [Says(first_s=1.4)]})
    assert failures(store) == {}


def test_a_model_that_was_at_work_is_not_blamed(store: StateStore) -> None:
    work = Work(targets("a"), limits=THREE_SECONDS)
    three_times(store, work, {"a": [Hangs("half an ")]}, stream=True)
    assert failures(store) == {}
    three_times(store, work, {"a": [Hangs()]}, stream=True)
    assert failures(store) == {"a": 3}, "without a token in a tenth of the time it is"


# --- what holds where nothing is written -----------------------------------------------------------------------------


def ms(*phases: str) -> Limits:
    return Limits(**{f"{phase}_ms": DEFAULT_TIMEOUTS[phase].ms for phase in phases})


@pytest.mark.parametrize(
    ("facts", "stream", "within", "expected"),
    [
        ({}, False, None, ms("connect", "total")),
        ({}, True, None, ms("connect", "first_token", "idle", "total")),
        ({"may_load": True}, False, None, ms("connect", "load", "total")),
        ({"may_load": True}, True, None, ms(*DEFAULT_TIMEOUTS)),
        (
            {"may_load": True, "limits": Limits(first_token_ms=5)},
            False,
            None,
            ms("connect", "idle", "total")._replace(first_token_ms=5),
        ),
        ({"may_load": True}, False, 7, ms("connect", "idle", "total")._replace(first_token_ms=7)),
        (
            {"limits": Limits(queue_ms=1, connect_ms=2, total_ms=3_000)},
            False,
            None,
            Limits(queue_ms=1, connect_ms=2, total_ms=3_000),
        ),
    ],
    ids=["plain", "streamed", "loads", "loads, streamed", "written", "written in a control", "all written"],
)
def test_each_wait_has_a_limit_by_default(
    facts: dict[str, Any], stream: bool, within: int | None, expected: Limits
) -> None:
    work = Work((target("a", **facts),), limits=TaskLimits(first_token_within_ms=within))
    ran = carry_out(work, stream=stream)
    assert ran.backend.calls[0][2] == expected


def test_vectors_have_no_tokens_to_wait_for() -> None:
    ran = carry_out(Work(targets("a")), request=EmbedRequest(("text",)))
    assert ran.backend.calls[0][2] == ms("connect", "total")


@pytest.mark.parametrize(("limits", "asked"), [(Limits(), "chat"), (Limits(idle_ms=60_000), "stream")])
def test_a_plain_call_is_streamed_for_a_written_limit_and_not_for_a_default(
    limits: Limits, asked: str
) -> None:
    seen: list[str] = []

    class Noting(Scripted):
        def stream(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> Any:
            seen.append("stream")
            return super().stream(model, request, limits=limits)

        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> Any:
            seen.append("chat")
            return await super().chat(model, request, limits=limits)

    carry_out(Work((target("a", limits=limits),)), backend=Noting())
    assert seen[0] == asked


@pytest.mark.parametrize("stream", [False, True])
def test_without_any_limit_a_server_that_never_answers_is_given_up(stream: bool) -> None:
    ran = carry_out(Work(targets("a", "b")), {"a": [Hangs()]}, stream=stream)
    after = "timeout.first_token" if stream else "timeout.total"
    assert ran.outline() == [("answer", "a", "failed", after), ("fallback", "b", "ok", None)]
    assert ran.took_s < DEFAULT_DEADLINE_MS / 1_000
