"""Three questions: is the model there, can the cloud be reached, is somebody signed in. Nothing is loaded for them."""

from __future__ import annotations

import asyncio

import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess, using

from routewright.backends import HealthReport
from routewright.backends.ollama.backend import OllamaBackend

ollama_server = ollama_process.ollama_server

CLOUD = "kimi-k2:1t-cloud"


@pytest.fixture(autouse=True)
def server(ollama_server: OllamaProcess) -> OllamaProcess:
    ollama_server.reset()
    return ollama_server


def health(backend: OllamaBackend, model: str | None = None) -> HealthReport:
    return asyncio.run(using(backend, lambda b: b.health(model)))


def test_a_server_that_answers_is_healthy(server: OllamaProcess) -> None:
    assert health(OllamaBackend(server.url)) == HealthReport(True, "the server answers", "0.33.0")


@pytest.mark.parametrize(
    ("model", "healthy", "detail"),
    [
        ("smollm2:135m", True, "the server answers; `smollm2:135m` is there"),
        ("smollm2", True, "the server answers; `smollm2` is there"),
        ("qwen3:8b", False, "`qwen3:8b` is not there: run `ollama pull qwen3:8b`"),
        (
            "gpt-oss-stub",
            False,
            "`gpt-oss-stub` would not run on this machine: its server forwards it to https://ollama.com:443",
        ),
        (CLOUD, True, f"the server answers; the cloud is allowed; signed in; `{CLOUD}` is there"),
        (
            "nothing:cloud",
            False,
            "the Ollama server answered 404 for `nothing:cloud`: model 'nothing' not found: "
            "run `ollama pull nothing:cloud`",
        ),
    ],
)
def test_a_model_is_there_or_not(server: OllamaProcess, model: str, healthy: bool, detail: str) -> None:
    report = health(OllamaBackend(server.url), model)
    assert (report.healthy, report.detail) == (healthy, detail)
    assert server.report()["loads"] == 0
    assert {"/api/chat", "/api/generate", "/api/embed"}.isdisjoint(seen["path"] for seen in server.seen())


@pytest.mark.parametrize(
    ("knobs", "healthy", "detail"),
    [
        ({"signed_in": False}, False, "the server is not signed in: run `ollama signin`"),
        ({"reachable": False}, False, "ollama.com cannot be reached from the server"),
        ({"cloud_disabled": True}, False, "the server has its cloud switched off (source: env)"),
        ({"has_status_route": False}, True, "the server answers; signed in"),
    ],
    ids=["signed out", "unreachable", "switched off", "older"],
)
def test_the_cloud_has_conditions(
    server: OllamaProcess, knobs: dict[str, object], healthy: bool, detail: str
) -> None:
    server.turn(**knobs)
    report = health(OllamaBackend(server.url, requires_signin=True))
    assert (report.healthy, report.detail, report.version) == (healthy, detail, "0.33.0")
    local = health(OllamaBackend(server.url), "smollm2:135m")
    assert local.healthy, "what stays on this machine needs none of it"


def test_a_server_that_is_too_old_is_not_healthy(server: OllamaProcess) -> None:
    server.turn(version="0.11.10")
    report = health(OllamaBackend(server.url, min_version="0.12.0"))
    assert report == HealthReport(False, "the server is version 0.11.10, and 0.12.0 is wanted", "0.11.10")
    server.turn(version="0.0.0")
    assert health(OllamaBackend(server.url, min_version="0.12.0")).healthy, "built by hand: it says nothing"


def test_nobody_at_the_address_is_not_healthy() -> None:
    report = health(OllamaBackend("127.0.0.1:9"))
    assert (report.healthy, report.version) == (False, None)
    assert report.detail.startswith("no connection to `127.0.0.1:9`: connection refused")


def test_another_kind_of_server_is_told_apart(server: OllamaProcess) -> None:
    report = health(OllamaBackend(f"{server.url}/v1"))
    assert not report.healthy
    assert "is no Ollama server: status 404 for its version" in report.detail
