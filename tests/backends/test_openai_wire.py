"""OpenAI's words for our requests, and ours for its answers: pure, no server."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.backends import (
    ChatRequest,
    EmbedRequest,
    Message,
    RerankRequest,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
    Usage,
)
from routewright.backends.openai.answer import ChatPieces
from routewright.backends.openai.lists import read_scores, read_tags, read_vectors
from routewright.backends.openai.request import chat_body, embed_body, rerank_body
from routewright.backends.openai.usage import read_usage
from routewright.backends.wire.values import Unreadable

NOW = Timings(None, None, 1)
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"
GIF, WEBP = b"GIF89a", b"RIFF\x24\0\n\0WEBPVP8 "
ASK = Message("user", "Hello?")


def body(request: ChatRequest, *, stream: bool = False, genuine: bool = False) -> dict[str, Any]:
    return chat_body("m", request, stream=stream, genuine=genuine)


# --- requests ----------------------------------------------------------------------------------------------


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert body(ChatRequest((ASK,))) == {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}


def test_everything_that_a_request_can_say() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    call = ToolCall("c1", "weather", {"city": "Zürich"})
    request = ChatRequest(
        (
            Message("system", "Be brief."),
            Message("user", "What is this?", images=(PNG, JPEG, GIF, WEBP)),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "rain", tool_call_id="c1"),
        ),
        max_output_tokens=9,
        temperature=0.5,
        seed=7,
        stop=("\n",),
        tools=(tool,),
        json_schema={"type": "object"},
        think="low",
        keep_alive="5m",  # for servers that know it: not part of this API
        context_tokens=4096,
        options={"top_p": 0.9, "seed": 8},
    )
    assert body(request, stream=True) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": data_url("png", PNG)}},
                    {"type": "image_url", "image_url": {"url": data_url("jpeg", JPEG)}},
                    {"type": "image_url", "image_url": {"url": data_url("gif", GIF)}},
                    {"type": "image_url", "image_url": {"url": data_url("webp", WEBP)}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Zürich"}'},
                    }
                ],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 8,  # options have the last word
        "stop": ["\n"],
        "tools": [tool],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": False},
        },
        "reasoning_effort": "low",
        "top_p": 0.9,
    }


def data_url(kind: str, image: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@pytest.mark.parametrize(
    ("request_", "genuine", "said"),
    [
        (ChatRequest((), max_output_tokens=9), True, {"max_completion_tokens": 9}),
        (ChatRequest((), think=True), False, {"chat_template_kwargs": {"enable_thinking": True}}),
        (ChatRequest((), think=False), False, {"chat_template_kwargs": {"enable_thinking": False}}),
        (ChatRequest((), think=True), True, {}),
        (ChatRequest((), think=False), True, {"reasoning_effort": "none"}),
    ],
)
def test_what_only_openai_or_only_others_know(
    request_: ChatRequest, genuine: bool, said: dict[str, Any]
) -> None:
    assert body(request_, genuine=genuine) == {"model": "m", "messages": [], **said}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (
            {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
            True,
        ),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        (
            {"type": "object", "properties": {"a": {}}, "required": [], "additionalProperties": False},
            False,
        ),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, False),
        ({"type": "string"}, True),
    ],
)
def test_strict_mode_is_asked_for_where_openai_allows_it(schema: dict[str, Any], strict: bool) -> None:
    said = body(ChatRequest((), json_schema=schema))
    assert said["response_format"]["json_schema"]["strict"] is strict


def test_bodies_for_vectors_and_scores() -> None:
    assert embed_body("m", EmbedRequest(("a",), {"dimensions": 8})) == {
        "model": "m",
        "input": ["a"],
        "encoding_format": "float",
        "dimensions": 8,
    }
    assert rerank_body("m", RerankRequest("q", ("a", "b"))) == {
        "model": "m",
        "query": "q",
        "documents": ["a", "b"],
        "return_documents": False,
    }


# --- usage -------------------------------------------------------------------------------------------------


def counts(prompt: int, completion: int, total: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (counts(100, 50, 150, 80, 30), (100, 80, 50, 30)),  # OpenAI: details are inside
        (counts(100, 20, 150, 80, 30), (100, 80, 50, 30)),  # reasoning is beside
        (counts(20, 50, 150, 80, 30), (100, 80, 50, 30)),  # cached is beside
        (counts(20, 20, 150, 80, 30), (100, 80, 50, 30)),  # both are
        (counts(0, 0, 0), (0, 0, 0, 0)),  # said to be nothing, and believed
        ({"prompt_tokens": 5, "total_tokens": 5}, (5, None, 0, None)),  # embeddings
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, (5, 4, 2, None)),
        ({"prompt_tokens": 5}, (5, None, None, None)),
        ({"prompt_tokens": 5, "total_tokens": 3}, (5, None, None, None)),
        ({"prompt_tokens": 5.0, "completion_tokens": "2"}, (5, None, 2, None)),
        (
            {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
            (20, None, 603, None),
        ),  # Gemini
        (counts(20, 198, 623, cached=10), (20, 10, 603, 0)),  # so it is with a cached part of the prompt
        (counts(20, 0, 425), (20, 0, 405, 0)),  # all of it was thinking
        (counts(20, 198, 623, reasoning=100), (20, 0, None, 100)),  # a total that nothing explains
        (counts(20, 198, 100), (20, 0, 198, 0)),  # a total that is none
        ({"prompt_tokens": -1, "completion_tokens": True}, (None, None, None, None)),
        ({}, (None, None, None, None)),
        (None, (None, None, None, None)),
        ([], (None, None, None, None)),
    ],
)
def test_each_token_is_counted_once(usage: Any, expected: tuple[int | None, ...]) -> None:
    prompt, cached, completion, reasoning = expected
    assert read_usage(usage) == Usage(prompt, cached, completion, reasoning, "reported")


BILL = {"prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196}


@pytest.mark.parametrize(
    ("billed", "nano"),
    [
        ({"cost": 0.00492, "cost_details": {"upstream_inference_cost": None}}, 4_920_000),
        (
            {"cost": 0.00492, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00492}},
            4_920_000,
        ),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0360795}}, 36_079_500),
        ({"cost": 0.0018, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.036}}, 37_800_000),
        ({"cost": 0.0018, "is_byok": True}, None),  # the fee alone: what the provider charges is unknown
        ({"cost": 1e-12, "is_byok": False}, 1),
        ({"cost": 0, "cost_details": {}}, None),
        ({"cost": 0.5}, None),  # in whatever unit
        ({"cost": None, "is_byok": False}, None),
        ({"cost": "1", "is_byok": False}, None),
        ({"cost": True, "is_byok": False}, None),
        ({"cost": -1, "is_byok": False}, None),
        ({"cost": 1e300, "is_byok": False}, None),
        ({"cost": {"total_cost": 1}, "is_byok": False}, None),
    ],
)
def test_a_cost_that_the_server_names_is_read(billed: dict[str, Any], nano: int | None) -> None:
    assert read_usage({**BILL, **billed}) == Usage(194, None, 2, None, "reported", nano)


# --- answers -----------------------------------------------------------------------------------------------


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"delta": said, "finish_reason": finish}]}


def test_pieces_become_one_answer() -> None:
    pieces = ChatPieces()
    shown = [
        event
        for piece in (
            delta(role="assistant", content=None),
            delta(reasoning_content="hm"),
            delta(reasoning="m", role="assistant"),
            delta(content=""),
            delta(content="It "),
            delta(content=[{"type": "text", "text": "is"}]),
            delta("length"),
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "model": "real"},
        )
        for event in pieces.feed(piece)
    ]
    assert shown == [ThinkingDelta("hm"), ThinkingDelta("m"), TextDelta("It "), TextDelta("is")]
    answer = pieces.answer(NOW)
    assert (answer.text, answer.thinking, answer.finish_reason, answer.model_said) == (
        "It is",
        "hmm",
        "length",
        "real",
    )
    assert answer.usage == Usage(1, None, 2, None, "reported")


def test_calls_of_tools_are_put_together_by_their_index() -> None:
    pieces = ChatPieces()
    for calls in (
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}],
        [{"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"x"'}}],
        [{"index": 0, "function": {"arguments": '{"y": 1}'}}],
        [{"index": 1, "function": {"arguments": ": 2}"}}],
        [{"index": 2, "function": {"name": "h", "arguments": {"z": 3}}}],
        [{"index": 3, "function": {"name": "none"}}],
    ):
        assert pieces.feed(delta(tool_calls=calls)) == []
    pieces.feed(delta("stop"))
    answer = pieces.answer(NOW)
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        ToolCall("a", "f", {"y": 1}),
        ToolCall("b", "g", {"x": 2}),
        ToolCall("call_2", "h", {"z": 3}),
        ToolCall("call_3", "none", {}),
    )


def call(
    index: object = 0, id: object = None, name: object = None, arguments: object = None
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v is not None}}
    return {name: value for name, value in fields.items() if value is not None}


OSLO, ROME = ToolCall("a", "f", {"city": "Oslo"}), ToolCall("b", "f", {"city": "Rome"})
IN_OSLO, IN_ROME = '{"city": "Oslo"}', '{"city": "Rome"}'
NAMELESS = (ToolCall("call_0", "f", {"city": "Oslo"}), ToolCall("call_1", "f", {"city": "Rome"}))

# Each chunk's calls of tools, and what they are together.
CALLS: dict[str, tuple[list[list[dict[str, Any]]], tuple[ToolCall, ...]]] = {
    "by the standard": (
        [[call(0, "a", "f", "")], [call(0, arguments='{"city": ')], [call(1, "b", "f", "")],
         [call(1, arguments='{"city": "R')], [call(0, arguments='"Oslo"}')], [call(1, arguments='ome"}')]],
        (OSLO, ROME),
    ),
    "one index, other ids": ([[call(0, "a", "f", IN_OSLO)], [call(0, "b", "f", IN_ROME)]], (OSLO, ROME)),
    "one index, other ids, in pieces": (
        [[call(0, "a", "f", '{"city')], [call(0, arguments='": "Oslo"}')],
         [call(0, "b", "f", "")], [call(0, arguments='{"city": "Ro')], [call(0, arguments='me"}')]],
        (OSLO, ROME),
    ),
    "one index, ids in every piece": (
        [[call(0, "a", "f", '{"city"')], [call(0, "b", "f", '{"city"')],
         [call(0, "a", arguments=': "Oslo"}')], [call(0, "b", arguments=': "Rome"}')]],
        (OSLO, ROME),
    ),
    "no index": ([[call(None, "a", "f", IN_OSLO)], [call(None, "b", "f", IN_ROME)]], (OSLO, ROME)),
    "no index, in one chunk": ([[call(None, "a", "f", IN_OSLO), call(None, "b", "f", IN_ROME)]], (OSLO, ROME)),
    "no index, in pieces": (
        [[call(None, "a", "f", '{"city": ')], [call(None, arguments='"Oslo"}')],
         [call(None, "b", "f", '{"city": ')], [call(None, arguments='"Rome"}')]],
        (OSLO, ROME),
    ),
    "neither index nor id": ([[call(None, "", "f", IN_OSLO)], [call(None, "", "f", IN_ROME)]], NAMELESS),
    "one index, no id": ([[call(0, None, "f", IN_OSLO)], [call(0, None, "f", IN_ROME)]], NAMELESS),
    "one index, no id, other names": (
        [[call(0, None, "f", IN_OSLO)], [call(0, None, "g", "{}")]],
        (NAMELESS[0], ToolCall("call_1", "g", {})),
    ),
    "an index as a text or a float": (
        [[call("0", "a", "f", '{"city": '), call(1.0, "b", "f", '{"city": ')],
         [call("1", arguments='"Rome"}'), call(0.0, arguments='"Oslo"}')]],
        (OSLO, ROME),
    ),
    "the first last": ([[call(1, "b", "f", IN_ROME)], [call(0, "a", "f", IN_OSLO)]], (OSLO, ROME)),
    "one id for two": (
        [[call(0, "f", "f", IN_OSLO)], [call(1, "f", "f", IN_ROME)]],
        (ToolCall("f", "f", {"city": "Oslo"}), ToolCall("f", "f", {"city": "Rome"})),
    ),
    "name and id in every piece": (
        [[call(0, "a", "f", '{"city": ')], [call(0, "a", "f", '"Oslo"}')], [call(0, "a", "f", "")]],
        (OSLO,),
    ),
    "a name in every piece, no id": (
        [[call(0, None, "f", '{"city": ')], [call(0, None, "f", '"Oslo"}')], [call(0, None, "f", "")]],
        NAMELESS[:1],
    ),
    "an id of its own in every piece": (  # vLLM's DeltaToolCall made one up
        [[call(0, "a", "f", "")], [call(0, "b", None, '{"city": ')], [call(0, "c", None, '"Oslo"}')]],
        (OSLO,),
    ),
    "an id that comes late": ([[call(0, None, "f", '{"city": ')], [call(0, "a", "f", '"Oslo"}')]], (OSLO,)),
    "an object": ([[call(0, "a", "f", {"city": "Oslo"})], [call(1, "b", "f", {"city": "Rome"})]], (OSLO, ROME)),
    "arguments once more": (
        [[call(0, "a", "f", '{"city": ')], [call(0, arguments='"Oslo"}')], [call(0, "a", "f", '{"city":"Oslo"}')]],
        (OSLO,),
    ),
    "arguments once more, as an object": (
        [[call(0, None, "f", IN_OSLO)], [call(0, None, "f", {"city": "Oslo"})]],
        NAMELESS[:1],
    ),
    "braces in texts": (
        [[call(0, "a", "f", '{"city": "}\\')], [call(0, None, "f", '"{"')], [call(0, arguments="}")]],
        (ToolCall("a", "f", {"city": '}"{'}),),
    ),
    "halves of a character": (
        [[call(0, "a", "f", '{"city": "\ud83d')], [call(0, arguments='\ude00"}')]],
        (ToolCall("a", "f", {"city": "\U0001f600"}),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("chunks", CALLS)
def test_each_call_of_a_tool_is_one_however_servers_number_them(chunks: str) -> None:
    given, expected = CALLS[chunks]
    pieces = ChatPieces()
    for calls in given:
        pieces.feed(delta(tool_calls=calls))
    pieces.feed(delta("tool_calls"))
    assert pieces.answer(NOW).tool_calls == expected


def test_a_function_call_of_old_servers_is_a_call() -> None:
    pieces = ChatPieces()
    message = {"content": None, "function_call": {"name": "f", "arguments": IN_OSLO}}
    pieces.feed({"choices": [{"message": message, "finish_reason": "function_call"}]}, whole=True)
    answer = pieces.answer(NOW)
    assert (answer.finish_reason, answer.tool_calls) == ("tool_calls", NAMELESS[:1])


@pytest.mark.parametrize("arguments", ["", "{", '{"city": "Ro', '{"city": "Rome"', None])
def test_a_call_that_the_length_of_the_answer_has_cut_is_left_out(arguments: str | None) -> None:
    pieces = ChatPieces()
    for calls in ([call(0, "a", "f", IN_OSLO)], [call(1, "b", "f", arguments)]):
        pieces.feed(delta(tool_calls=calls))
    pieces.feed(delta("length"))
    answer = pieces.answer(NOW)
    assert (answer.finish_reason, answer.tool_calls) == ("length", (OSLO,))


def test_only_the_last_call_can_have_been_cut() -> None:
    pieces = ChatPieces()
    pieces.feed(delta("length", tool_calls=[call(0, "a", "f", "{"), call(1, "b", "f", IN_ROME)]))
    with pytest.raises(Unreadable, match="arguments of the tool `f` that are not a JSON object"):
        pieces.answer(NOW)


def test_calls_that_are_announced_and_never_come_are_no_answer() -> None:
    pieces = ChatPieces()
    pieces.feed(delta("tool_calls"))
    with pytest.raises(Unreadable, match="no call of a tool"):
        pieces.answer(NOW)
    pieces.feed(delta("tool_calls", content="I call nothing."))  # vLLM, where the text was no call after all
    assert pieces.answer(NOW).finish_reason == "stop"


TEXT, WHOLE_TEXT = {"content": "Hi"}, {"content": "Hi you"}

# Chunks that say `Hi you` in the end, each with what it shows of that, and the finish reason.
ENDS: dict[str, tuple[list[tuple[Any, str]], str | None]] = {
    "plain": ([(delta(content="Hi"), "Hi"), (delta(content=" you"), " you"), (delta("stop"), "")], "stop"),
    "an empty reason before": (
        [(delta("", content="Hi"), "Hi"), (delta("", content=" you"), " you"), (delta("stop"), "")],
        "stop",
    ),
    "an empty reason alone": ([(delta("", content="Hi you"), "Hi you"), (delta(""), "")], None),
    "the reason once more": (
        [(delta("length", content="Hi you"), "Hi you"), (delta("length"), ""), (delta("stop"), "")],
        "length",
    ),
    "null, roles, nothing": (
        [(delta(role="assistant"), ""), ({"choices": []}, ""), (delta(content=None), ""),
         ({"choices": [{"delta": None}]}, ""), (delta(content="Hi you", role="assistant"), "Hi you"),
         (delta("stop", role="assistant", content=None), "")],
        "stop",
    ),
    "other choices": (
        [({"choices": [{"index": 0, "delta": TEXT}, {"index": 1, "delta": {"content": "Ho"}}]}, "Hi"),
         ({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}, ""),
         ({"choices": [{"index": 0, "delta": {"content": " you"}, "finish_reason": "stop"}]}, " you")],
        "stop",
    ),
    "asides": (
        [({"type": "ping"}, ""), ({}, ""), (delta("stop", content="Hi you"), "Hi you"),
         ({"usage": {"prompt_tokens": 1}}, ""), ({"id": "x", "choices": None, "usage": {"prompt_tokens": 1}}, "")],
        "stop",
    ),
    "all so far beside each piece": (  # Perplexity
        [({"choices": [{"delta": TEXT, "message": TEXT}]}, "Hi"),
         ({"choices": [{"delta": {"content": " you"}, "message": WHOLE_TEXT}]}, " you"),
         ({"choices": [{"delta": {"content": ""}, "message": WHOLE_TEXT, "finish_reason": "stop"}]}, "")],
        "stop",
    ),
    "a message, not streamed": ([({"choices": [{"message": WHOLE_TEXT, "finish_reason": "stop"}]}, "Hi you")], "stop"),
    "a reason every time": ([(delta("stop", content="Hi"), "Hi"), (delta("stop", content=" you"), " you")], "stop"),
    "a reason too early": ([(delta("stop", content="Hi"), "Hi"), (delta(content=" you"), " you")], None),
}  # fmt: skip


@pytest.mark.parametrize("chunks", ENDS)
def test_an_answer_ends_with_its_finish_reason_however_servers_write_it(chunks: str) -> None:
    given, finished = ENDS[chunks]
    pieces = ChatPieces()
    shown = [
        [event.text for event in pieces.feed(piece) if isinstance(event, TextDelta)] for piece, _ in given
    ]
    assert shown == [[text] if text else [] for _, text in given]
    assert pieces.finished == finished
    if finished is not None:
        assert pieces.answer(NOW).text == "Hi you"


def test_a_reason_before_the_last_text_counts_once_the_server_says_that_it_has_ended() -> None:
    pieces = ChatPieces()
    for piece in (delta("length", content="Hi"), delta(content=" you")):
        pieces.feed(piece)
    pieces.end()
    assert (pieces.answer(NOW).text, pieces.finished, pieces.resumed) == ("Hi you", "length", True)


@pytest.mark.parametrize(
    "piece", [None, 1, "x", [], {"choices": {}}, {"choicfs": [{}]}, {"object": {}, "usage": {}}]
)
def test_what_may_be_a_part_of_the_answer_is_not_passed_over(piece: object) -> None:
    with pytest.raises(Unreadable, match="no `choices` in it"):
        ChatPieces().feed(piece)


COUNTED = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
NOUGHT = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    ("chunks", "usage"),
    [
        ([{"choices": [], "usage": COUNTED}], (9, 6)),
        ([{"choices": [], "usage": COUNTED}, {"choices": [], "usage": NOUGHT}], (9, 6)),
        ([{"choices": [], "usage": COUNTED}, {"choices": [], "usage": {}}], (9, 6)),
        ([{"choices": [], "usage": COUNTED}, {"choices": [], "usage": None}], (9, 6)),
        ([{"choices": [], "usage": NOUGHT}], (0, 0)),
        ([{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in range(7)], (9, 6)),
        ([{"choices": [], "usage": {"prompt_tokens": 9}}, {"choices": [], "usage": {"completion_tokens": 6}}], (9, 6)),
        ([{"choices": [{"delta": {}, "usage": COUNTED}]}], (9, 6)),
        ([{"choices": [], "x_groq": {"id": "x"}}, {"choices": [], "x_groq": {"usage": COUNTED}}], (9, 6)),
        ([{"choices": [], "timings": {"prompt_n": 4, "cache_n": 5, "predicted_n": 6, "predicted_ms": 1.5}}], (9, 6)),
        ([{"choices": [], "timings": {"prompt_n": 4, "predicted_n": n}} for n in range(7)], (None, 6)),
        ([{"choices": [], "timings": {"prompt_n": 1, "cache_n": 0, "predicted_n": 9}, "usage": COUNTED}], (9, 6)),
        ([{"timings": {"cache_n": 0, "prompt_n": 1, "predicted_n": 9}}, {"choices": [], "usage": COUNTED}], (9, 6)),
        ([{"choices": [], "usage": COUNTED}, {"choices": [], "timings": {"predicted_n": 9}}], (9, 6)),
    ],
)  # fmt: skip
def test_usage_is_found_wherever_servers_put_it(
    chunks: list[dict[str, Any]], usage: tuple[int | None, int | None]
) -> None:
    pieces = ChatPieces()
    for chunk in chunks:
        pieces.feed(chunk)
    assert pieces.usage is not None
    assert (pieces.usage.input_tokens, pieces.usage.output_tokens) == usage


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "tool_calls", "function", "usage", "finish_reason"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_piece_is_read_or_refused(piece: Any) -> None:
    pieces = ChatPieces()
    try:
        pieces.feed(piece)
        pieces.feed(delta(content="x"))
        answer = pieces.answer(NOW)
    except Unreadable:
        return
    assert answer.text.endswith("x")


# --- lists -------------------------------------------------------------------------------------------------


def test_vectors_come_in_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1.5, 0.0]}]
    assert read_vectors({"data": data}, 2) == ((1.5, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "no `data`"),
        ([], "0 vectors for 1 texts"),
        ([{"embedding": [1]}, {"embedding": [1]}], "2 vectors for 1 texts"),
        ([{"index": 5, "embedding": [1]}], "not one for each"),
        ([{"index": [], "embedding": [1]}], "not one for each"),
        (["x"], "not objects"),
        ([{"embedding": []}], "no list of numbers"),
        ([{"embedding": "AAAA"}], "no list of numbers"),
        ([{"embedding": [1, None]}], "no list of numbers"),
        ([{"embedding": [float("nan")]}], "no list of numbers"),
        ([{"embedding": [10**400]}], "no list of numbers"),
    ],
)
def test_vectors_that_are_none(data: Any, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        read_vectors({"data": data}, 1)


def test_vectors_have_one_length() -> None:
    with pytest.raises(Unreadable, match="different lengths"):
        read_vectors({"data": [{"embedding": [1]}, {"embedding": [1, 2]}]}, 2)


@pytest.mark.parametrize(
    "said",
    [
        {"results": [{"index": 1, "relevance_score": 0.25}, {"index": 0, "relevance_score": 0.75}]},
        [{"index": 0, "score": 0.75}, {"index": 1, "score": 0.25}],
        {"data": [{"index": 0, "relevance_score": 0.75}, {"index": 1, "relevance_score": 0.25}]},
    ],
)
def test_scores_of_both_shapes(said: Any) -> None:
    assert read_scores(said, 2) == (0.75, 0.25)


def test_logits_become_scores_in_the_same_order() -> None:
    low, half, high = read_scores([{"score": -900}, {"score": 0}, {"score": 4.2}], 3)
    assert 0 <= low < half == 0.5 < high < 1
    assert read_scores([{"score": 0.0}], 1, logits=True) == (0.5,)
    assert read_scores([{"score": 0.0}], 1) == (0.0,)


@pytest.mark.parametrize("score", [None, "0.5", True, float("nan")])
def test_scores_that_are_none(score: object) -> None:
    with pytest.raises(Unreadable, match="a score that is no number"):
        read_scores([{"score": score}], 1)


def test_models_with_what_servers_say_of_them() -> None:
    said = {
        "data": [
            {"id": "plain"},
            {"id": "held", "meta": {"size": 5}},
            {"id": "asleep", "status": {"value": "unloaded"}},
            {"name": "no id"},
            "no object",
        ]
    }
    assert read_tags(said) == ["plain", "held", "asleep"]
