"""The openai backend against llama.cpp's own server with a real model, in a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from support.llamacpp_servers import (
    API_KEY,
    Server,
    llamacpp,
    llamacpp_scores,
    llamacpp_vectors,
    needs_llamacpp,
    start_server,
)

from routewright.backends import (
    BackendError,
    ChatRequest,
    EmbedRequest,
    Limits,
    Message,
    RerankRequest,
    StreamEnd,
    TextDelta,
)
from routewright.backends.openai.backend import OpenAIBackend
from routewright.engine.policy.locality import judge

__all__ = ["llamacpp", "llamacpp_scores", "llamacpp_vectors"]  # fixtures

T = TypeVar("T")

CAPITAL = ChatRequest(
    (Message("user", "What is the capital of France? Answer in one word."),),
    max_output_tokens=6,
    temperature=0,
)
LONG_STORY = ChatRequest((Message("user", "Tell me a long story."),), max_output_tokens=1_500, temperature=0)


def call(url: str, work: Callable[[OpenAIBackend], Awaitable[T]], **options: Any) -> T:
    """What ``work`` gives with a backend for ``url``, which is closed afterwards."""

    async def run() -> T:
        backend = OpenAIBackend(url, **{"api_key": API_KEY, **options})
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(run())


def refused(url: str, work: Callable[[OpenAIBackend], Awaitable[object]], **options: Any) -> BackendError:
    with pytest.raises(BackendError) as raised:
        call(url, work, **options)
    return raised.value


def test_llama_cpps_server_may_be_said_to_do_its_work_itself(llamacpp: Server) -> None:
    async def work() -> str:
        backend = OpenAIBackend(judge("openai", llamacpp.url, stays=True), api_key=API_KEY)
        try:
            return (await backend.chat("another name", CAPITAL)).text
        finally:
            await backend.close()

    assert asyncio.run(work())


def test_a_chat_and_a_stream_say_the_same(llamacpp: Server) -> None:
    async def both(backend: OpenAIBackend) -> None:
        whole = await backend.chat("another name", CAPITAL)
        events = [event async for event in backend.stream("another name", CAPITAL)]
        end = events[-1]
        assert isinstance(end, StreamEnd)
        streamed = end.answer
        assert whole.text and whole.text == streamed.text
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == whole.text
        assert whole.finish_reason == streamed.finish_reason
        # llama.cpp takes any name, and says whose answer it is.
        assert whole.model_said == streamed.model_said == "smollm2-135m"
        assert whole.usage.source == "reported"
        assert whole.usage.input_tokens == streamed.usage.input_tokens
        assert whole.usage.output_tokens == streamed.usage.output_tokens
        assert 0 < (whole.usage.output_tokens or 0) <= 6
        # The second call finds the prompt in the server's memory.
        assert 0 < (streamed.usage.cached_input_tokens or 0) < (streamed.usage.input_tokens or 0)
        assert whole.timings.first_token_us is None
        assert 0 < (streamed.timings.first_token_us or 0) <= streamed.timings.total_us

    call(llamacpp.url, both)


def test_a_chat_with_a_limit_for_the_first_token_measures_it(llamacpp: Server) -> None:
    answer = call(llamacpp.url, lambda b: b.chat("m", CAPITAL, limits=Limits(first_token_ms=60_000)))
    assert answer.text
    assert 0 < (answer.timings.first_token_us or 0) <= answer.timings.total_us


def test_an_answer_in_the_shape_of_a_schema(llamacpp: Server) -> None:
    import json

    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    request = ChatRequest(CAPITAL.messages, max_output_tokens=40, temperature=0, json_schema=schema)
    answer = call(llamacpp.url, lambda b: b.chat("m", request))
    assert answer.finish_reason == "stop"
    assert json.loads(answer.text)["city"] in ("Paris", "Rome")


def test_stop_strings_and_options_arrive(llamacpp: Server) -> None:
    request = ChatRequest(
        (Message("user", "Count: one, two, three, four"),),
        temperature=0,
        stop=("e",),
        options={"max_tokens": 12},
    )
    answer = call(llamacpp.url, lambda b: b.chat("m", request))
    assert "e" not in answer.text
    assert (answer.usage.output_tokens or 0) <= 12


@pytest.mark.parametrize("limits", [Limits(), Limits(first_token_ms=60_000)], ids=["whole", "streamed"])
def test_a_prompt_that_is_too_long(llamacpp: Server, limits: Limits) -> None:
    request = ChatRequest((Message("user", "word " * 3_000),))
    failure = refused(llamacpp.url, lambda b: b.chat("m", request, limits=limits))
    assert failure.error_class == "context_overflow"
    assert "exceeds the available context size (2048 tokens)" in str(failure)
    assert failure.help is not None


def test_a_wrong_key(llamacpp: Server) -> None:
    failure = refused(llamacpp.url, lambda b: b.chat("m", CAPITAL), api_key="sk-wrong")
    assert failure.error_class == "unauthorized"
    assert "sk-wrong" not in f"{failure} {failure.help}"
    report = call(llamacpp.url, lambda b: b.models(), api_key=API_KEY)
    assert report[0] == "smollm2-135m"


def test_a_server_that_was_not_started_for_an_operation(llamacpp: Server) -> None:
    for failure in (
        refused(llamacpp.url, lambda b: b.embed("m", EmbedRequest(("a",)))),
        refused(llamacpp.url, lambda b: b.rerank("m", RerankRequest("a", ("b",)))),
    ):
        assert failure.error_class == "invalid_request"
        assert "does not support" in str(failure)


def test_health_and_models(llamacpp: Server) -> None:
    report = call(llamacpp.url, lambda b: b.health())
    assert (report.healthy, report.simulated) == (True, False)
    assert call(llamacpp.url, lambda b: b.models()) == ["smollm2-135m"]


def test_vectors(llamacpp_vectors: Server) -> None:
    texts = ("a cat sat on the mat", "a cat sat on the mat", "stock prices fell")
    answer = call(llamacpp_vectors.url, lambda b: b.embed("m", EmbedRequest(texts)))
    first, same, other = answer.vectors
    assert len(first) == len(other) == 576
    assert cosine(first, same) > cosine(first, other)
    assert answer.usage.input_tokens and answer.usage.output_tokens == 0
    assert answer.timings.first_token_us is None
    assert call(llamacpp_vectors.url, lambda b: b.embed("m", EmbedRequest(()))).vectors == ()


def test_a_text_too_long_for_a_vector(llamacpp_vectors: Server) -> None:
    failure = refused(llamacpp_vectors.url, lambda b: b.embed("m", EmbedRequest(("word " * 900,))))
    assert failure.error_class == "context_overflow"


def test_scores(llamacpp_scores: Server) -> None:
    request = RerankRequest("cats", ("a cat", "a stone", "prices"))
    answer = call(llamacpp_scores.url, lambda b: b.rerank("m", request), logits=True)
    assert len(answer.scores) == 3
    assert all(0 < score < 1 for score in answer.scores)


def cosine(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    return float(dot / (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5)


def test_a_server_killed_in_mid_stream() -> None:
    needs_llamacpp()
    with start_server("llamacpp_server.py") as server:

        async def killed(backend: OpenAIBackend) -> tuple[int, BackendError, Any]:
            shown = 0
            try:
                async for _ in backend.stream("m", LONG_STORY):
                    shown += 1
                    if shown == 3:
                        server.process.kill()
            except BackendError as failure:
                return shown, failure, await backend.health()
            raise AssertionError("a killed server gave a whole answer")

        shown, failure, report = call(server.url, killed)
    assert shown >= 3
    assert failure.error_class == "broken_stream"
    assert failure.timings is not None and failure.timings.first_token_us is not None
    assert report.healthy is False


def test_a_server_that_stands_still_and_goes_on() -> None:
    needs_llamacpp()
    with start_server("llamacpp_server.py") as server:

        async def stopped(backend: OpenAIBackend) -> BackendError:
            limits = Limits(first_token_ms=60_000, idle_ms=400)
            try:
                async for _ in backend.stream("m", LONG_STORY, limits=limits):
                    server.process.send_signal(signal.SIGSTOP)
            except BackendError as failure:
                # Nor does it answer now: neither a connection nor a first token can be had.
                again = Limits(connect_ms=500, first_token_ms=500)
                with pytest.raises(BackendError) as raised:
                    await backend.chat("m", CAPITAL, limits=again)
                assert raised.value.error_class in ("timeout.first_token", "timeout.connect")
                server.process.send_signal(signal.SIGCONT)
                assert (await backend.chat("m", CAPITAL)).text
                return failure
            raise AssertionError("a stopped server gave a whole answer")

        failure = call(server.url, stopped)
    assert failure.error_class == "timeout.idle"


def test_a_cancelled_stream_stops_the_work_at_the_server() -> None:
    """One slot: the next answer comes at once only if the long story is not written to its end."""
    needs_llamacpp()
    with start_server("llamacpp_server.py") as server:

        async def left(backend: OpenAIBackend) -> float:
            loop = asyncio.get_running_loop()
            stream = backend.stream("m", LONG_STORY)
            await anext(stream)
            await stream.aclose()
            start = loop.time()
            await backend.chat("m", ChatRequest((Message("user", "Hi"),), max_output_tokens=1))
            return loop.time() - start

        waited = call(server.url, left)
    assert waited < 5, "the long story takes a quarter of a minute"
