"""The llamacpp backend with its real model: the processes that it starts, and what becomes of them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from support.llamacpp_servers import needs_llamacpp

from routewright.backends import (
    BackendError,
    BackendMemory,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    InMemory,
    Limits,
    Message,
    RerankRequest,
    StreamEnd,
    Timings,
)
from routewright.backends.llamacpp.backend import EMBEDDED_MODEL, LlamaCppBackend
from routewright.backends.llamacpp.process import GgufModel, ModelProcess
from routewright.backends.openai.backend import OpenAIBackend

T = TypeVar("T")

SMALL = GgufModel(context_tokens=1_024, threads=1, batch_tokens=64, pooling="mean")
CAPITAL = ChatRequest(
    (Message("user", "What is the capital of France? Answer in one word."),),
    max_output_tokens=4,
    temperature=0,
)
LONG_STORY = ChatRequest((Message("user", "Tell me a long story."),), max_output_tokens=900, temperature=0)


@pytest.fixture(autouse=True)
def packages() -> None:
    needs_llamacpp()


def run(work: Callable[[LlamaCppBackend], Awaitable[T]], **models: GgufModel) -> T:
    """What ``work`` gives with a backend of ``models`` (default: the embedded one, small), closed afterwards."""

    async def body() -> T:
        backend = LlamaCppBackend(models or {EMBEDDED_MODEL: SMALL})
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(body())


async def failing(work: Awaitable[object]) -> BackendError:
    with pytest.raises(BackendError) as raised:
        await work
    return raised.value


def children() -> set[int]:
    """The worker processes of this process, by id."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile
        if b"llamacpp/worker.py" in command and parent == os.getpid():
            found.add(int(folder.name))
    return found


def test_the_first_call_loads_and_the_next_does_not() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        assert await backend.models() == [EMBEDDED_MODEL]
        assert (await backend.health()).detail == "no model is loaded yet"
        assert children() == set()
        first = await backend.chat(EMBEDDED_MODEL, CAPITAL)
        second = await backend.chat(EMBEDDED_MODEL, CAPITAL)
        assert first.text and first.text == second.text
        assert (first.model_said, first.simulated) == (EMBEDDED_MODEL, False)
        assert first.usage.input_tokens == second.usage.input_tokens
        assert first.timings.load_us and first.timings.load_us < first.timings.total_us
        assert second.timings.load_us == 0
        report = await backend.health()
        assert (report.healthy, report.detail) == (True, f"loaded: `{EMBEDDED_MODEL}`")
        assert report.version

    run(work)
    assert children() == set()


def test_a_stream_ends_with_the_whole_answer_and_counts_the_load() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        events = [event async for event in backend.stream(EMBEDDED_MODEL, CAPITAL)]
        end = events[-1]
        assert isinstance(end, StreamEnd)
        assert (
            "".join(event.text for event in events[:-1] if not isinstance(event, StreamEnd))
            == end.answer.text
        )
        timings = end.answer.timings
        assert timings.load_us and timings.first_token_us
        assert timings.load_us < timings.first_token_us <= timings.total_us

    run(work)


def test_loading_does_not_hold_up_the_event_loop() -> None:
    """In this process it would: the library's constructor keeps the interpreter's lock until it is done."""

    async def work(backend: LlamaCppBackend) -> float:
        call = asyncio.create_task(backend.chat(EMBEDDED_MODEL, CAPITAL))
        longest = 0.0
        while not call.done():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
        await call
        return longest

    assert run(work) < 1.0


def test_two_first_calls_load_once_and_take_turns() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        answers = await asyncio.gather(*(backend.chat(EMBEDDED_MODEL, CAPITAL) for _ in range(2)))
        assert len(children()) == 1
        assert len({answer.text for answer in answers}) == 1
        assert all(answer.timings.load_us for answer in answers)

    run(work)


def test_who_gives_up_waiting_leaves_the_load_to_the_next() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        failure = await failing(backend.chat(EMBEDDED_MODEL, CAPITAL, limits=Limits(load_ms=1)))
        assert failure.error_class == "timeout.load"
        assert (await backend.chat(EMBEDDED_MODEL, CAPITAL, limits=Limits(load_ms=60_000))).text
        assert len(children()) == 1

    run(work)


def test_a_cold_start_is_not_slowness() -> None:
    """Loading takes longer than the first token may, and the first token is measured from there on."""

    async def work(backend: LlamaCppBackend) -> ChatAnswer:
        process = ModelProcess(EMBEDDED_MODEL, SMALL, "chat")
        started = time.monotonic()
        await asyncio.wrap_future(process.loaded)
        load_ms = round((time.monotonic() - started) * 1_000)
        process.kill()
        assert load_ms > 20
        limits = Limits(load_ms=60_000, first_token_ms=30_000)
        return await backend.chat(EMBEDDED_MODEL, CAPITAL, limits=limits)

    assert run(work).text


def test_a_model_whose_process_was_killed_is_loaded_again() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        stream = backend.stream(EMBEDDED_MODEL, LONG_STORY)
        await anext(stream)
        (victim,) = children()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(BackendError) as raised:
            async for _ in stream:
                pass
        assert raised.value.error_class == "broken_stream"
        answer = await backend.chat(EMBEDDED_MODEL, CAPITAL)
        assert answer.text and answer.timings.load_us
        assert victim not in children()

    run(work)


def test_a_process_killed_while_it_loads_is_an_error() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        call = asyncio.create_task(failing(backend.chat(EMBEDDED_MODEL, CAPITAL)))
        while not children():
            await asyncio.sleep(0.001)
        for child in children():
            os.kill(child, signal.SIGKILL)
        failure = await call
        assert failure.error_class == "overloaded"
        assert "its process ended" in str(failure)
        assert (await backend.chat(EMBEDDED_MODEL, CAPITAL)).text

    run(work)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_cancelled_call_stops_the_generation(streamed: bool) -> None:
    """One slot: the next answer comes soon only if the long story is not written to its end."""

    async def work(backend: LlamaCppBackend) -> float:
        await backend.chat(EMBEDDED_MODEL, CAPITAL)
        limits = Limits(first_token_ms=60_000) if streamed else Limits()
        call = asyncio.create_task(backend.chat(EMBEDDED_MODEL, LONG_STORY, limits=limits))
        await asyncio.sleep(0.5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        started = time.monotonic()
        await backend.chat(EMBEDDED_MODEL, CAPITAL)
        return time.monotonic() - started

    assert run(work) < 6


def test_closing_while_a_model_loads_ends_it() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        call = asyncio.create_task(failing(backend.chat(EMBEDDED_MODEL, CAPITAL)))
        while not children():
            await asyncio.sleep(0.001)
        await backend.close()
        assert children() == set()
        assert (await call).error_class == "overloaded"

    run(work)


def test_vectors_and_scores_have_a_process_each() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        vectors = await backend.embed(EMBEDDED_MODEL, EmbedRequest(("a cat", "a dog")))
        assert [len(vector) for vector in vectors.vectors] == [576, 576]
        assert vectors.timings.load_us
        scores = await backend.rerank(EMBEDDED_MODEL, RerankRequest("cat", ("a cat", "a stone")))
        assert all(0 < score < 1 for score in scores.scores)
        assert len(children()) == 2
        failure = await failing(backend.embed(EMBEDDED_MODEL, EmbedRequest(("word " * 2_000,))))
        assert failure.error_class == "context_overflow"

    run(work)


def test_a_prompt_that_is_too_long() -> None:
    async def work(backend: LlamaCppBackend) -> None:
        request = ChatRequest((Message("user", "word " * 2_000),))
        failure = await failing(backend.chat(EMBEDDED_MODEL, request))
        assert failure.error_class == "context_overflow"
        assert failure.timings is not None and failure.timings.load_us

    run(work)


def test_models_that_cannot_be_had(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    models = {"broken": GgufModel(path=broken), "gone": GgufModel(path=tmp_path / "gone.gguf")}

    async def work(backend: LlamaCppBackend) -> None:
        failures = [await failing(backend.chat(tag, CAPITAL)) for tag in ("broken", "gone", "other")]
        assert [failure.error_class for failure in failures] == ["not_found"] * 3
        assert [str(failure).split(":")[0] for failure in failures] == [
            f"`broken` could not be loaded from `{broken}`",
            "the file of `gone` does not exist",
            "there is no model `other` here",
        ]
        assert failures[2].help == "there are: `broken`, `gone`"
        assert all(failure.timings is not None for failure in failures)
        report = await backend.health()
        assert (report.healthy, report.detail) == (False, "the files of `gone` are not there")
        assert await backend.models() == ["broken"]

    run(work, **models)


def test_a_worker_asks_every_caller_for_its_key() -> None:
    """Its port is open to everybody on this machine."""

    async def work(backend: LlamaCppBackend) -> None:
        process = ModelProcess(EMBEDDED_MODEL, SMALL, "chat")
        try:
            url = await asyncio.wrap_future(process.loaded)
            stranger = OpenAIBackend(url)
            failure = await failing(stranger.chat("m", CAPITAL))
            await stranger.close()
        finally:
            process.kill()
        assert failure.error_class == "unauthorized"
        assert len(process.key) >= 32

    run(work)


def test_a_caller_who_gives_up_while_a_model_loads_leaves_no_complaint() -> None:
    """The process is ended before it has loaded: nobody waits any more for the error that follows."""

    async def give_up() -> None:
        backend = LlamaCppBackend({EMBEDDED_MODEL: SMALL})
        asking = asyncio.ensure_future(backend.chat(EMBEDDED_MODEL, CAPITAL))
        while not children():
            await asyncio.sleep(0.01)
        [loading] = [running.loaded for running in backend._running.values()]
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await backend.close()
        while not loading.done():
            await asyncio.sleep(0.01)

    async def body() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await give_up()
        await asyncio.sleep(0)
        gc.collect()
        assert complaints == []

    asyncio.run(body())


def test_memory_says_which_models_are_loaded_and_how_large_they_are() -> None:
    async def work(backend: LlamaCppBackend) -> tuple[BackendMemory, Timings, Timings, BackendMemory]:
        before = await backend.memory()
        first = await backend.load(EMBEDDED_MODEL, "chat")
        return before, first, await backend.load(EMBEDDED_MODEL, "chat"), await backend.memory()

    before, first, again, after = run(work)
    size = before.sizes[EMBEDDED_MODEL]
    assert before.loaded == () and size > 50_000_000
    assert first.load_us and again.load_us == 0
    assert after == BackendMemory((InMemory(EMBEDDED_MODEL, size),), None, {EMBEDDED_MODEL: size})
