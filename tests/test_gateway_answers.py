"""What an answer tells of how it came about, whole or streamed, with an event loop and without one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.executing_parts import Act, Fails, Hangs, Says, Scripted

from routewright import (
    BackendError,
    ChatResult,
    Cost,
    EmbedResult,
    Ledger,
    Message,
    ModelGateway,
    NoTargetError,
    Task,
    TaskError,
    ToolCall,
    load_policy,
    request_for,
)
from routewright.backends import Usage
from routewright.backends.executing import StepReport
from routewright.engine.policy import CompiledPolicy

POLICY = """\
routewright: 1
name: reviewed
catalog:
  routewright: 1
  backends: { b: { kind: simulated } }
  models:
    cloud: { backend: b, tag: cloud, capabilities: [tools], price: { input: 1, output: 2 } }
    spare: { backend: b, tag: spare }
    judge: { backend: b, tag: judge, price: { input: 1, output: 2 } }
    vectors: { backend: b, tag: vectors, operations: [embed], embedding_space: e }
    off: { backend: b, tag: off, disabled: true }
features:
  checked: { type: boolean, default: false }
  twice: { type: boolean, default: false }
  indexing: { type: boolean, default: false }
  nobody: { type: boolean, default: false }
rules:
  - { name: nobody, when: nobody, use: [off] }
  - { name: indexing, when: indexing, use: [vectors] }
  - { name: checked, when: checked, use: [cloud], steps: [{ verify: { with: judge } }] }
  - { name: twice, when: twice, use: [cloud], steps: [{ verify: { with: judge } }, { verify: { with: off } }] }
  - { name: otherwise, use: [cloud], fallback: [spare] }
"""

HELLO = [{"role": "user", "content": "hello"}]
REJECT = Says('{"verdict": "reject", "notes": "the sum is wrong"}')
ACCEPT = Says('{"verdict": "accept"}')


@pytest.fixture
def policy(tmp_path: Path) -> CompiledPolicy:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return load_policy(path)


def gateway_of(
    policy: CompiledPolicy, script: Mapping[str, Sequence[Act]] | None = None, **more: Any
) -> ModelGateway:
    return ModelGateway(policy, backends={"b": Scripted(script or {})}, **more)


def test_an_answer_knows_its_decision_its_model_and_what_it_cost(
    policy: CompiledPolicy, tmp_path: Path
) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    with gateway_of(policy, {"judge": [ACCEPT]}, ledger=ledger) as gateway:
        answer = gateway.generate_chat_sync(HELLO, features={"checked": True})
    [(id, target)] = (
        Ledger.open(tmp_path / "ledger.duckdb")
        .query("SELECT decision_id, target FROM all_decisions_flat")
        .rows
    )
    assert (answer.decision_id, answer.model) == (str(id), target)
    assert (answer.text, answer.content) == ("hello there", "hello there")
    assert answer.message == Message("assistant", "hello there")
    # Two calls of 10 tokens in and 5 out.
    assert answer.cost == Cost(Decimal("0.00004"), "USD", "reported")
    assert str(answer.cost) == "0.000040 USD"
    assert [attempt.role for attempt in answer.attempts] == ["answer", "verify"]
    assert (answer.ran.decision.matched, answer.ran.error) == ("checked", None)


@pytest.mark.parametrize(
    ("said", "verified", "notes", "outcome"),
    [
        (ACCEPT, True, None, "accepted"),
        (REJECT, False, "the sum is wrong", "rejected"),
        (Fails("overloaded"), None, None, "dropped"),
    ],
)
def test_a_rejected_answer_says_so_and_so_does_a_verifier_that_was_lost(
    policy: CompiledPolicy, said: Act, verified: bool | None, notes: str | None, outcome: str
) -> None:
    with gateway_of(policy, {"judge": [said]}) as gateway:
        answer = gateway.generate_chat_sync(HELLO, features={"checked": True})
    assert (answer.text, answer.verified, answer.notes) == ("hello there", verified, notes)
    [step] = answer.steps
    assert (step.role, step.model_id, step.outcome) == ("verify", "judge", outcome)


def test_an_answer_that_nobody_was_to_verify_is_neither(policy: CompiledPolicy) -> None:
    with gateway_of(policy) as gateway:
        answer = gateway.generate_chat_sync(HELLO)
    assert (answer.verified, answer.notes, list(answer.steps)) == (None, None, [])


def test_a_step_that_no_model_could_be_asked_for_is_told_with_the_others(policy: CompiledPolicy) -> None:
    with gateway_of(policy, {"judge": [ACCEPT]}) as gateway:
        answer = gateway.generate_chat_sync(HELLO, features={"twice": True})
    assert list(answer.steps) == [
        StepReport("verify", "off", "dropped", "the catalog disables it"),
        StepReport("verify", "judge", "accepted", None, about=1),
    ]
    assert answer.verified is None, "one of the two never saw it"


@pytest.mark.parametrize(
    ("usage", "model", "cost"),
    [
        (Usage(None, None, None, None, "reported"), "cloud", None),
        (Usage(10, 0, 5, 0, "estimated"), "cloud", Cost(Decimal("0.00002"), "USD", "estimated")),
        (Usage(10, 0, 5, 0, "lower_bound"), "cloud", Cost(Decimal("0.00002"), "USD", "lower_bound")),
        (Usage(10, 0, 5, 0, "reported"), "spare", None),
    ],
)
def test_a_cost_that_is_not_known_is_none(
    policy: CompiledPolicy, usage: Usage, model: str, cost: Cost | None
) -> None:
    with gateway_of(policy, {model: [Says(usage=usage)]}) as gateway:
        assert gateway.generate_chat_sync(HELLO, model=model).cost == cost


def test_what_failed_counts_in_the_cost_and_is_among_the_attempts(policy: CompiledPolicy) -> None:
    used = Usage(100, 0, 0, 0, "reported")
    with gateway_of(policy, {"cloud": [Fails("bad_response", usage=used)]}) as gateway:
        answer = gateway.generate_chat_sync(HELLO)
    assert [(a.model_id, a.status) for a in answer.attempts] == [("cloud", "failed"), ("spare", "ok")]
    assert (answer.model, answer.cost) == ("spare", None)


def test_a_failure_knows_its_decision_and_its_attempts(policy: CompiledPolicy) -> None:
    with gateway_of(policy, {"cloud": [Fails("overloaded")], "spare": [Fails("not_found")]}) as gateway:
        with pytest.raises(BackendError) as failed:
            gateway.generate_chat_sync(HELLO)
        with pytest.raises(NoTargetError) as nobody:
            gateway.generate_chat_sync(HELLO, features={"nobody": True})
    assert len(failed.value.decision_id or "") == len(nobody.value.decision_id) == 36
    assert [attempt.error_class for attempt in failed.value.attempts] == ["overloaded", "not_found"]


def test_vectors_know_the_same(policy: CompiledPolicy) -> None:
    with gateway_of(policy) as gateway:
        answer = gateway.embed_sync(["a", "b"], features={"indexing": True})
        later = asyncio.run(gateway.embed(["a"], features={"indexing": True}))
    assert isinstance(answer, EmbedResult)
    assert (answer.vectors, answer.model, answer.cost) == (((1.0, 0.0), (1.0, 0.0)), "vectors", None)
    assert len(later.vectors) == 1 and later.decision_id != answer.decision_id


def test_a_round_trip_of_a_tool_takes_the_answer_as_it_is(policy: CompiledPolicy) -> None:
    call = ToolCall("call_1", "weather", {"town": "Ulm"})
    scripted = Scripted({"cloud": [Says("", finish="tool_calls", tool_calls=(call,)), Says("It rains.")]})
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with ModelGateway(policy, backends={"b": scripted}) as gateway:
        messages: list[Any] = [{"role": "user", "content": "Does it rain in Ulm?"}]
        asked = gateway.generate_chat_sync(messages, tools=tools)
        messages.append(asked)
        for one in asked.tool_calls:
            messages.append({"role": "tool", "tool_call_id": one.id, "content": "rain"})
        answer = gateway.generate_chat_sync(messages, tools=tools)
    assert answer.text == "It rains."
    assert scripted.asked(1).messages == (
        Message("user", "Does it rain in Ulm?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "rain", tool_call_id="call_1"),
    )


def test_what_a_chat_takes_reaches_the_backend(policy: CompiledPolicy) -> None:
    scripted = Scripted()
    with ModelGateway(policy, backends={"b": scripted}) as gateway:
        gateway.generate_chat_sync(HELLO, top_p=0.5, think=False, options={"top_k": 20})
        for bad in (
            {"top_p": 0},
            {"top_p": 1.5},
            {"think": "maybe"},
            {"options": [1]},
            {"options": {"a": b""}},
        ):
            with pytest.raises(TaskError):
                gateway.generate_chat_sync(HELLO, **bad)
    asked = scripted.asked(0)
    assert (asked.top_p, asked.think, asked.options) == (0.5, False, {"top_k": 20})


# --- streams -----------------------------------------------------------------------------------------------


def test_a_stream_has_its_answer_after_the_last_piece(policy: CompiledPolicy) -> None:
    async def ask() -> tuple[list[str], ChatResult]:
        async with gateway_of(policy, {"judge": [REJECT]}) as gateway:
            stream = gateway.stream_chat(HELLO, features={"checked": True})
            with pytest.raises(TaskError, match="the stream has not ended"):
                _ = stream.answer
            return [piece async for piece in stream], stream.answer

    pieces, answer = asyncio.run(ask())
    assert (pieces, answer.text) == (["hello", " there"], "hello there")
    assert (answer.verified, answer.notes) == (False, "the sum is wrong")
    with gateway_of(policy) as gateway, gateway.stream_chat_sync(HELLO) as stream:
        assert "".join(stream) == stream.answer.text == "hello there"


def test_a_stream_that_fails_says_so_where_its_text_ends(policy: CompiledPolicy) -> None:
    script = {"cloud": [Fails("overloaded", text="half")]}
    with gateway_of(policy, script) as gateway:
        stream = gateway.stream_chat_sync(HELLO)
        told = []
        with pytest.raises(BackendError) as failed:
            for piece in stream:
                told.append(piece)
        assert (told, failed.value.error_class) == (["half"], "overloaded")
        assert [attempt.status for attempt in failed.value.attempts] == ["partial"]
        with pytest.raises(BackendError):
            _ = stream.answer


@pytest.mark.parametrize("how", ["close", "forget"])
def test_a_stream_that_is_left_stops_the_work_and_is_on_record(
    policy: CompiledPolicy, tmp_path: Path, how: str
) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    scripted = Scripted({"cloud": [Hangs("one"), Hangs("one")]})
    with ModelGateway(policy, backends={"b": scripted}, ledger=ledger) as gateway:
        stream = gateway.stream_chat_sync(HELLO)
        assert next(stream) == "one"
        if how == "close":
            stream.close()
        del stream

        async def leave() -> None:
            stream = gateway.stream_chat(HELLO)
            assert await anext(stream) == "one"
            if how == "close":
                await stream.aclose()
            del stream
            await asyncio.sleep(0.05)

        asyncio.run(leave())
    assert scripted.stopped == ["cloud", "cloud"]
    rows = Ledger.open(tmp_path / "ledger.duckdb").query("SELECT status, error_class FROM attempt_rows").rows
    assert list(rows) == [("partial", "cancelled")] * 2


# --- without an event loop ---------------------------------------------------------------------------------


def loop_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "routewright"}


def test_many_threads_share_one_loop(policy: CompiledPolicy) -> None:
    loops = set()

    class Noting(Scripted):
        async def stream(self, *args: Any, **more: Any) -> Any:
            loops.add(asyncio.get_running_loop())
            async for event in super().stream(*args, **more):
                yield event

    said: list[str] = []
    # A gateway of an earlier test that raised lives for as long as the error does.
    others = loop_threads()
    with ModelGateway(policy, backends={"b": Noting({"cloud": [Says(rest_s=0.05)] * 20})}) as gateway:
        threads = [
            threading.Thread(target=lambda: said.append(gateway.generate_chat_sync(HELLO).text))
            for _ in range(20)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 0.9, "20 calls of 50 ms one after the other"
    assert (said, len(loops)) == (["hello there"] * 20, 1)
    assert loop_threads() <= others


def test_inside_a_running_loop_a_call_that_waits_is_refused(policy: CompiledPolicy) -> None:
    async def inside() -> None:
        with gateway_of(policy) as gateway:
            for call in (
                lambda: gateway.generate_chat_sync(HELLO),
                lambda: gateway.embed_sync(["a"]),
                lambda: next(gateway.stream_chat_sync(HELLO)),
                lambda: gateway.run_sync(Task(), request_for(Task(), "hello")),
                gateway.reload_sync,
            ):
                with pytest.raises(
                    RuntimeError, match="an event loop is running here, .*`async with`, .* without `_sync`"
                ):
                    call()
            await gateway.close()

    asyncio.run(inside())


def test_text_is_given_in_the_thread_that_asked_and_what_that_raises_ends_the_call(
    policy: CompiledPolicy,
) -> None:
    scripted = Scripted({"cloud": [Says(), Hangs("one")]})
    heard: list[tuple[str, int]] = []

    def hear(text: str) -> None:
        heard.append((text, threading.get_ident()))
        if text == "one":
            raise ZeroDivisionError

    with ModelGateway(policy, backends={"b": scripted}) as gateway:
        request = request_for(Task(), "hello")
        ran = gateway.run_sync(Task(), request, on_text=hear)
        assert ran.answer is not None and ran.error is None
        assert heard == [("hello", threading.get_ident()), (" there", threading.get_ident())]
        with pytest.raises(ZeroDivisionError):
            gateway.run_sync(Task(), request, on_text=hear)
    assert scripted.stopped == ["cloud"]


def test_an_interrupt_stops_the_call_and_leaves_it_on_record(
    policy: CompiledPolicy, tmp_path: Path, hears_ctrl_c: None
) -> None:
    ledger = Ledger.open(tmp_path / "ledger.duckdb")
    scripted = Scripted({"cloud": [Hangs()]})
    with ModelGateway(policy, backends={"b": scripted}, ledger=ledger) as gateway:
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), 2))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            gateway.generate_chat_sync(HELLO)
        timer.join()
    assert scripted.stopped == ["cloud"]
    rows = Ledger.open(tmp_path / "ledger.duckdb").query("SELECT status, error_class FROM attempt_rows").rows
    assert list(rows) == [("failed", "cancelled")]


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A job in the background, such as a whole test run, is started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with suppress(OSError):
            os.close(end)


# A fork beside threads is deprecated since Python 3.12, and done by web servers all the same.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_has_a_loop_of_its_own(policy: CompiledPolicy, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with gateway_of(policy) as gateway:
        gateway.generate_chat_sync(HELLO)
        child = os.fork()
        if child == 0:
            said = gateway.generate_chat_sync(HELLO).text
            os.write(writing, said.encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert gateway.generate_chat_sync(HELLO).text == "hello there"
    os.close(writing)
    assert os.read(reading, 100) == b"hello there"


@pytest.mark.parametrize("used", [True, False])
def test_a_program_may_close_its_gateway_when_the_interpreter_ends(tmp_path: Path, used: bool) -> None:
    program = f"""
import atexit
from routewright import ModelGateway
from routewright.loading import shipped

gateway = ModelGateway.from_policy(shipped("hybrid.yaml"), ledger={str(tmp_path / "ledger.duckdb")!r}, simulate=True)
atexit.register(gateway.close_sync)
if {used}:
    # So long a prompt is counted by a thread of the loop's, which has to end too.
    gateway.generate_chat_sync([{{"role": "user", "content": "word " * 20_000}}])
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    [(rows,)] = Ledger.open(tmp_path / "ledger.duckdb").query("SELECT count(*) FROM decision_records").rows
    assert rows == used
