"""Templates are data that is filled literally; verdicts are read, or are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from executing_parts import USED
from hypothesis import given
from hypothesis import strategies as st

from routewright.backends import ChatAnswer, ChatRequest, Message, Timings, ToolCall
from routewright.backends.executing import PromptError, read_prompts, shipped_prompts
from routewright.backends.executing.prompts import conversation_text, spoken
from routewright.backends.executing.verdicts import (
    MAX_NOTES,
    Choice,
    Verdict,
    read_choice,
    read_screening,
    read_verification,
)
from routewright.backends.protocol import FinishReason

FILE = Path(__file__).parents[2] / "policies" / "prompts.yaml"
TEXT = FILE.read_text(encoding="utf-8")


def said(text: str, finish: FinishReason = "stop", *, truncated: bool = False) -> ChatAnswer:
    return ChatAnswer(text, finish, USED, None, Timings(0, 0, 0), truncated=truncated)


# --- templates ---------------------------------------------------------------------------------------------


def test_the_shipped_prompts_are_those_of_the_file() -> None:
    assert shipped_prompts() == read_prompts(TEXT)


def test_a_change_of_a_prompt_changes_the_digest_and_a_comment_does_not() -> None:
    assert read_prompts(TEXT + "# more\n").digest == shipped_prompts().digest
    assert read_prompts(TEXT.replace("Be brief", "Be short")).digest != shipped_prompts().digest


def test_every_step_that_only_judges_says_how_much_it_may_say() -> None:
    for name in ("screen", "verify", "judge"):
        prompt = shipped_prompts().by_name[name]
        assert (prompt.max_output_tokens, prompt.thinking_tokens) == (256, 1024)


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        ["{{answer}}", "{{conversation}}", r"\g<0>", r"\1", "{0}", "%s", "$x", "{{", "}}", "{{nope}}"]
    ),
)


@given(conversation=HOSTILE, answer=HOSTILE)
def test_what_people_and_models_say_is_never_template_syntax(conversation: str, answer: str) -> None:
    prompt = shipped_prompts()["verify"]
    filled = prompt.fill(conversation=conversation, answer=answer)
    around = prompt.user.split("{{conversation}}")
    middle, end = around[1].split("{{answer}}")
    assert filled == around[0] + conversation + middle + answer + end


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prompts: 1", "prompts: 2", "prompts begin with `prompts: 1`"),
        ("\nverify:", "\nverifi:", "unknown prompt `verifi`: there are screen, draft, answer_with_draft,"),
        ("{{notes}}", "the notes", "prompt `retry` must name `{{notes}}`"),
        ("{{notes}}", "{{notes}} {{answer}}", "prompt `retry` names `{{answer}}`, which it is not given"),
        ("temperature: 0", "temperatur: 0", "prompt `screen` has an unknown key `temperatur`"),
        ("temperature: 0", "temperature: warm", "prompt `screen`: `temperature` is a number"),
        ("tokens: 256", "tokens: 0", "prompt `screen`: `max_output_tokens` is a whole number above 0"),
        ("tokens: 1024", "tokens: yes", "prompt `screen`: `thinking_tokens` is a whole number above 0"),
        ("retry:\n", "retry:\n  temperature: 0\n", "prompt `retry` has an unknown key `temperature`"),
        ("prompts: 1", "prompts: [", "the prompts are not YAML: "),
        ("prompts: 1", "- prompts", "the prompts are not YAML: "),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(PromptError) as raised:
        read_prompts(TEXT.replace(old, new, 1))
    assert str(raised.value).startswith(message)


def test_a_conversation_is_told_with_its_roles_tools_and_images() -> None:
    request = ChatRequest(
        (
            Message("system", "be brief"),
            Message("user", "look", images=(b"1", b"2")),
            Message("assistant", "", tool_calls=(ToolCall("1", "zoom", {"by": 2}),)),
            Message("tool", "done", tool_call_id="1"),
        )
    )
    assert conversation_text(request) == (
        'system:\nbe brief\n\nuser:\nlook\n[2 images]\n\nassistant:\n[calls zoom {"by": 2}]\n\ntool:\ndone'
    )
    answer = ChatAnswer("x", "stop", USED, None, Timings(0, 0, 0), tool_calls=(ToolCall("1", "zoom", {}),))
    assert spoken(answer) == "x\n[calls zoom {}]"


# --- verdicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "yes", "notes"),
    [
        ('{"verdict": "accept", "notes": ""}', True, ""),
        ('{"verdict": "reject", "notes": "wrong sum"}', False, "wrong sum"),
        ('{"verdict": "Rejected"}', False, ""),
        ('```json\n{"verdict": "accept", "notes": "fine"}\n```', True, "fine"),
        ('Here is my verdict: {"verdict": "reject", "notes": "no"}', False, "no"),
        ('<think>accept? {"verdict": "accept"}</think>{"verdict": "reject"}', False, ""),
        ("ACCEPT", True, ""),
        ("accept.", True, ""),
        ("Reject: the sum is wrong", False, "the sum is wrong"),
        ("**REJECT** - wrong", False, "wrong"),
        ("Verdict: accept\nIt is right.", True, "It is right."),
        ("**Verdict:** REJECTED\nwrong", False, "wrong"),
        ("reject\n\nbecause of this", False, "because of this"),
    ],
)
def test_verdicts_are_read(text: str, yes: bool, notes: str) -> None:
    assert read_verification(said(text)) == Verdict(yes, notes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I accept this answer",
        "not accept",
        "accept or reject",
        "accept? no",
        "reject because it is wrong",
        "The answer is correct.",
        '{"verdict": "maybe"}',
        '{"verdict": true}',
        '{"verdict": null}',
        '{"verdict": "accept"',
        '{"verdict": "accept"} or {"verdict": "reject"}',
        "{" * 100_000,
        "[" * 100_000 + '{"verdict": "accept"',
        '{"verdict":' + "[" * 100_000 + "]" * 100_000 + "}",
        "safe",
    ],
)
def test_what_is_neither_yes_nor_no_is_no_verdict(text: str) -> None:
    assert read_verification(said(text)).yes is None


def test_a_verdict_that_was_cut_or_is_about_a_cut_prompt_is_none() -> None:
    assert read_verification(said("accept", "length")).yes is None
    assert read_verification(said("accept", truncated=True)).yes is None


@given(st.text())
def test_reading_never_fails_and_keeps_notes_short(text: str) -> None:
    for verdict in (read_verification(said(text)), read_screening(said(text))):
        assert len(verdict.notes) <= MAX_NOTES
    assert read_choice(said(text), 3).number in (None, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("safe", True),
        ("unsafe\nS1", False),
        ("Safety: Unsafe", False),
        ('{"verdict": "flagged"}', False),
        ("no", None),
    ],
)
def test_screenings_are_read(text: str, yes: bool | None) -> None:
    assert read_screening(said(text)).yes is yes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"best": 2, "notes": "x"}', 2),
        ('{"best": "3"}', 3),
        ("2", 2),
        ("Best: 1", 1),
        ("Answer 3", 3),
        ("answer 2: it is complete", 2),
        ("4", None),
        ("0", None),
        ('{"best": 1.5}', None),
        ('{"best": true}', None),
        ("both 1 and 2", None),
        ("²", None),
    ],
)
def test_choices_are_read(text: str, number: int | None) -> None:
    assert read_choice(said(text), 3).number == number


def test_a_choice_keeps_its_reasons() -> None:
    assert read_choice(said('{"best": 2, "notes": " short "}'), 2) == Choice(2, "short")
