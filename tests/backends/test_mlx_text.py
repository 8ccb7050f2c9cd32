"""Text, thinking and tool calls are told apart however the text is cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlx_parts import need_mlx

from routewright.backends import BackendError, ChatRequest, Message, TextDelta, ThinkingDelta
from routewright.backends.mlx.load import import_library
from routewright.backends.mlx.text import AnswerText, Machine, Transitions, transitions_of

TOOL: Mapping[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {}}}
PLAIN = ChatRequest((Message("user", "hello"),))
WITH_TOOLS = ChatRequest(PLAIN.messages, tools=(TOOL,))
WITH_STOP = ChatRequest(PLAIN.messages, stop=("", "END", "\n\nQ:"))


@pytest.fixture(scope="module", autouse=True)
def _mlx() -> None:
    need_mlx()
    import_library()


@dataclass
class Markers:
    """What a tokenizer of mlx_lm says of its markers, for a model that thinks and calls tools."""

    think_start: str = "<think>"
    think_end: str = "</think>"
    tool_call_start: str = "<tool_call>"
    tool_call_end: str = "</tool_call>"
    has_thinking: bool = True
    has_tool_calling: bool = True
    structural_markers: tuple[str, ...] = ()
    response_initial_state: str | None = None
    response_transitions: Transitions = field(default_factory=dict)

    def rfind_think_start(self, tokens: Sequence[int]) -> int:
        return max((at for at, token in enumerate(tokens) if token == 1), default=-1)

    def rfind_think_end(self, tokens: Sequence[int]) -> int:
        return max((at for at, token in enumerate(tokens) if token == 2), default=-1)


def machine_of(transitions: Transitions) -> Machine:
    from mlx_lm.generate import TextStateMachine

    make: Any = TextStateMachine
    return make(transitions)


def read(
    pieces: Sequence[str],
    request: ChatRequest = PLAIN,
    *,
    prompt: Sequence[int] = (),
    markers: Markers | None = None,
    channels: bool = False,
) -> AnswerText:
    """The answer after all pieces; what was given out on the way is what it says it gave out."""
    transitions, start = transitions_of(markers or Markers(), prompt, request, channels=channels)
    answer = AnswerText(machine_of(transitions), start)
    deltas: list[TextDelta | ThinkingDelta] = []
    for piece in pieces:
        deltas += answer.feed(piece)
        if answer.stopped:
            break
    deltas += answer.finish()
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == answer.text
    assert "".join(d.text for d in deltas if isinstance(d, ThinkingDelta)) == answer.thinking
    assert all(delta.text for delta in deltas)
    return answer


def calls(answer: AnswerText, *, whole: bool = True) -> list[tuple[str, object]]:
    found = answer.tool_calls(lambda text, _: json.loads(text), WITH_TOOLS, whole=whole, tag="m")
    return [(call.name, call.arguments) for call in found]


def test_thinking_is_not_text_and_the_empty_lines_after_it_are_dropped() -> None:
    answer = read(["<think>hmm", ", Paris?</th", "ink>\n\n", "\nIt is", " Paris."])
    assert (answer.thinking, answer.text) == ("hmm, Paris?", "It is Paris.")


@pytest.mark.parametrize(("prompt", "thinking", "text"), [((5, 1), "a b", ""), ((1, 2), "", "a b")])
def test_a_prompt_that_ends_inside_thinking_begins_there(
    prompt: Sequence[int], thinking: str, text: str
) -> None:
    answer = read(["a b"], prompt=prompt)
    assert (answer.thinking, answer.text) == (thinking, text)


def test_what_only_looked_like_a_marker_is_text() -> None:
    assert read(["a <thi", "s> b <th"]).text == "a <this> b <th"


@pytest.mark.parametrize("pieces", [["one EN", "D two"], ["one END two"], ["one ", "E", "N", "D", " two"]])
def test_a_stop_string_ends_the_answer_before_it(pieces: Sequence[str]) -> None:
    answer = read(pieces, WITH_STOP)
    assert (answer.text, answer.stopped) == ("one ", True)


def test_a_stop_string_does_not_count_while_the_model_thinks() -> None:
    answer = read(["<think>the END</think>one\n\nQ: two"], WITH_STOP)
    assert (answer.thinking, answer.text, answer.stopped) == ("the END", "one", True)


def test_tool_calls_are_parsed_in_order() -> None:
    one, two = (json.dumps({"name": "weather", "arguments": {"city": city}}) for city in ("Paris", "Rome"))
    answer = read([f"I look.<tool_call>{one}</tool_", f"call>\n<tool_call>{two}</tool_call>"], WITH_TOOLS)
    assert answer.text == "I look.\n"
    assert calls(answer) == [("weather", {"city": "Paris"}), ("weather", {"city": "Rome"})]


def test_half_a_character_in_a_call_is_none() -> None:
    call = r'{"name": "we\udc00ather", "arguments": {"city": "\ud83d", "\ud800": ["\ud83d\ude00"]}}'
    answer = read([f"<tool_call>{call}</tool_call>"], WITH_TOOLS)
    assert calls(answer) == [("we\ufffdather", {"city": "\ufffd", "\ufffd": ["\U0001f600"]})]


def test_without_tools_their_markers_are_text() -> None:
    said = "write <tool_call>{}</tool_call> for a call"
    answer = read([said])
    assert answer.text == said
    assert calls(answer) == []


@pytest.mark.parametrize(
    "call", ["not JSON", "[1]", '{"name": "weather"}', '{"name": "w", "arguments": "x"}']
)
def test_a_call_that_cannot_be_read_is_a_bad_response(call: str) -> None:
    answer = read([f"<tool_call>{call}</tool_call>"], WITH_TOOLS)
    with pytest.raises(BackendError) as caught:
        calls(answer)
    assert str(caught.value) == "`m` asked for a tool in a form that cannot be read"
    assert caught.value.error_class == "bad_response"


def test_a_call_that_was_cut_off_is_left_out() -> None:
    whole = '{"name": "weather", "arguments": {}}'
    answer = read([f'<tool_call>{whole}</tool_call><tool_call>{{"name": "wea'], WITH_TOOLS)
    assert calls(answer, whole=False) == [("weather", {})]


def test_the_channels_of_gpt_oss_are_thinking_and_text() -> None:
    answer = read(
        [
            "<|channel|>analysis<|message|>Paris?<|end|><|start|>assistant<|channel|>final<|mess",
            "age|>Paris.",
        ],
        markers=Markers(has_thinking=False, has_tool_calling=False),
        channels=True,
    )
    assert (answer.thinking, answer.text) == ("Paris?", "Paris.")


PARTS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "END", "E", "<", "a ", "{}", "\n")


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_how_text_is_cut_into_pieces_changes_nothing(parts: list[str], cuts: list[int], tools: bool) -> None:
    text = "".join(parts)
    request = ChatRequest(PLAIN.messages, tools=(TOOL,) if tools else (), stop=("END",))
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    cut = read([text[a:b] for a, b in zip(edges, edges[1:], strict=False)], request)
    whole = read([text], request)
    assert (cut.text, cut.thinking, cut.stopped) == (whole.text, whole.thinking, whole.stopped)
    raw = [
        answer.tool_calls(lambda t, _: {"name": t, "arguments": {}}, request, whole=True, tag="m")
        for answer in (cut, whole)
    ]
    assert [call.name for call in raw[0]] == [call.name for call in raw[1]]
