"""The mlx backend with real tiny models: answers, limits, cancelling, queues, memory, and each way to fail."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from support.mlx_parts import tiny_models

from routewright.backends import (
    Backend,
    BackendError,
    BackendMemory,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    HealthReport,
    InMemory,
    Limits,
    Message,
    RerankRequest,
    StreamEnd,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from routewright.backends.mlx.backend import MlxBackend
from routewright.backends.mlx.load import import_library, machine_bytes
from routewright.backends.mlx.models import MlxModel
from routewright.backends.mlx.runtime import LoadedModel

T = TypeVar("T")

HELLO = ChatRequest((Message("user", "Hello, how are you?"),), max_output_tokens=8)
LONG = replace(HELLO, max_output_tokens=None)  # fills the window: about two seconds
WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CHATTERS = ("tiny-a", "tiny-b", "tiny-c", "thinker", "caller", "mumbler", "untaught")
GB_EACH = 4.0
GB = 1_000_000_000


@pytest.fixture(scope="module")
def folder() -> Path:
    made = tiny_models()
    import_library()
    return made


@asynccontextmanager
async def opened(
    folder: Path, *, memory_gb: float | None = None, **models: MlxModel
) -> AsyncIterator[MlxBackend]:
    known = {tag: MlxModel(memory_gb=GB_EACH) for tag in CHATTERS}
    backend = MlxBackend(known | models, path=str(folder), memory_gb=memory_gb, env={})
    try:
        yield backend
    finally:
        await backend.close()


def with_backend(folder: Path, use: Callable[[MlxBackend], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with opened(folder) as backend:
            return await use(backend)

    return asyncio.run(main())


def chat(folder: Path, tag: str, request: ChatRequest = HELLO) -> ChatAnswer:
    return with_backend(folder, lambda backend: backend.chat(tag, request))


def failure(
    folder: Path, tag: str, request: ChatRequest = HELLO, limits: Limits | None = None
) -> BackendError:
    with pytest.raises(BackendError) as caught:
        with_backend(folder, lambda backend: backend.chat(tag, request, limits=limits or Limits()))
    assert caught.value.timings is not None
    assert caught.value.usage is not None
    return caught.value


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def is_loaded(backend: MlxBackend, tag: str) -> bool:
    return tag in backend._pool.loaded()


# --- answers -----------------------------------------------------------------------------------------------


def test_a_script_followed_by_the_model_arrives_whole_with_its_thinking(folder: Path) -> None:
    async def collect(backend: MlxBackend) -> list[object]:
        return [event async for event in backend.stream("thinker", HELLO)]

    *deltas, end = with_backend(folder, collect)
    assert deltas == [
        ThinkingDelta("hmm, "),
        ThinkingDelta("let me see"),
        TextDelta("It is "),
        TextDelta("Paris."),
    ]
    assert isinstance(end, StreamEnd)
    assert replace(end.answer, timings=cast(Any, None), usage=cast(Any, None)) == ChatAnswer(
        text="It is Paris.",
        finish_reason="stop",
        usage=cast(Any, None),
        model_said="thinker",
        timings=cast(Any, None),
        thinking="hmm, let me see",
    )
    # Both markers and the two words between them are reasoning; eight tokens are the whole script.
    assert end.answer.usage == Usage(end.answer.usage.input_tokens, 0, 8, 4, "reported")


def test_chat_gives_the_answer_that_a_stream_ends_with(folder: Path) -> None:
    answer = chat(folder, "thinker")
    assert (answer.text, answer.thinking, answer.finish_reason) == ("It is Paris.", "hmm, let me see", "stop")
    assert answer.simulated is False


def test_a_model_can_be_told_not_to_think(folder: Path) -> None:
    answer = chat(folder, "thinker", replace(HELLO, think=False))
    assert (answer.text, answer.thinking) == ("It is Paris.", None)
    assert answer.usage.reasoning_tokens == 0


def test_tool_calls_are_parsed_where_tools_were_given(folder: Path) -> None:
    answer = chat(folder, "caller", replace(HELLO, tools=(WEATHER,)))
    assert (answer.text, answer.finish_reason) == ("I look. ", "tool_calls")
    (call,) = answer.tool_calls
    assert call == ToolCall(call.id, "weather", {"city": "Paris"})
    assert call.id


def test_a_conversation_with_tool_calls_goes_through_the_template(folder: Path) -> None:
    turns = (
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(ToolCall("1", "weather", {"city": "Paris"}),)),
        Message("tool", "sunny", tool_call_id="1"),
    )
    answer = chat(folder, "caller", replace(HELLO, messages=turns, tools=(WEATHER,)))
    assert answer.finish_reason == "tool_calls"


def test_prompt_tokens_are_those_of_the_models_own_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tiny-a" / "tokenizer.json"))
    prompt = "<|im_start|>user\nHello, how are you?<|im_end|>\n<|im_start|>assistant\n"
    answer = chat(folder, "tiny-a")
    assert answer.usage == Usage(len(tokenizer.encode(prompt).ids), 0, 8, 0, "reported")
    assert answer.finish_reason == "length"


def test_at_temperature_0_the_answer_is_the_same_and_a_seed_repeats_a_draw(folder: Path) -> None:
    drawn = replace(HELLO, temperature=1.0, seed=7, max_output_tokens=16)

    async def ask(backend: MlxBackend) -> list[str]:
        requests = [HELLO, HELLO, drawn, drawn, replace(drawn, seed=8)]
        return [(await backend.chat("tiny-a", request)).text for request in requests]

    first, again, drawn_first, drawn_again, other = with_backend(folder, ask)
    assert first == again
    assert drawn_first == drawn_again
    assert drawn_first != other


def test_a_seed_repeats_a_draw_also_while_another_model_draws(folder: Path) -> None:
    drawn = replace(HELLO, temperature=1.0, seed=7, max_output_tokens=64)

    async def ask(backend: MlxBackend) -> tuple[str, str]:
        alone = await backend.chat("tiny-a", drawn)
        beside, _ = await asyncio.gather(
            backend.chat("tiny-a", drawn), backend.chat("tiny-b", replace(drawn, seed=1))
        )
        return alone.text, beside.text

    alone, beside = with_backend(folder, ask)
    assert alone == beside


def test_without_a_temperature_the_makers_defaults_count(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tiny-a", tmp_path / "tiny-a")
    said = {"do_sample": True, "temperature": 1.0, "top_k": 20, "top_p": 0.95, "eos_token_id": 2}
    (tmp_path / "tiny-a" / "generation_config.json").write_text(json.dumps(said))
    request = replace(HELLO, seed=7, max_output_tokens=16)
    plain = with_backend(folder, lambda backend: backend.chat("tiny-a", request))
    taught = with_backend(tmp_path, lambda backend: backend.chat("tiny-a", request))
    explicit = with_backend(tmp_path, lambda backend: backend.chat("tiny-a", replace(request, temperature=0)))
    assert plain.text == explicit.text != taught.text


def test_options_change_how_tokens_are_drawn(folder: Path) -> None:
    drawn = replace(HELLO, temperature=1.5, seed=7, max_output_tokens=16)
    options = {"top_p": 0.9, "top_k": 2, "min_p": 0.01, "repetition_penalty": 1.3, "presence_penalty": 0.5}

    async def ask(backend: MlxBackend) -> tuple[str, str]:
        free = await backend.chat("tiny-a", drawn)
        held = await backend.chat("tiny-a", replace(drawn, options={**options, "frequency_penalty": 0.1}))
        return free.text, held.text

    free, held = with_backend(folder, ask)
    assert free != held


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(folder: Path) -> None:
    answer = chat(folder, "thinker", replace(HELLO, stop=("ris",)))
    assert (answer.text, answer.finish_reason) == ("It is Pa", "stop")


def test_an_answer_that_fills_the_window_ends_with_length(folder: Path) -> None:
    async def ask(backend: MlxBackend) -> ChatAnswer:
        return await backend.chat("narrow", LONG)

    async def main() -> ChatAnswer:
        narrow = MlxModel(path=str(folder / "tiny-a"), context_length=64)
        async with opened(folder, narrow=narrow) as backend:
            return await ask(backend)

    usage = (answer := asyncio.run(main())).usage
    assert answer.finish_reason == "length"
    assert (usage.input_tokens or 0) + (usage.output_tokens or 0) == 64


def test_times_are_measured_and_a_warm_model_needs_no_loading(folder: Path) -> None:
    async def ask(backend: MlxBackend) -> tuple[ChatAnswer, ChatAnswer]:
        return await backend.chat("tiny-a", HELLO), await backend.chat("tiny-a", HELLO)

    cold, warm = (answer.timings for answer in with_backend(folder, ask))
    assert cold.load_us is not None
    assert 0 < cold.load_us < (cold.first_token_us or 0) <= cold.total_us
    assert warm.load_us == 0
    assert 0 < (warm.first_token_us or 0) <= warm.total_us


def test_one_backend_serves_several_event_loops(folder: Path) -> None:
    backend: Backend = MlxBackend({"thinker": MlxModel()}, path=str(folder))
    texts = {asyncio.run(backend.chat("thinker", HELLO)).text for _ in range(3)}
    asyncio.run(backend.close())
    assert texts == {"It is Paris."}


# --- limits, cancelling, queues ----------------------------------------------------------------------------


def test_a_load_over_its_limit_is_a_timeout_and_goes_on(folder: Path) -> None:
    async def main(backend: MlxBackend) -> BackendError:
        with pytest.raises(BackendError) as caught:
            await backend.chat("tiny-a", HELLO, limits=Limits(load_ms=0))
        async with asyncio.timeout(20):
            while not is_loaded(backend, "tiny-a"):
                await asyncio.sleep(0.005)
        return caught.value

    error = with_backend(folder, main)
    assert error.error_class == "timeout.load"
    assert error.timings is not None
    assert (error.timings.load_us, error.timings.first_token_us) == (None, None)
    assert error.usage == Usage(0, 0, 0, 0, "reported")


def test_reading_a_long_prompt_over_the_first_tokens_limit_is_a_timeout(folder: Path) -> None:
    prompt = replace(HELLO, messages=(Message("user", "abc " * 600),))
    limits = Limits(queue_ms=60_000, load_ms=60_000, first_token_ms=1)
    error = failure(folder, "tiny-a", prompt, limits)
    assert error.error_class == "timeout.first_token"
    assert error.timings is not None
    assert error.timings.first_token_us is None
    assert (error.timings.load_us or 0) > 0


def test_a_call_waits_for_its_turn_as_long_as_for_a_first_token_and_blames_nobody(folder: Path) -> None:
    async def main(backend: MlxBackend) -> BackendError:
        async with aclosing(backend.stream("tiny-a", LONG)) as busy:
            await anext(busy)
            with pytest.raises(BackendError) as caught:
                await backend.chat("tiny-a", HELLO, limits=Limits(first_token_ms=30))
        await backend.chat("tiny-a", HELLO)  # the one that gave up stands in nobody's way
        return caught.value

    error = with_backend(folder, main)
    assert error.error_class == "timeout.queue"
    assert error.usage == Usage(0, 0, 0, 0, "reported")


def test_a_model_that_stalls_between_tokens_is_a_timeout_with_its_usage_so_far(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LoadedModel.generate

    def stalling(self: LoadedModel, *args: Any, **words: Any) -> Any:
        for piece in whole(self, *args, **words):
            if piece.tokens == 4 and words["max_tokens"] > 4:
                time.sleep(2.5)
            yield piece

    monkeypatch.setattr(LoadedModel, "generate", stalling)
    error = failure(folder, "tiny-a", HELLO, Limits(idle_ms=1_000))
    assert error.error_class == "timeout.idle"
    assert error.usage is not None
    assert error.usage.output_tokens == 3


def test_the_total_limit_ends_a_long_answer(folder: Path) -> None:
    async def main(backend: MlxBackend) -> BackendError:
        await backend.chat("tiny-a", HELLO)
        with pytest.raises(BackendError) as caught:
            await backend.chat("tiny-a", LONG, limits=Limits(total_ms=300))
        return caught.value

    error = with_backend(folder, main)
    assert error.error_class == "timeout.total"
    assert error.usage is not None
    assert 0 < (error.usage.output_tokens or 0) < 2_000


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How many tokens were generated in the model's thread, by how many were allowed."""
    counts: dict[int, int] = {}
    whole = LoadedModel.generate

    def counting(self: LoadedModel, *args: Any, **words: Any) -> Any:
        with closing(whole(self, *args, **words)) as pieces:
            for piece in pieces:
                counts[words["max_tokens"]] = piece.tokens
                yield piece

    monkeypatch.setattr(LoadedModel, "generate", counting)
    return counts


def test_cancelling_passes_through_and_stops_the_work(folder: Path, generated: dict[int, int]) -> None:
    async def main(backend: MlxBackend) -> None:
        call = asyncio.create_task(backend.chat("tiny-a", LONG))
        await eventually(lambda: generated.get(max(generated, default=0), 0) > 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await backend.chat("tiny-a", HELLO)  # its turn comes as soon as the thread has let go

    with_backend(folder, main)
    assert 5 < generated[max(generated)] < 1_000
    assert generated[8] == 8


def test_closing_a_stream_early_stops_the_work(folder: Path, generated: dict[int, int]) -> None:
    async def main(backend: MlxBackend) -> None:
        async for event in backend.stream("tiny-a", LONG):
            assert isinstance(event, TextDelta)
            break
        await backend.chat("tiny-a", HELLO)

    with_backend(folder, main)
    assert 0 < generated[max(generated)] < 1_000


def test_calls_of_one_model_run_one_after_another_in_their_order(folder: Path) -> None:
    async def main(backend: MlxBackend) -> list[int]:
        await backend.chat("tiny-a", HELLO)
        ended: list[int] = []

        async def call(number: int) -> None:
            await backend.chat("tiny-a", HELLO)
            ended.append(number)

        async with asyncio.TaskGroup() as calls:
            for number in range(8):
                calls.create_task(call(number))
        return ended

    assert with_backend(folder, main) == list(range(8))


def test_a_call_that_is_cancelled_in_the_queue_never_runs(folder: Path, generated: dict[int, int]) -> None:
    async def main(backend: MlxBackend) -> None:
        async with aclosing(backend.stream("tiny-a", LONG)) as busy:
            await anext(busy)
            queued = asyncio.create_task(backend.chat("tiny-a", replace(HELLO, max_output_tokens=3)))
            await asyncio.sleep(0.05)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
        await backend.chat("tiny-a", replace(HELLO, max_output_tokens=5))

    with_backend(folder, main)
    assert 3 not in generated
    assert generated[5] == 5


def test_two_models_answer_at_the_same_time(folder: Path) -> None:
    async def main(backend: MlxBackend) -> None:
        async with aclosing(backend.stream("tiny-a", LONG)) as busy:
            await anext(busy)
            answer = await backend.chat("thinker", HELLO)
            assert answer.text == "It is Paris."
            assert isinstance(await anext(busy), TextDelta)  # still at it

    with_backend(folder, main)


# --- memory ------------------------------------------------------------------------------------------------


def test_models_stay_within_the_memory_and_what_is_unloaded_is_freed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[LoadedModel] = weakref.WeakSet()
    whole = LoadedModel.warm_up

    def noting(self: LoadedModel) -> None:
        alive.add(self)
        whole(self)

    async def main() -> None:
        async with opened(folder, memory_gb=9) as backend:
            for tag in ("tiny-a", "tiny-b", "tiny-a", "tiny-c"):
                await backend.chat(tag, HELLO)
            assert backend._pool.loaded().keys() == {"tiny-a", "tiny-c"}
            gc.collect()
            assert len(alive) == 2
            with pytest.raises(BackendError) as caught:
                await backend.chat("mumbler", replace(HELLO, tools=(WEATHER,)))
            await backend.chat("tiny-b", HELLO)
            await backend.chat("tiny-c", HELLO)
            gc.collect()
            assert len(alive) == 2  # an error that is kept keeps no model
            assert caught.value.error_class == "bad_response"
        gc.collect()
        assert len(alive) == 0

    monkeypatch.setattr(LoadedModel, "warm_up", noting)
    asyncio.run(main())


def test_a_call_waits_for_memory_that_a_busy_model_holds_in_our_own_queue(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder, memory_gb=5) as backend:
            async with aclosing(backend.stream("tiny-a", LONG)) as busy:
                await anext(busy)
                with pytest.raises(BackendError) as caught:
                    await backend.chat("tiny-b", HELLO, limits=Limits(queue_ms=50))
                assert caught.value.error_class == "timeout.queue"
                waiting = asyncio.create_task(backend.chat("tiny-b", HELLO))
                await asyncio.sleep(0.05)
                assert not waiting.done()
            assert (await waiting).timings.load_us

    asyncio.run(main())


def test_a_model_larger_than_the_memory_is_refused(folder: Path) -> None:
    async def main() -> BackendError:
        async with opened(folder, memory_gb=2) as backend:
            with pytest.raises(BackendError) as caught:
                await backend.chat("tiny-a", HELLO)
            return caught.value

    error = asyncio.run(main())
    assert str(error) == "`tiny-a` needs 4 GB of memory, and all MLX models together may use 2 GB"
    assert error.error_class == "not_found"


def test_a_model_is_kept_as_long_as_its_call_or_the_catalog_says(folder: Path) -> None:
    short = MlxModel(keep_alive="0s")

    async def main() -> None:
        async with opened(folder, memory_gb=None, **{"tiny-b": short}) as backend:
            await backend.chat("tiny-a", HELLO)
            await backend.chat("tiny-b", HELLO)
            async with asyncio.timeout(30):  # a thread of its own unloads it
                while [one.tag for one in (await backend.memory()).loaded] != ["tiny-a"]:
                    await asyncio.sleep(0.01)
            await backend.chat("tiny-b", replace(HELLO, keep_alive="5m"))
            assert [one.tag for one in (await backend.memory()).loaded] == ["tiny-a", "tiny-b"]
            with pytest.raises(BackendError, match="`keep_alive`: `soon` is no duration") as caught:
                await backend.chat("tiny-b", replace(HELLO, keep_alive="soon"))
            assert caught.value.error_class == "invalid_request"

    asyncio.run(main())


def test_memory_says_what_is_loaded_what_it_takes_and_what_others_would(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder, memory_gb=9, **{"tiny-b": MlxModel()}) as backend:
            before = await backend.memory()
            size = before.sizes["tiny-b"]
            assert before == BackendMemory((), 9 * GB, {"tiny-b": size}) and 100_000 < size < 1_000_000
            loaded = await backend.load("tiny-a", "chat")
            assert loaded.load_us
            assert (await backend.load("tiny-a", "chat")).load_us == 0
            await backend.load("tiny-b", "chat")
            assert (await backend.memory()).loaded == (InMemory("tiny-a", 4 * GB), InMemory("tiny-b", size))
            await backend.load("thinker", "chat")
            await backend.load("caller", "chat")
            assert [one.tag for one in (await backend.memory()).loaded] == ["tiny-b", "thinker", "caller"]
            with pytest.raises(BackendError, match="does not offer `embed`"):
                await backend.load("tiny-a", "embed")

    asyncio.run(main())


def test_without_a_bound_there_is_that_of_the_machine() -> None:
    memory = asyncio.run(MlxBackend({"a": MlxModel()}).memory())
    assert memory.limit_bytes == machine_bytes() and (memory.limit_bytes or 0) > GB


# --- failures ----------------------------------------------------------------------------------------------

SCHEMA = {"type": "object"}
LACKS: tuple[tuple[str, ChatRequest, str, str], ...] = (
    (
        "tiny-z",
        HELLO,
        "the mlx backend has no model `tiny-z`",
        "configured: caller, mumbler, thinker, tiny-a, tiny-b (2 more)",
    ),
    ("untaught", HELLO, "`untaught` has no chat template", "instruct model"),
    (
        "tiny-a",
        replace(HELLO, messages=(Message("user", "see", images=(b"png",)),)),
        "`tiny-a` takes no images",
        "language models only",
    ),
    ("tiny-a", replace(HELLO, json_schema=SCHEMA), "`tiny-a` cannot be held to a JSON schema", "constrained"),
    (
        "tiny-a",
        replace(HELLO, tools=(WEATHER,)),
        "`tiny-a` was not made for tools, or in a form that mlx-lm cannot read",
        "chat template knows tools",
    ),
    ("tiny-a", replace(HELLO, think=True), "`tiny-a` was not made to think", "leave `think` out"),
    ("tiny-a", replace(HELLO, think="low"), "`tiny-a` was not made to think", "leave `think` out"),
    (
        "tiny-a",
        replace(HELLO, options={"topp": 1}),
        "the mlx backend does not know the option `topp`",
        "did you mean `top_p`? known: frequency_penalty",
    ),
    (
        "tiny-a",
        replace(HELLO, options={"top_k": 0.5}),
        "the option `top_k` cannot be `0.5`",
        "it is a whole number",
    ),
)


@pytest.mark.parametrize(("tag", "request_", "message", "help"), LACKS)
def test_what_a_model_cannot_do_is_an_invalid_request(
    folder: Path, tag: str, request_: ChatRequest, message: str, help: str
) -> None:
    error = failure(folder, tag, request_)
    missing = "has no model" in message
    assert (str(error), error.error_class) == (message, "not_found" if missing else "invalid_request")
    assert help in (error.help or "")
    assert error.usage == Usage(0, 0, 0, 0, "reported")


def test_a_conversation_that_the_template_refuses_is_an_invalid_request(folder: Path) -> None:
    error = failure(folder, "tiny-a", replace(HELLO, messages=(Message("assistant", "hello"),)))
    assert str(error) == "the chat template of `tiny-a` refuses this conversation: the user speaks first"
    assert error.error_class == "invalid_request"


def test_a_prompt_over_the_window_is_refused_before_it_runs(folder: Path) -> None:
    error = failure(folder, "tiny-a", replace(HELLO, messages=(Message("user", "xyz " * 2_000),)))
    assert error.error_class == "context_overflow"
    assert "and `tiny-a` has a window of 2048, answer included" in str(error)
    assert error.timings is not None
    assert error.timings.first_token_us is None


@pytest.mark.parametrize(
    ("break_it", "message", "error_class"),
    [
        (
            lambda m: (m / "model.safetensors").write_bytes(b"x" * 64),
            "`m` cannot be loaded: ",
            "bad_response",
        ),
        (
            lambda m: (m / "model.safetensors").unlink(),
            "`m` cannot be loaded: No safetensors",
            "bad_response",
        ),
        (lambda m: (m / "tokenizer.json").write_text("{"), "`m` cannot be loaded: ", "bad_response"),
        (lambda m: (m / "tokenizer.json").unlink(), "`m` cannot be loaded: ", "bad_response"),
        (
            lambda m: (m / "config.json").write_text("{"),
            "the configuration of `m` cannot be read",
            "bad_response",
        ),
        (
            lambda m: (m / "config.json").write_text('{"model_type": "novel"}'),
            "mlx-lm cannot run `m`: Model type novel not supported.",
            "not_found",
        ),
        (lambda m: (m / "config.json").unlink(), "the model `m` is not on this disk", "not_found"),
    ],
)
def test_a_folder_that_cannot_be_loaded_says_why(
    folder: Path, tmp_path: Path, break_it: Callable[[Path], object], message: str, error_class: str
) -> None:
    shutil.copytree(folder / "tiny-a", tmp_path / "m")
    break_it(tmp_path / "m")

    async def main() -> BackendError:
        backend = MlxBackend({"m": MlxModel()}, path=str(tmp_path))
        with pytest.raises(BackendError) as caught:
            await backend.chat("m", HELLO)
        await backend.close()
        return caught.value

    error = asyncio.run(main())
    assert str(error).startswith(message)
    assert error.error_class == error_class
    assert error.help


def test_a_failure_of_the_library_after_the_first_token_is_a_broken_stream(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LoadedModel.generate

    def failing(self: LoadedModel, *args: Any, **words: Any) -> Any:
        for piece in whole(self, *args, **words):
            if piece.tokens == 4:
                raise ValueError("the library broke\nin two lines")
            yield piece

    monkeypatch.setattr(LoadedModel, "generate", failing)
    error = failure(folder, "tiny-a")
    assert (str(error), error.error_class) == (
        "`tiny-a` failed while it ran: the library broke",
        "broken_stream",
    )
    assert error.usage is not None
    assert error.usage.output_tokens == 3


def test_running_out_of_memory_is_overloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: LoadedModel, *args: Any, **words: Any) -> Any:
        if words["max_tokens"] > 2:  # not the warming up
            raise RuntimeError("[metal::malloc] Attempting to allocate 1 bytes")
        yield from ()

    monkeypatch.setattr(LoadedModel, "generate", failing)
    error = failure(folder, "tiny-a")
    assert (str(error), error.error_class) == (
        "there was not enough memory to run `tiny-a`",
        "overloaded",
    )


def test_closing_ends_work_that_runs(folder: Path) -> None:
    async def main() -> BackendError:
        async with opened(folder) as backend:
            events = backend.stream("tiny-a", LONG)
            await anext(events)
            await backend.close()
            with pytest.raises(BackendError) as caught:
                async for _ in events:
                    pass
            return caught.value

    error = asyncio.run(main())
    assert (str(error), error.error_class) == ("the MLX backend was closed", "cancelled")


def test_closing_ends_a_call_that_waits_for_a_load(folder: Path) -> None:
    async def main() -> BackendError:
        async with opened(folder) as backend:
            call = asyncio.create_task(backend.chat("tiny-a", HELLO))
            await asyncio.sleep(0)  # it has begun, and its model has not been loaded yet
            await backend.close()
            with pytest.raises(BackendError) as caught:
                await call
            return caught.value

    error = asyncio.run(main())
    assert (str(error), error.error_class) == ("the MLX backend was closed", "cancelled")


# --- health and models -------------------------------------------------------------------------------------


def test_health_and_models_load_nothing_and_say_what_is_missing(folder: Path) -> None:
    async def main() -> None:
        gone = MlxModel(path="${NOT_SET}/gone")
        async with opened(folder, gone=gone, lost=MlxModel()) as backend:
            health = await backend.health()
            assert health == HealthReport(
                True,
                "7 of 9 models are on this disk; "
                "the environment variable `NOT_SET` of the path `${NOT_SET}/gone` is not set (1 more)",
                health.version,
            )
            assert health.version
            listed = await backend.models()
            assert listed == sorted(CHATTERS)
            assert backend._pool.loaded().keys() == frozenset()
            await backend.chat("tiny-a", HELLO)
            assert backend._pool.loaded().keys() == {"tiny-a"}

    asyncio.run(main())


def test_a_backend_without_any_model_on_disk_is_not_healthy(tmp_path: Path) -> None:
    backend = MlxBackend({"m": MlxModel()}, path=str(tmp_path))
    report = asyncio.run(backend.health())
    if report.version is not None:
        assert report.detail == "0 of 1 models are on this disk; the model `m` is not on this disk"
    assert report.healthy is False


@pytest.mark.parametrize("operation", ["embed", "rerank"])
def test_operations_that_a_model_does_not_offer_are_not_found(folder: Path, operation: str) -> None:
    async def main(backend: MlxBackend) -> None:
        if operation == "embed":
            await backend.embed("tiny-a", EmbedRequest(("text",)))
        else:
            await backend.rerank("tiny-a", RerankRequest("query", ("document",)))

    with pytest.raises(BackendError) as caught:
        with_backend(folder, main)
    assert (str(caught.value), caught.value.error_class) == (
        f"`tiny-a` does not offer `{operation}`",
        "not_found",
    )
