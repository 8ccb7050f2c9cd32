"""Every way in which an Ollama server fails, and what becomes of it: class, words, advice. None is an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess, failing, start_ollama, using

from routewright.backends import (
    BackendError,
    ChatRequest,
    EmbedRequest,
    ErrorClass,
    Limits,
    Message,
    StreamEnd,
    TextDelta,
)
from routewright.backends.ollama.backend import OllamaBackend

ollama_server = ollama_process.ollama_server

HELLO = ChatRequest((Message("user", "Tell me a story."),), max_output_tokens=30, temperature=0)
SIGNIN = "run `ollama signin`, or open https://ollama.com/connect?name=test-machine&key=c3NoLWVkMjU1MTk"
LARGER = "give the model a larger `context_length` in the catalog, shorten the prompt, or use another model"
SWITCHED_OFF = "the server has its cloud switched off: unset OLLAMA_NO_CLOUD, or allow it in its settings"
OWN_NAMES = "a server on this machine answers only to names of this machine; see OLLAMA_HOST"
PRICING = "this model needs a paid plan: see https://ollama.com/pricing"
STATUS = (
    "no known wording: the status alone decided. If another class fits, report the wording (docs/backends.md)"
)
OPTION = "correct it in the `options` of the request"
HOURS = "the limit lasts for hours: see https://ollama.com/settings"


@pytest.fixture(autouse=True)
def server(ollama_server: OllamaProcess) -> OllamaProcess:
    ollama_server.reset()
    return ollama_server


def fails(url: str, model: str, limits: Limits | None = None) -> BackendError:
    return asyncio.run(failing(OllamaBackend(url), lambda b: b.chat(model, HELLO, limits=limits or Limits())))


# What comes before the first byte of an answer: fault, class, the server's words, advice.
STATUSES: list[tuple[str, ErrorClass, str, str | None]] = [
    ("bad-request", "invalid_request", "answered 400", STATUS),
    ("invalid-name", "not_found", "invalid model name", None),
    ("no-tools", "invalid_request", "`fault-no-tools`: fault-no-tools does not support tools", None),
    ("no-chat", "invalid_request", "does not support chat", None),
    ("no-thinking", "invalid_request", "does not support thinking", None),
    ("no-remote", "invalid_request", "this server cannot run this remote model", None),
    ("overflow", "context_overflow", "exceeds the available context size (4096 tokens)", LARGER),
    ("overflow-text", "context_overflow", "the input length exceeds the context length", LARGER),
    ("overflow-object", "context_overflow", "request (9031 tokens) exceeds the available context", LARGER),
    ("unauthorized", "unauthorized", "answered 401 for `fault-unauthorized`: unauthorized", SIGNIN),
    ("unauthorized-bare", "unauthorized", "unauthorized", "run `ollama signin`"),
    ("payment", "payment_required", "a subscription is required", PRICING),
    ("subscription", "payment_required", "requires a subscription", PRICING),
    ("cloud-failure", "overloaded", "Internal Server Error (ref: bddedf60", None),
    ("limit-line", "quota_exhausted", "broke off with an error for `fault-limit-line`: you have", HOURS),
    ("cloud-disabled", "unauthorized", "ollama cloud is disabled", SWITCHED_OFF),
    ("forbidden-empty", "unauthorized", "answered 403", OWN_NAMES),
    ("missing", "not_found", "model 'fault-missing' not found", "run `ollama pull fault-missing`"),
    ("missing-pull", "not_found", "try pulling it first", "run `ollama pull fault-missing-pull`"),
    ("no-route", "not_found", "404 page not found", "is there an Ollama server at this address?"),
    ("rate-limited", "rate_limited", "rate limit exceeded", "ask again in 7s"),
    ("rate-limited-bare", "rate_limited", "rate limit exceeded", None),
    ("rate-limited-struct", "rate_limited", "rate limit exceeded", None),
    ("quota-session", "quota_exhausted", "you have reached your session usage limit", HOURS),
    ("quota-weekly", "quota_exhausted", "you have reached your weekly usage limit", f"ask again in 1h; {HOURS}"),
    ("canceled", "overloaded", "request canceled", None),
    ("crashed", "overloaded", "model runner has unexpectedly stopped", None),
    ("out-of-memory", "overloaded", "requires more system memory (11.1 GiB)", None),
    ("bad-option", "invalid_request", 'option "num_ctx" must be of type integer', OPTION),
    ("error-object", "overloaded", "out of order", STATUS),
    ("error-html", "overloaded", "answered 500 for `fault-error-html`", None),
    ("error-empty", "overloaded", "answered 500", None),
    ("unreachable", "overloaded", "no such host", "the server cannot reach ollama.com"),
    ("queue-full", "overloaded", "maximum pending requests exceeded", "its queue is full: see OLLAMA_MAX_QUEUE"),
    ("timed-out", "timeout.total", "upstream request timeout", None),
    ("teapot", "invalid_request", "short and stout", STATUS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "error_class", "words", "advice"), STATUSES, ids=[row[0] for row in STATUSES]
)
def test_a_refusal_has_its_class_its_words_and_its_advice(
    server: OllamaProcess, fault: str, error_class: ErrorClass, words: str, advice: str | None
) -> None:
    error = fails(server.url, f"fault-{fault}")
    assert (error.error_class, words in str(error), error.help) == (error_class, True, advice), str(error)
    assert "<" not in str(error) and "\n" not in str(error)
    assert error.timings and error.timings.total_us > 0
    assert len(server.seen("/api/chat")) == 1, "a backend repeats nothing"


@pytest.mark.parametrize(
    ("fault", "wait_ms"), [("rate-limited", 7_000), ("quota-weekly", 3_600_000), ("rate-limited-bare", None)]
)
def test_the_wait_that_the_server_asks_for_is_kept(
    server: OllamaProcess, fault: str, wait_ms: int | None
) -> None:
    assert fails(server.url, f"fault-{fault}:cloud").retry_after_ms == wait_ms


# What goes wrong after a status of 200: fault, class, words, whether text was seen before.
STREAMS: list[tuple[str, ErrorClass, str, bool]] = [
    ("cut", "broken_stream", "closed the connection before its answer was whole", True),
    ("cut-before", "broken_stream", "closed the connection before its answer was whole", False),
    ("no-done", "broken_stream", "ended without `done`", True),
    ("malformed", "bad_response", "is not JSON", True),
    ("half-line", "broken_stream", "ended in the middle of a line", True),
    ("not-utf8", "bad_response", "is not JSON", True),
    ("not-object", "bad_response", "the line `[\"done\"]`", False),
    ("wrong-types", "bad_response", "`done` that is neither true nor false", False),
    ("html", "bad_response", "the line `<html>", False),
    ("empty", "broken_stream", "ended without `done`", False),
    ("error-line", "broken_stream", "broke off with an error for `fault-error-line`: an error was", True),
    ("error-line-first", "broken_stream", "model runner has unexpectedly stopped", False),
    ("error-line-object", "overloaded", "the model went away", True),
    ("error-line-status", "rate_limited", "rate limit exceeded", True),
    ("load-reason", "bad_response", "the server only had to load the model, and did not answer", True),
    ("unload-reason", "bad_response", "the server only had to unload the model", True),
    ("odd-reason", "bad_response", "the `done_reason` `tired`", True),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "error_class", "words", "begun"), STREAMS, ids=[row[0] for row in STREAMS])
def test_a_stream_that_is_not_whole_is_no_answer(
    server: OllamaProcess, fault: str, error_class: ErrorClass, words: str, begun: bool
) -> None:
    async def use(backend: OllamaBackend) -> tuple[str, BackendError | None]:
        text = ""
        try:
            async for event in backend.stream(f"fault-{fault}", HELLO):
                assert not isinstance(event, StreamEnd)
                text += event.text
        except BackendError as error:
            return text, error
        return text, None

    text, error = asyncio.run(using(OllamaBackend(server.url), use))
    assert error is not None
    assert (error.error_class, words in str(error)) == (error_class, True), str(error)
    assert bool(text) == begun
    assert error.timings and (error.timings.first_token_us is not None) == begun
    assert len(server.seen("/api/chat")) == 1


@pytest.mark.parametrize(
    ("fault", "limits", "error_class"),
    [
        ("stalled", Limits(idle_ms=400), "timeout.idle"),
        ("stalled-before", Limits(first_token_ms=1_500), "timeout.first_token"),
        ("stalled-headers", Limits(first_token_ms=1_500), "timeout.first_token"),
        ("stalled", Limits(total_ms=4_000), "timeout.total"),
        ("slow", Limits(idle_ms=100), "timeout.idle"),
        ("slow", Limits(total_ms=2_500), "timeout.total"),
    ],
)
def test_each_phase_has_its_own_timeout(
    server: OllamaProcess, fault: str, limits: Limits, error_class: ErrorClass
) -> None:
    error = fails(server.url, f"fault-{fault}", limits)
    assert error.error_class == error_class
    assert error.timings and error.timings.total_us < 15_000_000


def test_a_stream_that_is_slow_but_alive_is_an_answer(server: OllamaProcess) -> None:
    backend = OllamaBackend(server.url)
    request = ChatRequest(HELLO.messages, max_output_tokens=4)
    answer = asyncio.run(
        using(backend, lambda b: b.chat("fault-slow", request, limits=Limits(idle_ms=5_000)))
    )
    assert answer.text


@pytest.mark.parametrize("fault", ["no-reason", "no-metrics", "keepalive-lines"])
def test_what_servers_may_leave_out_is_no_failure(server: OllamaProcess, fault: str) -> None:
    answer = asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat(f"fault-{fault}", HELLO)))
    assert answer.text
    if fault == "no-metrics":
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (None, None)
        assert answer.timings.load_us is None


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        ("wrong-types", "bad_response"),
        ("half-line", "bad_response"),
        ("html", "bad_response"),
        ("empty", "bad_response"),
        ("missing", "not_found"),
        ("overflow-text", "context_overflow"),
        ("queue-full", "overloaded"),
        ("cut-before", "broken_stream"),
    ],
)
def test_embeddings_fail_with_their_class(server: OllamaProcess, fault: str, error_class: ErrorClass) -> None:
    server.turn(fault=fault.replace("-", "_"), fault_path="/api/embed")
    request = EmbedRequest(("one", "two"))
    error = asyncio.run(failing(OllamaBackend(server.url), lambda b: b.embed("smollm2-embed:135m", request)))
    assert error.error_class == error_class, str(error)


def test_a_full_queue_is_the_server_s_own_answer(server: OllamaProcess) -> None:
    server.turn(max_queue=0)
    assert fails(server.url, "smollm2:135m").error_class == "overloaded"


def test_a_server_that_is_not_signed_in_refuses_cloud_models_alone(server: OllamaProcess) -> None:
    server.turn(signed_in=False)
    assert fails(server.url, "kimi-k2:1t-cloud").help == SIGNIN
    assert asyncio.run(using(OllamaBackend(server.url), lambda b: b.chat("smollm2:135m", HELLO))).text


def test_another_name_of_this_machine_is_refused_by_the_server(server: OllamaProcess) -> None:
    """The server looks at the name it is called by."""
    really = socket.getaddrinfo

    def looked_up(host: object, *rest: object, **more: object) -> object:
        return really("127.0.0.1", *rest, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", looked_up)
        error = fails(f"http://gpu-box.example:{server.port}", "smollm2:135m")
    assert (error.error_class, "answered 403" in str(error)) == ("unauthorized", True)


def test_nobody_at_the_address_is_a_timeout_of_connecting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = fails(f"http://127.0.0.1:{port}", "smollm2:135m")
        assert (error.error_class, str(error)) == (
            "timeout.connect",
            f"no connection to `127.0.0.1:{port}`: connection refused",
        )
        listed = asyncio.run(failing(OllamaBackend(f"127.0.0.1:{port}"), lambda b: b.models()))
        assert listed.error_class == "timeout.connect"


@pytest.fixture
def victim() -> Iterator[OllamaProcess]:
    """A server of its own, for those that are killed."""
    with start_ollama() as server:
        yield server


async def _after_first_text(url: str, act: Callable[[], None], limits: Limits) -> BackendError:
    backend = OllamaBackend(url)

    async def use(backend: OllamaBackend) -> None:
        request = ChatRequest(HELLO.messages, max_output_tokens=2_000)
        acted = False
        async for event in backend.stream("smollm2:135m", request, limits=limits):
            if isinstance(event, TextDelta) and not acted:
                acted = True
                await asyncio.to_thread(act)

    return await failing(backend, use)


def test_a_server_that_is_killed_in_mid_stream(victim: OllamaProcess) -> None:
    error = asyncio.run(_after_first_text(victim.url, lambda: victim.signal(signal.SIGKILL), Limits()))
    assert error.error_class == "broken_stream"
    assert error.timings and error.timings.first_token_us


def test_a_model_s_process_that_is_killed_in_mid_stream(victim: OllamaProcess) -> None:
    def kill() -> None:
        for pid in victim.report()["runner_pids"]:
            os.kill(pid, signal.SIGKILL)

    error = asyncio.run(_after_first_text(victim.url, kill, Limits()))
    assert error.error_class == "broken_stream"
    assert "model runner has unexpectedly stopped" in str(error), "what the server says of it"


def test_a_server_that_freezes_in_mid_stream(victim: OllamaProcess) -> None:
    error = asyncio.run(
        _after_first_text(victim.url, lambda: victim.signal(signal.SIGSTOP), Limits(idle_ms=700))
    )
    assert error.error_class == "timeout.idle"


def test_a_server_that_is_frozen_all_along(victim: OllamaProcess) -> None:
    """It accepts connections all the same: the system does that. Nothing says that it loads anything."""
    victim.signal(signal.SIGSTOP)
    error = fails(victim.url, "smollm2:135m", Limits(connect_ms=500, load_ms=60_000, first_token_ms=800))
    assert error.error_class == "timeout.first_token"
    assert error.timings and error.timings.total_us < 3_000_000
