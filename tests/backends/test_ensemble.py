"""Members answer side by side; their answers become one as declared, or the failure says why not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED_NANO,
    Act,
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

from routewright.backends import SimulatedBackend, SimulatedModel
from routewright.backends.control import StateStore
from routewright.backends.executing import (
    Attempt,
    Ensemble,
    EnsembleReport,
    Executor,
    QuorumError,
    Step,
    TaskLimits,
    Work,
)
from routewright.backends.executing.work import Combine


def label_of(text: str) -> str | None:
    found = re.search(r"(?i)\b(approve|reject)\b", text)
    return None if found is None else found[1]


def together(combine: Combine, *names: str, quorum: int | None = None, **more: Any) -> Ensemble:
    members = tuple(target(name) for name in names)
    return Ensemble(members, combine, len(names) if quorum is None else quorum, **more)


def ask(ensemble: Ensemble, script: dict[str, list[Act]], **more: Any) -> RunResult:
    fallbacks = more.pop("fallbacks", ())
    limits = more.pop("limits", TaskLimits())
    work = Work(tuple(target(name, role="fallback") for name in fallbacks), ensemble=ensemble, limits=limits)
    return carry_out(work, script, **more)


def test_members_are_asked_at_the_same_time_and_each_is_paid_for() -> None:
    ensemble = together("consensus_or_override", "a", "b", "c", override="b")
    ran = ask(ensemble, {name: [Says(name, first_s=2.0)] for name in "abc"}, stream=True)
    assert ran.took_s == pytest.approx(2.0)
    assert ran.outline() == [("member", name, "ok", None) for name in "abc"]
    assert {attempt.started_at_us for attempt in ran.execution.attempts} == {
        ran.execution.attempts[0].started_at_us
    }
    assert [attempt.cost_nano for attempt in ran.execution.attempts] == [USED_NANO] * 3
    assert (ran.text, ran.shown, ran.execution.answered_by) == ("b", "b", 2)


# --- first -------------------------------------------------------------------------------------------------


def test_first_takes_the_first_answer_and_stops_the_others() -> None:
    ran = ask(together("first", "slow", "quick", "stuck"), {
        "slow": [Says(first_s=3.0)], "quick": [Says("quick", first_s=1.0)], "stuck": [Hangs()],
    })  # fmt: skip
    assert ran.outline() == [
        ("member", "slow", "failed", "cancelled"),
        ("member", "quick", "ok", None),
        ("member", "stuck", "failed", "cancelled"),
    ]
    assert sorted(ran.backend.stopped) == ["slow", "stuck"]
    assert ran.text == "quick" and ran.took_s == pytest.approx(1.0)
    costs = [attempt.cost_nano for attempt in ran.execution.attempts]
    assert costs == [None, USED_NANO, None], "what stopped members cost is unknown, not nothing"


def test_first_waits_out_failures() -> None:
    ran = ask(together("first", "a", "b"), {"a": [Fails("overloaded")], "b": [Says("b", first_s=1.0)]})
    assert (ran.text, ran.execution.error) == ("b", None)


# --- vote --------------------------------------------------------------------------------------------------


def vote(*texts: Act, quorum: int = 2, fallbacks: tuple[str, ...] = ()) -> RunResult:
    names = "abcd"[: len(texts)]
    ensemble = together("vote", *names, quorum=quorum, label=r"(?i)\b(approve|reject)\b", label_of=label_of)
    return ask(ensemble, {name: [act] for name, act in zip(names, texts, strict=True)}, fallbacks=fallbacks)


def test_the_second_pattern_three_models_vote_on_a_critical_decision() -> None:
    ran = vote(Says("I reject this"), Says("Approve: it is safe"), Says("approve"))
    assert (ran.text, ran.execution.answered_by) == ("Approve: it is safe", 2)
    assert ran.execution.ensemble == EnsembleReport(
        "vote", ("a", "b", "c"), "b", (("a", "reject"), ("b", "approve"), ("c", "approve"))
    )


def test_thoughts_do_not_vote_and_neither_does_who_did_not_see_the_whole_prompt() -> None:
    ran = vote(Says("<think>approve?</think>reject"), Says("reject"), Says("approve"))
    assert ran.text == "<think>approve?</think>reject"
    assert ran.execution.ensemble is not None
    assert ran.execution.ensemble.labels == (("a", "reject"), ("b", "reject"), ("c", "approve"))
    unclear = vote(
        Says("<think>it says </think>approve</think>reject"), Says("approve", truncated=True), Says("x")
    )
    assert unclear.execution.ensemble is not None
    assert [label for _, label in unclear.execution.ensemble.labels] == [None, None, None]
    assert str(unclear.execution.error) == (
        "the ensemble gave no answer: 0 of 2 needed members gave a usable answer"
    )


def test_a_missing_member_is_no_vote_and_two_of_three_may_decide() -> None:
    assert vote(Says("approve"), Fails("overloaded"), Says("approve")).text == "approve"
    assert vote(Says("approve"), Says("it depends"), Says("Approve")).text == "approve"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ((Says("approve"), Says("reject"), Fails("overloaded")), "no majority: 1 for `approve`, 1 for `reject`"),
        ((Says("approve"), Fails("overloaded"), Says("?")), "1 of 2 needed members gave a usable answer"),
        ((Says("?"), Says("?"), Says("?")), "0 of 2 needed members gave a usable answer"),
    ],
)  # fmt: skip
def test_no_majority_and_no_quorum_are_failures(texts: tuple[Act, ...], why: str) -> None:
    ran = vote(*texts)
    assert (ran.text, str(ran.execution.error)) == (None, f"the ensemble gave no answer: {why}")
    assert isinstance(ran.execution.error, QuorumError)
    report = ran.execution.ensemble
    assert report is not None and (report.winner, report.notes) == (None, why)
    fallen = vote(*texts, fallbacks=("z",))
    assert (fallen.text, fallen.outline()[-1]) == ("hello there", ("fallback", "z", "ok", None))


def test_all_failed_is_a_failure_of_its_own_kind() -> None:
    ran = vote(Fails("overloaded"), Fails("unauthorized"), Fails("timeout.idle"))
    error = ran.execution.error
    assert isinstance(error, QuorumError)
    assert error.members == (("a", "overloaded"), ("b", "unauthorized"), ("c", "timeout.idle"))


def test_refused_content_is_not_taken_elsewhere() -> None:
    ran = vote(Fails("refused_content"), Fails("overloaded"), Says("approve"), fallbacks=("z",))
    assert (ran.error_class, "z" in ran.backend.tags) == ("refused_content", False)
    enough = vote(Fails("refused_content"), Says("approve"), Says("approve"))
    assert enough.text == "approve", "a refusing member is a missing one"


# --- judge -------------------------------------------------------------------------------------------------


def judged(script: dict[str, list[Act]], seed: int = 1, **more: Any) -> RunResult:
    ensemble = together("judge", "kimi", "qwen", "glm", quorum=1, judge=target("j"))
    return ask(ensemble, script, random=Random(seed), **more)


def test_a_judge_sees_the_answers_in_random_order_and_no_names() -> None:
    script: dict[str, list[Act]] = {"kimi": [Says("one")], "qwen": [Says("two")], "glm": [Says("three")]}
    orders = set()
    for seed in range(12):
        ran = judged({**script, "j": [Says('{"best": 1}')]}, seed)
        asked = ran.backend.asked(3)
        told = asked.messages[-1].content
        assert not re.search("kimi|qwen|glm", told)
        order = tuple(re.findall(r"<<<answer \d \w{16}\n(\w+)\nanswer \d \w{16}>>>", told))
        assert ran.text == order[0], "the number is that of the order shown"
        orders.add(order)
    assert len(orders) > 3


def test_a_judge_is_an_attempt_and_only_asked_where_there_is_a_choice() -> None:
    ran = judged({"j": [Says('{"best": 2}')]})
    assert ran.outline()[-1] == ("judge", "j", "ok", None)
    alone = judged({"kimi": [Fails("overloaded")], "qwen": [Fails("overloaded")], "glm": [Says("only")]})
    assert (alone.text, "j" in alone.backend.tags) == ("only", False)


@pytest.mark.parametrize(
    ("judge", "error_class", "why"),
    [
        (Says("they are all good"), "bad_response", "the judgement of `j` cannot be read"),
        (Says('{"best": 9}'), "bad_response", "the judgement of `j` cannot be read"),
        (Fails("overloaded"), "overloaded", "the judge failed: failed as scripted: overloaded"),
    ],
)
def test_without_a_judgement_there_is_no_answer(judge: Act, error_class: str, why: str) -> None:
    ran = judged({"j": [judge]})
    assert (ran.text, ran.error_class) == (None, error_class)
    assert ran.execution.ensemble is not None and ran.execution.ensemble.notes == why
    assert judged({"j": [judge]}, fallbacks=("z",)).text == "hello there"


# --- consensus or override ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        (("Yes.", "yes", " YES "), "a"),
        (("yes", "no", "yes"), "b"),
    ],
)
def test_where_answers_differ_one_member_decides(texts: tuple[str, ...], winner: str) -> None:
    ensemble = together("consensus_or_override", "a", "b", "c", override="b")
    ran = ask(ensemble, {name: [Says(text)] for name, text in zip("abc", texts, strict=True)})
    assert ran.execution.ensemble is not None and ran.execution.ensemble.winner == winner


def test_with_labels_it_is_labels_that_are_compared() -> None:
    ensemble = together("consensus_or_override", "a", "b", override="b", label="x", label_of=label_of)
    agree = ask(ensemble, {"a": [Says("approve, as it is safe")], "b": [Says("I approve")]})
    assert agree.text == "approve, as it is safe"
    differ = ask(ensemble, {"a": [Says("approve")], "b": [Says("well")]})
    assert differ.text == "well"


def test_one_answer_is_no_consensus() -> None:
    ensemble = together("consensus_or_override", "a", "b", override="b", quorum=1)
    assert ask(ensemble, {"a": [Fails("overloaded")], "b": [Says("b")]}).text == "b"
    lost = ask(ensemble, {"b": [Fails("overloaded")]})
    assert (lost.text, str(lost.execution.error)) == (
        None,
        "the ensemble gave no answer: the answers differ, and `b`, which decides, gave none",
    )


# --- around it ---------------------------------------------------------------------------------------------


def test_steps_are_done_to_what_the_ensemble_answers() -> None:
    ensemble = together("consensus_or_override", "a", "b", override="b")
    steps = (
        Step("draft", target("d")),
        Step("verify", target("v"), options={"on_reject": "escalate"}),
    )
    work = Work((target("z", role="fallback"),), steps, ensemble)
    ran = carry_out(work, {"a": [Says("a")], "b": [Says("b")], "v": [Says("REJECT"), Says("ACCEPT")]})
    assert [(role, model) for role, model, _, _ in ran.outline()] == [
        ("draft", "d"),
        ("member", "a"),
        ("member", "b"),
        ("verify", "v"),
        ("fallback", "z"),
        ("verify", "v"),
    ]
    assert ran.text == "hello there"
    assert ran.backend.asked(1) == ran.backend.asked(2) != HELLO, "members get the draft"


def test_steps_follow_members_also_in_time_that_was_only_reported() -> None:
    names = ("a", "b", "v")
    simulated = SimulatedBackend({name: SimulatedModel() for name in names}, seed=1)
    ensemble = together("consensus_or_override", "a", "b", override="b")
    work = Work((), (Step("verify", target("v")),), ensemble)
    executor = Executor({"b": simulated}, clock=lambda: START_US)
    one, other, verifier = asyncio.run(executor.run(work, HELLO)).attempts
    assert one.started_at_us == other.started_at_us == START_US
    assert verifier.started_at_us == START_US + max(one.total_us, other.total_us)


def test_members_share_the_caps_and_the_deadline() -> None:
    ensemble = together("vote", "a", "b", "c", quorum=2, label="x", label_of=label_of)
    capped = ask(ensemble, {n: [Says("approve")] for n in "abc"}, limits=TaskLimits(max_attempts=2))
    assert (capped.text, len(capped.backend.calls)) == ("approve", 2)
    late = ask(
        ensemble,
        {"a": [Hangs()], "b": [Hangs()], "c": [Hangs()]},
        limits=TaskLimits(deadline_ms=1_000),
        fallbacks=("z",),
    )
    assert late.took_s == pytest.approx(0.9) and late.text == "hello there", "the fallback keeps a tenth"
    assert [a.error_class for a in late.execution.attempts] == ["timeout.deadline"] * 3 + [None]


def test_under_a_cap_members_are_not_asked_again_as_long_as_a_fallback_needs_the_call() -> None:
    ensemble = together("vote", "a", "b", label="x", label_of=label_of)
    busy: dict[str, list[Act]] = {name: [Fails("overloaded")] * 9 for name in "ab"}
    for cap, called in ((3, ["a", "b", "z"]), (4, ["a", "a", "b", "z"])):
        limits = TaskLimits(max_attempts=cap, backoff_ms=1)
        ran = ask(ensemble, {**busy, "z": [Says("hello")]}, limits=limits, fallbacks=("z",))
        assert (ran.text, sorted(ran.backend.tags)) == ("hello", called)


def test_resting_members_are_asked_only_where_the_quorum_needs_them(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.sqlite")
    for name in "ab":
        carry_out(Work(targets(name)), {name: [Fails("unauthorized")]}, store=store)
    ensemble = together("vote", "a", "b", "c", quorum=2, label="x", label_of=label_of)
    script: dict[str, list[Act]] = {name: [Says("approve")] for name in "abc"}
    ran = ask(ensemble, script, store=store)
    assert [(a.model_id, a.status) for a in ran.execution.attempts] == [
        ("a", "ok"),
        ("b", "skipped"),
        ("c", "ok"),
    ]
    assert ran.execution.attempts[0].reason == "its breaker is open, and the quorum needs it"
    store.close()


def test_cancelling_stops_every_member_and_loses_no_attempt() -> None:
    backend = Scripted({"a": [Hangs()], "b": [Hangs(stubborn=True)], "c": [Says()]})
    heard: list[Attempt] = []

    async def main(clock: Callable[[], int]) -> None:
        ensemble = together("consensus_or_override", "a", "b", "c", override="b")
        executor = Executor({"b": backend}, clock=clock)
        work = Work((), ensemble=ensemble)
        task = asyncio.create_task(executor.run(work, HELLO, on_attempt=heard.append))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert sorted((a.model_id, a.status, a.error_class) for a in heard) == [
        ("a", "failed", "cancelled"),
        ("b", "failed", "cancelled"),
        ("c", "ok", None),
    ]


def test_what_is_missing_of_an_ensemble_is_said_at_once() -> None:
    for combine, missing in (
        ("judge", "a judge"),
        ("vote", "`label_of`"),
        ("consensus_or_override", "a member"),
    ):
        with pytest.raises(ValueError, match=missing):
            together(combine, "a", "b")  # type: ignore[arg-type]  # from a list of names
