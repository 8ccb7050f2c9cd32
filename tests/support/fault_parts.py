"""Parts for the wall of faults: one fault, how it is made, and what came of it through the whole gateway.

A fault befalls the model `first`; `second` is simulated, always well, and its fallback. Each fault is run twice,
the second time to see what was kept of the first.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from routewright import ChatRequest, Ledger, ModelGateway, RunResult, Task, load_policy
from routewright.backends import Backend, ChatAnswer, ErrorClass, Fault, Message
from routewright.backends.control import StateStore
from routewright.backends.llamacpp.backend import LlamaCppBackend
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.gateway.opening import open_backends, simulated_backends

from .mlx_parts import tiny_models
from .ollama_process import OllamaProcess, start_ollama
from .scripted_http import ScriptedHttp, Step

__all__ = [
    "MESSAGES",
    "Brick",
    "Embedded",
    "Follows",
    "Knob",
    "Mlx",
    "Named",
    "Row",
    "Scripted",
    "Seen",
    "Signalled",
    "Simulated",
    "expected_attempts",
    "policy_values",
    "rows_of",
    "strike",
    "write_policy",
]

Row = tuple[str, str, str, str | None]
"""Role, model, status and class of an attempt in the ledger."""

Follows = Literal["retry", "worn", "next", "stop", "partial"]
"""What a fault leads to: one more try, tries until there are no more and then the next model, the next model at
once, the end, or the end because text was shown."""

RETRIES = 2
MESSAGES = (Message("user", "Tell me a story."),)


@dataclass(frozen=True)
class Simulated:
    """What the calls of a simulated model do, in order; then they succeed."""

    script: Sequence[Fault]


@dataclass(frozen=True)
class Scripted:
    """What a scripted OpenAI-compatible server does, call by call; the last is repeated."""

    calls: Sequence[Sequence[Step]]


@dataclass(frozen=True)
class Named:
    """A fault of the Ollama test server that its model always has."""

    fault: str


@dataclass(frozen=True)
class Knob:
    """A fault that the Ollama test server has once, or whatever else is to be turned on it."""

    knobs: Mapping[str, object]


@dataclass(frozen=True)
class Signalled:
    """A real process that gets a signal: an Ollama server, or the process of its model; at once or in mid-stream."""

    number: signal.Signals
    at: Literal["start", "text"]
    whom: Literal["server", "runner"] = "server"


@dataclass(frozen=True)
class Embedded:
    """The embedded model, of another tag or from another file, or killed in mid-stream."""

    killed: bool = False
    model: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Mlx:
    """A tiny model of MLX. ``spoilt`` harms a copy of its folder; ``backend`` and ``model`` are the catalog's.

    ``prompt`` is asked instead of the story. With ``stopped`` the backend is closed after the first token, and with
    ``warm`` the model is in memory before the fault.
    """

    tag: str = "tiny-a"
    spoilt: Callable[[Path], object] | None = None
    backend: Mapping[str, object] = field(default_factory=dict)
    model: Mapping[str, object] = field(default_factory=dict)
    prompt: str | None = None
    max_output_tokens: int | None = 12
    stopped: bool = False
    warm: bool = False


Made = Simulated | Scripted | Named | Knob | Signalled | Embedded | Mlx


@dataclass(frozen=True)
class Brick:
    """One fault of the wall: how it is made, its class, and what must follow. ``timeouts`` are the backend's."""

    name: str
    made: Made
    error_class: ErrorClass
    follows: Follows
    stream: bool = True
    timeouts: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    """Whether there is no other model."""


@dataclass(frozen=True)
class Seen:
    """What came of a task: what the caller got and was shown, and what the ledger holds."""

    ran: RunResult
    shown: str
    rows: tuple[Row, ...]

    @property
    def text(self) -> str | None:
        answer = None if self.ran.execution is None else self.ran.execution.answer
        return answer.text if isinstance(answer, ChatAnswer) else None


def expected_attempts(brick: Brick) -> tuple[Row, ...]:
    """The attempts that the ledger must hold for a fault, in their order."""
    failed: Row = ("answer", "first", "failed", brick.error_class)
    again: Row = ("retry", "first", "failed", brick.error_class)
    rescued: tuple[Row, ...] = () if brick.alone else (("fallback", "second", "ok", None),)
    match brick.follows:
        case "retry":
            return failed, ("retry", "first", "ok", None)
        case "worn":
            return failed, *[again] * RETRIES, *rescued
        case "next":
            return failed, *rescued
        case "stop":
            return (failed,)
        case "partial":
            return (("answer", "first", "partial", brick.error_class),)


def policy_values(
    first: Mapping[str, Any], model: Mapping[str, Any], *, alone: bool = False
) -> dict[str, Any]:
    """The plain values of a policy whose model `first` runs on the backend ``first``."""
    rule: dict[str, Any] = {"name": "all", "use": ["first"]}
    if not alone:
        rule["fallback"] = ["second"]
    return {
        "routewright": 1,
        "name": "faults",
        "catalog": {
            "routewright": 1,
            "backends": {"one": dict(first), "two": {"kind": "simulated"}},
            "models": {"first": {"backend": "one", **model}, "second": {"backend": "two"}},
        },
        "rules": [rule],
        "controls": [
            {"name": "tries", "backoff": "10ms", "deadline": "30s"},
            {"name": "kept", "cache_ttl": "1h"},
        ],
    }


def write_policy(values: Mapping[str, Any], folder: Path) -> CompiledPolicy:
    """The policy of these plain values, through a file as people have them."""
    path = folder / "policy.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(values), encoding="utf-8")
    return load_policy(path)


def strike(brick: Brick, *, folder: Path, ledger: Ledger, ollama: OllamaProcess | None) -> tuple[Seen, Seen]:
    """What came of a task under the fault, and of the same task again. ``ollama`` is for faults by name or knob."""
    return asyncio.run(_strike(brick, folder, ledger, ollama))


async def _strike(
    brick: Brick, folder: Path, ledger: Ledger, ollama: OllamaProcess | None
) -> tuple[Seen, Seen]:
    first: dict[str, Any] = {"timeouts": dict(brick.timeouts)}
    model: dict[str, Any] = {}
    act: Callable[[], object] | None = None
    async with AsyncExitStack() as stack:
        match brick.made:
            case Simulated():
                first["kind"] = "simulated"
            case Scripted(calls):
                server = await stack.enter_async_context(ScriptedHttp(*calls))
                first |= {"kind": "openai", "host": server.url}
            case Named(fault):
                assert ollama is not None
                first |= {"kind": "ollama", "host": ollama.url}
                model["tag"] = f"fault-{fault}"
            case Knob(knobs):
                assert ollama is not None
                ollama.turn(**knobs)
                first |= {"kind": "ollama", "host": ollama.url}
                model["tag"] = "smollm2:135m"
            case Signalled() as signalled:
                victim = stack.enter_context(start_ollama())
                first |= {"kind": "ollama", "host": victim.url}
                model["tag"] = "smollm2:135m"
                if signalled.at == "start":
                    victim.signal(signalled.number)
                else:
                    act = lambda: _send(victim, signalled)  # noqa: E731  # a name for it would say no more
            case Embedded() as embedded:
                first["kind"] = "llamacpp"
                model |= {"tag": "smollm2", **embedded.model}
            case Mlx() as mlx:
                path = tiny_models()
                if mlx.spoilt is not None:
                    path = folder / "models"
                    shutil.copytree(tiny_models() / mlx.tag, path / mlx.tag)
                    mlx.spoilt(path / mlx.tag)
                first |= {"kind": "mlx", "path": str(path), **mlx.backend}
                model |= {"tag": mlx.tag, **mlx.model}
        values = policy_values(first, model, alone=brick.alone)
        policy = write_policy(values, folder)
        if isinstance(brick.made, Simulated):
            backends = simulated_backends(policy, faults={"first": brick.made.script})
        else:
            backends = open_backends(policy)
        if isinstance(brick.made, Embedded) and brick.made.killed:
            act = lambda: _kill_models(backends["one"])  # noqa: E731
        messages = MESSAGES
        most: int | None = 12 if act is None else 24
        if isinstance(brick.made, Mlx):
            most = brick.made.max_output_tokens
            if brick.made.prompt is not None:
                messages = (Message("user", brick.made.prompt),)
            if brick.made.warm:
                await backends["one"].chat(brick.made.tag, ChatRequest(MESSAGES, max_output_tokens=1))
            if brick.made.stopped:
                act = lambda: _close(backends["one"])  # noqa: E731
        store = StateStore(folder / "state.db")
        request = ChatRequest(messages, max_output_tokens=most, temperature=0)
        async with ModelGateway(
            policy, backends=backends, ledger=ledger, store=store, random=Random(1)
        ) as gateway:
            ran, shown = await _run(gateway, request, brick.stream, act)
            # Whoever is killed is killed again: a long answer of a model that came back would show no more.
            again, shown_again = await _run(gateway, request, brick.stream, act)
        # Closing has put them into the tables: asked before, the ledger would open its file for that twice.
        rows = rows_of(ledger, ran, again)
        return Seen(ran, shown, rows[0]), Seen(again, shown_again, rows[1])


async def _run(
    gateway: ModelGateway, request: ChatRequest, stream: bool, act: Callable[[], object] | None
) -> tuple[RunResult, str]:
    pieces: list[str] = []

    def show(text: str) -> None:
        pieces.append(text)
        if act is not None and len(pieces) == 1:
            act()

    ran = await gateway.run(Task(), request, on_text=show if stream else None)
    return ran, "".join(pieces)


def rows_of(ledger: Ledger, *many: RunResult) -> list[tuple[Row, ...]]:
    """The attempts of each decision, as the ledger holds them, in their order."""
    ids = ", ".join(f"'{ran.decision.id}'" for ran in many)
    found = ledger.query(
        "SELECT decision_id::VARCHAR, role, model_id, status, error_class FROM attempt_rows "
        f"WHERE decision_id IN ({ids}) ORDER BY number"
    )
    return [
        tuple((row[1], row[2], row[3], row[4]) for row in found.rows if row[0] == ran.decision.id)
        for ran in many
    ]


def _send(victim: OllamaProcess, signalled: Signalled) -> None:
    if signalled.whom == "server":
        victim.signal(signalled.number)
        return
    for pid in victim.report()["runner_pids"]:
        os.kill(pid, signalled.number)


_CLOSING: set[asyncio.Task[None]] = set()


def _close(backend: Backend) -> None:
    closing = asyncio.ensure_future(backend.close())
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


def _kill_models(backend: Backend) -> None:
    assert isinstance(backend, LlamaCppBackend)
    # Nothing public ends a model's process and lets the backend live on: only the system does that.
    for running in backend._running.values():
        running._process.kill()
