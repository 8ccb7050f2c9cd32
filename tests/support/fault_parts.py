"""Parts for the wall of faults: one fault, how it is made, and what came of it through the whole gateway.

A fault befalls the model `first`; `second` is simulated, always well, and its fallback. Each fault is run twice,
the second time to see what was kept of the first. Faults that need no process of their own are struck together, in
one gateway, each with backends, models and a rule of its own.
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
    "strike_together",
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
            case Simulated() | Scripted():
                raise AssertionError("these are struck together")
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


def strike_together(
    bricks: Sequence[Brick], *, folder: Path, ledger: Ledger
) -> list[tuple[Seen, Seen] | BaseException]:
    """What `strike` gives for each of these simulated or scripted faults, or what went wrong with it."""
    return asyncio.run(_strike_together(bricks, folder, ledger))


async def _strike_together(
    bricks: Sequence[Brick], folder: Path, ledger: Ledger
) -> list[tuple[Seen, Seen] | BaseException]:
    request = ChatRequest(MESSAGES, max_output_tokens=12, temperature=0)
    async with AsyncExitStack() as stack:
        values, faults = await _values_together(bricks, stack)
        policy = write_policy(values, folder)
        simulated = simulated_backends(policy, faults=faults)
        opened = open_backends(policy)
        backends = {id: one if _is_scripted(values, id) else simulated[id] for id, one in opened.items()}
        store = StateStore(folder / "state.db")
        async with ModelGateway(
            policy, backends=backends, ledger=ledger, store=store, random=Random(1)
        ) as gateway:

            async def twice(number: int, stream: bool) -> list[tuple[RunResult, str]]:
                task = Task({"brick": number})
                return [await _run(gateway, request, stream, None, task) for _ in range(2)]

            tries = [twice(number, brick.stream) for number, brick in enumerate(bricks)]
            ended = await asyncio.gather(*tries, return_exceptions=True)
    runs = [ran for one in ended if not isinstance(one, BaseException) for ran, _ in one]
    rows = dict(zip((ran.decision.id for ran in runs), rows_of(ledger, *runs), strict=True))
    seen: list[tuple[Seen, Seen] | BaseException] = []
    for number, one in enumerate(ended):
        if isinstance(one, BaseException):
            seen.append(one)
            continue
        once, again = (Seen(ran, shown, _plain(rows[ran.decision.id], number)) for ran, shown in one)
        seen.append((once, again))
    return seen


def _is_scripted(values: Mapping[str, Any], backend: str) -> bool:
    return bool(values["catalog"]["backends"][backend]["kind"] != "simulated")


def _plain(rows: tuple[Row, ...], number: int) -> tuple[Row, ...]:
    """The rows of a brick with its own models under their plain names; those of others stand out."""
    plain = {f"{name}-{number}": name for name in ("first", "second")}
    return tuple((role, plain.get(model, model), status, kind) for role, model, status, kind in rows)


async def _values_together(
    bricks: Sequence[Brick], stack: AsyncExitStack
) -> tuple[dict[str, Any], dict[str, Sequence[Fault]]]:
    """The plain values of one policy with a rule for each brick, and what its simulated models do."""
    together = policy_values({}, {})
    catalog, rules = together["catalog"], []
    catalog |= {"backends": {}, "models": {}}
    faults: dict[str, Sequence[Fault]] = {}
    for number, brick in enumerate(bricks):
        first: dict[str, Any] = {"timeouts": dict(brick.timeouts)}
        match brick.made:
            case Simulated(script):
                first["kind"] = "simulated"
                faults[f"first-{number}"] = script
            case Scripted(calls):
                server = await stack.enter_async_context(ScriptedHttp(*calls))
                first |= {"kind": "openai", "host": server.url}
            case _:
                raise AssertionError("this needs a process of its own")
        alone = policy_values(first, {}, alone=brick.alone)
        for kind in ("backends", "models"):
            catalog[kind] |= {f"{id}-{number}": one for id, one in alone["catalog"][kind].items()}
        for id in ("first", "second"):
            catalog["models"][f"{id}-{number}"]["backend"] += f"-{number}"
        [rule] = alone["rules"]
        rule |= {"name": f"brick-{number}", "when": f"brick == {number}"}
        for key in ("use", "fallback"):
            rule |= {key: [f"{id}-{number}" for id in rule[key]]} if key in rule else {}
        rules.append(rule)
    return together | {"features": {"brick": {"type": "integer"}}, "rules": rules}, faults


async def _run(
    gateway: ModelGateway,
    request: ChatRequest,
    stream: bool,
    act: Callable[[], object] | None,
    task: Task | None = None,
) -> tuple[RunResult, str]:
    pieces: list[str] = []

    def show(text: str) -> None:
        pieces.append(text)
        if act is not None and len(pieces) == 1:
            act()

    ran = await gateway.run(task or Task(), request, on_text=show if stream else None)
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
