"""What an OpenAI-compatible server can do wrong, one row each: the class, the words, the times, and no second call.

A scripted server does what no real one can be made to do on demand; real ones are in `test_openai_real.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_http import Cut, Hang, ScriptedHttp, Send, Step, Wait, events, reply

from routewright.backends import (
    NO_LIMITS,
    BackendError,
    ChatAnswer,
    ChatRequest,
    Limits,
    Message,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
)
from routewright.backends.openai import chat
from routewright.backends.openai.backend import OpenAIBackend

KEY = "sk-test-0123456789"
REQUEST = ChatRequest((Message("user", "Hello?"),))


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def error(message: str, code: object = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE = [
    chunk("Hi"),
    chunk(" you"),
    chunk(finish="stop"),
    {"choices": [], "usage": USAGE},
    "data: [DONE]\n\n",
]


BODY = {**chunk(), "choices": [{"message": {"content": "Hi you"}, "finish_reason": "stop"}]}


@dataclass(frozen=True)
class Fault:
    """One way to fail: what the server does, and what becomes of it."""

    name: str
    script: Sequence[Step]
    error_class: str
    words: str
    retry_after_ms: int | None = None
    limits: Limits = NO_LIMITS
    shown: str = ""  # text that a stream gave before
    only: tuple[str, ...] = ("chat", "stream")


def ticking(raw: bytes) -> list[Step]:
    """The same bytes every 30 ms, for more than a second."""
    return [step for _ in range(40) for step in (Wait(0.03), Send(raw))]


def called(script: Sequence[Step], kind: str) -> list[Step]:
    """The same answer under another content type."""
    [first, *rest] = script
    assert isinstance(first, Send)
    return [Send(re.sub(rb"Content-Type: [^\r]*", b"Content-Type: " + kind.encode(), first.raw)), *rest]


def said(status: int, message: str) -> str:
    return f"the server of `m` answered {status}: {message}"


STATUSES = [
    Fault(
        "wrong_key",
        reply(401, error("Incorrect API key provided", "invalid_api_key")),
        "unauthorized",
        said(401, "Incorrect API key provided"),
    ),
    Fault("forbidden", reply(403, {"detail": "no access"}), "unauthorized", said(403, "no access")),
    Fault("no_credit", reply(402, {"error": "add credit"}), "payment_required", said(402, "add credit")),
    Fault("no_model", reply(404, {"error": "no such model"}), "not_found", said(404, "no such model")),
    Fault(
        "no_model_as_400",
        reply(400, error("The model `m` does not exist")),
        "not_found",
        said(400, "The model `m` does not exist"),
    ),
    Fault("no_route", reply(405, "<html>no</html>"), "invalid_request", "the server of `m` answered 405"),
    Fault("request_timeout", reply(408, {}), "timeout.total", "the server of `m` answered 408"),
    Fault("gateway_timeout", reply(504, "<html>"), "timeout.total", "the server of `m` answered 504"),
    Fault(
        "rate_limited_seconds",
        reply(429, error("slow down", "rate_limit_exceeded"), {"Retry-After": "7"}),
        "rate_limited",
        said(429, "slow down"),
        7_000,
    ),
    Fault(
        "rate_limited_milliseconds",
        reply(429, error("slow down"), {"retry-after-ms": "250", "Retry-After": "1"}),
        "rate_limited",
        said(429, "slow down"),
        250,
    ),
    Fault(
        "rate_limited_date",
        reply(
            429,
            error("slow down"),
            {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"},
        ),
        "rate_limited",
        said(429, "slow down"),
        30_000,
    ),
    Fault(
        "quota_by_code",
        reply(429, error("You exceeded your current quota", "insufficient_quota")),
        "quota_exhausted",
        said(429, "You exceeded your current quota"),
    ),
    Fault(
        "quota_by_words",
        reply(429, {"error": "you have reached your weekly usage limit"}, {"Retry-After": "3600"}),
        "quota_exhausted",
        said(429, "you have reached your weekly usage limit"),
        3_600_000,
    ),
    Fault(
        "overflow_by_code",
        reply(400, error("too long", "context_length_exceeded")),
        "context_overflow",
        said(400, "too long"),
    ),
    Fault(
        "overflow_by_type",
        reply(400, error("request (9 tokens)", 400, "exceed_context_size_error")),
        "context_overflow",
        said(400, "request (9 tokens)"),
    ),
    Fault(
        "overflow_by_words",
        reply(
            400,
            {"object": "error", "message": "This model's maximum context length is 9 tokens", "code": 400},
        ),
        "context_overflow",
        said(400, "This model's maximum context length is 9 tokens"),
    ),
    Fault(
        "filtered",
        reply(400, error("The prompt was filtered", "content_filter")),
        "refused_content",
        said(400, "The prompt was filtered"),
    ),
    Fault(
        "filtered_inside",
        reply(
            400,
            {"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        ),
        "refused_content",
        said(400, "no"),
    ),
    Fault(
        "loading",
        reply(503, error("Loading model", 503, "unavailable_error")),
        "overloaded",
        "the server of `m` is still loading the model",
    ),
    Fault(
        "busy", reply(503, {"error": "busy"}, {"Retry-After": "2"}), "overloaded", said(503, "busy"), 2_000
    ),
    Fault("crash", reply(500, "Internal Server Error"), "overloaded", said(500, "Internal Server Error")),
    Fault("cloudflare", reply(529, {}), "overloaded", "the server of `m` answered 529"),
    Fault(
        "bad_request",
        reply(400, {"detail": [{"loc": ["body"], "msg": "field required"}]}),
        "invalid_request",
        said(400, "field required"),
    ),
    Fault(
        "redirect",
        reply(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}),
        "invalid_request",
        "the server of `m` answered 302: it sends callers to another address",
    ),
    Fault(
        "error_under_200",
        reply(200, error("it broke", 500, "server_error")),
        "overloaded",
        "the server of `m` broke off with an error: it broke",
    ),
    Fault(
        "key_echoed",
        reply(401, {"error": f"the key {KEY}\x1b[31m\nis unknown"}),
        "unauthorized",
        said(401, "the key [key] [31m is unknown"),
    ),
]

BODIES = [
    Fault("html", reply(200, "<html>hello</html>"), "bad_response", "hello", only=("chat",)),
    Fault("empty", reply(200, ""), "bad_response", "is not JSON: ``", only=("chat",)),
    Fault("no_choices", reply(200, {"id": 1}), "bad_response", "no `choices` in it"),
    Fault("list", reply(200, [1]), "bad_response", "no `choices` in it"),
    Fault("deep", reply(200, "[" * 100_000), "bad_response", "is not JSON", only=("chat",)),
    Fault(
        "no_reason",
        reply(200, {"choices": [{"message": {"content": "Hi"}}]}),
        "broken_stream",
        "the answer of `m` ended without a finish reason",
        shown="Hi",
    ),
    Fault(
        "odd_reason",
        reply(200, {"choices": [{"message": {"content": "Hi"}, "finish_reason": "abort"}]}),
        "bad_response",
        "the finish reason `abort`",
    ),
    Fault(
        "key_as_a_reason",
        reply(200, {"choices": [{"message": {}, "finish_reason": KEY + "!" * 1_000}]}),
        "bad_response",
        "the finish reason `[key]!!!",
    ),
    Fault(
        "error_in_a_choice",
        reply(
            200,
            {
                "choices": [
                    {
                        "message": {"content": ""},
                        "finish_reason": "error",
                        "error": {"code": 429, "message": "slow down"},
                    }
                ]
            },
        ),
        "rate_limited",
        "slow down",
    ),
    Fault(
        "refused",
        reply(200, {"choices": [{"message": {"refusal": "I will not"}, "finish_reason": "stop"}]}),
        "refused_content",
        "`m` refused to answer: I will not",
    ),
    Fault(
        "filtered_answer",
        reply(200, {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
        "refused_content",
        "`m` refused to answer",
    ),
    Fault(
        "tool_without_json",
        reply(
            200,
            {
                "choices": [
                    {
                        "message": {"tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]},
                        "finish_reason": "tool_calls",
                    }
                ]
            },
        ),
        "bad_response",
        "arguments of the tool `f` that are not a JSON object",
    ),
    Fault(
        "cut_body",
        [Send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"), Cut()],
        "broken_stream",
        "closed the connection before its answer was whole",
    ),
    Fault("cut_before", [Cut()], "broken_stream", "closed the connection before its answer was whole"),
    Fault("not_http", [Send(b"SSH-2.0-x\r\n\r\n"), Cut()], "bad_response", "did not answer in HTTP"),
]

STREAMS = [
    Fault(
        "no_end",
        events(chunk("Hi")),
        "broken_stream",
        "the answer of `m` ended without a finish reason",
        shown="Hi",
    ),
    Fault(
        "done_without_reason",
        events(chunk("Hi"), "data: [DONE]\n\n"),
        "broken_stream",
        "the answer of `m` ended without a finish reason",
        shown="Hi",
    ),
    Fault(
        "half_line",
        events(chunk("Hi"), 'data: {"choices": [{"del'),
        "broken_stream",
        "the answer of `m` ended in the middle of a line",
        shown="Hi",
    ),
    Fault(
        "not_json", events(chunk("Hi"), "data: {oops\n\n"), "bad_response", "not JSON: `{oops`", shown="Hi"
    ),
    Fault("no_event", events("<html>\n"), "bad_response", "the answer of `m` is not JSON: `<html>`"),
    Fault("silence", events(), "broken_stream", "the answer of `m` ended without a finish reason"),
    Fault(
        "error_event",
        events(chunk("Hi"), error("out of memory", 500)),
        "overloaded",
        "the server of `m` broke off with an error: out of memory",
        shown="Hi",
    ),
    Fault(
        "error_text",
        events(chunk("Hi"), {"error": "it broke"}),
        "broken_stream",
        "the server of `m` broke off with an error: it broke",
        shown="Hi",
    ),
    Fault(
        "error_field",
        events('error: {"message": "slot gone", "code": 503}\n\n'),
        "overloaded",
        "the server of `m` broke off with an error: slot gone",
    ),
    Fault(
        "error_event_by_name",
        events('event: error\ndata: {"message": "slot gone", "code": 503}\n\n'),
        "overloaded",
        "the server of `m` broke off with an error: slot gone",
    ),
    Fault(
        "error_line",
        events(chunk("Hi"), '{"error": {"message": "slot gone", "code": 503}}\n\n'),
        "overloaded",
        "the server of `m` broke off with an error: slot gone",
        shown="Hi",
    ),
    Fault(
        "words",
        events("Internal Server Error"),
        "bad_response",
        "the answer of `m` is not JSON: `Internal Server Error`",
    ),
    Fault(
        "damaged_field",
        events(chunk("Hi"), f"dbta: {json.dumps(chunk('Hi'))}\n\n", *WHOLE[2:]),
        "bad_response",
        "is not JSON: `dbta: {",
        shown="Hi",
    ),
    Fault(
        "reset",
        [*events(chunk("Hi")), Wait(0.1), Cut()],
        "broken_stream",
        "the answer of `m` ended",
        shown="Hi",
    ),
]

TIMES = [
    Fault(
        "never_answers",
        [Hang()],
        "timeout.first_token",
        "no first token from `m` within 60 ms",
        limits=Limits(connect_ms=2_000, first_token_ms=60),
    ),
    Fault(
        "headers_then_nothing",
        events(ended=False),
        "timeout.first_token",
        "no first token from `m` within 60 ms",
        limits=Limits(first_token_ms=60),
    ),
    Fault(
        "only_comments",
        [*events(": keepalive\n\n"), *ticking(b": keepalive\n\n")],
        "timeout.first_token",
        "no first token from `m` within 60 ms",
        limits=Limits(first_token_ms=60),
    ),
    Fault(
        "cold_start",
        [Hang()],
        "timeout.load",
        "`m` was not loaded within 120 ms",
        limits=Limits(load_ms=60, first_token_ms=60),
    ),
    Fault(
        "stalls",
        events(chunk("Hi"), ended=False),
        "timeout.idle",
        "no next token from `m` within 60 ms",
        limits=Limits(idle_ms=60),
        shown="Hi",
    ),
    Fault(
        "comments_while_stalled",
        [*events(chunk("Hi")), *ticking(b": keepalive\n\n")],
        "timeout.idle",
        "no next token from `m` within 60 ms",
        limits=Limits(idle_ms=60),
        shown="Hi",
    ),
    Fault(
        "too_long",
        [
            *events(chunk("a")),
            *ticking(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'),
        ],
        "timeout.total",
        "`m` did not answer within 100 ms",
        limits=Limits(total_ms=100),
        shown="a",
    ),
    Fault(
        "hangs",
        [Hang()],
        "timeout.total",
        "`m` did not answer within 80 ms",
        limits=Limits(total_ms=80),
    ),
]

CASES = [
    *((fault, operation) for fault in STATUSES + BODIES + TIMES for operation in fault.only),
    *((fault, "stream") for fault in STREAMS),
]


async def outcome(
    url: str, operation: str, limits: Limits
) -> tuple[list[StreamEvent], ChatAnswer | BackendError]:
    """What was shown, and the answer or the error."""
    backend = OpenAIBackend(url, api_key=KEY)
    shown: list[StreamEvent] = []
    try:
        if operation == "chat":
            return shown, await backend.chat("m", REQUEST, limits=limits)
        async for event in backend.stream("m", REQUEST, limits=limits):
            shown.append(event)
        assert isinstance(shown[-1], StreamEnd)
        return shown, shown[-1].answer
    except BackendError as failure:
        return shown, failure
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("fault", "operation"), CASES, ids=[f"{fault.name}-{operation}" for fault, operation in CASES]
)
def test_every_failure_has_its_class_and_is_asked_for_once(fault: Fault, operation: str) -> None:
    async def run() -> None:
        async with ScriptedHttp(fault.script) as server:
            shown, failure = await outcome(server.url, operation, fault.limits)
            calls = len(server.requests)
        assert isinstance(failure, BackendError), failure
        assert failure.error_class == fault.error_class
        assert fault.words in str(failure)
        assert KEY not in f"{failure} {failure!r} {failure.help}"
        assert failure.retry_after_ms == fault.retry_after_ms
        text = "".join(event.text for event in shown if isinstance(event, TextDelta))
        if operation == "stream":
            assert text == fault.shown or (fault.name == "too_long" and text.startswith(fault.shown))
        assert not any(isinstance(event, StreamEnd) for event in shown)
        assert failure.timings is not None
        assert failure.timings.first_token_us is not None or not text
        assert 0 < failure.timings.total_us < 5_000_000
        assert calls == 1

    asyncio.run(run())


def test_usage_that_a_failed_stream_reported_is_kept() -> None:
    async def run() -> None:
        async with ScriptedHttp(events(chunk("Hi", usage=USAGE), error("gone", 500))) as server:
            _, failure = await outcome(server.url, "stream", NO_LIMITS)
        assert isinstance(failure, BackendError)
        assert failure.usage is not None
        assert (failure.usage.input_tokens, failure.usage.output_tokens) == (3, 2)

    asyncio.run(run())


@pytest.mark.parametrize(
    "script",
    [
        events(*WHOLE),
        events(": one\n\n", *WHOLE[:2], ": two\n\n", "event: x\nid: 1\nretry: 5\n", *WHOLE[2:]),
        events(*WHOLE[:-1]),  # no [DONE]
        events(*WHOLE[:-1], 'data: {"cut'),  # broken after the end
        [*events(*WHOLE[:-1]), Cut()],
        [Send(step.raw.replace(b"\n\n", b"\r\n\r\n")) for step in events(*WHOLE) if isinstance(step, Send)],
        reply(200, BODY),
        called(events(*WHOLE), "application/json"),
        called(events(*WHOLE), ""),
        called(reply(200, BODY), "text/event-stream"),
        called(reply(200, json.dumps(BODY, indent=2)), "text/plain"),
    ],
    ids=[
        *(
            "plain",
            "comments",
            "no_done",
            "broken_after_the_end",
            "reset_after_the_end",
            "crlf",
            "unstreamed",
        ),
        *("called_json", "called_nothing", "body_called_events", "body_in_lines"),
    ],
)
@pytest.mark.parametrize("operation", ["stream", "chat"])
def test_an_answer_with_a_finish_reason_is_whole(script: Sequence[Step], operation: str) -> None:
    """Whether it was to be streamed or not, what comes is seen by its beginning."""

    async def run() -> None:
        async with ScriptedHttp(script) as server:
            shown, answer = await outcome(server.url, operation, NO_LIMITS)
        assert isinstance(answer, ChatAnswer), answer
        assert (answer.text, answer.finish_reason, answer.model_said) == ("Hi you", "stop", "m-1")
        text = "".join(event.text for event in shown if isinstance(event, TextDelta))
        assert text == ("Hi you" if operation == "stream" else "")

    asyncio.run(run())


@pytest.mark.parametrize("limits", [NO_LIMITS, Limits(first_token_ms=60_000, idle_ms=60_000)])
def test_a_stream_that_does_not_end_after_its_finish_reason_is_left_after_a_grace(
    limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "GRACE_MS", 150)

    async def run() -> None:
        for last, tokens in (({"choices": [], "usage": USAGE}, 2), (": nothing\n\n", None)):
            script = [*events(chunk("Hi"), chunk(finish="stop")), Wait(0.05), *events(last)[1:], Hang()]
            async with ScriptedHttp(script) as server:
                _, answer = await outcome(server.url, "stream", limits)
                await asyncio.wait_for(server.hung_up.wait(), 2)
            assert isinstance(answer, ChatAnswer), answer
            assert (answer.text, answer.usage.output_tokens) == ("Hi", tokens)
            assert 100_000 < answer.timings.total_us < 2_000_000

    asyncio.run(run())


def test_a_server_whose_finish_reasons_come_early_has_no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "GRACE_MS", 150)
    pieces = [step for text in "abc" for step in (*events(chunk(text, finish="stop"))[1:], Wait(0.1))]

    async def run() -> None:
        late = [*events(), *pieces, Wait(0.2), *events(chunk("d", finish="stop"), "data: [DONE]\n\n")[1:]]
        async with ScriptedHttp(late, [*events(), *pieces, Hang()]) as server:
            _, answer = await outcome(server.url, "stream", NO_LIMITS)
            assert isinstance(answer, ChatAnswer) and answer.text == "abcd"
            _, failure = await outcome(server.url, "stream", Limits(idle_ms=200))
            assert isinstance(failure, BackendError) and failure.error_class == "timeout.idle"

    asyncio.run(run())


def test_a_reset_after_the_finish_reason_costs_the_usage_at_most() -> None:
    async def run() -> None:
        script = [*events(chunk("Hi"), chunk(finish="length")), Wait(0.05), Cut()]
        async with ScriptedHttp(script) as server:
            _, answer = await outcome(server.url, "stream", NO_LIMITS)
        assert isinstance(answer, ChatAnswer)
        assert (answer.text, answer.finish_reason, answer.usage.output_tokens) == ("Hi", "length", None)

    asyncio.run(run())


def test_a_warm_model_has_no_time_to_load() -> None:
    async def run() -> None:
        limits = Limits(load_ms=60_000, first_token_ms=60)
        async with ScriptedHttp([Wait(0.15), *events(*WHOLE)], [Hang()]) as server:
            backend = OpenAIBackend(server.url)
            assert (await backend.chat("m", REQUEST, limits=limits)).text == "Hi you"
            with pytest.raises(BackendError) as raised:
                await backend.chat("m", REQUEST, limits=limits)
            await backend.close()
        assert raised.value.error_class == "timeout.first_token"

    asyncio.run(run())


@given(
    st.lists(
        st.sampled_from(
            [b"data: ", b"data:[DONE]", b"\n", b"\r\n", b":", b"{", b'{"choices":', b"[", b"]", b"}", b"null"]
        )
        | st.builds(
            lambda piece: b"data: " + json.dumps(piece).encode() + b"\n\n", st.sampled_from(WHOLE[:-1])
        )
        | st.binary(max_size=8),
        max_size=12,
    )
)
def test_any_bytes_are_an_answer_or_an_error_of_ours(pieces: list[bytes]) -> None:
    head = b"HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    async def run() -> None:
        async with ScriptedHttp([Send(head), *map(Send, pieces)]) as server:
            _, answer = await outcome(server.url, "stream", Limits(total_ms=10_000))
        if isinstance(answer, ChatAnswer):
            assert answer.finish_reason == "stop"
        else:
            assert answer.error_class in ("broken_stream", "bad_response")

    asyncio.run(run())


@pytest.mark.parametrize("operation", ["chat", "stream"])
def test_cancelling_closes_the_connection(operation: str) -> None:
    async def run() -> None:
        async with ScriptedHttp([Hang()]) as server:
            task = asyncio.create_task(outcome(server.url, operation, NO_LIMITS))
            while not server.requests:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(server.hung_up.wait(), 2)

    asyncio.run(run())


def test_leaving_a_stream_early_closes_the_connection() -> None:
    async def run() -> None:
        async with ScriptedHttp(events(chunk("Hi"), ended=False)) as server:
            backend = OpenAIBackend(server.url)
            stream = backend.stream("m", REQUEST)
            assert await anext(stream) == TextDelta("Hi")
            await stream.aclose()
            await asyncio.wait_for(server.hung_up.wait(), 2)
            await backend.close()

    asyncio.run(run())


def test_a_reader_may_take_its_time() -> None:
    async def run() -> None:
        async with ScriptedHttp(events(*WHOLE)) as server:
            backend = OpenAIBackend(server.url)
            limits = Limits(first_token_ms=500, idle_ms=40)
            async for _ in backend.stream("m", REQUEST, limits=limits):
                await asyncio.sleep(0.06)
            await backend.close()

    asyncio.run(run())


def test_nothing_listens() -> None:
    async def run() -> None:
        _, failure = await outcome("http://127.0.0.1:1", "chat", NO_LIMITS)
        assert isinstance(failure, BackendError)
        assert failure.error_class == "timeout.connect"
        assert str(failure) == "no connection to `127.0.0.1:1`: connection refused"

    asyncio.run(run())


def test_a_name_that_no_server_has() -> None:
    async def run() -> None:
        _, failure = await outcome("http://nosuch.invalid/v1", "chat", NO_LIMITS)
        assert isinstance(failure, BackendError)
        assert (failure.error_class, str(failure)) == (
            "timeout.connect",
            "the name of the server `nosuch.invalid` is not known",
        )

    asyncio.run(run())


def test_a_server_without_tls_where_tls_was_asked_for() -> None:
    async def run() -> None:
        async with ScriptedHttp([Cut()]) as server:
            _, failure = await outcome(
                server.url.replace("http:", "https:"), "chat", Limits(connect_ms=2_000)
            )
        assert isinstance(failure, BackendError)
        assert failure.error_class in ("bad_response", "timeout.connect")

    asyncio.run(run())


def test_a_ranking_may_repeat_its_documents_however_it_writes_them() -> None:
    long = "a" * 800_000
    escaped = "\\u0061" * len(long)  # more than any other answer may have
    body = f'{{"results": [{{"index": 0, "relevance_score": 0.5, "document": {{"text": "{escaped}"}}}}]}}'

    async def run() -> tuple[float, ...]:
        async with ScriptedHttp(reply(200, body)) as server:
            backend = OpenAIBackend(server.url)
            try:
                return (await backend.rerank("m", RerankRequest("q", (long,)))).scores
            finally:
                await backend.close()

    assert asyncio.run(run()) == (0.5,)
