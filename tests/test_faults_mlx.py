"""Faults of MLX that take more than one call, or no chat: through the whole gateway, from the policy to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fault_parts import Row, rows_of, write_policy
from support.mlx_parts import need_mlx, tiny_models

from routewright import ChatRequest, EmbedRequest, Ledger, ModelGateway, RunResult, Task
from routewright.backends import ChatAnswer, EmbedAnswer, Message
from routewright.backends.control import StateStore
from routewright.gateway.opening import open_backends

STORY = ChatRequest((Message("user", "Tell me a story."),), temperature=0)
"""Without a limit it fills the window: about two seconds."""


@pytest.fixture(autouse=True)
def mlx() -> None:
    need_mlx()


def gateway_with(
    folder: Path, models: Mapping[str, Mapping[str, object]], use: list[str], **backend: object
) -> ModelGateway:
    """A gateway over the tiny models, whose one rule uses the first of ``use`` and falls back to the others."""
    values: dict[str, Any] = {
        "routewright": 1,
        "name": "mlx",
        "catalog": {
            "routewright": 1,
            "backends": {
                "mlx": {
                    "kind": "mlx",
                    "path": str(tiny_models()),
                    "operations": ["chat", "embed"],
                    **backend,
                },
            },
            "models": {id: {"backend": "mlx", **model} for id, model in models.items()},
        },
        "rules": [{"name": "all", "use": use[:1], "fallback": use[1:]}],
        "controls": [{"name": "tries", "backoff": "10ms"}],
    }
    policy = write_policy(values, folder)
    return ModelGateway(
        policy,
        backends=open_backends(policy),
        ledger=Ledger.open(folder / "ledger.duckdb"),
        store=StateStore(folder / "state.db"),
    )


def rows(gateway: ModelGateway, ran: RunResult) -> tuple[Row, ...]:
    assert gateway.ledger is not None
    return rows_of(gateway.ledger, ran)[0]


def test_a_call_that_is_cancelled_in_mid_generation_is_in_the_ledger_and_frees_its_model(
    tmp_path: Path,
) -> None:
    async def main() -> tuple[list[tuple[object, ...]], ChatAnswer]:
        async with gateway_with(tmp_path, {"tiny-a": {}, "tiny-b": {}}, ["tiny-a", "tiny-b"]) as gateway:
            begun = asyncio.Event()
            running = asyncio.ensure_future(
                gateway.run(Task(), STORY, on_text=lambda _: begun.set() if not begun.is_set() else None)
            )
            await begun.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert gateway.ledger is not None
            kept = gateway.ledger.query(
                "SELECT model_id, status, error_class FROM attempt_rows ORDER BY number"
            )
            # Its turn is over: the next answer does not wait until the window would have been full.
            after = await gateway.generate_chat(messages=[Message("user", "Hello?")], max_output_tokens=4)
            return [tuple(row) for row in kept.rows], after

    kept, after = asyncio.run(main())
    assert kept == [("tiny-a", "partial", "cancelled")], "and no other model was asked"
    assert after.text


def test_vectors_of_a_chat_model_are_refused_and_the_fallback_of_its_space_gives_them(tmp_path: Path) -> None:
    space = {"operations": ["embed"], "embedding_space": "tiny"}
    models = {"tiny-a": space, "vectors": {"tag": "Qwen3-Embedding-tiny", **space}}

    async def main() -> tuple[RunResult, tuple[Row, ...]]:
        async with gateway_with(tmp_path, models, ["tiny-a", "vectors"]) as gateway:
            ran = await gateway.run(Task(operation="embed"), EmbedRequest(("a text",)))
            return ran, rows(gateway, ran)

    ran, seen = asyncio.run(main())
    assert seen == (("answer", "tiny-a", "failed", "not_found"), ("fallback", "vectors", "ok", None))
    assert ran.execution is not None and isinstance(ran.execution.answer, EmbedAnswer)
    assert len(ran.execution.answer.vectors[0]) == 64


def test_vectors_of_a_chat_model_alone_are_a_clear_failure(tmp_path: Path) -> None:
    async def main() -> tuple[RunResult, tuple[Row, ...]]:
        async with gateway_with(tmp_path, {"tiny-a": {"operations": ["embed"]}}, ["tiny-a"]) as gateway:
            ran = await gateway.run(Task(operation="embed"), EmbedRequest(("a text",)))
            return ran, rows(gateway, ran)

    ran, seen = asyncio.run(main())
    assert seen == (("answer", "tiny-a", "failed", "not_found"),)
    assert ran.execution is not None and ran.execution.answer is None
    assert str(ran.execution.error) == (
        "`tiny-a` cannot embed here: the mlx backend knows how for Qwen3-Embedding models alone"
    )


def test_a_model_that_waits_too_long_for_the_memory_of_a_busy_one_leaves_the_work_to_the_next(
    tmp_path: Path,
) -> None:
    # `tiny-a` is busy, and has left room for `small` alone: `tiny-b` cannot come into memory.
    models: dict[str, dict[str, object]] = {
        "tiny-a": {"memory_gb": 4},
        "tiny-b": {"memory_gb": 4},
        "small": {"memory_gb": 1, "path": str(tiny_models() / "tiny-a")},
    }
    timeouts = {"queue": "50ms"}

    async def main() -> tuple[RunResult, tuple[Row, ...], RunResult]:
        async with gateway_with(
            tmp_path, models, ["tiny-b", "small"], memory_gb=6, timeouts=timeouts
        ) as gateway:
            await gateway.backends["mlx"].chat("tiny-a", ChatRequest(STORY.messages, max_output_tokens=1))
            begun = asyncio.Event()
            busy = asyncio.ensure_future(
                gateway.run(Task(pin="tiny-a"), STORY, on_text=lambda _: begun.set())
            )
            await begun.wait()
            ran = await gateway.run(Task(), ChatRequest(STORY.messages, max_output_tokens=2))
            return ran, rows(gateway, ran), await busy

    ran, seen, busy = asyncio.run(main())
    assert seen == (("answer", "tiny-b", "failed", "timeout.queue"), ("fallback", "small", "ok", None))
    assert ran.execution is not None and ran.execution.answer is not None
    assert busy.execution is not None and busy.execution.error is None, "whoever was busy was let finish"
