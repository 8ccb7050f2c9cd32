"""The openai backend against mlx_lm's own server: errors as plain text, comments in streams, another set of routes."""

from __future__ import annotations

import asyncio

import pytest
from support.mlx_parts import mlx_server, need_mlx, tiny_models

from routewright.backends import (
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    Message,
    RerankRequest,
    StreamEnd,
    TextDelta,
)
from routewright.backends.openai.backend import OpenAIBackend
from routewright.engine.policy.locality import judge

MODEL = "default_model"
ASK = ChatRequest((Message("user", "hello"),), max_output_tokens=12, temperature=0)


def test_mlx_lms_server_is_understood() -> None:
    need_mlx()

    async def work(url: str) -> None:
        # That it does its work itself can be said of it: it answers 404 when asked whether it is an Ollama.
        backend = OpenAIBackend(judge("openai", url, stays=True))
        try:
            assert (await backend.health()).healthy is True
            await backend.models()
            whole = await backend.chat(MODEL, ASK)
            events = [event async for event in backend.stream(MODEL, ASK)]
            end = events[-1]
            assert isinstance(end, StreamEnd)
            text = "".join(event.text for event in events if isinstance(event, TextDelta))
            assert text == end.answer.text == whole.text
            assert end.answer.finish_reason == whole.finish_reason
            assert end.answer.usage.output_tokens == whole.usage.output_tokens
            assert (whole.usage.output_tokens or 0) <= 12
            assert end.answer.usage.cached_input_tokens is not None
            for call in (
                backend.chat("no/such-model", ASK),
                backend.embed(MODEL, EmbedRequest(("a",))),
                backend.rerank(MODEL, RerankRequest("a", ("b",))),
            ):
                with pytest.raises(BackendError) as raised:
                    await call
                assert raised.value.error_class == "not_found"
        finally:
            await backend.close()

    with mlx_server(tiny_models() / "tiny-a") as url:
        asyncio.run(work(url))


def answers(url: str, request: ChatRequest) -> list[ChatAnswer]:
    """The same request, whole and streamed."""

    async def work() -> list[ChatAnswer]:
        backend = OpenAIBackend(url)
        try:
            *_, end = [event async for event in backend.stream(MODEL, request)]
            assert isinstance(end, StreamEnd)
            return [await backend.chat(MODEL, request), end.answer]
        finally:
            await backend.close()

    return asyncio.run(work())


def test_thinking_of_a_real_server_is_no_text() -> None:
    need_mlx()
    with mlx_server(tiny_models() / "thinker") as url:
        for answer in answers(url, ChatRequest((Message("user", "hello"),), temperature=0)):
            assert answer.text.strip() == "It is Paris."
            assert (answer.thinking or "").strip() == "hmm, let me see"
            assert answer.finish_reason == "stop"


def test_a_tool_that_a_real_server_calls() -> None:
    need_mlx()
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    request = ChatRequest((Message("user", "hello"),), temperature=0, tools=(tool,))
    with mlx_server(tiny_models() / "caller") as url:
        for answer in answers(url, request):
            assert [(call.name, call.arguments) for call in answer.tool_calls] == [
                ("weather", {"city": "Paris"})
            ]
            assert answer.finish_reason == "tool_calls"
            assert answer.text.strip() == "I look."
