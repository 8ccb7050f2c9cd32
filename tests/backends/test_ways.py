"""What a catalog adds on the way to a server: headers, a query, a proxy, the header of the key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.scripted_http import Received, ScriptedHttp, Step, reply

from routewright import BackendError, ChatRequest, EmbedRequest, Message, Permissions, load_policy
from routewright.backends.ollama import OllamaBackend
from routewright.backends.openai import OpenAIBackend
from routewright.engine.policy import HttpWay, Server, judge
from routewright.gateway.endpoints import endpoints_of
from routewright.gateway.opening import open_backends

HELLO = ChatRequest((Message("user", "hello"),))
ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "data": [{"index": 0, "embedding": [1.0]}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
OLLAMA_ANSWER = {
    "model": "m",
    "message": {"role": "assistant", "content": "hi"},
    **{"embeddings": [[1.0]], "done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1},
}
KEY = "hunter2-hunter2"
WAY = HttpWay({"X-Title": "a title"}, {"api-version": "2024-10-21", "q": "a b&c"})
SENT = "api-version=2024-10-21&q=a+b%26c"


def asked(script: Sequence[Step], call: Any) -> list[Received]:
    """What a server gets of ``call(url)``, which makes a backend and asks it."""

    async def run() -> list[Received]:
        async with ScriptedHttp(script) as server:
            await call(server.url)
            return server.requests

    return asyncio.run(run())


def test_headers_and_query_go_with_every_request() -> None:
    async def openai(url: str) -> None:
        backend = OpenAIBackend(url, api_key=KEY, way=WAY)
        await backend.chat("m", HELLO)
        await backend.embed("m", EmbedRequest(("a",)))
        await backend.health()
        await backend.close()

    async def ollama(url: str) -> None:
        backend = OllamaBackend(url, way=WAY, location="cloud")
        await backend.chat("m", HELLO)
        await backend.embed("m", EmbedRequest(("a",)))
        await backend.health()
        await backend.close()

    for script, call in ((reply(200, ANSWER), openai), (reply(200, OLLAMA_ANSWER), ollama)):
        requests = asked(script, call)
        assert len(requests) >= 3
        assert {one.headers["x-title"] for one in requests} == {"a title"}
        assert {one.path.partition("?")[2] for one in requests} == {SENT}


def test_the_key_goes_in_its_own_header_where_it_has_one() -> None:
    async def call(url: str) -> None:
        for way in (HttpWay(), HttpWay(key_header="api-key")):
            backend = OpenAIBackend(url, api_key=KEY, way=way)
            await backend.chat("m", HELLO)
            await backend.close()

    first, second = (one.headers for one in asked(reply(200, ANSWER), call))
    assert (first["authorization"], "api-key" in first) == (f"Bearer {KEY}", False)
    assert (second["api-key"], "authorization" in second) == (KEY, False)


def test_over_plain_http_a_proxy_is_given_the_whole_request() -> None:
    async def call(url: str) -> None:
        backend = OpenAIBackend("http://lab.example.org:8000/v1", way=HttpWay(proxy=url))
        assert (await backend.chat("m", HELLO)).text == "hi"
        await backend.close()

    [request] = asked(reply(200, ANSWER), call)
    assert (request.method, request.path) == ("POST", "http://lab.example.org:8000/v1/chat/completions")


@pytest.mark.parametrize(
    ("status", "error_class"), [(407, "unauthorized"), (403, "unauthorized"), (502, "timeout.connect")]
)
def test_over_tls_a_proxy_is_told_the_host_and_nothing_else(status: int, error_class: str) -> None:
    async def call(url: str) -> None:
        way = HttpWay(WAY.headers, WAY.query, url, "api-key")
        backend = OpenAIBackend("https://lab.example.org/v1", api_key=KEY, way=way)
        with pytest.raises(BackendError) as caught:
            await backend.chat("m", HELLO)
        said = f"the proxy on the way to `lab.example.org` refused with {status}"
        assert (str(caught.value), caught.value.error_class) == (said, error_class)
        await backend.close()

    [request] = asked(reply(status, "no"), call)
    assert (request.method, request.path, request.body) == ("CONNECT", "lab.example.org:443", None)
    assert not any(KEY in value or "title" in value for value in request.headers.values())
    assert set(request.headers) <= {"host", "user-agent", "accept", "accept-encoding"}


def test_a_proxy_that_cannot_be_reached_is_named_as_that() -> None:
    async def call() -> tuple[str, str]:
        backend = OpenAIBackend("https://lab.example.org/v1", way=HttpWay(proxy="http://127.0.0.1:9"))
        with pytest.raises(BackendError) as caught:
            await backend.chat("m", HELLO)
        await backend.close()
        return str(caught.value), caught.value.error_class

    assert asyncio.run(call()) == (
        "no connection to the proxy on the way to `lab.example.org`",
        "timeout.connect",
    )


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:3128", "http://proxy.example.org"])
@pytest.mark.parametrize("host", ["http://localhost:8000/v1", "http://127.0.0.1", None])
def test_what_passes_a_proxy_is_not_local(host: str | None, proxy: str) -> None:
    for server in (judge("ollama", host, proxy=proxy), judge("openai", host, stays=True, proxy=proxy)):
        assert isinstance(server, Server)
        assert (server.here, server.is_local, server.place("m").location) == (False, False, "cloud")
    with pytest.raises(ValueError, match="by way of a proxy leaves this machine"):
        OllamaBackend(host, way=HttpWay(proxy=proxy))


CATALOG = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends:
    plain: { kind: openai, host: "http://lab.example.org:8000/v1", api_key: "${LAB_KEY}", PROXY }
    safe: { kind: openai, host: "https://lab.example.org/v1", api_key: "${LAB_KEY}", PROXY }
  models: { a: { backend: plain }, b: { backend: safe } }
rules: [{ name: all, use: [a, b] }]
"""


@pytest.mark.parametrize(
    ("proxy", "named", "refused"),
    [
        ("http://proxy.example.org:3128", [], True),
        ("http://proxy.example.org:3128", ["proxy.example.org"], True),
        ("http://proxy.example.org:3128", ["proxy.example.org:3128"], False),
        ("https://proxy.example.org", [], True),
        ("http://127.0.0.1:3128", [], False),
    ],
)
def test_a_key_passes_a_proxy_over_tls_alone_unless_it_is_named(
    tmp_path: Path, proxy: str, named: list[str], refused: bool
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(CATALOG.replace("PROXY", f'proxy: "{proxy}"'))
    permitted = Permissions(
        keys={"LAB_KEY": ["lab.example.org", "lab.example.org:8000"]},
        without_tls=["lab.example.org:8000", *named],
    )
    opened = open_backends(load_policy(path), environment={"LAB_KEY": KEY}, permissions=permitted)
    said = {id: getattr(one, "error", None) for id, one in opened.items()}
    assert said["safe"] is None
    assert (said["plain"] is not None) is refused
    if refused:
        where = proxy.partition("://")[2]
        assert f"would pass the proxy `{where}` without TLS" in str(said["plain"])


def test_another_way_is_another_endpoint_and_no_way_is_the_one_of_before(tmp_path: Path) -> None:
    ways = ("", ', headers: { X-Team: "a" }', ", query: { v: b }", ', proxy: "http://proxy.example.org"')
    found = []
    for way in ways:
        path = tmp_path / "policy.yaml"
        path.write_text(CATALOG.replace(", PROXY", way))
        found.append(endpoints_of(load_policy(path), {})[0])
    assert len(set(found)) == len(ways)
    assert found[0] == "openai http://lab.example.org:8000/v1 a"
