"""Streams that end, stall or are damaged at any byte: never a success that is none, never a token twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from support.scripted_http import Cut, End, ScriptedHttp, Send, Step, Wait
from support.sizes import CUT_POSITIONS, CUT_THROUGH_GATEWAY, STALLS

from routewright import ChatRequest, Ledger, Message, ModelGateway, Task
from routewright.backends import ChatAnswer

from .cutter import MODEL, Damage, Kind, Stream, damages, faults_of, run, streams

KINDS: tuple[Kind, ...] = ("end", "reset", "split", "change", "drop", "double")
STREAMS = streams()


def test_there_are_streams_of_both_dialects_and_all_that_they_carry() -> None:
    assert len(STREAMS) >= 20
    assert {stream.dialect for stream in STREAMS} == {"openai", "ollama"}
    names = " ".join(stream.name for stream in STREAMS)
    assert all(word in names for word in ("text", "tool", "reasoning", "usage", "cost", "error"))


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.name for stream in STREAMS])
def test_a_stream_is_read_as_it_was_sent(stream: Stream) -> None:
    outcome = asyncio.run(run(stream))
    assert outcome.shown == stream.text
    assert isinstance(outcome.result, ChatAnswer) == (stream.finished_at is not None)
    if isinstance(outcome.result, ChatAnswer):
        assert outcome.result.usage.output_tokens or stream.name == "mlx-length"  # which counts nothing


@pytest.mark.parametrize("stream", [one for one in STREAMS if one.dialect == "ollama" and one.finished_at])
def test_ollamas_own_client_reads_the_same(stream: Stream) -> None:
    ollama = pytest.importorskip("ollama")

    async def theirs() -> tuple[str, str, list[tuple[str, object]]]:
        async with ScriptedHttp(steps_of(stream, Damage("split", 1))) as server:
            text = thinking = ""
            calls = []
            async for piece in await ollama.AsyncClient(server.url).chat("m", stream=True):
                text += piece.message.content or ""
                thinking += piece.message.thinking or ""
                calls += [
                    (call.function.name, call.function.arguments) for call in piece.message.tool_calls or ()
                ]
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le"), thinking, calls

    ours = asyncio.run(run(stream)).result
    assert isinstance(ours, ChatAnswer)
    said = ours.text, ours.thinking or "", [(call.name, call.arguments) for call in ours.tool_calls]
    assert asyncio.run(theirs()) == said


def test_a_stream_that_ends_stalls_or_is_damaged_at_any_byte_is_what_came_of_it() -> None:
    counts: Counter[str] = Counter()
    faults: list[str] = []

    async def hunt() -> None:
        for stream in STREAMS:
            random = Random(stream.name)
            whole = await run(stream)
            tried = list(damages(stream, KINDS, random))
            if CUT_POSITIONS is not None:
                tried = random.sample(tried, CUT_POSITIONS)
            stalls = list(damages(stream, ("stall",), random))
            tried += stalls if STALLS is None else random.sample(stalls, STALLS)
            for damage in tried:
                outcome = await run(stream, damage)
                counts[
                    "answers" if isinstance(outcome.result, ChatAnswer) else outcome.result.error_class
                ] += 1
                for fault in faults_of(stream, damage, outcome, whole):
                    faults.append(f"{stream.name}: {damage}: {fault}")

    asyncio.run(hunt())
    counted = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
    print(f"{len(STREAMS)} streams, {counts.total():,} damages: {counted}; {len(faults)} faults")
    assert faults == []


def steps_of(stream: Stream, damage: Damage) -> list[Step]:
    kind = "text/event-stream" if stream.dialect == "openai" else "application/x-ndjson"
    steps: list[Step] = [
        Send(f"HTTP/1.1 200 x\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
    ]
    for piece in damage.pieces(stream.raw):
        steps += [Send(piece), Wait(0.002)]
    # A reset overtakes what was sent before it, unless that was read.
    return [*steps, *([Wait(0.02), Cut()] if damage.kind == "reset" else [End()])]


def policy_of(dialect: str, url: str) -> str:
    model = {"backend": "one", "tag": MODEL, "price": {"input": 1, "output": 10}}
    catalog = {
        "routewright": 1,
        "backends": {
            "one": {"kind": dialect, "host": url, "location": "cloud"},
            "two": {"kind": "simulated"},
        },
        "models": {"first": model, "second": {"backend": "two"}},
    }
    rule = {"name": "all", "use": ["first"], "fallback": ["second"]}
    return json.dumps({"routewright": 1, "name": "cut", "catalog": catalog, "rules": [rule]})


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_whatever_befalls_a_stream_the_ledger_has_its_attempt_and_its_cost(
    dialect: str, tmp_path: Path
) -> None:
    tried = [
        (stream, damage)
        for stream in STREAMS
        if stream.dialect == dialect
        for damage in Random(stream.name).sample(list(damages(stream, KINDS, Random(1))), CUT_THROUGH_GATEWAY)
    ]
    request = ChatRequest((Message("user", "Hello?"),), max_output_tokens=50)

    async def work() -> list[tuple[str, str, bool]]:
        async with ScriptedHttp(*(steps_of(*one) for one in tried)) as server:
            (tmp_path / "policy.yaml").write_text(policy_of(dialect, server.url), encoding="utf-8")
            ledger = tmp_path / "ledger.duckdb"
            gateway = ModelGateway.from_policy(tmp_path / "policy.yaml", ledger=ledger, state=None)
            ran = []
            async with gateway:
                for _ in tried:
                    pieces: list[str] = []
                    one = await gateway.run(Task(), request, on_text=pieces.append)
                    assert one.execution is not None
                    ran.append((str(one.decision.id), "".join(pieces), one.execution.error is None))
            assert len(server.requests) == len(tried)
            return ran

    ran = asyncio.run(work())
    rows: dict[str, list[tuple[str, str, int | None]]] = {}
    for id, *row in (
        Ledger.open(tmp_path / "ledger.duckdb")
        .query(
            "SELECT decision_id::VARCHAR, model_id, status, cost_nano FROM attempt_rows ORDER BY decision_id, number"
        )
        .rows
    ):
        rows.setdefault(id, []).append((row[0], row[1], row[2]))
    for (stream, damage), (id, shown, answered) in zip(tried, ran, strict=True):
        what = f"{stream.name}: {damage}: {rows[id]}, {shown!r}"
        (model, status, cost), *others = rows[id]
        assert model == "first" and cost != 0, what
        if status == "failed":
            assert [other[:2] for other in others] == [("second", "ok")] and answered, what
            assert shown.startswith("[simulated]"), what
        else:
            assert not others and status == ("ok" if answered else "partial"), what
            if damage.kind in ("end", "reset", "split"):
                assert shown == stream.text if answered else stream.text.startswith(shown), what
        if damage.kind in ("end", "reset", "split"):
            whole = stream.finished_at is not None and (
                damage.kind == "split" or damage.at >= stream.finished_at
            )
            assert (status == "ok") == whole, what
