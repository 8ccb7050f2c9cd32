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
from routewright.backends.openai.answer import ChatPieces, read_usage
from routewright.backends.openai.lists import read_scores, read_tags, read_vectors
from routewright.backends.openai.request import chat_body, embed_body, rerank_body
from routewright.backends.wire.values import Unreadable

NOW = Timings(None, None, 1)
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"
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
            Message("user", "What is this?", images=(PNG, JPEG)),
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
        ({"prompt_tokens": -1, "completion_tokens": True}, (None, None, None, None)),
        ({}, (None, None, None, None)),
        (None, (None, None, None, None)),
        ([], (None, None, None, None)),
    ],
)
def test_each_token_is_counted_once(usage: Any, expected: tuple[int | None, ...]) -> None:
    prompt, cached, completion, reasoning = expected
    assert read_usage(usage) == Usage(prompt, cached, completion, reasoning, "reported")


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
