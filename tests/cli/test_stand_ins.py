"""Who stands in on this machine: an Ollama server's models where one answers, else the embedded one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from routewright.cli.standins import EMBEDDED, find_ollama, short_prompts, stand_ins
from routewright.loading import load_policy, shipped

HYBRID = load_policy(shipped("hybrid.yaml"))
NOBODY = "http://127.0.0.1:9"


@contextmanager
def ollama_with(*tags: str) -> Iterator[str]:
    """The address of a server that lists ``tags`` and does nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = [{"name": tag, "model": tag, "size": 1} for tag in tags]
            body = json.dumps({"models": models if self.path == "/api/tags" else []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
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


def test_where_no_server_answers_there_is_none() -> None:
    assert find_ollama(NOBODY) == (None, ())


def test_without_a_server_the_embedded_model_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOBODY)
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: True)
    found = stand_ins(HYBRID)
    assert (found.maps, found.hosts) == ({"*": EMBEDDED}, {})
    assert "embedded model SmolLM2-135M stands in" in found.told


def test_with_neither_it_is_simulated_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOBODY)
    monkeypatch.setattr("routewright.cli.standins.embedded_is_installed", lambda: False)
    found = stand_ins(HYBRID)
    assert found.maps is None
    assert found.told.startswith("simulated: no model was asked")


def test_a_server_s_own_models_are_used_and_a_small_one_stands_in_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ollama_with("gemma3n:e4b", "smollm2:135m") as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        found = stand_ins(HYBRID)
    assert found.maps is not None and found.hosts == {"ollama": url, "cloud": url}
    catalog = load_policy(shipped("hybrid.yaml"), maps=found.maps, hosts=found.hosts).catalog
    gemma, glm = catalog.find("gemma3n"), catalog.find("glm-4.5")
    assert gemma is not None and gemma.shape.stands_in_for is None
    assert glm is not None and (glm.backend, glm.tag) == ("ollama", "smollm2:135m")
    assert catalog.backends["ollama"].host == url


def test_steps_of_a_small_model_are_kept_short() -> None:
    prompts = short_prompts(48)
    assert {prompt.max_output_tokens for prompt in prompts.by_name.values()} == {48}
