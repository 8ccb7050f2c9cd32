"""The `ollama` backend against a real model behind Ollama's API: answers, times, windows, what goes on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess, failing, using

from routewright.backends import (
    Backend,
    BackendMemory,
    ChatRequest,
    EmbedRequest,
    Limits,
    Message,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
)
from routewright.backends.ollama.backend import OllamaBackend

ollama_server = ollama_process.ollama_server

MODEL = "smollm2:135m"
EMBEDDER = "smollm2-embed:135m"
ASKED = (Message("user", "What is the capital of France? Answer in one sentence."),)
BRIEF = ChatRequest(ASKED, max_output_tokens=12, temperature=0)
PICTURE = bytes.fromhex("89504e470d0a1a0a")


@pytest.fixture(autouse=True)
def server(ollama_server: OllamaProcess) -> OllamaProcess:
    ollama_server.reset()
    return ollama_server


async def events_of(
    backend: OllamaBackend, request: ChatRequest = BRIEF, *, model: str = MODEL
) -> list[StreamEvent]:
    return [event async for event in backend.stream(model, request)]


def test_it_is_a_backend(server: OllamaProcess) -> None:
    backend: Backend = OllamaBackend(server.url)
    assert repr(backend) == f"OllamaBackend('{server.url}')"


async def _chat_twice(backend: OllamaBackend) -> None:
    first = await backend.chat(MODEL, BRIEF)
    second = await backend.chat(MODEL, BRIEF)
    assert first.text and first.text == second.text
    assert (first.finish_reason, first.model_said, first.truncated) == ("stop", MODEL, False)
    assert first.usage.source == "reported"
    assert first.usage.input_tokens and 20 < first.usage.input_tokens < 60
    assert first.usage.output_tokens and 0 < first.usage.output_tokens <= 12
    assert (first.usage.cached_input_tokens, first.usage.reasoning_tokens) == (None, None)
    times = second.timings
    assert times.load_us == 0, "it was loaded by the first call"
    assert times.first_token_us and 0 < times.first_token_us <= times.total_us


def test_a_chat_gives_text_counts_and_times(server: OllamaProcess) -> None:
    asyncio.run(using(OllamaBackend(server.url), _chat_twice))


def test_a_stream_gives_the_text_piece_by_piece_and_then_the_answer(server: OllamaProcess) -> None:
    *pieces, end = asyncio.run(using(OllamaBackend(server.url), events_of))
    assert isinstance(end, StreamEnd)
    assert len(pieces) > 2
    assert all(isinstance(piece, TextDelta) and piece.text for piece in pieces)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == end.answer.text


def test_thinking_is_kept_apart_from_the_answer(server: OllamaProcess) -> None:
    request = ChatRequest(ASKED, max_output_tokens=10, temperature=0, think=True)
    *pieces, end = asyncio.run(
        using(OllamaBackend(server.url), lambda b: events_of(b, request, model="smollm2-think:135m"))
    )
    assert isinstance(end, StreamEnd)
    thought = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingDelta))
    assert thought and thought == end.answer.thinking
    assert end.answer.text == "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
    assert server.seen("/api/chat")[0]["json"]["think"] is True


def test_everything_a_request_says_goes_over_the_wire(server: OllamaProcess) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    call = ToolCall("call_7", "weather", {"city": "Paris"})
    request = ChatRequest(
        (
            Message("user", "look", images=(PICTURE,)),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "sunny", tool_call_id="call_7"),
        ),
        max_output_tokens=5,
        temperature=0.5,
        seed=3,
        stop=("END",),
        tools=(tool,),
        json_schema={"type": "object"},
        context_tokens=2048,
        think="high",
        keep_alive="15m",
        options={"min_p": 0.1, "truncate": True},
    )
    backend = OllamaBackend(server.url)
    asyncio.run(failing(backend, lambda b: b.chat("fault-no-tools", request)))
    (sent,) = server.seen("/api/chat")
    assert sent["json"] == {
        "model": "fault-no-tools:latest:local",
        "messages": [
            {"role": "user", "content": "look", "images": ["iVBORw0KGgo="]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "call_7", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
                ],
            },
            {"role": "tool", "content": "sunny", "tool_call_id": "call_7", "tool_name": "weather"},
        ],
        "stream": True,
        "truncate": True,
        "tools": [tool],
        "format": {"type": "object"},
        "think": "high",
        "keep_alive": "15m",
        "options": {
            "num_ctx": 2048,
            "num_predict": 5,
            "temperature": 0.5,
            "seed": 3,
            "stop": ["END"],
            "min_p": 0.1,
        },
    }


def test_a_schema_shapes_the_answer(server: OllamaProcess) -> None:
    schema = {"type": "object", "properties": {"capital": {"enum": ["Paris"]}}, "required": ["capital"]}
    request = ChatRequest(ASKED, max_output_tokens=30, temperature=0, json_schema=schema)
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat(MODEL, request)))
    assert answer.text.replace(" ", "").replace("\n", "") == '{"capital":"Paris"}'


def test_a_call_of_a_tool_is_read(server: OllamaProcess) -> None:
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat("fault-tool-call", BRIEF)))
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (ToolCall("call_1", "weather", {"city": "Paris"}),)


def test_the_window_is_the_one_asked_for(server: OllamaProcess) -> None:
    request = ChatRequest(ASKED, max_output_tokens=2, context_tokens=512)
    asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat(MODEL, request)))
    assert server.seen("/api/chat")[0]["json"]["options"]["num_ctx"] == 512


LONG = (Message("user", "some words of long ago " * 500), *ASKED)


def test_a_prompt_that_does_not_fit_is_refused_and_not_cut(server: OllamaProcess) -> None:
    request = ChatRequest(LONG, max_output_tokens=2, context_tokens=512)
    error = asyncio.run(failing(OllamaBackend(server.url), lambda b: b.chat(MODEL, request)))
    assert error.error_class == "context_overflow"
    assert "exceeds the available context size (512 tokens)" in str(error)


@pytest.mark.parametrize(
    ("model", "options"),
    [("fault-ignores-truncate", {}), (MODEL, {"truncate": True})],
    ids=["old", "allowed"],
)
def test_a_prompt_that_was_cut_in_silence_is_noticed(
    server: OllamaProcess, model: str, options: dict[str, object]
) -> None:
    request = ChatRequest(LONG, max_output_tokens=2, context_tokens=512, options=options)
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat(model, request)))
    assert answer.truncated
    assert answer.usage.input_tokens and answer.usage.input_tokens <= 512


def test_embeddings_are_one_vector_for_each_text(server: OllamaProcess) -> None:
    request = EmbedRequest(("Paris", "London", "Paris"))
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.embed("smollm2-embed:135m", request)))
    assert [len(vector) for vector in answer.vectors] == [576, 576, 576]
    assert answer.vectors[0] != answer.vectors[1]
    assert answer.vectors[0] == pytest.approx(answer.vectors[2], abs=1e-4)
    assert answer.usage.input_tokens
    assert answer.usage.output_tokens == 0
    assert answer.model_said == "smollm2-embed:135m"


def test_no_texts_need_no_call(server: OllamaProcess) -> None:
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.embed("nowhere", EmbedRequest(()))))
    assert answer.vectors == ()
    assert server.seen() == []


def test_a_chat_model_does_not_embed_and_nothing_reranks(server: OllamaProcess) -> None:
    error = asyncio.run(failing(OllamaBackend(server.url), lambda b: b.embed(MODEL, EmbedRequest(("x",)))))
    assert (error.error_class, "does not support embeddings" in str(error)) == ("invalid_request", True)
    error = asyncio.run(
        failing(OllamaBackend(server.url), lambda b: b.rerank(MODEL, RerankRequest("q", ("d",))))
    )
    assert (error.error_class, str(error)) == (
        "not_found",
        "Ollama cannot rerank, so `smollm2:135m` was not called",
    )


def test_a_cold_start_is_not_slowness(server: OllamaProcess) -> None:
    """The first token has 4 s, loading takes longer than that, and counts against its own limit."""
    server.turn(load_delay_s=4.1)
    request = ChatRequest(ASKED, max_output_tokens=2, context_tokens=768, temperature=0)
    limits = Limits(load_ms=60_000, first_token_ms=4_000)
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat(MODEL, request, limits=limits)))
    assert answer.timings.load_us and answer.timings.load_us > 4_100_000
    assert answer.timings.first_token_us and answer.timings.first_token_us > answer.timings.load_us
    assert [seen["path"] for seen in server.seen() if seen["method"] == "POST"] == [
        "/api/show",
        "/api/generate",
        "/api/chat",
    ]


def test_a_cold_start_that_takes_too_long_is_a_timeout_of_loading(server: OllamaProcess) -> None:
    server.turn(load_delay_s=30)
    request = ChatRequest(ASKED, max_output_tokens=2, context_tokens=640)
    limits = Limits(load_ms=300, first_token_ms=5_000)
    error = asyncio.run(failing(OllamaBackend(server.url), lambda b: b.chat(MODEL, request, limits=limits)))
    assert error.error_class == "timeout.load"
    assert error.timings and 300_000 <= error.timings.total_us < 3_000_000
    assert server.report()["running"].count(MODEL) <= 1, "the server gave the load up"


def test_calls_that_wait_for_the_same_load_all_wait_for_it(server: OllamaProcess) -> None:
    server.turn(load_delay_s=1.0)
    request = ChatRequest(ASKED, max_output_tokens=2, context_tokens=896)
    limits = Limits(load_ms=60_000, first_token_ms=5_000)

    async def use(backend: OllamaBackend) -> list[int | None]:
        first = asyncio.create_task(backend.chat(MODEL, request, limits=limits))
        await asyncio.sleep(0.5)
        second = await backend.chat(MODEL, request, limits=limits)
        return [(await first).timings.load_us, second.timings.load_us]

    loads = asyncio.run(using(OllamaBackend(server.url), use))
    assert all(load_us and load_us > 400_000 for load_us in loads)


def test_the_load_time_that_the_server_reports_is_taken_where_nothing_is_measured(
    server: OllamaProcess,
) -> None:
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat("fault-cold", BRIEF)))
    assert answer.timings.load_us and 1_500_000 <= answer.timings.load_us <= answer.timings.total_us


def test_keep_alive_of_nothing_unloads_after_the_answer(server: OllamaProcess) -> None:
    request = ChatRequest(ASKED, max_output_tokens=2, keep_alive="0")
    limits = Limits(load_ms=60_000)
    answer = asyncio.run(
        using(OllamaBackend(server.url), lambda b: b.chat("smollm2:latest", request, limits=limits))
    )
    assert answer.text
    assert "smollm2:latest" not in server.report()["running"]
    assert server.seen("/api/chat")[0]["json"]["keep_alive"] == 0


def test_memory_is_what_the_server_says_it_has_loaded(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> tuple[BackendMemory | None, Timings, BackendMemory | None]:
        await backend.chat("smollm2:latest", ChatRequest(ASKED, max_output_tokens=1, keep_alive="0"))
        before = await backend.memory()
        timings = await backend.load("smollm2", "chat")
        return before, timings, await backend.memory()

    opened = OllamaBackend(server.url, memory_gb=1.5, keep_alives={"smollm2": "10m"})
    before, timings, after = asyncio.run(using(opened, use))
    assert before is not None and "smollm2:latest" not in [one.tag for one in before.loaded]
    assert after is not None and after.limit_bytes == 1_500_000_000
    sizes = {one.tag: one.size_bytes for one in after.loaded}
    assert (sizes["smollm2:latest"] or 0) > 50_000_000 and timings.load_us is not None
    loading = [request["json"] for request in server.seen("/api/generate")]
    assert loading == [{"model": "smollm2:latest:local", "stream": False, "keep_alive": "10m"}]


def test_an_embedding_model_is_kept_as_the_catalog_says_too(server: OllamaProcess) -> None:
    backend = OllamaBackend(server.url, keep_alives={EMBEDDER: "15m"})
    asyncio.run(using(backend, lambda b: b.embed(EMBEDDER, EmbedRequest(("x",)))))
    backend = OllamaBackend(server.url, keep_alives={EMBEDDER: "15m"})
    asyncio.run(using(backend, lambda b: b.embed(EMBEDDER, EmbedRequest(("x",), {"keep_alive": "1m"}))))
    assert [request["json"]["keep_alive"] for request in server.seen("/api/embed")] == ["15m", "1m"]


def test_nobody_asks_what_a_server_elsewhere_has_in_memory() -> None:
    assert (
        asyncio.run(using(OllamaBackend("http://127.0.0.1:1", location="cloud"), lambda b: b.memory()))
        is None
    )


def test_cancelling_stops_the_work_at_the_server(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> None:
        request = ChatRequest((Message("user", "Count from 1 to 500."),), max_output_tokens=4_000)
        await backend.chat(MODEL, BRIEF)
        work = asyncio.create_task(backend.chat(MODEL, request))
        await _until(lambda: server.report()["busy"] == 1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await _until(lambda: server.report()["busy"] == 0)

    asyncio.run(using(OllamaBackend(server.url), use))


def test_closing_a_stream_early_stops_the_work_at_the_server(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> None:
        stream = backend.stream("fault-slow", ChatRequest(ASKED, max_output_tokens=200))
        async for _ in stream:
            break
        assert server.report()["busy"] == 1
        await stream.aclose()
        await _until(lambda: server.report()["busy"] == 0)

    asyncio.run(using(OllamaBackend(server.url), use))


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_models_are_listed_by_their_tags(server: OllamaProcess) -> None:
    listed = asyncio.run(using(OllamaBackend(server.url), lambda backend: backend.models()))
    assert {MODEL, "smollm2-plain:135m"} <= set(listed)
    assert listed == sorted(listed)


def test_cloud_tags_go_through_the_same_server(server: OllamaProcess) -> None:
    limits = Limits(load_ms=1_000, first_token_ms=20_000)
    answer = asyncio.run(
        using(OllamaBackend(server.url), lambda b: b.chat("kimi-k2:1t-cloud", BRIEF, limits=limits))
    )
    assert (answer.model_said, bool(answer.text)) == ("kimi-k2:1t", True)
    assert [seen["path"] for seen in server.seen()] == ["/api/chat"], "a cloud model is not loaded here"


def test_a_stub_that_runs_elsewhere_is_not_asked_for_work_of_this_machine(server: OllamaProcess) -> None:
    error = asyncio.run(failing(OllamaBackend(server.url), lambda b: b.chat("gpt-oss-stub", BRIEF)))
    assert error.error_class == "not_found"
    assert str(error) == (
        "`gpt-oss-stub` would not run on this machine: its server forwards it to https://ollama.com:443"
    )
    assert server.seen("/api/chat") == []


def test_a_stub_is_asked_where_the_catalog_says_cloud(server: OllamaProcess) -> None:
    backend = OllamaBackend(server.url, location="cloud")
    answer = asyncio.run(using(backend, lambda b: b.chat("gpt-oss-stub", BRIEF)))
    assert answer.model_said == "gpt-oss:120b"


@pytest.mark.parametrize(
    ("min_version", "min_versions"), [("0.34.0", {}), (None, {MODEL: "0.33.1"})], ids=["server", "model"]
)
def test_a_server_that_is_too_old_is_not_asked(
    server: OllamaProcess, min_version: str | None, min_versions: dict[str, str]
) -> None:
    backend = OllamaBackend(server.url, min_version=min_version, min_versions=min_versions)
    error = asyncio.run(failing(backend, lambda b: b.chat(MODEL, BRIEF)))
    wanted = min_version or "0.33.1"
    assert str(error) == f"the Ollama server is version 0.33.0, and `{MODEL}` needs {wanted}"
    assert error.help == "update Ollama: https://ollama.com/download"
    assert [seen["path"] for seen in server.seen()] == ["/api/version"]


def test_a_server_that_is_new_enough_is_asked_for_its_version_once(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> None:
        await backend.chat(MODEL, BRIEF)
        await backend.chat(MODEL, BRIEF)

    asyncio.run(using(OllamaBackend(server.url, min_version="0.12.0"), use))
    assert [seen["path"] for seen in server.seen()] == ["/api/version", "/api/show", "/api/chat", "/api/chat"]


def test_short_questions_do_not_wait_behind_a_call(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> None:
        slow = ChatRequest(ASKED, max_output_tokens=200)
        async with aclosing(backend.stream("fault-slow", slow)) as busy:
            async for _ in busy:
                break
            async with asyncio.timeout(3):
                assert (await backend.health(MODEL)).healthy
                assert MODEL in await backend.models()

    asyncio.run(using(OllamaBackend(server.url, concurrency=1), use))


def test_calls_beyond_the_concurrency_wait_their_turn(server: OllamaProcess) -> None:
    async def use(backend: OllamaBackend) -> int:
        calls = [asyncio.create_task(backend.chat(MODEL, BRIEF)) for _ in range(3)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, (await asyncio.to_thread(server.report))["busy"])
            await asyncio.sleep(0.02)  # the server has other work than to report
        for call in calls:
            await call
        return most

    assert asyncio.run(using(OllamaBackend(server.url, concurrency=1), use)) == 1
