"""A real model says what it knows, in process and behind mlx_lm's own server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from support.mlx_parts import mlx_server, smollm2

from routewright.backends import (
    Backend,
    BackendError,
    ChatAnswer,
    ChatRequest,
    Limits,
    Message,
    StreamEnd,
    TextDelta,
)
from routewright.backends.mlx.backend import MlxBackend
from routewright.backends.mlx.models import MlxModel
from routewright.backends.openai.backend import OpenAIBackend

QUESTION = ChatRequest(
    (Message("user", "What is the capital of France? Answer in one sentence."),),
    max_output_tokens=32,
    temperature=0,
)
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with mlx_server(smollm2()) as address:
        yield address


@pytest.fixture(scope="module")
def inside() -> tuple[str, ChatAnswer]:
    """What the model says in this process."""
    return ask(MlxBackend({"smollm2": MlxModel(path=str(smollm2()))}), "smollm2")


def ask(backend: Backend, tag: str) -> tuple[str, ChatAnswer]:
    """The text as it was streamed, and the answer at its end."""

    async def main() -> tuple[str, ChatAnswer]:
        text, answer = "", None
        try:
            async for event in backend.stream(tag, QUESTION):
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, StreamEnd):
                    answer = event.answer
        finally:
            await backend.close()
        assert answer is not None
        return text, answer

    return asyncio.run(main())


def test_in_process(inside: tuple[str, ChatAnswer]) -> None:
    text, answer = inside
    assert text == answer.text == ANSWER
    assert answer.finish_reason == "stop"
    assert (answer.usage.output_tokens, answer.usage.source) == (8, "reported")
    assert 0 < (answer.timings.load_us or 0) < (answer.timings.first_token_us or 0) < answer.timings.total_us


def test_behind_mlx_lms_server_it_says_and_counts_the_same(
    server: str, inside: tuple[str, ChatAnswer]
) -> None:
    text, answer = ask(OpenAIBackend(server), "default_model")
    assert text == answer.text == ANSWER
    assert answer.finish_reason == "stop"
    _, answer_inside = inside
    assert answer.usage.input_tokens == answer_inside.usage.input_tokens
    assert answer.usage.output_tokens == answer_inside.usage.output_tokens


def test_mlx_lms_server_does_not_know_other_models(server: str) -> None:
    async def main() -> BackendError:
        backend = OpenAIBackend(server)
        with pytest.raises(BackendError) as caught:
            await backend.chat("another", QUESTION, limits=Limits(total_ms=60_000))
        await backend.close()
        return caught.value

    assert asyncio.run(main()).error_class == "not_found"
