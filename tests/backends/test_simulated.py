"""The simulated backend says what it is, draws the same for the same call, and fails only as scripted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import pytest

from routewright.backends import (
    ERROR_CLASSES,
    Backend,
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    ErrorClass,
    Fault,
    Limits,
    Message,
    RerankRequest,
    SimulatedBackend,
    SimulatedModel,
    StreamEnd,
    TextDelta,
)
from routewright.backends.simulated.backend import DEFAULT_LATENCY_MS

MODELS = {
    "kimi-k2:1t-cloud": SimulatedModel(expected_latency_ms=30_000, context_length=1_000),
    "glm-4.5": SimulatedModel(),
    "nomic-embed": SimulatedModel(operations=frozenset({"embed", "rerank"}), dimensions=768),
}
HELLO = ChatRequest((Message("user", "which model?"),))


def simulated(
    *, seed: int = 1, faults: Mapping[str, Sequence[Fault]] | None = None, sleep: bool = False
) -> SimulatedBackend:
    return SimulatedBackend(MODELS, seed=seed, faults=faults, sleep=sleep)


def chat(
    backend: Backend, tag: str, request: ChatRequest = HELLO, limits: Limits | None = None
) -> ChatAnswer:
    return asyncio.run(backend.chat(tag, request, limits=limits or Limits()))


def test_an_answer_says_that_it_is_simulated() -> None:
    answer = chat(simulated(), "kimi-k2:1t-cloud")
    assert answer.simulated
    assert answer.text.startswith("[simulated] `kimi-k2:1t-cloud` would answer here")
    assert answer.model_said == "kimi-k2:1t-cloud (simulated)"
    assert answer.usage.source == "estimated"


def test_latency_is_drawn_around_the_expected_one_or_around_a_default_that_is_said() -> None:
    known = chat(simulated(), "kimi-k2:1t-cloud")
    guessed = chat(simulated(), "glm-4.5")
    assert 21_000_000 <= known.timings.total_us <= 45_000_000
    assert "the catalog's 30000 ms" in known.text
    assert 700 * DEFAULT_LATENCY_MS <= guessed.timings.total_us <= 1_500 * DEFAULT_LATENCY_MS
    assert "a default of 1000 ms, as the catalog gives no latency" in guessed.text


def test_the_same_seed_model_and_request_give_the_same_answer() -> None:
    backend = simulated()
    first, again = chat(backend, "glm-4.5"), chat(backend, "glm-4.5")
    assert first == again == chat(simulated(), "glm-4.5")
    assert first != chat(simulated(seed=2), "glm-4.5")
    assert first != chat(backend, "glm-4.5", ChatRequest((Message("user", "another"),)))
    assert first.timings.total_us == 1_500_000  # fixed: the draw is the same on every machine


def test_the_output_cap_ends_an_answer_with_length() -> None:
    answer = chat(simulated(), "glm-4.5", ChatRequest(HELLO.messages, max_output_tokens=3))
    assert (answer.usage.output_tokens, answer.finish_reason) == (3, "length")


def test_a_stream_gives_the_text_of_the_answer_and_then_the_answer() -> None:
    async def collect() -> tuple[str, ChatAnswer]:
        text = ""
        async for event in simulated().stream("glm-4.5", HELLO):
            if isinstance(event, StreamEnd):
                return text, event.answer
            text += event.text
        raise AssertionError("the stream had no end")

    text, answer = asyncio.run(collect())
    assert text == answer.text
    assert answer == chat(simulated(), "glm-4.5")


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_every_error_class_can_be_scripted(error_class: ErrorClass) -> None:
    backend = simulated(faults={"glm-4.5": [error_class, "ok"]})
    with pytest.raises(BackendError) as caught:
        chat(backend, "glm-4.5")
    assert caught.value.error_class == error_class
    assert str(caught.value) == f"`glm-4.5` failed as scripted: {error_class}"
    assert caught.value.simulated
    assert caught.value.retry_after_ms == (1_000 if error_class == "rate_limited" else None)
    assert chat(backend, "glm-4.5").text
    assert chat(backend, "glm-4.5").text, "after the script, calls succeed"


def test_a_broken_stream_breaks_in_the_middle() -> None:
    async def collect() -> tuple[int, str | None]:
        seen = 0
        try:
            async for event in simulated(faults={"glm-4.5": ["broken_stream"]}).stream("glm-4.5", HELLO):
                seen += isinstance(event, TextDelta)
        except BackendError as error:
            return seen, error.error_class
        return seen, None

    seen, error_class = asyncio.run(collect())
    assert seen > 0
    assert error_class == "broken_stream"


@pytest.mark.parametrize(
    ("tag", "request_", "limits", "error_class"),
    [
        ("nowhere", HELLO, Limits(), "not_found"),
        ("nomic-embed", HELLO, Limits(), "not_found"),
        ("glm-4.5", HELLO, Limits(first_token_ms=1), "timeout.first_token"),
        ("glm-4.5", HELLO, Limits(total_ms=300), "timeout.total"),
        ("kimi-k2:1t-cloud", ChatRequest((Message("user", "x" * 5_000),)), Limits(), "context_overflow"),
    ],
)
def test_what_cannot_be_done_fails_with_its_class(
    tag: str, request_: ChatRequest, limits: Limits, error_class: ErrorClass
) -> None:
    with pytest.raises(BackendError) as caught:
        chat(simulated(), tag, request_, limits)
    assert caught.value.error_class == error_class


def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone() -> None:
    backend = simulated()
    pair = asyncio.run(backend.embed("nomic-embed", EmbedRequest(("one", "two"))))
    alone = asyncio.run(backend.embed("nomic-embed", EmbedRequest(("two",))))
    assert pair.simulated
    assert [len(vector) for vector in pair.vectors] == [768, 768]
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in pair.vectors)
    assert pair.vectors[1] == alone.vectors[0]
    assert pair.vectors[0] != pair.vectors[1]


def test_rerank_scores_each_document_by_itself() -> None:
    backend = simulated()
    both = asyncio.run(backend.rerank("nomic-embed", RerankRequest("q", ("a", "b"))))
    swapped = asyncio.run(backend.rerank("nomic-embed", RerankRequest("q", ("b", "a"))))
    assert both.scores == tuple(reversed(swapped.scores))
    assert all(0 <= score < 1 for score in both.scores)


def test_health_and_models_say_what_is_simulated() -> None:
    backend = simulated()
    report = asyncio.run(backend.health())
    assert report.healthy and report.simulated
    assert asyncio.run(backend.models()) == ["glm-4.5", "kimi-k2:1t-cloud", "nomic-embed"]


def test_sleep_really_waits() -> None:
    backend = SimulatedBackend({"m": SimulatedModel(expected_latency_ms=20)}, seed=1, sleep=True)

    async def took() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        answer = await backend.chat("m", HELLO)
        return loop.time() - start, answer.timings.total_us

    elapsed_s, total_us = asyncio.run(took())
    assert elapsed_s >= 0.9 * total_us / 1_000_000
