"""What a hostile or a broken server says, in both dialects, over real sockets: bounded, clean, believed or not."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_http import End, Endless, Hang, ScriptedHttp, Send, Step, Wait, events, reply
from support.sizes import ONE_OF

from routewright import ModelGateway
from routewright.backends import (
    NO_LIMITS,
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    Limits,
    Message,
    OllamaBackend,
    RerankRequest,
    StreamEnd,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from routewright.backends.ollama import answer as ollama_answer
from routewright.backends.openai import OpenAIBackend
from routewright.backends.openai import answer as openai_answer
from routewright.backends.phases import CallClock
from routewright.backends.wire import sizes as answer_sizes
from routewright.backends.wire import untrusted
from routewright.backends.wire.counts import (
    CHARACTERS_PER_TOKEN,
    INPUT_ROOM_TOKENS,
    ChatIntake,
    checked_input,
)
from routewright.backends.wire.reply import STEP_BYTES, Reply
from routewright.backends.wire.sizes import (
    MAX_BODY_BYTES,
    MAX_ERROR_BYTES,
    MAX_LISTS,
    MAX_VALUES,
    TEXT_BYTES,
    TEXT_BYTES_PER_TOKEN,
    chat_sizes,
)
from routewright.backends.wire.untrusted import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, Gate
from routewright.backends.wire.values import MAX_COUNT, Room, Unreadable, joined
from routewright.ledger import Ledger

KEY = "sk-Zq0123456789abcdef"
ASK = ChatRequest((Message("user", "Hello?"),))
MIB = 1024 * 1024
IN_SOCKETS = 16 * MIB
"""What a server may have sent and nobody has read."""

Lines = Sequence[Mapping[str, Any]]


# --- the two dialects ---------------------------------------------------------------------------------------


def openai_pieces(
    texts: Sequence[str], usage: Any = None, model: str = "m-1", finish: str = "stop"
) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = [
        {"model": model, "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts
    ]
    chunks.append({"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage is not None:
        given, written = usage
        chunks.append(
            {"choices": [], "usage": {"prompt_tokens": given, "completion_tokens": written}, "model": model}
        )
    return chunks


def ollama_pieces(
    texts: Sequence[str], usage: Any = None, model: str = "m-1", finish: str = "stop"
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {"model": model, "message": {"role": "assistant", "content": text}, "done": False} for text in texts
    ]
    given, written = usage or (3, 2)
    last = {"prompt_eval_count": given, "eval_count": written, "total_duration": 9}
    return [*lines, {"model": model, "message": {}, "done": True, "done_reason": finish, **last}]


def openai_whole(texts: Sequence[str], usage: Any = None, model: str = "m-1") -> list[Step]:
    body: dict[str, Any] = {
        "model": model,
        "choices": [{"message": {"content": "".join(texts)}, "finish_reason": "stop"}],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return reply(200, body)


def openai_stream(texts: Sequence[str], usage: Any = None, model: str = "m-1") -> list[Step]:
    return events(*openai_pieces(texts, usage, model), "data: [DONE]\n\n")


def ollama_stream(texts: Sequence[str], usage: Any = None, model: str = "m-1") -> list[Step]:
    return ndjson(*ollama_pieces(texts, usage, model))


def ndjson(*lines: Any) -> list[Step]:
    head = b"HTTP/1.1 200 x\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    return [Send(head), *(Send(json.dumps(line).encode() + b"\n") for line in lines)]


WAYS: list[tuple[str, str, Callable[..., list[Step]]]] = [
    ("openai", "chat", openai_whole),
    ("openai", "stream", openai_stream),
    ("ollama", "chat", ollama_stream),
    ("ollama", "stream", ollama_stream),
]
ways = pytest.mark.parametrize(("kind", "how", "said"), WAYS, ids=[f"{kind}-{how}" for kind, how, _ in WAYS])


def backend_of(kind: str, url: str, key: str | None = KEY) -> OpenAIBackend | OllamaBackend:
    # A key is for ollama.com alone, so the one of `ollama` is put where it would be.
    if kind == "openai":
        return OpenAIBackend(url, api_key=key)
    made = OllamaBackend(url, location="cloud")
    if key is not None:
        client = made._link.http
        client._key, client.gate = key, Gate(key)
        made._link.gate = client.gate
    return made


@asynccontextmanager
async def serving(kind: str, *scripts: Sequence[Step], key: str | None = KEY) -> AsyncIterator[Any]:
    async with ScriptedHttp(*scripts) as server:
        backend = backend_of(kind, server.url, key)
        try:
            yield backend, server
        finally:
            await backend.close()


async def asked(
    kind: str,
    how: str,
    script: Sequence[Step],
    request: ChatRequest = ASK,
    limits: Limits = NO_LIMITS,
    key: str | None = KEY,
) -> tuple[ChatAnswer, str, str]:
    """The answer, and the text and the thoughts that were shown; raises BackendError."""
    async with serving(kind, script, key=key) as (backend, _):
        if how == "chat":
            answer = await backend.chat("m", request, limits=limits)
            return answer, answer.text, answer.thinking or ""
        text = thinking = ""
        async for event in backend.stream("m", request, limits=limits):
            match event:
                case StreamEnd(answer):
                    return answer, text, thinking
                case TextDelta(piece):
                    assert piece
                    text += piece
                case ThinkingDelta(piece):
                    thinking += piece
    raise AssertionError("a stream without an end")


async def refused(
    kind: str,
    script: Sequence[Step],
    request: ChatRequest = ASK,
    limits: Limits = NO_LIMITS,
    how: str = "stream",
) -> tuple[BackendError, ScriptedHttp]:
    """The failure, and the server that was asked."""
    async with serving(kind, script) as (backend, server):
        with pytest.raises(BackendError) as raised:
            if how == "chat":
                await backend.chat("m", request, limits=limits)
            else:
                async for _ in backend.stream("m", request, limits=limits):
                    pass
        return raised.value, server


# --- texts --------------------------------------------------------------------------------------------------


@ways
def test_halves_of_a_character_are_joined_and_lone_ones_replaced(
    kind: str, how: str, said: Callable[..., list[Step]]
) -> None:
    answer, shown, _ = asyncio.run(asked(kind, how, said(["a \ud83d", "\ude00 b \ud83d", " c \ude00"])))
    assert answer.text == shown == "a \U0001f600 b \ufffd c \ufffd"


@given(st.lists(st.text(st.characters() | st.sampled_from("\ud83d\ude00\ud800")), max_size=6))
def test_where_a_text_was_cut_changes_nothing(pieces: list[str]) -> None:
    text = Gate(KEY).text(Room(MIB))
    passed = "".join([*map(text.feed, pieces), text.rest()])
    assert passed == text.whole() == joined("".join(pieces))
    passed.encode()


@given(st.data())
def test_the_key_is_found_wherever_it_was_cut(data: st.DataObject) -> None:
    said = data.draw(st.lists(st.sampled_from([KEY, "s", "sk-", KEY[:9], "words "]), min_size=1))
    whole = "".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    text = Gate(KEY).text(Room(MIB))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert "".join([*map(text.feed, pieces), text.rest()]) == whole.replace(KEY, "[key]")


@ways
def test_names_are_cleaned_and_cut_and_never_the_key(
    kind: str, how: str, said: Callable[..., list[Step]]
) -> None:
    async def named(model: str) -> str | None:
        return (await asked(kind, how, said(["Hi"], model=model)))[0].model_said

    async def run() -> None:
        assert await named("qwen3:8b") == "qwen3:8b"
        assert await named("\ud800") == "\ufffd"
        assert await named("a\nb\x1b[31m\u202ec") == "a\ufffdb\ufffd[31m\ufffdc"
        assert await named(f"echo-{KEY}") == "echo-[key]"
        long = await named("x" * 3 * MIB)
        assert long == "x" * (MAX_NAME_CHARACTERS - 1) + "…"
        assert await named("/models/" + "x" * 900) == "/models/" + "x" * 900

    asyncio.run(run())


@ways
def test_a_key_in_an_answer_is_taken_out_however_it_is_written(
    kind: str, how: str, said: Callable[..., list[Step]]
) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)

    async def run() -> None:
        for pieces in (["it is ", KEY[:5], KEY[5:], "!"], [f"it is {KEY}!"]):
            answer, shown, _ = await asked(kind, how, said(pieces))
            assert answer.text == shown == "it is [key]!"
        script = [
            Send(step.raw.replace(b"ESCAPED", escaped.encode()).replace(b"Content-Length", b"X-Length"))
            for step in [*said(["it is ESCAPED!"])]
            if isinstance(step, Send)
        ]
        if how == "stream" or kind == "ollama":
            assert (await asked(kind, how, script))[0].text == "it is [key]!"

    asyncio.run(run())


@given(st.data())
def test_no_way_to_write_json_hides_the_key(data: st.DataObject) -> None:
    letters = st.sampled_from("u006bA") | st.characters(min_codepoint=33, max_codepoint=126)
    # Among much else Hypothesis draws the words that stand for no key, in whatever letters.
    key = data.draw(
        st.text(letters, min_size=8, max_size=12).filter(lambda key: key.lower() not in untrusted._NO_SECRETS)
    )
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/"}

    def written(character: str) -> str:
        escaped = f"\\u{ord(character):04x}"
        plain = [] if character in '"\\' else [character]
        brief = [short[character]] if character in short else []
        return data.draw(st.sampled_from([*plain, *brief, escaped, escaped.replace("a", "A")]))

    before = data.draw(st.sampled_from(["x ", "\\\\", "\\\\u00", "\\n", "\\u00e9", "\\ud83d"]))
    raw = f'{{"a": ["{before}{"".join(map(written, key))} y"]}}'
    text = json.loads(raw)["a"][0]
    assert key in text
    assert Gate(key).parse(raw.encode()) == {"a": [text.replace(key, "[key]")]}


def test_words_that_stand_for_no_key_are_no_secret() -> None:
    for key in ("none", "EMPTY", "lm-studio", "not-needed", "password"):
        said = asyncio.run(asked("openai", "stream", openai_stream([f"{key} of them"], model=key), key=key))
        assert (said[1], said[0].model_said) == (f"{key} of them", key)


def test_a_key_of_a_letter_leaves_messages_readable() -> None:
    assert Gate("x").message("the context exceeds x") == "the context exceeds x"
    assert Gate("EMPTY").message("not EMPTY") == "not [key]"


def malformed(key: str) -> list[bytes]:
    """Replies that are none, or refuse, and repeat the key."""
    return [
        b"HTTP/1.1 %s\r\n\r\n" % key.encode(),
        key.encode() * 3,
        b"HTTP/1.1 200 x\r\nContent-Length: %s\r\n\r\n" % key.encode(),
        b"HTTP/1.1 200 x\r\n%s\r\n\r\n" % key.encode(),
        b"HTTP/1.1 200 x\r\nContent-Length: 90\r\n\r\n" + key.encode(),
        *(
            b"HTTP/1.1 %d x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, type_, len(body), body)
            for status in (200, 400, 500)
            for type_ in (b"application/json", b"text/event-stream")
            for body in (
                key.encode(),
                b'{"a": "' + key.encode(),
                b"\xff" + key.encode(),
                json.dumps({"error": key}).encode(),
                json.dumps({"error": {"message": key, "code": key}}).encode(),
                json.dumps({"choices": [{"message": {"content": ""}, "finish_reason": key}]}).encode(),
                json.dumps({"choices": [{"message": {"tool_calls": [{"function": {"name": key, "arguments": 3}}]},
                                         "finish_reason": "stop"}]}).encode(),
                json.dumps({"message": {}, "done": True, "done_reason": key}).encode(),
                b"data: " + key.encode() + b"\n\n",
                b"data: " + json.dumps({"error": {"message": key}}).encode() + b"\n\n",
                b"data: " + json.dumps({"choices": [{"delta": {}, "finish_reason": key}]}).encode() + b"\n\n",
                b"error: " + key.encode() + b"\n\n",
                # As servers pass on what another said: JSON in JSON, in which the key may be escaped a second time.
                json.dumps({"error": {"message": "", "metadata": {"raw": json.dumps({"error": key})}}}).encode(),
                json.dumps({"error": json.dumps({"error": {"message": key}}).replace("s", "\\u0073")}).encode(),
                json.dumps([{"error": {"message": key, "status": key, "details": [{"reason": key}]}}]).encode(),
                json.dumps({"error": "unauthorized", "signin_url": f"https://ollama.com/connect?key={key}"}).encode(),
                json.dumps({"detail": [{"msg": key, "input": key}]}).encode(),
                f"<html><title>{key}</title>".encode(),
            )
        ),
    ]  # fmt: skip


def links(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from, as collectors of errors follow it."""
    while error is not None:
        yield error
        if error.__context__ is not error.__cause__:
            yield from links(error.__context__)
        error = error.__cause__


SHORT_KEY = "szq012"
"""Too short to be taken out of answers, in which such letters may stand by chance."""


@pytest.mark.parametrize("key", [KEY, SHORT_KEY])
@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("how", ["chat", "stream", "embed", "models"])
def test_no_failure_holds_the_key_nor_does_what_it_came_from(kind: str, how: str, key: str) -> None:
    raws = malformed(key)
    scripts: list[list[Step]] = [[Send(raw), End()] for raw in raws]

    async def failed(backend: Any) -> BaseException | None:
        try:
            match how:
                case "chat":
                    await backend.chat("m", ASK)
                case "stream":
                    async for _ in backend.stream("m", ASK):
                        pass
                case "embed":
                    await backend.embed("m", EmbedRequest(("a",)))
                case _:
                    await backend.models()
        except BackendError as error:
            return error
        return None

    async def run() -> None:
        async with serving(kind, *scripts, key=key) as (backend, server):
            for number, raw in enumerate(raws, 1):
                for link in links(await failed(backend)):
                    said = (
                        f"{link} {link!r} {vars(link)} {getattr(link, 'doc', '')} {getattr(link, 'help', '')}"
                    )
                    assert key not in said + "".join(traceback.format_exception(link)), raw
                assert len(server.requests) == number, raw

    asyncio.run(run())


# --- sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("coding", ["gzip", "GZip", "deflate", "br", "identity, gzip"])
def test_what_is_compressed_is_neither_asked_for_nor_unpacked(kind: str, coding: str) -> None:
    bomb = gzip.compress(b"\n" * 16 * MIB)

    def script(status: int) -> list[Step]:
        head = f"HTTP/1.1 {status} x\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n"
        return [Send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb)]

    async def run() -> None:
        for how in ("chat", "stream"):
            error, server = await refused(kind, script(200), how=how, limits=Limits(total_ms=20_000))
            assert error.error_class == "bad_response"
            assert str(error) == f"the answer of `m` is compressed (`{coding}`), which was not asked for"
            assert server.requests[0].headers["accept-encoding"] == "identity"
        error, _ = await refused(kind, script(429))
        assert error.error_class == "rate_limited"
        async with serving(kind, script(200)) as (backend, server):
            with pytest.raises(BackendError):
                await backend.models()
            assert server.requests[0].headers["accept-encoding"] == "identity"

    asyncio.run(run())


def test_an_answer_that_says_it_is_not_encoded_is_read() -> None:
    whole = reply(
        200,
        {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"Content-Encoding": "identity"},
    )
    assert asyncio.run(asked("openai", "chat", whole))[1] == "Hi"


def event(piece: Any) -> bytes:
    return b"data: " + json.dumps(piece).encode() + b"\n\n"


ENDLESS_EVENTS: dict[str, bytes] = {
    "text": event(openai_pieces(["lorem ipsum " * 20])[0]),
    "short text": event(openai_pieces(["ab"])[0]),
    "text of four bytes": event(openai_pieces(["\U0001f600" * 90])[0]),
    "thoughts": event({"choices": [{"delta": {"reasoning_content": "hm " * 90}}]}),
    "refusal": event({"choices": [{"delta": {"refusal": "no " * 90}}]}),
    "arguments": event(
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 300}}]}}]}
    ),
    "calls": b"".join(
        event({"choices": [{"delta": {"tool_calls": [{"index": at, "id": "x" * 100}]}}]})
        for at in range(9000)
    ),
    "nothing": event({"choices": []}),
    "no delta": event({"choices": [{"delta": {}}]}),
    "usage": event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
    "newlines": b"\n" * 65_536,
    "comments": b":\n" * 32_768,
    "a line": b"data: " + b"x" * 65_536,
}
ENDLESS_LINES: dict[str, bytes] = {
    "text": json.dumps(ollama_pieces(["lorem ipsum " * 20])[0]).encode() + b"\n",
    "thoughts": json.dumps({"message": {"thinking": "hm " * 90}}).encode() + b"\n",
    "calls": json.dumps(
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}] * 9}}
    ).encode()
    + b"\n",
    "arguments": json.dumps(
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": "x" * 900}}}]}}
    ).encode()
    + b"\n",
    "nothing": b'{"message": {}}\n',
    "newlines": b"\n" * 65_536,
    "a line": b'{"a": "' + b"x" * 65_536,
}
ENDLESS = [
    *(("openai", name, raw) for name, raw in ENDLESS_EVENTS.items()),
    *(("ollama", name, raw) for name, raw in ENDLESS_LINES.items()),
]


@pytest.mark.parametrize(
    ("kind", "name", "raw"), ENDLESS, ids=[f"{kind}-{name}" for kind, name, _ in ENDLESS]
)
def test_an_endless_stream_ends_where_its_answer_would(
    kind: str, name: str, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    monkeypatch.setattr(answer_sizes, "STREAM_BYTES", 5 * MIB)  # the real bound is a matter of seconds
    answer_sizes.chat_sizes.cache_clear()
    asked_tokens = 16
    sizes = chat_sizes(asked_tokens)
    assert sizes.text == TEXT_BYTES + 16 * TEXT_BYTES_PER_TOKEN
    request = ChatRequest(ASK.messages, max_output_tokens=asked_tokens)

    async def run() -> None:
        error, server = await refused(kind, [Send(head), Endless(raw * (1 + 65_536 // len(raw)))], request)
        assert error.error_class == "bad_response"
        if name == "a line":
            assert str(error) == "a line of the answer of `m` does not end"
        elif name in ("newlines", "comments", "nothing", "no delta", "usage", "short text"):
            assert str(error).endswith(f"has more than {sizes.stream} bytes, too many for what was asked")
        else:
            assert str(error).endswith(f"more than {sizes.text} bytes of text, too many for what was asked")
        assert server.endless_bytes < sizes.stream + IN_SOCKETS

    asyncio.run(run())
    answer_sizes.chat_sizes.cache_clear()


def test_limits_hold_and_others_get_their_turn_however_much_comes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[int, int]] = []
    turns = 0
    split = Reply._split

    def noted(self: Reply, splitter: Any, piece: bytes) -> list[bytes]:
        steps.append((len(piece), turns))
        return split(self, splitter, piece)

    monkeypatch.setattr(Reply, "_split", noted)

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        ticking = asyncio.ensure_future(tick())
        flood: list[Step] = [
            Send(b"HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\n\r\n"),
            Endless(b"\n" * 2 * MIB),
        ]
        for limits in (Limits(total_ms=300), Limits(first_token_ms=300)):
            error, _ = await refused("openai", flood, limits=limits)
            # Endless data may reach the bound first where the machine is fast.
            assert error.error_class in ("timeout.total", "timeout.first_token", "bad_response")
        ticking.cancel()
        assert max(size for size, _ in steps) <= STEP_BYTES
        assert all(before < after for (_, before), (_, after) in zip(steps, steps[1:], strict=False))

    asyncio.run(run())


def test_a_turn_ends_a_call_whose_time_is_over_although_data_keeps_coming() -> None:
    async def run() -> None:
        for limits, error_class in (
            (Limits(total_ms=20), "timeout.total"),
            (Limits(first_token_ms=20), "timeout.first_token"),
        ):
            clock = CallClock(limits, who="m")
            clock.enter("first_token")
            with pytest.raises(BackendError) as raised:
                while True:
                    await clock.turn()
            assert raised.value.error_class == error_class
            assert raised.value.timings is not None and raised.value.timings.total_us >= 20_000
        # Where a token came, whoever reads the stream may have taken the time.
        clock = CallClock(Limits(idle_ms=20), who="m")
        clock.token()
        await asyncio.sleep(0.03)
        await clock.turn()

    asyncio.run(run())


def test_a_body_that_is_too_large_is_not_read() -> None:
    async def run() -> None:
        head = b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n"
        most = chat_sizes(16).body
        scripts: list[list[Step]] = [
            [Send(head + b"Content-Length: %d\r\n\r\n" % (240 * MIB)), Endless(b"[],[]," * 10_000)],
            [Send(head + b"Connection: close\r\n\r\n["), Endless(b"[],[]," * 10_000)],
        ]
        for script in scripts:
            request = ChatRequest(ASK.messages, max_output_tokens=16)
            for how in ("chat", "stream"):
                error, server = await refused("openai", script, request, how=how)
                assert error.error_class == "bad_response"
                endless = (
                    "does not end"
                    if how == "stream"
                    else f"has more than {most} bytes, too many for what was asked"
                )
                assert str(error).endswith(endless)
                assert server.endless_bytes < most + IN_SOCKETS
            for kind in ("openai", "ollama"):
                async with serving(kind, script) as (backend, server):
                    with pytest.raises(BackendError):
                        await backend.embed("m", EmbedRequest(("a",)))
                    assert server.endless_bytes < MAX_BODY_BYTES + 32 * 16_384 + IN_SOCKETS
                async with serving(kind, script) as (backend, server):
                    with pytest.raises(BackendError):
                        await backend.models()
                    assert (await backend.health()).healthy is not True or kind == "openai"
                    assert server.endless_bytes < 3 * (MAX_BODY_BYTES + IN_SOCKETS)

    asyncio.run(run())


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"[[]],"])
def test_json_of_nothing_but_lists_is_not_built(unit: bytes) -> None:
    body = b'{"choices": [' + unit * (MAX_LISTS + 1) + b"0]}"
    error, _ = asyncio.run(
        refused("openai", reply(200, body, {"Content-Type": "application/json"}), how="chat")
    )
    assert str(error) == f"the answer of `m` has more than {MAX_LISTS} lists and objects"
    body = b'{"choices": [' + b"1," * (MAX_VALUES + 1) + b"0]}"
    error, _ = asyncio.run(
        refused("openai", reply(200, body, {"Content-Type": "application/json"}), how="chat")
    )
    assert str(error) == f"the answer of `m` has more than {MAX_VALUES} values"


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("depth", [500, 100_000])
def test_json_nested_deep_is_an_error_of_ours_wherever_it_is(kind: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    call = {"function": {"name": "f", "arguments": {"a": "DEEP"}}}
    shapes: list[Any] = [
        "DEEP",
        {"error": "DEEP"},
        {"error": {"message": "DEEP", "code": "DEEP"}},
        {"choices": [{"message": {}, "finish_reason": "DEEP"}]},
        {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "stop"}]},
        {"message": {}, "done": True, "done_reason": "DEEP"},
        {"message": {"tool_calls": [call]}},
    ]

    async def run() -> None:
        for shape in shapes:
            body = json.dumps(shape).replace('"DEEP"', deep)
            for status in (200, 400, 500):
                script = reply(status, body, {"Content-Type": "application/json"})
                error, _ = await refused(kind, script, how="chat")
                assert error.error_class in ("bad_response", "broken_stream", "invalid_request", "overloaded")

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_of_an_error_only_the_beginning_is_read(kind: str) -> None:
    async def run() -> None:
        head = b"HTTP/1.1 429 x\r\nRetry-After: 3\r\nConnection: close\r\n\r\n"
        error, server = await refused(kind, [Send(head), Endless(b"input " * 10_000)])
        assert (error.error_class, error.retry_after_ms) == ("rate_limited", 3_000)
        assert server.endless_bytes < MAX_ERROR_BYTES + IN_SOCKETS
        error, _ = await refused(kind, [Send(b"HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\nhalf"), Wait(0.05)])
        assert error.error_class == "overloaded"

    asyncio.run(run())


# --- honest answers are never cut -----------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("piece", ["lorem ipsum dolor ", "中文字", "\U0001f600", "    ", '"\\\n'])
def test_a_long_answer_is_whole(kind: str, how: str, said: Callable[..., list[Step]], piece: str) -> None:
    size = len(piece.encode())
    texts = [piece * 100] * ((TEXT_BYTES - 1) // (100 * size))
    request = ChatRequest(ASK.messages, max_output_tokens=1)
    usage = (12, sum(map(len, texts)))
    answer, shown, _ = asyncio.run(asked(kind, how, said(texts, usage=usage), request))
    assert answer.text == shown == "".join(texts)
    request = ChatRequest(ASK.messages, max_output_tokens=16_384)
    texts *= 2
    assert asyncio.run(asked(kind, how, said(texts), request))[1] == "".join(texts)


def test_long_vectors_and_many_of_them_are_read() -> None:
    number = -1.2345678901234567e-300
    vectors = [[number] * 16_384] * 12

    async def run() -> None:
        request = EmbedRequest(("a",) * 12)
        body = {"data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]}
        async with serving("openai", reply(200, body)) as (backend, _):
            assert (await backend.embed("m", request)).vectors == tuple(map(tuple, vectors))
        async with serving("ollama", reply(200, {"embeddings": vectors})) as (backend, _):
            assert (await backend.embed("m", request)).vectors == tuple(map(tuple, vectors))

    asyncio.run(run())


def test_an_id_that_is_sent_back_is_as_it_came() -> None:
    given = "call_" + "c2ln" * 3_000
    assert len(given) < MAX_ID_CHARACTERS
    call = {"id": given, "function": {"name": "weather", "arguments": '{"city": "Zürich \\ud83d\\ude00"}'}}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    answer, _, _ = asyncio.run(asked("openai", "chat", reply(200, body)))
    assert answer.tool_calls == (ToolCall(given, "weather", {"city": "Zürich 😀"}),)


def calls_said(kind: str, ids: Sequence[str], name: str) -> Iterator[Any]:
    """A piece of a stream for each call of a tool."""
    for at, id in enumerate(ids):
        function = {"name": name, "arguments": {} if kind == "ollama" else "{}"}
        call = {"index": at, "id": id, "function": function}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        yield {"message": message} if kind == "ollama" else {"choices": [{"delta": message}]}


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_names_and_ids_of_calls_take_room_of_the_answer(kind: str) -> None:
    for id, name in (("\U0001f600" + "a" * 16_000, "weather"), ("c", "n" * MAX_NAME_CHARACTERS)):
        intake = ChatIntake(asked_tokens=16)
        pieces = ollama_answer.ChatPieces(intake) if kind == "ollama" else openai_answer.ChatPieces(intake)
        fit = TEXT_BYTES // len(id + name)
        with pytest.raises(Unreadable, match="bytes of text, too many for what was asked"):
            for piece in calls_said(kind, [id] * (fit + 1), name):
                pieces.feed(piece)


def test_an_id_that_every_piece_repeats_takes_its_room_once() -> None:
    pieces = openai_answer.ChatPieces(ChatIntake(asked_tokens=16))
    [call] = calls_said("openai", ["c2ln" * 3_000], "weather")
    for _ in range(1_000):
        pieces.feed(call)


# --- counts -------------------------------------------------------------------------------------------------

LONG = "The quick brown fox jumps over the lazy dog, and nobody counts how often it does. "


def usage_said(
    kind: str, how: str, said: Callable[..., list[Step]], texts: list[str], usage: Any, **more: Any
) -> Usage:
    request = ChatRequest(ASK.messages, **more)
    return asyncio.run(asked(kind, how, said(texts, usage=usage), request))[0].usage


@ways
@pytest.mark.parametrize("count", [10**30, 2**62, 2**53, 1_000_000, -1, 12.5, "1e1", "٣", True, [7]])
def test_a_count_that_a_call_cannot_have_is_unknown(
    kind: str, how: str, said: Callable[..., list[Step]], count: Any
) -> None:
    given = usage_said(kind, how, said, ["Hi"], (count, 2), max_output_tokens=16)
    assert (given.input_tokens, given.output_tokens, given.source) == (None, 2, "reported")
    written = usage_said(kind, how, said, ["Hi"], (3, count), max_output_tokens=16)
    assert (written.input_tokens, written.output_tokens, written.source) == (3, None, "reported")


@ways
def test_counts_that_a_call_can_have_are_believed(
    kind: str, how: str, said: Callable[..., list[Step]]
) -> None:
    for usage, more in (
        ((3, 2), {}),
        ((INPUT_ROOM_TOKENS, 16), {"max_output_tokens": 16}),  # a system prompt of the server's own
        ((3, 128_000), {}),  # thoughts that are not shown
        ((3, 131_072), {"max_output_tokens": 131_072}),
    ):
        got = usage_said(kind, how, said, ["Hi"], usage, **more)
        assert (got.input_tokens, got.output_tokens, got.source) == (*usage, "reported")
    honest = usage_said(kind, how, said, [LONG] * 100, (3, len(LONG) * 100 // 5))
    assert (honest.output_tokens, honest.source) == (len(LONG) * 20, "reported")
    blanks = usage_said(kind, how, said, [" " * 4_000 + "."], (3, 40))
    assert (blanks.output_tokens, blanks.source) == (40, "reported")


@ways
@pytest.mark.parametrize("usage", [(0, 0), (3, 0), (3, 1), (1, 10)])
def test_what_came_counts_at_least(
    kind: str, how: str, said: Callable[..., list[Step]], usage: tuple[int, int]
) -> None:
    texts = [LONG] * 350
    got = usage_said(kind, how, said, texts, usage)
    if kind == "ollama" and usage[1] == 0:
        # This API leaves out what is 0, so nothing was said: what a quota reserved would count, were it enough.
        assert got.output_tokens is None
        got = usage_said(kind, how, said, texts, usage, max_output_tokens=16)
    least = -(-len(LONG) * 350 // CHARACTERS_PER_TOKEN)
    assert (got.output_tokens, got.source) == (least, "lower_bound")
    assert got.input_tokens is not None and got.input_tokens >= 1


def test_counts_of_vectors_and_scores_are_checked_too() -> None:
    for request in (EmbedRequest(("a text",)), RerankRequest("a", ("b", "c"))):
        for count, believed in ((0, None), (7, 7), (10**6, None), (INPUT_ROOM_TOKENS, INPUT_ROOM_TOKENS)):
            got = checked_input(Usage(count, None, 0, None, "reported"), request)
            assert (got.input_tokens, got.output_tokens) == (believed, 0)
        assert checked_input(Usage(7, 9, 10**6, 3, "reported"), request) == Usage(
            7, None, None, None, "reported"
        )
    long = EmbedRequest(("x" * 100_000,))
    assert checked_input(Usage(100_000, None, 0, None, "reported"), long).input_tokens == 100_000


def test_a_prompt_counts_at_least_what_was_sent_unless_the_server_cut_it() -> None:
    prompt = LONG * 100
    least = -(-len(prompt) // CHARACTERS_PER_TOKEN)
    intake = ChatIntake(request=ChatRequest((Message("user", prompt),)))
    for said, believed, source in (
        (1, least, "lower_bound"),
        (least + 7, least + 7, "reported"),
    ):
        got = intake.checked(Usage(said, 0, 0, None, "reported"))
        assert (got.input_tokens, got.source) == (believed, source)
    assert intake.checked(Usage(1, 0, 0, None, "reported"), truncated=True).input_tokens == 1
    ruler = ChatIntake(request=ChatRequest((Message("user", " " * 5_000 + "Hello?"),)))
    honest = Usage(3, 0, 0, None, "reported")
    assert ruler.checked(honest) == honest


def test_arguments_of_tools_count_as_what_came() -> None:
    intake = ChatIntake(request=ASK)
    intake.text.feed(LONG * 100)
    intake.another().feed(LONG * 300)
    assert intake.characters == len(LONG) * 400
    got = intake.checked(Usage(3, 0, 1, None, "reported"))
    assert (got.output_tokens, got.source) == (-(-len(LONG) * 400 // CHARACTERS_PER_TOKEN), "lower_bound")


def test_parts_that_are_more_than_the_whole_are_unknown() -> None:
    intake = ChatIntake(request=ASK)
    checked = intake.checked(Usage(3, 10**30, 2, 10**30, "reported"))
    assert checked == Usage(3, None, 2, None, "reported")
    assert intake.checked(Usage(3, 4, 2, 3, "reported")) == Usage(3, None, 2, None, "reported")
    assert intake.checked(Usage(None, 4, None, 3, "reported")) == Usage(None, None, None, None, "reported")
    whole = Usage(3, 3, 2, 2, "reported")
    assert intake.checked(whole) == whole


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("how", ["chat", "stream"])
def test_what_came_of_a_broken_stream_counts(kind: str, how: str) -> None:
    pieces = openai_pieces([LONG] * 10)[:-1] if kind == "openai" else ollama_pieces([LONG] * 10)[:-1]
    script = events(*pieces) if kind == "openai" else ndjson(*pieces)
    limits = Limits(idle_ms=30_000)  # a chat is streamed inside then
    error, _ = asyncio.run(refused(kind, script, how=how, limits=limits))
    assert error.usage == Usage(2, 0, -(-len(LONG) * 10 // 4), None, "estimated")


POLICY = """\
routewright: 1
name: capped
catalog:
  routewright: 1
  backends:
    there: { kind: KIND, host: "URL", location: cloud, timeouts: { connect: 4m, total: 4m } }
  models:
    model: { backend: there, tag: "m:cloud", price: { input: 1, output: 10 }, max_output_tokens: 200 }
rules:
  - { name: otherwise, use: [model] }
"""
"""With limits far above what a call takes on a busy machine: one that they end may never have reached the server.

No Ollama is asked whether a model of the cloud is loaded: every request is a call.
"""
CAPS = {
    "tokens": "controls: [{ name: cap, on: model, max_tokens: 5000, per: day }]\n",
    "cost": "controls: [{ name: cap, on: model, max_cost: 0.1 USD, per: day }]\n",
}


@pytest.mark.parametrize("cap", CAPS)
@ways
def test_caps_hold_for_a_server_that_counts_nothing(
    kind: str, how: str, said: Callable[..., list[Step]], cap: str, tmp_path: Path
) -> None:
    """28,000 characters are at least 3,500 tokens, and these cost 0.035 USD."""
    texts = [LONG] * 342

    async def run() -> int:
        async with ScriptedHttp(said(texts, usage=(0, 0))) as server:
            url = f"{server.url}/v1" if kind == "openai" else server.url
            policy = tmp_path / "policy.yaml"
            text = POLICY.replace("URL", url).replace("KIND", kind) + CAPS[cap]
            policy.write_text(text, encoding="utf-8")
            gateway = ModelGateway.from_policy(
                policy, ledger=tmp_path / "ledger.duckdb", state=tmp_path / "state.db"
            )
            async with gateway:
                for _ in range(20):
                    try:
                        if how == "chat":
                            await gateway.generate_chat(messages=[{"role": "user", "content": "Hello?"}])
                        else:
                            async for _ in gateway.stream_chat(
                                messages=[{"role": "user", "content": "Hello?"}]
                            ):
                                pass
                    except Exception:
                        break
            return len(server.requests)

    calls = asyncio.run(run())
    assert calls == (2 if cap == "tokens" else 3)
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    rows = ledger.query(
        "SELECT DISTINCT tokens_source, cost_source, output_tokens FROM attempt_rows WHERE status = 'ok'"
    ).rows
    assert rows == (("lower_bound", "lower_bound", -(-len(LONG) * 342 // 8)),)


# --- every field of an answer ---------------------------------------------------------------------------------

TOOL = {"id": "c1", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a": ["x"]}'}}
OPENAI_BODY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "m-1",
    "system_fingerprint": "x",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hi you",
                "reasoning_content": "Let me think",
                "refusal": "",
                "tool_calls": [TOOL],
            },
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}]},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 6,
        "total_tokens": 15,
        "prompt_cache_hit_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
OPENAI_CHUNK = {
    **OPENAI_BODY,
    "choices": [{**OPENAI_BODY["choices"][0], "delta": OPENAI_BODY["choices"][0]["message"]}],  # type: ignore[index]
}
del OPENAI_CHUNK["choices"][0]["message"]  # type: ignore[index]
OLLAMA_LINE = {
    "model": "m-1",
    "remote_model": "m-2",
    "remote_host": "https://ollama.com:443",
    "created_at": "2026-11-28T00:00:00Z",
    "message": {
        "role": "assistant",
        "content": "Hi you",
        "thinking": "Let me think",
        "tool_calls": [{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"a": ["x"]}}}],
    },
    "done": True,
    "done_reason": "stop",
    "total_duration": 10**9,
    "load_duration": 10**6,
    "prompt_eval_count": 9,
    "prompt_eval_duration": 1,
    "eval_count": 6,
    "eval_duration": 1,
}
BAD = {
    "lone surrogate": '"\\ud800 and \\udc00"',
    "control characters": '"\\u0000\\u001b[31m\\n\\u202e"',
    "8 MiB": '"' + "x" * 8 * MIB + '"',
    "2 MiB": '"' + "é" * MIB + '"',
    "10**30": str(10**30),
    "2**62": str(2**62),
    "10**5000": "1" + "0" * 5_000,
    "-1": "-1",
    "1e400": "1e400",
    "-1e400": "-1e400",
    "NaN": "NaN",
    "nested": "[" * 300 + "]" * 300,
    "nested too deep": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "null": "null",
    "True": "true",
    "object": '{"a": {"b": []}}',
    "empty": '""',
    "key": json.dumps(KEY),
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of a JSON value, also of those that hold others."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*path, name))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from leaves(part, (*path, at))


def sampled(bad: str, places: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The places that something bad is put in: one of so many, others for the next kind of it."""
    return islice(places, list(BAD).index(bad) % ONE_OF, None, ONE_OF)


def mutated(value: Any, path: tuple[Any, ...], marker: str) -> Any:
    name, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[name] = mutated(value[name], tuple(rest), marker) if rest else marker
    return copy


def replies(kind: str, how: str, bad: str) -> Iterator[tuple[str, list[Step]]]:
    whole = kind == "openai" and how == "chat"
    full: Any = OLLAMA_LINE if kind == "ollama" else OPENAI_BODY if whole else OPENAI_CHUNK
    for path in sampled(bad, leaves(full)):
        raw = json.dumps(mutated(full, path, "MARKER")).replace('"MARKER"', BAD[bad]).encode()
        if whole:
            yield str(path), reply(200, raw, {"Content-Type": "application/json"})
        elif kind == "openai":
            yield str(path), [*events(), Send(b"data: " + raw + b"\n\ndata: [DONE]\n\n")]
        else:
            yield str(path), [*ndjson(), Send(raw + b"\n")]


def every_text(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case ToolCall():
            yield from (value.id, value.name, *every_text(value.arguments))
        case dict():
            for name, part in value.items():
                yield from (name, *every_text(part))
        case list() | tuple():
            for part in value:
                yield from every_text(part)


def check(answer: ChatAnswer) -> None:
    """Every text is clean and bounded, and every count is one that the call can have."""
    sizes = chat_sizes(64)
    texts = [answer.text, answer.thinking or "", *every_text(answer.tool_calls)]
    assert sum(len(text.encode()) for text in texts) <= sizes.text + MAX_ID_CHARACTERS + MAX_NAME_CHARACTERS
    for text in (*texts, answer.model_said or ""):
        text.encode()
        assert KEY not in text
    for name in (answer.model_said or "", *(call.name for call in answer.tool_calls)):
        assert name == "" or (name.isprintable() and len(name) <= MAX_NAME_CHARACTERS)
    usage = answer.usage
    for count, most in (
        (usage.input_tokens, INPUT_ROOM_TOKENS),
        (usage.cached_input_tokens, usage.input_tokens or 0),
        (usage.output_tokens, 4 * sum(map(len, texts)) + 2_000),
        (usage.reasoning_tokens, usage.output_tokens or 0),
        (answer.timings.load_us, answer.timings.total_us),
    ):
        assert count is None or (type(count) is int and 0 <= count <= min(most, MAX_COUNT))


@pytest.mark.parametrize(("kind", "how"), [(kind, how) for kind, how, _ in WAYS])
def test_whatever_stands_in_a_field_is_taken_in_and_can_be_recorded(
    kind: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.backends.wire.http.Gate", lambda _: Gate(KEY))
    scripts = [(f"{bad} at {path}", script) for bad in BAD for path, script in replies(kind, how, bad)]

    async def run() -> None:
        async with ScriptedHttp(*(script for _, script in scripts), [Hang()]) as server:
            url = f"{server.url}/v1" if kind == "openai" else server.url
            text = POLICY.replace("200", "64").replace("URL", url).replace("KIND", kind)
            (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
            gateway = ModelGateway.from_policy(
                tmp_path / "policy.yaml", ledger=tmp_path / "ledger.duckdb", state=None
            )
            async with gateway:
                for name, _ in scripts:
                    try:
                        if how == "chat":
                            check(
                                await gateway.generate_chat(messages=[{"role": "user", "content": "Hello?"}])
                            )
                        else:
                            said = gateway.stream_chat(messages=[{"role": "user", "content": "Hello?"}])
                            "".join([piece async for piece in said]).encode()
                    except BackendError as error:
                        # It tells of the machine: such a call may not have reached the server.
                        assert not error.error_class.startswith("timeout"), (name, str(error))
                        assert len(str(error)) < 2_000, name
                        f"{error} {error.help}".encode()
                    except Exception as error:
                        error.add_note(name)
                        raise
            assert len(server.requests) == len(scripts)

    asyncio.run(run())
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((0,),)
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((len(scripts),),)
    [[attempts, longest, most]] = ledger.query(
        "SELECT count(*), max(length(model_said)), max(greatest(input_tokens, output_tokens)) FROM attempt_rows"
    ).rows
    assert attempts == len(scripts)
    assert (longest or 0) <= MAX_NAME_CHARACTERS and (most or 0) <= 10**7
    for table in ("attempt_rows", "decision_records", "rejected"):
        assert KEY not in str(ledger.query(f"SELECT * FROM {table}").rows)


OPENAI_VECTORS = {
    "model": "m-1",
    "data": [{"index": 0, "embedding": [0.5, 1]}, {"index": 1, "embedding": [0.25, 2]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
OPENAI_SCORES = {
    "model": "m-1",
    "results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 7}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
OPENAI_MODELS = {"data": [{"id": "m-1", "status": {"value": "loaded"}, "meta": {"size": 7}}, {"id": "m-2"}]}
OLLAMA_VECTORS = {
    "model": "m-1",
    "remote_model": "m-2",
    "embeddings": [[0.5, 1], [0.25, 2]],
    "total_duration": 10**6,
    "load_duration": 10**3,
    "prompt_eval_count": 4,
}
OLLAMA_MODELS = {
    "models": [{"name": "m-1", "model": "m-1", "size": 7, "digest": "x", "details": {"family": "llama"}}],
    "version": "0.30.0",
    "cloud": {"disabled": False, "source": "none"},
}
REFUSALS = {
    "error": {"message": "too long", "type": "t", "code": "c", "innererror": {"code": "i"}},
    "detail": [{"msg": "m"}],
    "message": "m",
    "signin_url": "https://ollama.com/connect",
    "StatusCode": 429,
}
OTHERS: dict[str, tuple[str, int, Any, Callable[[Any], Any]]] = {
    "openai vectors": ("openai", 200, OPENAI_VECTORS, lambda b: b.embed("m", EmbedRequest(("a", "b")))),
    "openai scores": ("openai", 200, OPENAI_SCORES, lambda b: b.rerank("m", RerankRequest("q", ("a", "b")))),
    "openai models": ("openai", 200, OPENAI_MODELS, lambda b: b.models()),
    "openai refusal": ("openai", 400, REFUSALS, lambda b: b.chat("m", ASK)),
    "openai health": ("openai", 500, REFUSALS, lambda b: b.health()),
    "ollama vectors": ("ollama", 200, OLLAMA_VECTORS, lambda b: b.embed("m", EmbedRequest(("a", "b")))),
    "ollama models": ("ollama", 200, OLLAMA_MODELS, lambda b: b.models()),
    "ollama refusal": ("ollama", 400, REFUSALS, lambda b: b.chat("m", ASK)),
    "ollama health": ("ollama", 200, OLLAMA_MODELS, lambda b: b.health("m-1")),
}


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_stands_in_any_other_answer_is_taken_in_too(other: str) -> None:
    kind, status, full, use = OTHERS[other]

    async def run() -> None:
        for bad, raw in BAD.items():
            for path in sampled(bad, leaves(full)):
                body = json.dumps(mutated(full, path, "MARKER")).replace('"MARKER"', raw).encode()
                async with serving(kind, reply(status, body, {"Content-Type": "application/json"})) as (b, _):
                    try:
                        got = await use(b)
                    except BackendError as error:
                        got = f"{error} {error.help}"
                    for text in every_text(got if isinstance(got, str) else plain(got)):
                        text.encode()
                        assert KEY not in text and text.isprintable(), (bad, path)
                        assert len(text) <= MAX_NAME_CHARACTERS, (bad, path)

    asyncio.run(run())


def plain(value: Any) -> Any:
    """An answer as lists and values; every count among them is one that can be recorded."""
    if is_dataclass(value):
        return [plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    assert not isinstance(value, int) or 0 <= value <= MAX_COUNT
    assert not isinstance(value, float) or math.isfinite(value)
    return value
