"""Who stands in on this machine: an Ollama server's models where one answers, else the embedded one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from support.shipped import hybrid

from routewright.cli.standins import EMBEDDED, short_prompts, stand_ins
from routewright.loading.loading import load_policy, shipped

HYBRID = hybrid()
NOBODY = "http://127.0.0.1:9"


@contextmanager
def ollama_with(*tags: str, status: int = 200, hangs_s: float = 0) -> Iterator[str]:
    """The address of a server that lists ``tags`` and does nothing else, or fails at that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = [{"name": tag, "model": tag, "size": 1} for tag in tags]
            listed = {"models": models if self.path == "/api/tags" else []}
            body = json.dumps(listed if status == 200 else {"error": "no disk"}).encode()
            time.sleep(hangs_s)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked did not wait
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said_of(host: str, monkeypatch: pytest.MonkeyPatch, patience_s: float = 3) -> str:
    """What is said of the server at ``host``."""
    monkeypatch.setenv("OLLAMA_HOST", host)
    monkeypatch.setattr("routewright.cli.standins._PATIENCE_S", patience_s)
    return stand_ins(HYBRID).told[0]


def test_where_no_server_answers_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_of(NOBODY, monkeypatch)
    assert (
        said
        == f"No Ollama server is used: no connection to `{NOBODY.removeprefix('http://')}`: connection refused."
    )


def test_what_is_no_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_of("ftp://box", monkeypatch)
    assert said == "No Ollama server is used: OLLAMA_HOST is no address of one: `ftp://box`."


def test_a_server_that_fails_is_not_used_and_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: True)
    with ollama_with(status=500) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        found = stand_ins(HYBRID)
    assert found.maps is not None and found.maps["*"] == EMBEDDED
    hosts = {"ollama": {"host": url}, "cloud": {"host": url}}
    assert found.declared == {"mlx": {"kind": "llamacpp"}, **hosts}
    # Whoever would only be waited for is not called: nothing that is enabled runs there.
    catalog = load_policy(shipped("hybrid.yaml"), maps=found.maps, declared=found.declared).catalog
    assert {model.backend for model in catalog.models if model.disabled is None} == {"mlx", "llamacpp"}
    assert found.told[0].startswith("No Ollama server is used: the Ollama server answered 500")


def test_a_server_that_hangs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ollama_with("smollm2:135m", hangs_s=2) as url:
        assert said_of(url, monkeypatch, 0.5) == "No Ollama server is used: it said nothing within 0.5 s."


def test_a_port_that_takes_connections_and_never_says_a_word_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert said_of(url, monkeypatch, 0.5) == "No Ollama server is used: it said nothing within 0.5 s."


def test_a_server_without_models_is_told_and_the_embedded_one_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: True)
    with ollama_with() as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        found = stand_ins(HYBRID)
    assert found.maps is not None and (found.maps["*"], found.short) == (EMBEDDED, True)
    assert found.lacking["qwen3-embed"] == "ollama pull qwen3-embedding:latest"
    assert list(found.told) == [
        f"The Ollama server at {url} has no models.",
        "The embedded model SmolLM2-135M stands in for the chat models that this machine lacks.",
    ]


def test_without_a_server_the_embedded_model_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOBODY)
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: True)
    found = stand_ins(HYBRID)
    assert found.maps is not None and found.maps["*"] == EMBEDDED
    assert found.maps["glm-4.5"] == "mlx:smollm2" and found.maps["qwen3-embed"] is None
    assert list(found.told) == [
        f"No Ollama server is used: no connection to `{NOBODY.removeprefix('http://')}`: connection refused.",
        "The embedded model SmolLM2-135M stands in for the chat models that this machine lacks.",
    ]


def test_with_neither_it_is_simulated_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOBODY)
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: False)
    found = stand_ins(HYBRID)
    assert found.maps is None
    assert found.told[-1] == "No model was asked, as the embedded one is not installed either."


def test_without_the_embedded_model_one_of_the_server_s_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: False)
    with ollama_with("gemma3n:e4b") as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        found = stand_ins(HYBRID)
    assert found.maps is not None and found.maps["*"] == "ollama:gemma3n:e4b"
    assert found.told[1] == "Its `gemma3n:e4b` stands in for the other chat models that this machine lacks."


def test_a_server_s_own_models_are_used_and_a_small_one_stands_in_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ollama_with("gemma3n:e4b", "smollm2:135m") as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        found = stand_ins(HYBRID)
    assert found.maps is not None
    assert found.declared == {
        "mlx": {"kind": "ollama", "host": url},
        "ollama": {"host": url},
        "cloud": {"host": url},
    }
    catalog = load_policy(shipped("hybrid.yaml"), maps=found.maps, declared=found.declared).catalog
    gemma, glm = catalog.find("gemma3n"), catalog.find("glm-4.5")
    assert gemma is not None and gemma.shape.stands_in_for is None
    assert glm is not None and (glm.backend, glm.tag) == ("mlx", "smollm2:135m")
    assert (glm.context_length, glm.shape.max_output_tokens, glm.shape.think) == (8192, 1024, False)
    assert glm.shape.price is not None and glm.shape.price.output == 0
    assert list(found.told) == [
        f"The Ollama server at {url} has 2 models, of the catalog's gemma3n.",
        "Its `smollm2:135m` stands in for the other chat models that this machine lacks.",
    ]
    assert not found.short, "what a larger model writes in a step is not cut"
    assert catalog.backends["ollama"].server.url == url


def test_steps_of_a_small_model_are_kept_short() -> None:
    prompts = short_prompts(48)
    assert {prompt.max_output_tokens for prompt in prompts.by_name.values()} == {48}
