"""The pure parts of the `ollama` backend: names, addresses, requests, lines, counts."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from routewright.backends import ChatRequest, EmbedRequest, InMemory, Message, Timings, ToolCall, Usage
from routewright.backends.ollama import names as names
from routewright.backends.ollama.answer import ChatPieces, count_usage, load_us, read_vectors, was_truncated
from routewright.backends.ollama.backend import OllamaBackend
from routewright.backends.ollama.names import is_older
from routewright.backends.ollama.request import chat_body, embed_body, load_body
from routewright.backends.ollama.running import running_models
from routewright.backends.wire.untrusted import Gate
from routewright.backends.wire.values import Unreadable

HELLO = ChatRequest((Message("user", "hello"),))


def test_the_examples_in_the_names_hold() -> None:
    assert doctest.testmod(names).failed == 0


@pytest.mark.parametrize("host", ["ftp://box", "http://user:secret@box", "http://box?x=1", "http://box:port"])
def test_what_is_no_address_is_refused_without_repeating_it(host: str) -> None:
    with pytest.raises(ValueError) as caught:
        OllamaBackend(host)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "wanted", "older"),
    [
        ("0.12", "0.12.0", False),
        ("1.0.0", "0.33.9", False),
        ("v0.9", "0.10", True),
        ("nightly", "0.1.0", None),
    ],
)
def test_versions_are_compared_as_numbers(version: str, wanted: str, older: bool | None) -> None:
    assert is_older(version, wanted) is older


def test_a_bare_request_says_little() -> None:
    assert chat_body("m", HELLO) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "truncate": False,
    }


@pytest.mark.parametrize(("given", "sent"), [("5m", "5m"), ("-1", -1), ("0", 0), ("300", 300)])
def test_keep_alive_is_a_duration_or_a_number(given: str, sent: str | int) -> None:
    assert chat_body("m", ChatRequest(HELLO.messages, keep_alive=given))["keep_alive"] == sent
    assert embed_body("m", EmbedRequest(("x",), {"keep_alive": given}))["keep_alive"] == sent


def test_options_of_an_embedding_are_parted() -> None:
    body = embed_body("m", EmbedRequest(("x",), {"num_ctx": 512, "dimensions": 64, "truncate": True}))
    assert body == {
        "model": "m",
        "input": ["x"],
        "truncate": True,
        "dimensions": 64,
        "options": {"num_ctx": 512},
    }


@pytest.mark.parametrize("keep_alive", ["0", "0s", "0m", "0h0m", "0.0s"])
def test_loading_a_model_never_unloads_it(keep_alive: str) -> None:
    request = ChatRequest(HELLO.messages, keep_alive=keep_alive, context_tokens=512)
    assert load_body(chat_body("m", request)) == (
        "/api/generate",
        {"model": "m", "stream": False, "options": {"num_ctx": 512}},
    )
    assert load_body(embed_body("m", EmbedRequest(("x",))))[0] == "/api/embed"


def fed(*lines: Any) -> ChatPieces:
    pieces = ChatPieces()
    for line in lines:
        pieces.feed(line)
    return pieces


DONE: dict[str, Any] = {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop"}


def test_a_call_of_a_tool_without_an_id_gets_one() -> None:
    call = {"function": {"name": "now", "arguments": {}}}
    pieces = fed({"message": {"content": "", "tool_calls": [call, call]}}, DONE)
    answer = pieces.answer(Timings(0, 1, 2), truncated=False)
    assert answer.tool_calls == (ToolCall("call_0", "now", {}), ToolCall("call_1", "now", {}))
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "line",
    [
        None,
        [],
        "text",
        {},
        {"message": None},
        {"message": {"content": 7}},
        {"message": {"thinking": []}},
        {"message": {"content": "", "tool_calls": "weather"}},
        {"message": {"content": "", "tool_calls": [{}]}},
        {"message": {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}},
        {"message": {"content": ""}, "done": 1},
        {**DONE, "done_reason": "load"},
        {**DONE, "done_reason": "mystery"},
        {**DONE, "done_reason": ["stop"]},
    ],
)
def test_a_line_of_another_shape_cannot_be_read(line: object) -> None:
    with pytest.raises(Unreadable):
        fed(line)


@pytest.mark.parametrize(
    ("counts", "said_something", "usage"),
    [
        ({"prompt_eval_count": 7, "eval_count": 3}, True, (7, 3)),
        ({"prompt_eval_count": 7}, False, (7, 0)),
        ({"prompt_eval_count": 7}, True, (7, None)),
        ({}, True, (None, None)),
        ({}, False, (None, None)),
        ({"prompt_eval_count": True, "eval_count": -1}, True, (None, None)),
    ],
)
def test_a_count_that_is_left_out_is_zero_only_where_it_can_be(
    counts: dict[str, object], said_something: bool, usage: tuple[int | None, int | None]
) -> None:
    assert count_usage(counts, said_something=said_something) == Usage(
        usage[0], None, usage[1], None, "reported"
    )


def test_durations_are_nanoseconds_and_absent_means_none() -> None:
    assert load_us({"load_duration": 1_234_567, "total_duration": 9}) == 1_234
    assert load_us({"total_duration": 9}) == 0
    assert load_us({}) is None


PROSE = "The quick brown fox jumps over the lazy dog and runs into the woods. "


@pytest.mark.parametrize(
    ("text", "count", "window", "truncated"),
    [
        (PROSE * 100, 1_500, None, False),
        (PROSE * 100, 400, None, True),
        (PROSE * 100, 1_500, 4_096, False),
        (PROSE * 100, 1_024, 1_024, True),
        (PROSE * 100, 1_000, 1_024, True),
        (" " * 10_000 + PROSE, 60, 4_096, False),
        ("=" * 10_000, 160, 4_096, False),
        ("hello", 30, 4_096, False),
        ("hello", None, 4_096, False),
    ],
)
def test_a_prompt_was_cut_when_the_count_cannot_be_all_of_it(
    text: str, count: int | None, window: int | None, truncated: bool
) -> None:
    request = ChatRequest((Message("user", text),), context_tokens=window)
    usage = Usage(count, None, 1, None, "reported")
    assert was_truncated(request, chat_body("m", request), usage) is truncated


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"embeddings": [[0.1]]},
        {"embeddings": [[0.1], []]},
        {"embeddings": [[0.1], "ab"]},
        {"embeddings": [[0.1], [0.1, 0.2]]},
        {"embeddings": [[0.1], [float("nan")]]},
        {"embeddings": [[0.1], [None]]},
    ],
)
def test_vectors_of_another_shape_cannot_be_read(body: object) -> None:
    with pytest.raises(Unreadable):
        read_vectors(body, 2)


# --- what is in memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "loaded"),
    [
        ([], ()),
        (
            [
                {"name": "late:1b", "size": 7, "expires_at": "2026-11-02T10:00:00Z"},
                {"model": "soon:1b", "size": 8, "expires_at": "2026-11-02T09:00:00Z"},
            ],
            (InMemory("soon:1b", 8), InMemory("late:1b", 7)),
        ),
        (
            [{"name": "x", "size": size} for size in (0, -1, 2**60, 1.5, "7", None, True)],
            (InMemory("x", None),) * 7,
        ),
        ([{"name": "bad\nname\x1b[31m", "size": 7}], (InMemory("bad\ufffdname\ufffd[31m", 7),)),
        ([7, None, {"name": 3}, {}, {"name": ""}], ()),
        ([{"name": "a"}, {"name": "b", "expires_at": {"at": 1}}], (InMemory("a", None), InMemory("b", None))),
        ({"a": 1}, None),
        (None, None),
        ([{"name": "x"}] * 257, None),
    ],
)
def test_what_a_server_says_it_has_in_memory(models: object, loaded: tuple[InMemory, ...] | None) -> None:
    assert running_models({"models": models}, Gate()) == loaded
