"""What a server says before it gets a prompt that is to stay: it can only refuse, and only one answer passes."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess, failing, using
from support.scripted_http import Cut, Endless, Hang, Received, ScriptedHttp, Send, Step, Wait, events, reply

from routewright.backends import (
    NO_LIMITS,
    BackendError,
    ChatAnswer,
    ChatRequest,
    EmbedRequest,
    Limits,
    Message,
    RerankRequest,
)
from routewright.backends.ollama.backend import OllamaBackend
from routewright.backends.ollama.places import RECHECK_S, DeclaredPlaces, Places
from routewright.backends.openai.backend import OpenAIBackend
from routewright.backends.phases import CallClock
from routewright.backends.protocol import NOTHING_USED
from routewright.backends.wire import connections as http_connections
from routewright.backends.wire.http import HttpClient
from routewright.engine.policy.locality import judge

ollama_server = ollama_process.ollama_server

PRIVATE = ChatRequest((Message("user", "the secret word is swordfish"),), max_output_tokens=4)
TEXTS = EmbedRequest(("the secret word is swordfish",))
SHOWN = reply(200, {"details": {}, "capabilities": ["completion"]})
MISSING = reply(404, {"error": "model 'm' not found"})
FORWARDED = reply(200, {"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"})
NDJSON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    b'{"model":"m:latest:local","message":{"content":"hi"},"done":true,"done_reason":"stop",'
    b'"prompt_eval_count":3,"eval_count":1}\n'
)
CHATTED: list[Step] = [Send(NDJSON)]
COMPLETED = reply(
    200,
    {
        "model": "m:latest:local",
        "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    },
)

# What `/api/show` may say, and why it does not let a prompt pass.
REFUSALS: dict[str, tuple[list[Step], str]] = {
    "not there": (MISSING, "answered 404 for `m`: model 'm' not found"),
    "no such page": (reply(404, "404 page not found"), "answered 404"),
    "out of order": (reply(500, {"error": "out of order"}), "answered 500"),
    "no key": (reply(401, {"error": "unauthorized"}), "answered 401"),
    "foreign name": (reply(403, ""), "answered 403"),
    "sent away": (reply(302, "", {"Location": "http://example.org/"}), "answered 302"),
    "made": (reply(201, {"details": {}}), "answered 201"),
    "a page": (reply(200, "<html>fine</html>"), "is not a JSON object"),
    "a list": (reply(200, [{"details": {}}]), "is not a JSON object"),
    "null": (reply(200, b"null"), "is not a JSON object"),
    "text": (reply(200, b'"fine"'), "is not a JSON object"),
    "nothing": (reply(200, b""), "is not a JSON object"),
    "half": (reply(200, b'{"details": '), "is not a JSON object"),
    "forwarded": (FORWARDED, "would not run on this machine: its server forwards it to https://ollama.com:443"),
    "forwarded, host only": (reply(200, {"remote_host": "https://x"}), "forwards it to https://x"),
    "forwarded, model only": (reply(200, {"remote_model": "big"}), "forwards it to big"),
    "forwarded, odd": (reply(200, {"remote_host": {"a": 1}}), "would not run on this machine"),
    "broken off": ([Cut()], "closed the connection"),
}  # fmt: skip

Work = Callable[[OllamaBackend], Awaitable[Any]]
OLLAMA_WORK: dict[str, Work] = {
    "chat": lambda b: b.chat("m", PRIVATE),
    "chat that loads": lambda b: b.chat("m", PRIVATE, limits=Limits(load_ms=60_000)),
    "embed": lambda b: b.embed("m", TEXTS),
}


def holds_prompt(requests: list[Received]) -> bool:
    return "swordfish" in repr([request.body for request in requests])


@pytest.mark.parametrize("work", OLLAMA_WORK)
@pytest.mark.parametrize("said", REFUSALS)
def test_only_an_object_without_a_remote_host_lets_a_prompt_to_an_ollama(said: str, work: str) -> None:
    steps, why = REFUSALS[said]

    async def run() -> tuple[BackendError, list[Received]]:
        async with ScriptedHttp(steps) as server:
            return await failing(OllamaBackend(server.url), OLLAMA_WORK[work]), server.requests

    error, requests = asyncio.run(run())
    assert why in str(error)
    assert {request.path for request in requests} == {"/api/show"}
    assert not holds_prompt(requests)


def test_a_look_up_that_nobody_answers_is_a_timeout_and_no_call() -> None:
    async def run() -> tuple[BackendError, list[Received]]:
        async with ScriptedHttp([Hang()]) as server:
            limits = Limits(first_token_ms=200)
            error = await failing(OllamaBackend(server.url), lambda b: b.chat("m", PRIVATE, limits=limits))
            return error, server.requests

    error, requests = asyncio.run(run())
    assert error.error_class == "timeout.first_token"
    assert not holds_prompt(requests)


async def _chat_twice(backend: OllamaBackend) -> list[str | None]:
    return [(await backend.chat("m", PRIVATE)).model_said for _ in range(2)]


def test_the_name_that_is_never_forwarded_is_asked_for_where_the_server_knows_it() -> None:
    async def run() -> tuple[list[str | None], list[Received]]:
        async with ScriptedHttp(SHOWN, CHATTED) as server:
            return await using(OllamaBackend(server.url), _chat_twice), server.requests

    said, requests = asyncio.run(run())
    assert said == ["m", "m"], "the answer is known by the name that the catalog has"
    assert [(request.path, request.body["model"]) for request in requests] == [
        ("/api/show", "m:latest:local"),
        ("/api/chat", "m:latest:local"),
        ("/api/chat", "m:latest:local"),
    ]


@pytest.mark.parametrize(
    "refusal", [MISSING, reply(400, {"error": "invalid model name"})], ids=["404", "400"]
)
def test_a_server_that_does_not_know_that_name_is_asked_for_the_plain_one(refusal: list[Step]) -> None:
    async def run() -> list[Received]:
        async with ScriptedHttp(refusal, SHOWN, CHATTED) as server:
            await using(OllamaBackend(server.url), _chat_twice)
            return server.requests

    assert [(request.path, request.body["model"]) for request in asyncio.run(run())] == [
        ("/api/show", "m:latest:local"),
        ("/api/show", "m"),
        ("/api/chat", "m"),
        ("/api/chat", "m"),
    ]


VERSION = reply(200, {"version": "0.33.0"})
# What is asked first, and what is asked anew once the finding is old: the tag may be a stub by then, or the server,
# which was none before, an Ollama.
FINDINGS: dict[str, tuple[list[list[Step]], str, list[list[Step]]]] = {
    "an Ollama": ([SHOWN], "m:latest:local", [FORWARDED]),
    "an Ollama that stays": ([VERSION, SHOWN], "m:latest:local", [VERSION, FORWARDED]),
    "no Ollama that stays": ([MISSING], "m", [VERSION, FORWARDED]),
}


@pytest.mark.parametrize("server_is", FINDINGS)
def test_a_finding_holds_for_a_minute_and_no_longer(server_is: str) -> None:
    first, name, anew = FINDINGS[server_is]
    at = 1_000.0

    async def run() -> None:
        nonlocal at
        async with ScriptedHttp(*first, *anew) as server:
            client = HttpClient(server.url, extra="ollama", this_machine=True)
            places: Places | DeclaredPlaces
            if server_is == "an Ollama":
                places = Places(client, judge("ollama", server.url), server.url, now=lambda: at)
            else:
                places = DeclaredPlaces(client, judge("openai", server.url, stays=True), now=lambda: at)
            assert await places.name_for(CallClock(NO_LIMITS, who="m"), "m") == name
            at += RECHECK_S - 0.5
            assert await places.name_for(CallClock(NO_LIMITS, who="m"), "m") == name
            assert len(server.requests) == len(first)
            at += 0.5
            with pytest.raises(BackendError, match="would not run on this machine"):
                await places.name_for(CallClock(NO_LIMITS, who="m"), "m")
            assert len(server.requests) == len(first) + len(anew)
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("knows", [True, False], ids=["new server", "old server"])
def test_a_real_model_answers_and_a_stub_does_not(ollama_server: OllamaProcess, knows: bool) -> None:
    ollama_server.reset()
    ollama_server.turn(knows_local_names=knows)
    answer = asyncio.run(using(OllamaBackend(ollama_server.url), lambda b: b.chat("smollm2", PRIVATE)))
    assert answer.model_said == "smollm2"
    vectors = asyncio.run(
        using(OllamaBackend(ollama_server.url), lambda b: b.embed("smollm2-embed:135m", TEXTS))
    )
    assert vectors.model_said == "smollm2-embed:135m"
    error = asyncio.run(failing(OllamaBackend(ollama_server.url), lambda b: b.chat("gpt-oss-stub", PRIVATE)))
    assert "would not run on this machine" in str(error)
    asked = [request["json"]["model"] for request in ollama_server.seen() if request["path"] != "/api/show"]
    assert asked == (
        ["smollm2:latest:local", "smollm2-embed:135m:local"] if knows else ["smollm2", "smollm2-embed:135m"]
    )


@pytest.mark.parametrize("field", ["remote_host", "remote_model"])
@pytest.mark.parametrize("work", OLLAMA_WORK)
def test_an_answer_that_came_from_elsewhere_is_no_answer(work: str, field: str) -> None:
    """A model may be pulled anew after it was looked up."""
    forwarded = {
        "model": "m",
        field: "https://ollama.com:443",
        "message": {"content": "hi"},
        "embeddings": [[1.0]],
        "done": True,
        "prompt_eval_count": 3,
        "models": [],
    }

    async def run() -> BackendError:
        async with ScriptedHttp(SHOWN, reply(200, forwarded)) as server:
            return await failing(OllamaBackend(server.url), OLLAMA_WORK[work])

    error = asyncio.run(run())
    assert (error.error_class, str(error)) == (
        "not_found",
        "`m` did not run on this machine: its server forwards it to https://ollama.com:443",
    )
    assert error.help and "`location: cloud`" in error.help
    # It was read there, and nobody knows what that costs; a model that is only loaded has read nothing.
    assert error.begun and error.usage == (NOTHING_USED if work == "chat that loads" else None)


@pytest.mark.parametrize(
    "host", ["http://[::ffff:127.0.0.1]:PORT", "http://127.0.0.2:PORT", "LOCALHOST.:PORT"]
)
def test_a_stub_is_refused_by_whatever_address_this_machine_is_called(
    ollama_server: OllamaProcess, host: str
) -> None:
    ollama_server.reset()
    backend = OllamaBackend(host.replace("PORT", str(ollama_server.port)))
    error = asyncio.run(failing(backend, lambda b: b.chat("gpt-oss-stub", PRIVATE)))
    # Some systems have no such address; none sends the prompt there.
    assert error.error_class in ("not_found", "timeout.connect", "unauthorized")
    assert "swordfish" not in repr(ollama_server.seen())


# --- kind openai, with `stays: true` -----------------------------------------------------------------------

Declared = Callable[[OpenAIBackend], Awaitable[Any]]


async def _streamed(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


def _clock() -> CallClock:
    return CallClock(NO_LIMITS, who="m")


RANKED = RerankRequest("the secret word is swordfish", ("d",))

OPENAI_WORK: dict[str, Declared] = {
    "chat": lambda b: b.chat("m", PRIVATE),
    "stream": lambda b: _streamed(b.stream("m", PRIVATE)),
    "embed": lambda b: b.embed("m", TEXTS),
    "rerank": lambda b: b.rerank("m", RANKED),
    "answer": lambda b: b.answer(_clock(), PRIVATE),
    "events": lambda b: _streamed(b.events(_clock(), PRIVATE)),
    "vectors": lambda b: b.vectors(_clock(), TEXTS),
    "scores": lambda b: b.scores(_clock(), RANKED),
}


def staying(url: str) -> OpenAIBackend:
    return OpenAIBackend(judge("openai", url, stays=True))


async def refused(work: str, *scripts: list[Step]) -> tuple[BackendError, list[Received]]:
    async with ScriptedHttp(*scripts) as server:
        backend = staying(server.url)
        try:
            with pytest.raises(BackendError) as caught:
                await OPENAI_WORK[work](backend)
        finally:
            await backend.close()
        return caught.value, server.requests


def test_every_call_that_carries_a_prompt_is_tried_here() -> None:
    asking = {
        name
        for name, method in inspect.getmembers(OpenAIBackend, inspect.isfunction)
        if not name.startswith("_") and "request" in inspect.signature(method).parameters
    }
    assert asking == set(OPENAI_WORK)


@pytest.mark.parametrize("work", OPENAI_WORK)
@pytest.mark.parametrize("said", REFUSALS)
def test_the_rule_of_an_ollama_holds_when_it_is_asked_in_the_words_of_openai(said: str, work: str) -> None:
    steps, why = REFUSALS[said]
    error, requests = asyncio.run(refused(work, reply(200, {"version": "0.33.0"}), steps))
    assert why in str(error)
    assert [request.path for request in requests][:2] == ["/api/version", "/api/show"]
    assert {request.path for request in requests} == {"/api/version", "/api/show"}
    assert not holds_prompt(requests)


NO_OLLAMA: dict[str, list[Step]] = {
    "400": reply(400, {"error": "bad request"}),
    "404": reply(404, {"detail": "Not Found"}),
    "404 page": reply(404, "404 page not found"),
    "405": reply(405, ""),
    "410": reply(410, ""),
    "501": reply(501, ""),
    "200 with an error": reply(200, {"error": "Unexpected endpoint or method. (GET /api/version)"}),
    "200 with a page": reply(200, "<html></html>"),
    "200 of llama-swap": reply(200, {"version": "177", "commit": "abc123", "build_date": "2025-11-25"}),
}
CANNOT_TELL: dict[str, tuple[list[Step], str]] = {
    **{
        str(status): (reply(status, {"error": "no"}), f"its server answered {status}")
        for status in (201, 301, 302, 307, 401, 403, 407, 408, 421, 425, 429, 500, 502, 503, 504)
    },
    "broken off": ([Cut()], "closed the connection"),
}


@pytest.mark.parametrize("said", NO_OLLAMA)
def test_what_was_declared_of_a_server_that_is_no_ollama_stands(said: str) -> None:
    async def run() -> list[Received]:
        async with ScriptedHttp(NO_OLLAMA[said], COMPLETED) as server:
            backend = staying(server.url)
            for _ in range(2):
                assert (await backend.chat("m", PRIVATE)).text == "hi"
            await backend.close()
            return server.requests

    requests = asyncio.run(run())
    assert [request.path for request in requests] == [
        "/api/version",
        "/v1/chat/completions",
        "/v1/chat/completions",
    ], "asked once"
    assert requests[1].body["model"] == "m"


@pytest.mark.parametrize("said", CANNOT_TELL)
def test_a_server_that_does_not_say_whether_it_is_an_ollama_gets_no_prompt(said: str) -> None:
    steps, why = CANNOT_TELL[said]
    error, requests = asyncio.run(refused("chat", steps))
    assert why in str(error)
    if said != "broken off":
        assert str(error).startswith("`m` might not run on this machine")
        assert error.help == "`stays: true` is accepted once the server answers 404 to it"
    assert {request.path for request in requests} == {"/api/version"}


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(503, "overloaded"), (429, "rate_limited"), (401, "unauthorized"), (302, "invalid_request")],
)
def test_a_server_that_cannot_tell_yet_is_asked_again_like_any_other(status: int, error_class: str) -> None:
    """llama.cpp answers 503 to everything while it loads its model."""
    error, _ = asyncio.run(refused("chat", reply(status, {"error": "no"}, {"Retry-After": "7"})))
    assert (error.error_class, error.retry_after_ms) == (error_class, 7_000)


def test_of_a_refused_look_up_the_status_says_enough() -> None:
    """Whatever its body is: some proxies compress their error pages, or never end them."""
    head = b"HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    endless: list[Step] = [
        Send(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"),
        Endless(b"x" * 65_536),
    ]

    async def run(refusal: list[Step]) -> None:
        async with ScriptedHttp(refusal, COMPLETED) as server:
            backend = staying(server.url)
            assert (await backend.chat("m", PRIVATE)).text == "hi"
            await backend.close()
        async with ScriptedHttp(refusal, SHOWN, CHATTED) as server:
            await using(OllamaBackend(server.url), _chat_twice)

    asyncio.run(run([Send(head)]))
    asyncio.run(run(endless))


@pytest.mark.parametrize("kind", ["null", "out of order", "broken off", "silent"])
def test_a_look_up_that_fails_has_used_nothing(kind: str) -> None:
    """Else a quota would count what the call reserved, for a prompt that nobody got."""

    async def run() -> list[BackendError]:
        said: list[Step] = [Hang()] if kind == "silent" else REFUSALS[kind][0]
        limits = Limits(total_ms=200)
        async with ScriptedHttp(said) as server:
            first = await failing(OllamaBackend(server.url), lambda b: b.chat("m", PRIVATE, limits=limits))
        async with ScriptedHttp(reply(200, {"version": "0.33.0"}), said) as server:
            backend = staying(server.url)
            with pytest.raises(BackendError) as caught:
                await backend.chat("m", PRIVATE, limits=limits)
            await backend.close()
        return [first, caught.value]

    assert {error.usage for error in asyncio.run(run())} == {NOTHING_USED}


def test_an_ollama_is_asked_for_the_name_that_it_never_forwards() -> None:
    async def run() -> tuple[str | None, list[Received]]:
        async with ScriptedHttp(reply(200, {"version": "0.33.0"}), SHOWN, COMPLETED) as server:
            backend = staying(f"{server.url}/v1")
            answer = await backend.chat("m", PRIVATE)
            await backend.close()
            return answer.model_said, server.requests

    said, requests = asyncio.run(run())
    assert said == "m"
    assert [request.path for request in requests] == ["/api/version", "/api/show", "/v1/chat/completions"]
    assert requests[2].body["model"] == "m:latest:local"


def test_an_ollama_behind_a_path_of_a_proxy_is_found() -> None:
    error, requests = asyncio.run(_behind_a_path())
    assert "would not run on this machine" in str(error)
    assert [request.path for request in requests] == [
        "/ollama/api/version",
        "/ollama/api/show",
        "/ollama/api/show",
    ]


async def _behind_a_path() -> tuple[BackendError, list[Received]]:
    async with ScriptedHttp(reply(200, {"version": "0.33.0"}), MISSING, FORWARDED) as server:
        backend = staying(f"{server.url}/ollama/v1")
        with pytest.raises(BackendError) as caught:
            await backend.chat("m", PRIVATE)
        await backend.close()
        return caught.value, server.requests


@pytest.mark.parametrize(
    ("path", "in_vain"), [("/v1/.", 2), ("/v1/x/..", 3), ("/%76%31", 1), ("//v1//", 0), ("/x/../v1", 0)]
)
def test_an_ollama_behind_a_path_is_found_however_the_path_is_written(path: str, in_vain: int) -> None:
    """Whoever reads the address puts it right, and a prompt would go to the Ollama."""

    async def run() -> tuple[BackendError, list[Received]]:
        found = reply(200, {"version": "0.33.0"})
        async with ScriptedHttp(*[MISSING] * in_vain, found, MISSING, FORWARDED) as server:
            backend = staying(f"{server.url}/ollama{path}")
            with pytest.raises(BackendError) as caught:
                await backend.chat("m", PRIVATE)
            await backend.close()
            return caught.value, server.requests

    error, requests = asyncio.run(run())
    assert "would not run on this machine" in str(error)
    assert [request.path for request in requests[in_vain:]] == [
        "/ollama/api/version",
        "/ollama/api/show",
        "/ollama/api/show",
    ]


def test_an_address_with_many_folders_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ValueError, match="at most 8 folders"):
        staying("http://127.0.0.1:1" + "/a" * 9 + "/v1")


@pytest.mark.parametrize(("url", "tag"), [("http://127.0.0.1:PORT", "m"), ("stays", "m:cloud")])
def test_a_model_that_was_not_judged_local_is_not_looked_up(url: str, tag: str) -> None:
    async def run() -> list[Received]:
        async with ScriptedHttp(COMPLETED) as server:
            backend = staying(server.url) if url == "stays" else OpenAIBackend(server.url)
            await backend.chat(tag, PRIVATE)
            await backend.close()
            return server.requests

    assert [request.path for request in asyncio.run(run())] == ["/v1/chat/completions"]


# --- the peer ----------------------------------------------------------------------------------------------


def _leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name `localhost` leads to an address that stands for another machine's."""
    really = socket.getaddrinfo

    def looked_up(host: Any, *rest: Any, **more: Any) -> Any:
        return really("127.0.0.1" if host in ("localhost", b"localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(http_connections, "is_loopback", lambda address: address == "::1")


@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_a_name_that_leads_to_another_machine_gets_no_request(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    _leads_elsewhere(monkeypatch)

    async def run() -> tuple[BackendError, ScriptedHttp]:
        async with ScriptedHttp(SHOWN) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            called: Any = OllamaBackend(url) if backend == "ollama" else staying(url)
            with pytest.raises(BackendError) as caught:
                await called.chat("m", PRIVATE)
            await called.close()
            return caught.value, server

    error, server = asyncio.run(run())
    assert str(error) == "`m` would not run on this machine: the name of its server resolves to 127.0.0.1"
    assert error.help and "`location: cloud`" in error.help
    assert error.error_class == "not_found"
    assert server.connections == 1 and server.requests == []


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_peer_is_compared_on_every_call_of_a_kept_connection(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def run() -> list[Received]:
        async with ScriptedHttp(reply(200, {})) as server:
            client = HttpClient(server.url.replace("127.0.0.1", name), extra="ollama", this_machine=True)
            async with client.request("GET", "/first", CallClock(NO_LIMITS, who="m")) as got:
                await got.read()
            monkeypatch.setattr(http_connections, "is_loopback", lambda address: False)
            with pytest.raises(BackendError, match="would not run on this machine"):
                async with client.request("GET", "/second", CallClock(NO_LIMITS, who="m")):
                    pass
            await client.close()
            return server.requests

    assert [request.path for request in asyncio.run(run())] == ["/first"]


@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_the_connection_that_carries_the_prompt_is_compared_by_itself(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """The look-up has one of its own, and the name may lead elsewhere by the time of the call."""
    peers: list[str] = []

    def first_alone(address: str) -> bool:
        peers.append(address)
        return len(peers) == 1

    monkeypatch.setattr(http_connections, "is_loopback", first_alone)

    async def run() -> tuple[BackendError, list[Received]]:
        looked_up, called = (SHOWN, CHATTED) if backend == "ollama" else (MISSING, COMPLETED)
        async with ScriptedHttp(looked_up, called) as server:
            asked: Any = OllamaBackend(server.url) if backend == "ollama" else staying(server.url)
            with pytest.raises(BackendError) as caught:
                await asked.chat("m", PRIVATE)
            await asked.close()
            return caught.value, server.requests

    error, requests = asyncio.run(run())
    assert str(error) == "`m` would not run on this machine: the name of its server resolves to 127.0.0.1"
    assert [request.path for request in requests] == ["/api/show" if backend == "ollama" else "/api/version"]
    assert len(peers) == 2


def test_a_server_that_may_be_anywhere_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    _leads_elsewhere(monkeypatch)

    async def run() -> list[Received]:
        async with ScriptedHttp(CHATTED) as server:
            backend = OllamaBackend(server.url.replace("127.0.0.1", "localhost"), location="cloud")
            await using(backend, lambda b: b.chat("m", PRIVATE))
            return server.requests

    assert [request.path for request in asyncio.run(run())] == ["/api/chat"]


def test_no_proxy_of_the_environment_sees_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[list[Received], list[Received]]:
        async with ScriptedHttp(SHOWN, CHATTED) as server, ScriptedHttp(reply(200, {"models": []})) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            await using(OllamaBackend(server.url.replace("127.0.0.1", "localhost")), _chat_twice)
            return server.requests, proxy.requests

    direct, proxied = asyncio.run(run())
    assert len(direct) == 3 and proxied == []


def test_a_redirect_is_not_followed_with_a_prompt() -> None:
    async def run() -> tuple[BackendError, list[Received]]:
        async with ScriptedHttp(events("{}")) as elsewhere:
            away = reply(307, "", {"Location": f"{elsewhere.url}/api/chat"})
            async with ScriptedHttp(SHOWN, away) as server:
                error = await failing(OllamaBackend(server.url), lambda b: b.chat("m", PRIVATE))
            return error, elsewhere.requests

    error, requests = asyncio.run(run())
    assert "answered 307" in str(error)
    assert requests == []


# --- many calls at once --------------------------------------------------------------------------------------


async def _together(backend: OllamaBackend | OpenAIBackend, calls: int) -> None:
    try:
        answers = await asyncio.gather(*(backend.chat("m", PRIVATE) for _ in range(calls)))
    finally:
        await backend.close()
    assert {answer.text for answer in answers} == {"hi"}


def _paths(requests: list[Received]) -> Counter[str]:
    return Counter(request.path for request in requests)


def test_calls_that_come_together_are_looked_up_once() -> None:
    async def ollama() -> list[Received]:
        version = reply(200, {"version": "0.33.0"})
        async with ScriptedHttp(version, [Wait(0.05), *SHOWN], CHATTED) as server:
            await _together(OllamaBackend(server.url, min_version="0.12", concurrency=2), 20)
            return server.requests

    async def declared() -> list[Received]:
        version = reply(200, {"version": "0.33.0"})
        async with ScriptedHttp([Wait(0.05), *version], [Wait(0.05), *SHOWN], COMPLETED) as server:
            await _together(staying(server.url), 20)
            return server.requests

    assert _paths(asyncio.run(ollama())) == {"/api/version": 1, "/api/show": 1, "/api/chat": 20}
    assert _paths(asyncio.run(declared())) == {"/api/version": 1, "/api/show": 1, "/v1/chat/completions": 20}


def test_who_waits_for_the_look_up_of_another_call_looks_up_itself_when_that_gives_up() -> None:
    async def run() -> tuple[list[object], list[Received]]:
        async with ScriptedHttp([Hang()], SHOWN, CHATTED) as server:
            backend = OllamaBackend(server.url)
            cancelled = asyncio.create_task(backend.chat("m", PRIVATE))
            while not server.requests:
                await asyncio.sleep(0)
            hurried = asyncio.create_task(backend.chat("m", PRIVATE, limits=Limits(first_token_ms=50)))
            patient = asyncio.create_task(backend.chat("m", PRIVATE))
            await asyncio.wait([hurried])
            assert _paths(server.requests) == {"/api/show": 1}
            cancelled.cancel()
            said = await asyncio.gather(cancelled, hurried, patient, return_exceptions=True)
            await backend.close()
            return list(said), server.requests

    (cancelled, hurried, patient), requests = asyncio.run(run())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(hurried, BackendError) and hurried.error_class == "timeout.queue"
    assert isinstance(patient, ChatAnswer) and patient.text == "hi"
    assert _paths(requests) == {"/api/show": 2, "/api/chat": 1}


def test_what_one_event_loop_asks_holds_up_no_other() -> None:
    async def ask(backend: OllamaBackend) -> None:
        await using(backend, lambda b: b.chat("m", PRIVATE))

    async def run() -> None:
        async with ScriptedHttp([Hang()], SHOWN, CHATTED) as server:
            backend = OllamaBackend(server.url)
            waiting = asyncio.create_task(backend.chat("m", PRIVATE))
            while not server.requests:
                await asyncio.sleep(0)
            await asyncio.wait_for(asyncio.to_thread(asyncio.run, ask(backend)), 10)
            waiting.cancel()
            await asyncio.wait([waiting])
            await backend.close()

    asyncio.run(run())
