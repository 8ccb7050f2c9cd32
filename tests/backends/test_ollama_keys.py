"""The key for ollama.com goes to ollama.com, over TLS, and nowhere else: seen from the other end of the wire."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess, failing, start_ollama, using

from routewright.backends import BackendError, ChatRequest, EmbedRequest, Message
from routewright.backends.ollama.backend import OllamaBackend

ollama_server = ollama_process.ollama_server

KEY = "sk-of-nobody-1234567890"
HELLO = ChatRequest((Message("user", "hello"),), max_output_tokens=2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ollama.com with its key, and the authority that signed it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("ollama.com")
    folder = tmp_path_factory.mktemp("certificates")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return folder / "server.pem", folder / "authority.pem"


@pytest.fixture(scope="module")
def ollama_com(certificates: tuple[Path, Path]) -> Iterator[OllamaProcess]:
    with start_ollama("--cloud", KEY, "--certificate", str(certificates[0])) as server:
        yield server


@pytest.fixture
def at_ollama_com(
    ollama_com: OllamaProcess, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> str:
    """The address of ollama.com as this process sees it: our server, with a certificate that it trusts."""
    really = socket.getaddrinfo

    def looked_up(host: Any, *rest: Any, **more: Any) -> Any:
        return really("127.0.0.1" if host in ("ollama.com", b"ollama.com") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    trusting = ssl.create_default_context(cafile=certificates[1])
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    return f"https://ollama.com:{ollama_com.port}"


def test_the_key_goes_to_ollama_com_and_models_by_their_base_names(
    at_ollama_com: str, ollama_com: OllamaProcess
) -> None:
    async def use(backend: OllamaBackend) -> str:
        report = await backend.health("gpt-oss:120b-cloud")
        assert (report.healthy, report.detail) == (True, "signed in; `gpt-oss:120b-cloud` is there")
        assert await backend.models() == [
            "gpt-oss:120b",
            "kimi-k2:1t",
            "qwen3-coder:480b",
        ]
        return (await backend.chat("gpt-oss:120b-cloud", HELLO)).text

    before = len(ollama_com.seen())
    assert asyncio.run(using(OllamaBackend(at_ollama_com, api_key=KEY), use))
    seen = ollama_com.seen()[before:]
    assert {request["headers"]["authorization"] for request in seen} == {f"Bearer {KEY}"}
    assert [r["json"]["model"] for r in seen if r["path"] == "/api/chat"] == ["gpt-oss:120b"]


def test_a_wrong_key_is_unauthorized_and_not_repeated(at_ollama_com: str) -> None:
    backend = OllamaBackend(at_ollama_com, api_key="sk-wrong")
    error = asyncio.run(failing(backend, lambda b: b.chat("gpt-oss:120b", HELLO)))
    assert (error.error_class, error.help) == ("unauthorized", "check the API key for https://ollama.com")
    report = asyncio.run(using(OllamaBackend(at_ollama_com, api_key="sk-wrong"), lambda b: b.health()))
    assert (report.healthy, "sk-wrong" in report.detail) == (False, False)


def test_an_unknown_certificate_gets_no_key(
    at_ollama_com: str, ollama_com: OllamaProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    before = len(ollama_com.seen())
    error = asyncio.run(
        failing(OllamaBackend(at_ollama_com, api_key=KEY), lambda b: b.chat("gpt-oss:120b", HELLO))
    )
    assert error.error_class == "bad_response"
    assert len(ollama_com.seen()) == before


@pytest.mark.parametrize(
    "host",
    [
        None,
        "http://localhost:11434",
        "http://ollama.com",
        "https://ollama.com.example.org",
        "https://example.org/ollama.com",
        "https://notollama.com",
    ],
)
def test_a_key_for_another_host_is_refused(host: str | None) -> None:
    with pytest.raises(ValueError, match="the API key is for https://ollama.com") as caught:
        OllamaBackend(host, api_key=KEY)
    assert KEY not in str(caught.value)


def test_a_key_in_the_environment_does_not_leave_it(
    ollama_server: OllamaProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def use(backend: OllamaBackend) -> None:
        await backend.chat("smollm2:135m", HELLO)
        await backend.chat("kimi-k2:1t-cloud", HELLO)
        await backend.embed("smollm2-embed:135m", EmbedRequest(("x",)))
        await backend.health("kimi-k2:1t-cloud")
        await backend.models()

    asyncio.run(using(OllamaBackend(ollama_server.url), use))
    seen = ollama_server.seen()
    assert {request["path"] for request in seen} >= {
        "/api/chat",
        "/api/embed",
        "/api/me",
        "/api/tags",
    }
    assert [request for request in seen if "authorization" in request["headers"] or KEY in str(request)] == []


def test_a_redirect_is_not_followed(ollama_server: OllamaProcess) -> None:
    error = asyncio.run(failing(OllamaBackend(ollama_server.url), lambda b: b.chat("fault-redirect", HELLO)))
    assert (error.error_class, error.help) == (
        "invalid_request",
        "write the final address into the catalog: redirects are not followed",
    )


def test_no_repr_and_no_message_holds_the_key(at_ollama_com: str) -> None:
    backend = OllamaBackend(at_ollama_com, api_key=KEY)
    assert KEY not in repr(backend)
    error = asyncio.run(failing(backend, lambda b: b.chat(KEY, HELLO)))
    assert isinstance(error, BackendError)
    assert error.error_class == "not_found"
