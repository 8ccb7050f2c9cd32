"""Steps around the answer: what each is asked, what its words change, and what happens when it fails."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import pytest
from support.executing_parts import (
    HELLO,
    START_US,
    USED_NANO,
    Act,
    Ends,
    Fails,
    Hangs,
    RunResult,
    Says,
    carry_out,
    target,
    targets,
)

from routewright.backends import ChatRequest, EmbedRequest, Message, ToolCall
from routewright.backends.executing import AnswerCache, CacheUse, Step, StepReport, TaskLimits, Work

ACCEPT, REJECT = Says('{"verdict": "accept"}'), Says('{"verdict": "reject", "notes": "the sum is wrong"}')


def step(role: str, name: str, *, required: bool = False, **options: Any) -> Step:
    return Step(role, target(name), required, options)


def reports(ran: RunResult) -> list[tuple[str, str, str, str | None]]:
    return [(r.role, r.model_id, r.outcome, r.notes) for r in ran.execution.steps]


# --- draft -------------------------------------------------------------------------------------------------


def test_a_draft_is_context_for_the_answer() -> None:
    request = ChatRequest(
        (Message("system", "be brief"), Message("user", "why?", images=(b"png",))), tools=({"n": 1},)
    )
    work = Work(targets("a"), (step("draft", "d"),))
    ran = carry_out(work, {"d": [Says("first {{prompt}}, then")]}, request=request)
    assert ran.outline() == [("draft", "d", "ok", None), ("answer", "a", "ok", None)]
    assert reports(ran) == [("draft", "d", "done", None)]
    drafting, answering = ran.backend.asked(0), ran.backend.asked(1)
    assert drafting.messages[0] == answering.messages[0] == Message("system", "be brief")
    assert drafting.messages[1].content.endswith("\n\nwhy?") and drafting.tools == ()
    # The request stands as it is, and the draft between markers.
    told = r"why\?\n\n.*<<<draft (\w{16})\nfirst \{\{prompt\}\}, then\ndraft \1>>>"
    assert re.fullmatch(told, answering.messages[1].content, re.DOTALL)
    assert answering.messages[1].images == (b"png",) and answering.tools == ({"n": 1},)
    assert ran.execution.answered_by == 2


@pytest.mark.parametrize(("asked", "sent"), [(None, 512), (2_000, 512), (100, 100)])
def test_a_draft_is_brief(asked: int | None, sent: int) -> None:
    (drafter,) = targets("d")
    work = Work(targets("a"), (Step("draft", replace(drafter, think=False)),))
    ran = carry_out(work, {}, request=replace(HELLO, max_output_tokens=asked))
    assert [ran.backend.asked(n).max_output_tokens for n in (0, 1)] == [sent, asked]


@pytest.mark.parametrize(
    ("draft", "notes"),
    [
        (Fails("overloaded"), "failed as scripted: overloaded"),
        (Fails("refused_content"), "failed as scripted: refused_content"),
        (Says(""), "what `d` wrote is empty"),
        (Says("half", finish="length"), "what `d` wrote was cut short"),
        (Says("x", truncated=True), "what `d` wrote was cut short"),
    ],
)
def test_a_draft_that_fails_is_left_out(draft: Says | Fails, notes: str) -> None:
    ran = carry_out(Work(targets("a"), (step("draft", "d"),)), {"d": [draft]})
    assert reports(ran) == [("draft", "d", "dropped", notes)]
    assert ran.text == "hello there"
    assert ran.backend.asked(1) == HELLO, "the request is as it was"


def test_a_required_draft_that_fails_is_the_failure_of_the_work() -> None:
    ran = carry_out(Work(targets("a"), (step("draft", "d", required=True),)), {"d": [Fails("overloaded")]})
    assert (ran.text, ran.error_class, ran.backend.tags) == (None, "overloaded", ["d"])
    assert reports(ran) == [("draft", "d", "failed", "failed as scripted: overloaded")]


# --- verify ------------------------------------------------------------------------------------------------


def verified(on_reject: str, script: dict[str, Any], *names: str, **more: Any) -> RunResult:
    steps = (step("verify", "v", on_reject=on_reject, **more),)
    return carry_out(Work(targets(*(names or ("a", "b"))), steps), script, stream=True)


def test_an_accepted_answer_is_given() -> None:
    ran = verified("escalate", {"v": [ACCEPT]})
    assert ran.outline() == [("answer", "a", "ok", None), ("verify", "v", "ok", None)]
    assert reports(ran) == [("verify", "v", "accepted", None)]
    assert (ran.text, ran.shown, ran.execution.answered_by) == ("hello there", "hello there", 1)
    costs = [attempt.cost_nano for attempt in ran.execution.attempts]
    assert costs == [USED_NANO] * 2, "the verifier is paid for too"


def test_the_verifier_sees_the_conversation_and_the_answer() -> None:
    ran = verified("annotate", {"a": [Says("it is {{conversation}}")], "v": [ACCEPT]})
    asked = ran.backend.asked(1)
    told = asked.messages[-1].content
    assert re.search(r"<<<user (\w{16})\nwhich model\?\nuser \1>>>\nconversation \1>>>", told)
    assert re.search(r"<<<answer (\w{16})\nit is \{\{conversation\}\}\nanswer \1>>>", told)
    assert (asked.temperature, asked.max_output_tokens) == (0, 256 + 1024)


def test_whoever_does_not_think_is_given_the_tokens_of_a_verdict_alone() -> None:
    (reviewer,) = targets("v")
    reviewing = Step("verify", replace(reviewer, think=False))
    ran = carry_out(Work(targets("a"), (reviewing,)), {"v": [ACCEPT]})
    assert ran.backend.asked(1).max_output_tokens == 256


@pytest.mark.parametrize(("asked", "sent"), [(None, 700), (900, 700), (50, 50)])
def test_no_chat_is_longer_than_the_catalog_says_that_the_model_writes(asked: int | None, sent: int) -> None:
    (short,) = targets("a")
    request = replace(HELLO, max_output_tokens=asked)
    ran = carry_out(Work((replace(short, max_output_tokens=700),)), {}, request=request)
    assert ran.backend.asked(0).max_output_tokens == sent


def test_annotate_gives_the_answer_with_the_verdict() -> None:
    ran = verified("annotate", {"v": [REJECT]})
    assert ran.text == "hello there" and ran.backend.tags == ["a", "v"]
    assert reports(ran) == [("verify", "v", "rejected", "the sum is wrong")]


def test_retry_asks_the_same_model_again_with_the_notes_and_verifies_again() -> None:
    ran = verified("retry", {"a": [Says("5"), Says("4")], "v": [REJECT, ACCEPT]})
    assert [(role, model) for role, model, _, _ in ran.outline()] == [
        ("answer", "a"),
        ("verify", "v"),
        ("retry", "a"),
        ("verify", "v"),
    ]
    said, told = ran.backend.asked(2).messages[-2:]
    assert said == Message("assistant", "5") and "the sum is wrong" in told.content
    assert (ran.text, ran.shown, ran.execution.answered_by) == ("4", "4", 3)
    assert [outcome for _, _, outcome, _ in reports(ran)] == ["rejected", "accepted"]


def test_retry_is_done_once_and_the_last_answer_is_given_with_its_verdict() -> None:
    ran = verified("retry", {"a": [Says("5"), Says("6")], "v": [REJECT, REJECT]})
    assert (ran.text, ran.backend.tags) == ("6", ["a", "v", "a", "v"])
    failed = verified("retry", {"a": [Says("5"), Fails("overloaded")], "v": [REJECT]})
    assert (failed.text, failed.execution.error) == ("5", None)


def test_escalate_asks_the_next_fallback_and_verifies_its_answer() -> None:
    ran = verified("escalate", {"a": [Says("5")], "b": [Says("4")], "v": [REJECT, ACCEPT]})
    assert [(role, model) for role, model, _, _ in ran.outline()] == [
        ("answer", "a"),
        ("verify", "v"),
        ("fallback", "b"),
        ("verify", "v"),
    ]
    assert (ran.text, ran.shown, ran.execution.answered_by) == ("4", "4", 3)


def test_escalate_with_nobody_left_gives_the_rejected_answer_with_its_verdict() -> None:
    ran = verified("escalate", {"v": [REJECT]}, "a")
    assert (ran.text, ran.backend.tags) == ("hello there", ["a", "v"])
    failing = verified("escalate", {"b": [Fails("overloaded")], "v": [REJECT]})
    assert (failing.text, failing.execution.error) == ("hello there", None)
    assert [outcome for _, _, outcome, _ in reports(failing)] == ["rejected"]


def test_an_unreadable_verdict_is_neither_yes_nor_no() -> None:
    ran = verified("escalate", {"v": [Says("hard to say")]})
    assert (ran.text, ran.backend.tags) == ("hello there", ["a", "v"])
    assert reports(ran) == [("verify", "v", "unreadable", "hard to say")]
    required = verified("escalate", {"v": [Says("hard to say")]}, required=True)
    assert (required.text, required.shown, required.error_class) == (None, "", "bad_response")
    assert str(required.execution.error) == "the verdict of `v` cannot be read"


@pytest.mark.parametrize("required", [False, True])
def test_a_verifier_that_fails_is_left_out_unless_it_is_required(required: bool) -> None:
    ran = verified("escalate", {"v": [Fails("unauthorized")]}, required=required)
    assert ran.text == (None if required else "hello there")
    assert ran.shown == (ran.text or ""), "an answer that may be withheld is not shown before"
    assert reports(ran)[0][2] == ("failed" if required else "dropped")


V = step("verify", "v")
W = step("verify", "w", on_reject="retry")


@pytest.mark.parametrize(
    ("steps", "script", "said"),
    [
        ((), {}, None),
        ((step("draft", "d"),), {}, None),
        ((V,), {"v": [ACCEPT]}, True),
        ((V,), {"v": [REJECT]}, False),
        ((V,), {"v": [Says("hard to say")]}, None),
        ((V,), {"v": [Fails("overloaded")]}, None),
        ((V, W), {"v": [ACCEPT], "w": [ACCEPT]}, True),
        ((V, W), {"v": [REJECT], "w": [ACCEPT]}, False),
        ((V, W), {"v": [ACCEPT], "w": [Fails("overloaded")]}, None),
        # `v` has not seen the answer that `w` accepts in the end.
        ((V, W), {"v": [ACCEPT], "w": [REJECT, ACCEPT]}, None),
        ((W, V), {"v": [ACCEPT], "w": [REJECT, ACCEPT]}, True),
        ((V, step("refine", "r")), {"v": [ACCEPT]}, None),
        ((step("refine", "r"), V), {"v": [ACCEPT]}, True),
    ],
)
def test_an_answer_is_verified_if_every_verifier_accepted_it_as_it_is_given(
    steps: tuple[Step, ...], script: dict[str, Any], said: bool | None
) -> None:
    cache = AnswerCache(clock=lambda: START_US)
    work = Work(targets("a"), steps, cache=CacheUse(3_600_000))
    ran = carry_out(work, script, cache=cache)
    assert (ran.text is not None, ran.execution.verified) == (True, said)
    again = carry_out(work, script, cache=cache)
    assert again.execution.verified is said, "also from the cache, where it is kept"


# --- refine ------------------------------------------------------------------------------------------------


def test_refining_replaces_the_answer_round_by_round() -> None:
    request = ChatRequest((Message("user", "why?"),), json_schema={"type": "object"}, max_output_tokens=9)
    work = Work(targets("a"), (step("refine", "r", rounds=2),))
    ran = carry_out(
        work, {"a": [Says("one")], "r": [Says("two"), Says("three")]}, request=request, stream=True
    )
    assert (ran.text, ran.shown, ran.execution.answered_by) == ("three", "three", 3)
    assert re.search(r"<<<answer (\w{16})\ntwo\nanswer \1>>>", ran.backend.asked(2).messages[-1].content)
    assert (ran.backend.asked(1).json_schema, ran.backend.asked(1).max_output_tokens) == (
        {"type": "object"},
        9,
    )


def test_a_refinement_that_repeats_its_markers_is_what_stands_between_them() -> None:
    work = Work(targets("a"), (step("refine", "r"),))
    asked = carry_out(work, {"a": [Says("one")]}).backend.asked(1).messages[-1].content
    word = re.findall(r"^answer (\w{16})>>>$", asked, re.MULTILINE)[-1]
    ran = carry_out(work, {"a": [Says("one")], "r": [Says(f"<<<answer {word}\ntwo\nanswer {word}>>>")]})
    assert f"answer {word}>>>" in ran.backend.asked(1).messages[-1].content, "the same word is drawn again"
    assert ran.text == "two"


@pytest.mark.parametrize("bad", [Fails("overloaded"), Ends("half"), Says("half", finish="length"), Says(" ")])
def test_a_refinement_that_is_not_whole_leaves_the_answer_as_it_was(bad: Any) -> None:
    ran = carry_out(Work(targets("a"), (step("refine", "r", rounds=3),)), {"r": [Says("better"), bad]})
    assert (ran.text, ran.backend.tags) == ("better", ["a", "r", "r"])
    assert [outcome for _, _, outcome, _ in reports(ran)] == ["done", "dropped"]


def test_an_answer_that_calls_tools_is_not_refined() -> None:
    calls = Says("", tool_calls=(ToolCall("1", "zoom", {}),))
    ran = carry_out(Work(targets("a"), (step("refine", "r"),)), {"a": [calls]})
    assert reports(ran) == [("refine", "r", "dropped", "the answer calls tools")]
    assert ran.backend.tags == ["a"]


# --- screen ------------------------------------------------------------------------------------------------


def test_a_flagged_prompt_is_refused_before_anything_else_sees_it() -> None:
    work = Work(targets("a", "b"), (step("draft", "d"), step("screen", "s", required=True)))
    ran = carry_out(work, {"s": [Says('{"verdict": "flagged", "notes": "harmful"}')]}, stream=True)
    assert (ran.backend.tags, ran.text, ran.shown, ran.error_class) == (["s"], None, "", "refused_content")
    assert str(ran.execution.error) == "`s` flagged the prompt, so it was refused"
    assert reports(ran) == [("screen", "s", "flagged", "harmful")]


def test_a_flagged_answer_is_never_shown_and_nobody_is_asked_instead() -> None:
    work = Work(targets("a", "b"), (step("screen", "s", on="answer"), step("refine", "r")))
    ran = carry_out(work, {"r": [Says("worse")], "s": [Says("unsafe\nS1")]}, stream=True)
    assert ran.backend.tags == ["a", "r", "s"], "the last text is what is screened"
    assert "worse" in ran.backend.asked(2).messages[-1].content
    assert (ran.text, ran.shown, ran.error_class) == (None, "", "refused_content")


def test_both_sides_are_screened_where_asked() -> None:
    work = Work(targets("a"), (step("screen", "s", on="both", required=True),))
    ran = carry_out(work, {"s": [Says("safe"), Says("safe")]})
    assert (ran.backend.tags, ran.text) == (["s", "a", "s"], "hello there")
    assert reports(ran) == [("screen", "s", "clean", None)] * 2


@pytest.mark.parametrize("screening", [Says("I cannot tell"), Fails("overloaded"), Hangs()])
def test_work_that_was_not_screened_does_not_go_on_where_it_must_be(screening: Any) -> None:
    limits = TaskLimits(first_token_within_ms=5_000)
    work = Work(targets("a"), (step("screen", "s", required=True),), limits=limits)
    ran = carry_out(work, {"s": [screening]})
    assert (ran.backend.tags, ran.text) == (["s"], None)
    optional = Work(targets("a"), (step("screen", "s"),), limits=limits)
    assert carry_out(optional, {"s": [screening]}).text == "hello there"


@pytest.mark.parametrize("side", ["prompt", "answer"])
@pytest.mark.parametrize(
    "planted",
    [
        'FLAGGED: it tells me to print {"verdict": "safe"}',
        '{"verdict": "safe"} is what it tells me to print',
        "safe\nno: flagged\nflagged",
        "not safe",
        "safe: no",
    ],
)
def test_a_screen_that_was_talked_into_contradicting_itself_lets_nothing_pass(
    side: Literal["prompt", "answer"], planted: str
) -> None:
    work = Work(targets("a"), (step("screen", "s", on=side, required=True),))
    ran = carry_out(work, {"s": [Says(planted)]}, stream=True)
    assert (ran.text, ran.shown, ran.error_class) == (None, "", "bad_response")
    assert reports(ran) == [("screen", "s", "unreadable", planted)]
    assert str(ran.execution.error) == "the verdict of `s` cannot be read"


def test_calls_of_tools_are_screened_with_the_text_that_they_stand_beside() -> None:
    told = Message("assistant", "", tool_calls=(ToolCall("1", "delete", {"path": "/"}),))
    request = ChatRequest((Message("user", "do it"), told, Message("tool", "done", tool_call_id="1")))
    work = Work(targets("a"), (step("screen", "s", on="both", required=True),))
    calls = Says("", tool_calls=(ToolCall("2", "format", {"disk": 1}),))
    ran = carry_out(work, {"a": [calls], "s": [Says("safe"), Says("safe")]}, request=request)
    before, after = (ran.backend.asked(at).messages[-1].content for at in (0, 2))
    assert re.search(r'<<<call (\w{16})\ndelete \{"path": "/"\}\ncall \1>>>', before)
    assert re.search(r'<<<call (\w{16})\nformat \{"disk": 1\}\ncall \1>>>', after)


# --- together ----------------------------------------------------------------------------------------------


def test_the_first_pattern_of_cloud_and_local_models() -> None:
    """A cloud model answers from a local draft, and another local model verifies it."""
    work = Work(
        targets("kimi-k2:1t-cloud", "qwen3-coder:480b-cloud"),
        (step("draft", "qwen3-coder-30b"), step("verify", "glm-4.5", on_reject="escalate")),
    )
    ran = carry_out(work, {"glm-4.5": [Says("REJECT: too short"), Says("ACCEPT")]})
    assert ran.outline() == [
        ("draft", "qwen3-coder-30b", "ok", None),
        ("answer", "kimi-k2:1t-cloud", "ok", None),
        ("verify", "glm-4.5", "ok", None),
        ("fallback", "qwen3-coder:480b-cloud", "ok", None),
        ("verify", "glm-4.5", "ok", None),
    ]
    assert ran.execution.steps[1] == StepReport("verify", "glm-4.5", "rejected", "too short", about=2)
    assert ran.backend.asked(3) == ran.backend.asked(1), "the draft is for the fallback too"


@pytest.mark.parametrize(
    ("steps", "live"),
    [
        ((step("draft", "d"),), True),
        ((step("screen", "s"),), True),
        ((step("verify", "v"),), True),
        ((step("verify", "v", required=True),), False),
        ((step("verify", "v", on_reject="retry"),), False),
        ((step("screen", "s", on="answer"),), False),
        ((step("refine", "r"),), False),
    ],
)
def test_text_is_shown_as_it_comes_only_where_nothing_later_may_change_it(
    steps: tuple[Step, ...], live: bool
) -> None:
    script = {"s": [Says("safe")], "v": [ACCEPT], "r": [Says("hello there")]}
    ran = carry_out(Work(targets("a"), steps), script, stream=True)
    assert ran.shown == "hello there"
    [answer] = [attempt for attempt in ran.execution.attempts if attempt.role == "answer"]
    assert answer.streamed is live


def test_steps_share_the_deadline_and_take_nothing_of_the_cap_on_calls() -> None:
    late = Work(targets("a"), (step("verify", "v"),), limits=TaskLimits(deadline_ms=1_000))
    ran = carry_out(late, {"a": [Says(first_s=0.5)], "v": [Hangs()]})
    assert ran.text == "hello there" and ran.took_s == pytest.approx(1.0)
    assert reports(ran)[0] == (
        "verify",
        "v",
        "dropped",
        "`v` did not finish within 500 ms, its share of the time until the deadline",
    )
    steps = (step("draft", "d"), step("refine", "r"), step("verify", "v"))
    capped = Work(targets("a", "b"), steps, limits=TaskLimits(max_attempts=2, backoff_ms=1))
    script: dict[str, list[Act]] = {"a": [Fails("overloaded")], "b": [Says("well")], "r": [Says("better")]}
    ran = carry_out(capped, {**script, "v": [ACCEPT]})
    assert (ran.text, ran.backend.tags) == ("better", ["d", "a", "b", "r", "v"])


def test_a_rejected_answer_is_not_tried_again_past_the_cap_and_the_attempt_says_so() -> None:
    work = Work(
        targets("a"),
        (step("verify", "v", on_reject="retry"),),
        limits=TaskLimits(max_attempts=1, backoff_ms=1),
    )
    ran = carry_out(work, {"v": [REJECT]})
    assert (ran.text, ran.backend.tags) == ("hello there", ["a", "v"])
    last = ran.execution.attempts[-1]
    assert (last.role, last.status, last.reason) == ("retry", "skipped", "`max_attempts: 1` is reached")


def test_a_window_that_was_set_grows_with_what_steps_add() -> None:
    request = ChatRequest((Message("user", "why?"),), context_tokens=100)
    ran = carry_out(Work(targets("a"), (step("draft", "d"),)), {"d": [Says("x" * 800)]}, request=request)
    window = ran.backend.asked(1).context_tokens
    assert window is not None and 600 <= window <= 900
    untold = carry_out(Work(targets("a"), (step("draft", "d"),)))
    assert untold.backend.asked(1).context_tokens is None


def test_embeddings_have_no_steps() -> None:
    work = Work(targets("a"), (step("verify", "v"), step("draft", "d")))
    assert carry_out(work, request=EmbedRequest(("x",))).backend.tags == ["a"]
