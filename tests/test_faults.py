"""The wall of faults: each through the whole gateway, from the policy to the ledger.

For every fault the class, the attempts in the ledger, and the answer or the clear failure. None is a success in
silence, none begins anew after its first token, and nothing of a failure is ever kept as an answer.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.fault_parts import (
    Brick,
    Embedded,
    Follows,
    Knob,
    Mlx,
    Named,
    Scripted,
    Seen,
    Signalled,
    Simulated,
    expected_attempts,
    strike,
    strike_together,
)
from support.mlx_parts import need_mlx
from support.ollama_process import OllamaProcess, start_ollama, using
from support.scripted_http import Cut, Hang, Send, Wait, events, reply

from routewright import Ledger
from routewright.backends import ERROR_CLASSES, ChatAnswer, ChatRequest, Message
from routewright.backends.ollama.backend import OllamaBackend

# --- an OpenAI-compatible server ---------------------------------------------------------------------------------


def chunk(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def error(message: str, code: object = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


WHOLE = events(chunk("A whole"), chunk(" answer."), chunk(finish="stop"), "data: [DONE]\n\n")
HALF = chunk("Half an ")
DAMAGED = f"dbta: {json.dumps(chunk('answer', 'stop'))}\n\n"

OPENAI = [
    Brick("wrong key", Scripted([reply(401, error("no such key")), WHOLE]), "unauthorized", "next"),
    Brick("a bill is due", Scripted([reply(402, error("add credit")), WHOLE]), "payment_required", "next"),
    Brick("no such model", Scripted([reply(404, error("no such model")), WHOLE]), "not_found", "next"),
    Brick(
        "too long",
        Scripted([reply(400, error("too long", "context_length_exceeded")), WHOLE]),
        "context_overflow",
        "next",
    ),
    Brick(
        "filtered prompt",
        Scripted([reply(400, error("no", "content_filter")), WHOLE]),
        "refused_content",
        "stop",
    ),
    Brick(
        "too many requests, for a moment",
        Scripted([reply(429, error("slow down"), {"retry-after-ms": "50"}), WHOLE]),
        "rate_limited",
        "retry",
    ),
    Brick(
        "too many requests, for a minute",
        Scripted([reply(429, error("slow down"), {"Retry-After": "60"}), WHOLE]),
        "rate_limited",
        "next",
    ),
    Brick(
        "weekly limit",
        Scripted([reply(429, {"error": "you have reached your weekly usage limit"}), WHOLE]),
        "quota_exhausted",
        "next",
    ),
    Brick(
        "a pause of milliseconds, beside a word of quotas",
        Scripted([reply(429, error("quota exceeded, retry in 50ms: https://aka.ms/oai/quotaincrease")), WHOLE]),
        "rate_limited",
        "retry",
    ),
    Brick(
        "used up for two hours",
        Scripted([reply(429, error("slow down"), {"X-RateLimit-Reset": "2h", "X-RateLimit-Remaining": "0"}), WHOLE]),
        "quota_exhausted",
        "next",
    ),
    Brick(
        "larger than the limit for a minute",
        Scripted([reply(429, error("on tokens per minute: Limit 12000, Requested 14137")), WHOLE]),
        "context_overflow",
        "next",
    ),
    Brick("no credit", Scripted([reply(400, error("credit balance is too low")), WHOLE]), "payment_required", "next"),
    Brick(
        "flagged by a moderation",
        Scripted([reply(403, {"error": {"message": "no", "code": 403, "metadata": {"reasons": ["violence"]}}}), WHOLE]),
        "refused_content",
        "stop",
    ),
    Brick("given up by the server", Scripted([reply(499, error("CANCELLED")), WHOLE]), "overloaded", "retry"),
    Brick("request not understood", Scripted([reply(422, {"detail": "no"}), WHOLE]), "invalid_request", "next"),
    Brick("redirected", Scripted([reply(307, "", {"Location": "/v2"}), WHOLE]), "invalid_request", "next"),
    Brick("busy", Scripted([reply(503, error("busy")), WHOLE]), "overloaded", "retry"),
    Brick("busy without end", Scripted([reply(503, error("busy"))]), "overloaded", "worn"),
    Brick(
        "busy without end, alone",
        Scripted([reply(503, error("busy"))]),
        "overloaded",
        "worn",
        stream=False,
        alone=True,
    ),
    Brick("gateway timeout", Scripted([reply(504, "<html>"), WHOLE]), "timeout.total", "next"),
    Brick("html under 200", Scripted([reply(200, "<html>hello</html>"), WHOLE]), "bad_response", "next"),
    Brick("no http", Scripted([[Send(b"SSH-2.0-x\r\n\r\n"), Cut()], WHOLE]), "bad_response", "next"),
    Brick("cut before the headers", Scripted([[Cut()], WHOLE]), "broken_stream", "retry"),
    Brick("ends before the first token", Scripted([events(), WHOLE]), "broken_stream", "retry"),
    Brick("ends without a reason", Scripted([events(HALF), WHOLE]), "broken_stream", "partial"),
    Brick("done without a reason", Scripted([events(HALF, "data: [DONE]\n\n"), WHOLE]), "broken_stream", "partial"),
    Brick("ends within a line", Scripted([events(HALF, 'data: {"cho'), WHOLE]), "broken_stream", "partial"),
    Brick("not json in mid-stream", Scripted([events(HALF, "data: {oops\n\n"), WHOLE]), "bad_response", "partial"),
    Brick("pings alone", Scripted([events({"type": "ping"}, {"type": "ping"}), WHOLE]), "broken_stream", "retry"),
    Brick("a damaged field", Scripted([events(HALF, DAMAGED, "data: [DONE]\n\n"), WHOLE]), "bad_response", "partial"),
    Brick(
        "text after the reason, then the end",
        Scripted([events(HALF, chunk(finish="stop"), chunk("answer")), WHOLE]),
        "broken_stream",
        "partial",
    ),
    Brick(
        "calls that never come",
        Scripted([events(chunk(finish="tool_calls"), "data: [DONE]\n\n"), WHOLE]),
        "bad_response",
        "next",
    ),
    Brick("error event in mid-stream", Scripted([events(HALF, error("gone", 500)), WHOLE]), "overloaded", "partial"),
    Brick("reset in mid-stream", Scripted([[*events(HALF), Wait(0.1), Cut()], WHOLE]), "broken_stream", "partial"),
    Brick(
        "filter in mid-stream",
        Scripted([events(HALF, chunk(finish="content_filter")), WHOLE]),
        "refused_content",
        "partial",
    ),
    Brick(
        "never answers",
        Scripted([[Hang()], WHOLE]),
        "timeout.first_token",
        "next",
        timeouts={"connect": "2s", "first_token": "100ms"},
    ),
    Brick(
        "never answers, unseen",
        Scripted([[Hang()], WHOLE]),
        "timeout.total",
        "next",
        stream=False,
        timeouts={"total": "150ms"},
    ),
    Brick(
        "stalls in mid-stream",
        Scripted([events(HALF, ended=False), WHOLE]),
        "timeout.idle",
        "partial",
        timeouts={"idle": "100ms"},
    ),
    Brick(
        "stalls in mid-stream, unseen",
        Scripted([events(HALF, ended=False), WHOLE]),
        "timeout.idle",
        "next",
        stream=False,
        timeouts={"idle": "100ms", "first_token": "5s"},
    ),
    Brick(
        "no end, unseen",
        Scripted([events(HALF), WHOLE]),
        "broken_stream",
        "retry",
        stream=False,
        timeouts={"first_token": "5s"},
    ),
]  # fmt: skip

# --- an Ollama server over a real model --------------------------------------------------------------------------

OLLAMA = [
    Brick("not signed in", Named("unauthorized"), "unauthorized", "next"),
    Brick("cloud switched off", Named("cloud-disabled"), "unauthorized", "next", stream=False),
    Brick("needs a plan", Named("payment"), "payment_required", "next"),
    Brick("needs a subscription", Named("subscription"), "payment_required", "next"),
    Brick("cloud failed", Named("cloud-failure"), "overloaded", "worn"),
    Brick("limit as a line of a stream", Named("limit-line"), "quota_exhausted", "next"),
    Brick("request not understood", Named("bad-request"), "invalid_request", "next"),
    Brick("not pulled", Named("missing"), "not_found", "next"),
    Brick("not pulled, alone", Named("missing"), "not_found", "next", stream=False, alone=True),
    Brick("too long", Named("overflow"), "context_overflow", "next"),
    Brick("rate limited for 7 s", Named("rate-limited"), "rate_limited", "next"),
    Brick("session limit", Named("quota-session"), "quota_exhausted", "next"),
    Brick("weekly limit in a Go struct", Named("quota-weekly"), "quota_exhausted", "next", stream=False),
    Brick("queue full", Named("queue-full"), "overloaded", "worn"),
    Brick("queue full once", Knob({"fault": "queue_full"}), "overloaded", "retry"),
    Brick("out of memory", Named("out-of-memory"), "overloaded", "worn", stream=False, alone=True),
    Brick("runner crashed before", Named("error-line-first"), "broken_stream", "worn"),
    Brick("proxy gave up", Named("timed-out"), "timeout.total", "next"),
    Brick("proxy's page", Named("html"), "bad_response", "next"),
    Brick("empty", Named("empty"), "broken_stream", "worn"),
    Brick("cut before the first token", Named("cut-before"), "broken_stream", "worn"),
    Brick("cut in mid-stream", Named("cut"), "broken_stream", "partial"),
    Brick("cut once, unseen", Knob({"fault": "cut"}), "broken_stream", "retry", stream=False),
    Brick("no `done`", Named("no-done"), "broken_stream", "partial"),
    Brick("no `done`, unseen", Named("no-done"), "broken_stream", "worn", stream=False),
    Brick("not json in mid-stream", Named("malformed"), "bad_response", "partial"),
    Brick("half a line", Named("half-line"), "broken_stream", "partial"),
    Brick("error line in mid-stream", Named("error-line"), "broken_stream", "partial"),
    Brick("remote limit in mid-stream", Named("error-line-status"), "rate_limited", "partial"),
    Brick("only loaded", Named("load-reason"), "bad_response", "next", stream=False),
    Brick("stalls in mid-stream", Named("stalled"), "timeout.idle", "partial", timeouts={"idle": "400ms"}),
    Brick(
        "headers, then nothing",
        Named("stalled-headers"),
        "timeout.first_token",
        "next",
        timeouts={"first_token": "800ms"},
    ),
    Brick("slow without end", Named("slow"), "timeout.total", "partial", timeouts={"total": "2500ms"}),
    Brick("loads too long", Named("cold"), "timeout.load", "next", timeouts={"load": "300ms"}),
    Brick("server killed in mid-stream", Signalled(signal.SIGKILL, "text"), "broken_stream", "partial"),
    Brick("model killed in mid-stream", Signalled(signal.SIGKILL, "text", "runner"), "broken_stream", "partial"),
    Brick(
        "server frozen in mid-stream",
        Signalled(signal.SIGSTOP, "text"),
        "timeout.idle",
        "partial",
        timeouts={"idle": "600ms", "connect": "500ms", "first_token": "3s"},
    ),
    Brick(
        "server frozen all along",
        Signalled(signal.SIGSTOP, "start"),
        "timeout.first_token",
        "next",
        timeouts={"connect": "500ms", "load": "30s", "first_token": "800ms"},
    ),
    Brick("server gone", Signalled(signal.SIGKILL, "start"), "timeout.connect", "next"),
]  # fmt: skip

# --- the embedded model ------------------------------------------------------------------------------------------

LLAMACPP = [
    Brick("no file", Embedded(model={"path": "/nowhere/model.gguf"}), "not_found", "next"),
    Brick("no file, alone", Embedded(model={"path": "/nowhere/model.gguf"}), "not_found", "next", alone=True),
    Brick("loads too long", Embedded(), "timeout.load", "next", timeouts={"load": "1ms"}),
    Brick("killed in mid-stream", Embedded(killed=True), "broken_stream", "partial"),
]

# --- models in this process, through MLX ---------------------------------------------------------------------------

HUGE = " ".join(["word"] * 4_000)


def torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5_000])


def emptied(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def lengthened(folder: Path) -> None:
    """Reading its tokenizer takes a quarter of a second."""
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" " * 20_000_000)


MLX = [
    Brick("no folder", Mlx(model={"path": "/nowhere/model"}), "not_found", "next"),
    Brick("no folder, alone", Mlx(model={"path": "/nowhere/model"}), "not_found", "next", alone=True),
    Brick("not under the backend's path", Mlx("tiny-z"), "not_found", "next", stream=False),
    Brick("torn weights", Mlx(spoilt=torn), "bad_response", "next"),
    Brick("torn weights, alone", Mlx(spoilt=torn), "bad_response", "next", stream=False, alone=True),
    Brick("empty weights", Mlx(spoilt=emptied), "bad_response", "next", stream=False),
    Brick("no weights", Mlx(spoilt=lambda m: (m / "model.safetensors").unlink()), "bad_response", "next"),
    Brick("no tokenizer", Mlx(spoilt=lambda m: (m / "tokenizer.json").unlink()), "bad_response", "next"),
    Brick(
        "configuration that is no json",
        Mlx(spoilt=lambda m: (m / "config.json").write_text("{")),
        "bad_response",
        "next",
    ),
    Brick(
        "unknown architecture",
        Mlx(spoilt=lambda m: (m / "config.json").write_text('{"model_type": "novel"}')),
        "not_found",
        "next",
    ),
    Brick("made for no chat", Mlx("untaught"), "invalid_request", "next"),
    Brick(
        "larger than the memory",
        Mlx(backend={"memory_gb": 4}, model={"memory_gb": 4.5}),
        "not_found",
        "next",
    ),
    Brick(
        "larger than the memory, alone",
        Mlx(backend={"memory_gb": 4}, model={"memory_gb": 4.5}),
        "not_found",
        "next",
        stream=False,
        alone=True,
    ),
    Brick("too long", Mlx(prompt=HUGE), "context_overflow", "next"),
    Brick("too long, alone", Mlx(prompt=HUGE), "context_overflow", "next", stream=False, alone=True),
    Brick("loads too long", Mlx(spoilt=lengthened), "timeout.load", "next", timeouts={"load": "1ms"}),
    Brick(
        "loads too long, alone",
        Mlx(spoilt=lengthened),
        "timeout.load",
        "next",
        timeouts={"load": "1ms"},
        alone=True,
    ),
    Brick(
        "reads too long",
        Mlx(prompt="abc " * 600, warm=True),
        "timeout.first_token",
        "next",
        timeouts={"first_token": "30ms", "load": "60s"},
    ),
    Brick(
        "writes too long",
        Mlx(max_output_tokens=None, warm=True),
        "timeout.total",
        "partial",
        timeouts={"total": "600ms"},
    ),
    Brick(
        "writes too long, unseen",
        Mlx(max_output_tokens=None, warm=True),
        "timeout.total",
        "next",
        stream=False,
        timeouts={"total": "600ms"},
    ),
    Brick("closed in mid-stream", Mlx(max_output_tokens=None, stopped=True), "cancelled", "partial"),
]

# --- what no server is needed for: every class, at once and in mid-stream, with and without another model ----------

RETRIED = frozenset({"rate_limited", "overloaded", "broken_stream"})
STOPS = frozenset({"refused_content", "cancelled"})
LATE = frozenset({"broken_stream", "timeout.idle", "timeout.total"})
"""What befalls the simulated backend after its first words."""


def simulated() -> Iterator[Brick]:
    for error_class in ERROR_CLASSES:
        follows: Follows = "retry" if error_class in RETRIED else "stop" if error_class in STOPS else "next"
        late = error_class in LATE
        once, always = Simulated([error_class]), Simulated([error_class] * 6)
        yield Brick(f"{error_class}, unseen", once, error_class, follows, stream=False)
        yield Brick(f"{error_class}, streamed", once, error_class, "partial" if late else follows)
        if error_class != "rate_limited":  # it asks for pauses of a second each
            alone: Follows = "worn" if error_class in RETRIED else follows
            yield Brick(f"{error_class}, alone", always, error_class, alone, stream=False, alone=True)


WALLS = {
    "openai": OPENAI,
    "ollama": OLLAMA,
    "llamacpp": LLAMACPP,
    "mlx": MLX,
    "simulated": list(simulated()),
}
TOGETHER = ("openai", "simulated")
WALL = [
    pytest.param(brick, id=f"{kind}: {brick.name}")
    for kind, wall in WALLS.items()
    if kind not in TOGETHER
    for brick in wall
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return Ledger.open(tmp_path_factory.mktemp("faults") / "ledger.duckdb")


Struck = Mapping[str, tuple[Seen, Seen] | BaseException]
"""What came of the bricks of one wall, by their names."""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Callable[[str], Struck]:
    """What came of all bricks of a wall that needs no process of its own; they are struck once."""

    @cache
    def struck(kind: str) -> Struck:
        found = strike_together(WALLS[kind], folder=tmp_path_factory.mktemp(kind), ledger=ledger)
        return dict(zip((brick.name for brick in WALLS[kind]), found, strict=True))

    return struck


@pytest.fixture(scope="module")
def running_ollama() -> Iterator[OllamaProcess]:
    """Its model is in memory before the first fault: how long loading takes here is no part of any."""
    with start_ollama() as server:
        request = ChatRequest((Message("user", "Hello?"),), max_output_tokens=1)
        asyncio.run(using(OllamaBackend(server.url), lambda backend: backend.chat("smollm2:135m", request)))
        yield server


@pytest.fixture
def ollama(request: pytest.FixtureRequest) -> OllamaProcess | None:
    """The server, for the bricks that need it; others run where it cannot."""
    made = request.node.callspec.params["brick"].made
    if isinstance(made, Mlx):
        need_mlx()
    if isinstance(made, Embedded | Signalled):
        pytest.importorskip("xllamacpp")
    if not isinstance(made, Named | Knob):
        return None
    server = request.getfixturevalue("running_ollama")
    assert isinstance(server, OllamaProcess)
    server.reset()
    return server


def test_the_wall_is_high_and_has_no_gap() -> None:
    bricks = [brick for wall in WALLS.values() for brick in wall]
    assert len(bricks) >= 40
    assert {brick.error_class for brick in bricks} == set(ERROR_CLASSES)
    names = Counter((kind, brick.name) for kind, wall in WALLS.items() for brick in wall)
    assert max(names.values()) == 1


@pytest.mark.parametrize("brick", WALL)
def test_each_fault_has_its_class_its_attempts_and_its_end(
    brick: Brick, tmp_path: Path, ledger: Ledger, ollama: OllamaProcess | None
) -> None:
    assert_it_went_as_it_must(brick, *strike(brick, folder=tmp_path, ledger=ledger, ollama=ollama))


@pytest.mark.parametrize(
    ("kind", "brick"),
    [pytest.param(kind, brick, id=f"{kind}: {brick.name}") for kind in TOGETHER for brick in WALLS[kind]],
)
def test_each_fault_of_one_gateway_has_its_class_its_attempts_and_its_end(
    kind: str, brick: Brick, together: Callable[[str], Struck]
) -> None:
    found = together(kind)[brick.name]
    if isinstance(found, BaseException):
        raise found
    assert_it_went_as_it_must(brick, *found)


def assert_it_went_as_it_must(brick: Brick, seen: Seen, again: Seen) -> None:
    assert seen.rows == expected_attempts(brick)
    execution = seen.ran.execution
    assert execution is not None
    if seen.rows[-1][2] == "ok":
        assert execution.error is None
    else:
        assert execution.error is not None and execution.answer is None
        assert execution.error.error_class == brick.error_class
        assert str(execution.error) and "\n" not in str(execution.error)
    assert_nothing_is_hidden(seen, stream=brick.stream)
    assert_nothing_is_hidden(again, stream=brick.stream)
    assert_only_whole_answers_were_kept(seen, again)


def assert_nothing_is_hidden(seen: Seen, *, stream: bool) -> None:
    """An answer is that of a call that succeeded, shown once and whole; after text was shown nothing is tried."""
    execution = seen.ran.execution
    if execution is None:
        assert (seen.ran.decision.outcome, seen.rows, seen.shown) == ("no_target", (), "")
        return
    assert (execution.answer is None) == (execution.error is not None)
    statuses = [status for _, _, status, _ in seen.rows]
    whole = [status for status in statuses if status in ("ok", "cached")]
    if execution.answer is not None:
        assert statuses[-1] in ("ok", "cached") and len(whole) == 1 and "partial" not in statuses
        assert execution.answered_by == len(statuses)
        assert isinstance(execution.answer, ChatAnswer)
        assert execution.answer.finish_reason in ("stop", "length") and seen.text
        assert seen.shown == (seen.text if stream else "")
    else:
        assert not whole
        assert bool(seen.shown) == ("partial" in statuses)
    assert "partial" not in statuses[:-1], "nothing begins anew after the first token"
    for _, _, status, error_class in seen.rows:
        assert (error_class is not None) == (status in ("failed", "partial"))


def assert_only_whole_answers_were_kept(seen: Seen, again: Seen) -> None:
    """What the same task is answered from the cache with is the answer that the same model gave whole."""
    answered = {model for _, model, status, _ in seen.rows if status == "ok"}
    kept = [model for _, model, status, _ in again.rows if status == "cached"]
    assert set(kept) <= answered
    if kept:
        assert again.text == seen.text
