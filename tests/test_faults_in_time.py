"""Models that hang: the next one answers within the threshold, and the deadline holds whatever hangs.

Thresholds are small, and what is allowed beside them is generous: nothing here measures how fast a machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.fault_parts import MESSAGES, policy_values, rows_of, write_policy
from support.new_ledgers import new_ledger
from support.scripted_http import Hang, ScriptedHttp, Step, events, reply

from routewright import ChatRequest, ModelGateway, RunResult, Task
from routewright.backends import BackendError, simulated_backend
from routewright.backends.control import StateStore
from routewright.gateway.opening import open_backends

HELLO = ChatRequest(MESSAGES)
ALLOWED_S = 3.0
"""What a busy machine may take for everything that is not waited for on purpose."""


def chunk(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


HANGS: list[Step] = [Hang()]
WHOLE = events(chunk("A whole answer."), chunk(finish="stop"), "data: [DONE]\n\n")
ANSWER = {"choices": [{"message": {"content": "A whole answer."}, "finish_reason": "stop"}]}
STALLS = events(chunk("Half an "), ended=False)


@asynccontextmanager
async def hanging(
    folder: Path, *, scripts: list[list[Step]], controls: list[dict[str, Any]], all_hang: bool = False
) -> AsyncIterator[ModelGateway]:
    """A gateway whose model `first` does as ``scripts`` say, and with ``all_hang`` `second` as well.

    Else `second` is simulated and takes from 0.14 to 0.3 s of real time.
    """
    async with ScriptedHttp(*scripts) as server:
        values = policy_values({"kind": "openai", "host": server.url}, {})
        values["controls"] = controls
        if all_hang:
            values["catalog"]["models"]["second"]["backend"] = "one"
        else:
            values["catalog"]["models"]["second"]["expected_latency"] = "200ms"
        policy = write_policy(values, folder)
        backends = dict(open_backends(policy))
        if not all_hang:
            second = [model for model in policy.catalog.models if model.id == "second"]
            backends["two"] = simulated_backend(second, sleep=True)
        gateway = ModelGateway(
            policy,
            backends=backends,
            ledger=new_ledger(folder / "ledger.duckdb"),
            store=StateStore(folder / "state.db"),
            random=Random(1),
        )
        async with gateway:
            yield gateway


async def timed(gateway: ModelGateway, shown: list[str] | None) -> tuple[RunResult, float]:
    began_s = time.monotonic()
    decided = gateway.decide(Task())
    ran = await gateway.execute(decided, HELLO, on_text=None if shown is None else shown.append)
    return ran, time.monotonic() - began_s


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_the_fallback_answers_within_the_threshold_and_its_own_time(tmp_path: Path, stream: bool) -> None:
    shown: list[str] | None = [] if stream else None

    async def run() -> None:
        controls = [{"name": "slow", "first_token_within": "400ms"}]
        async with hanging(tmp_path, scripts=[HANGS], controls=controls) as gateway:
            ran, took_s = await timed(gateway, shown)
            assert gateway.ledger is not None
            [rows] = rows_of(gateway.ledger, ran)
        assert rows == (
            ("answer", "first", "failed", "timeout.first_token"),
            ("fallback", "second", "ok", None),
        )
        assert 0.4 <= took_s < 0.4 + 0.3 + ALLOWED_S
        assert ran.execution is not None and ran.execution.error is None
        assert bool(shown) == stream

    asyncio.run(run())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_model_that_hangs_through_its_share_is_left_alone_and_its_fallback_is_not(
    tmp_path: Path, stream: bool
) -> None:
    """The fallback answers at once, and has a second for it however busy the machine is."""
    shown: list[str] | None = [] if stream else None
    answered = WHOLE if stream else reply(200, ANSWER)

    async def run() -> None:
        async with ScriptedHttp(HANGS) as hangs, ScriptedHttp(answered) as answers:
            values = policy_values({"kind": "openai", "host": hangs.url}, {})
            values["catalog"]["backends"]["two"] = {"kind": "openai", "host": answers.url}
            values["catalog"]["models"]["second"]["expected_latency"] = "1s"
            values["controls"] = [{"name": "answers", "deadline": "2s"}]
            policy = write_policy(values, tmp_path)
            ledger = new_ledger(tmp_path / "ledger.duckdb")
            store = StateStore(tmp_path / "state.db")
            async with ModelGateway(
                policy, backends=open_backends(policy), ledger=ledger, store=store
            ) as gateway:
                ran = [(await timed(gateway, shown))[0] for _ in range(4)]
            rows = rows_of(ledger, *ran)
        hung = (("answer", "first", "failed", "timeout.deadline"), ("fallback", "second", "ok", None))
        assert rows[:3] == [hung] * 3
        assert rows[3][-1][1:] == ("second", "ok", None)
        assert all(row[2] != "failed" for row in rows[3]), "its breaker is open"

    asyncio.run(run())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_the_deadline_holds_when_everything_hangs(tmp_path: Path, stream: bool) -> None:
    shown: list[str] | None = [] if stream else None

    async def run() -> None:
        controls = [{"name": "answers", "deadline": "900ms"}, {"name": "slow", "first_token_within": "400ms"}]
        async with hanging(tmp_path, scripts=[HANGS], controls=controls, all_hang=True) as gateway:
            ran, took_s = await timed(gateway, shown)
            assert gateway.ledger is not None
            [rows] = rows_of(gateway.ledger, ran)
        assert [row[:3] for row in rows] == [("answer", "first", "failed"), ("fallback", "second", "failed")]
        assert rows[0][3] == "timeout.first_token"
        assert rows[1][3] in ("timeout.first_token", "timeout.deadline"), (
            "whichever of the two was over first"
        )
        assert 0.8 <= took_s < 0.9 + ALLOWED_S
        assert ran.execution is not None and ran.execution.answer is None
        assert ran.execution.error is not None and not shown

    asyncio.run(run())


def test_the_deadline_ends_a_stream_that_stalls_after_its_first_words(tmp_path: Path) -> None:
    """What was shown stays the last word: there is no other model after it."""
    shown: list[str] = []

    async def run() -> None:
        controls = [{"name": "answers", "deadline": "600ms"}]
        async with hanging(tmp_path, scripts=[STALLS], controls=controls) as gateway:
            ran, took_s = await timed(gateway, shown)
            assert gateway.ledger is not None
            [rows] = rows_of(gateway.ledger, ran)
        assert rows == (("answer", "first", "partial", "timeout.deadline"),)
        assert shown == ["Half an "]
        assert took_s < 0.6 + ALLOWED_S

    asyncio.run(run())


def test_many_that_hang_wait_side_by_side(tmp_path: Path) -> None:
    """One hanging server holds nobody else up."""

    async def run() -> None:
        controls = [{"name": "slow", "first_token_within": "500ms"}]
        async with hanging(tmp_path, scripts=[HANGS], controls=controls) as gateway:
            began_s = time.monotonic()
            done = await asyncio.gather(*(gateway.execute(gateway.decide(Task()), HELLO) for _ in range(10)))
            took_s = time.monotonic() - began_s
        for ran in done:
            assert ran.execution is not None and ran.execution.answer is not None
            assert ran.execution.attempts[-1].model_id == "second"
        assert took_s < 10 * 0.5

    asyncio.run(run())


def test_a_caller_that_goes_away_is_recorded_and_the_server_is_left_in_peace(tmp_path: Path) -> None:
    async def run() -> None:
        async with ScriptedHttp(STALLS, WHOLE) as server:
            policy = write_policy(policy_values({"kind": "openai", "host": server.url}, {}), tmp_path)
            ledger = new_ledger(tmp_path / "ledger.duckdb")
            store = StateStore(tmp_path / "state.db")
            backends = open_backends(policy)
            async with ModelGateway(policy, backends=backends, ledger=ledger, store=store) as gateway:
                shown = asyncio.Event()
                running = asyncio.ensure_future(
                    gateway.run(Task(), HELLO, on_text=lambda _: shown.set(), tags={"who": "a"})
                )
                await asyncio.wait_for(shown.wait(), 10)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
                await asyncio.wait_for(server.hung_up.wait(), 10)
                found = ledger.query("SELECT role, model_id, status, error_class FROM attempt_rows").rows
                assert found == (("answer", "first", "partial", "cancelled"),)
                again = await gateway.run(Task(), HELLO, on_text=lambda _: None)
                assert again.execution is not None
                assert [attempt.status for attempt in again.execution.attempts] == ["ok"]

    asyncio.run(run())


def test_the_python_way_raises_and_what_was_given_stays_given(tmp_path: Path) -> None:
    """`stream_chat` gives its words and then the failure; `generate_chat` gives the failure alone."""

    async def run() -> None:
        broken = events(chunk("Half an "))
        async with hanging(tmp_path, scripts=[broken], controls=[]) as gateway:
            given: list[str] = []
            with pytest.raises(BackendError) as streamed:
                async for piece in gateway.stream_chat(messages=MESSAGES):
                    given.append(piece)
            assert (given, streamed.value.error_class) == (["Half an "], "broken_stream")
            assert gateway.ledger is not None
            rows = gateway.ledger.query(
                "SELECT model_id, status FROM attempt_rows ORDER BY started_at_us"
            ).rows
            assert rows == (("first", "partial"),)

    asyncio.run(run())
