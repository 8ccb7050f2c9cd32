"""What is in memory, what fits and how long loading took, from real backends through a gateway into decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.llamacpp_servers import needs_llamacpp
from support.mlx_parts import tiny_models
from support.ollama_process import start_ollama

from routewright import ChatRequest, MemoryState, Message, ModelGateway, Resident, Task, load_policy
from routewright.backends import Backend, BackendError, BackendMemory, InMemory
from routewright.backends.control import LoadTimes, StateStore
from routewright.engine.decision import State
from routewright.gateway import open_backends
from routewright.gateway.in_memory import ASK_AFTER_US, KNOWN_FOR_US, MemoryWatch

GB = 1_000_000_000
HELLO = ChatRequest((Message("user", "Hello"),), max_output_tokens=2)

MLX: dict[str, Any] = {
    "routewright": 1,
    "name": "near",
    "catalog": {
        "routewright": 1,
        "backends": {"mlx": {"kind": "mlx", "memory_gb": 9}},
        "models": {
            "a": {"backend": "mlx", "tag": "tiny-a", "memory_gb": 4, "expected_latency": "100ms"},
            "b": {"backend": "mlx", "tag": "tiny-b", "memory_gb": 4, "expected_latency": "200ms"},
            "c": {"backend": "mlx", "tag": "tiny-c", "memory_gb": 4, "expected_latency": "300ms"},
            "huge": {"backend": "mlx", "tag": "thinker", "memory_gb": 10},
        },
    },
    "rules": [{"name": "quickest", "use": ["huge", "a", "b", "c"], "choose": "fastest"}],
}


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.at_us = 1_795_341_600_000_000

    def __call__(self) -> int:
        return self.at_us


def mlx_gateway(tmp_path: Path, clock: Callable[[], int], **models: dict[str, Any]) -> ModelGateway:
    values = json.loads(json.dumps(MLX))
    values["catalog"]["backends"]["mlx"]["path"] = str(tiny_models())
    for id, keys in models.items():
        values["catalog"]["models"][id] |= keys
    (tmp_path / "policy.yaml").write_text(json.dumps(values))
    policy = load_policy(tmp_path / "policy.yaml")
    store = StateStore(tmp_path / "state.sqlite")
    return ModelGateway(policy, backends=open_backends(policy), store=store, clock=clock, preload=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def loaded(state: State) -> list[str]:
    return [id for id, known in state.models.items() if known.loaded]


def test_decisions_know_what_the_pool_holds_and_the_fastest_is_what_is_loaded(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        async with mlx_gateway(tmp_path, clock) as gateway:
            assert gateway.state(Task()).memory == {}, "nobody was asked yet"
            await until(lambda: bool(gateway.state(Task()).memory))
            state = gateway.state(Task())
            assert state.memory == {"mlx": MemoryState(9 * GB)} and loaded(state) == []
            first = gateway.decide(Task()).decision
            assert first.target == "a", "of a load of which nothing is known, nothing is counted"
            assert [(c.failure.gate if c.failure else None) for c in first.candidates][-1] == "memory"

            assert gateway.store is not None
            for model in ("a", "b", "c"):
                endpoint = f"mlx {tiny_models()} tiny-{model}"
                LoadTimes(gateway.store).observed(endpoint, 4_000.0, at_us=clock())
            await gateway.run(Task(pin="b"), HELLO)
            await until(lambda: loaded(gateway.state(Task())) == ["b"])
            warm = gateway.decide(Task()).decision
            assert warm.target == "b"
            assert warm.choice is not None
            assert warm.choice.inputs == {"a": 4_100.0, "b": 200.0, "c": 4_300.0}

            await gateway.run(Task(pin="c"), HELLO)
            await until(lambda: loaded(gateway.state(Task())) == ["b", "c"])
            held = gateway.state(Task()).memory["mlx"]
            assert held == MemoryState(9 * GB, (Resident("b", 4 * GB), Resident("c", 4 * GB)))
            await gateway.run(Task(pin="a"), HELLO)
            await until(lambda: loaded(gateway.state(Task())) == ["a", "c"])  # b made room for it
            clock.at_us += KNOWN_FOR_US
            assert loaded(gateway.state(Task())) == [], "what was said a minute ago is not known"

    asyncio.run(main())


def test_what_the_catalog_preloads_is_loaded_when_a_gateway_opens_and_nothing_goes_for_it(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        preload = {"preload": True}
        gateway = mlx_gateway(tmp_path, Clock(), a=preload, b=preload, c=preload, huge=preload)
        async with gateway:

            async def held() -> list[str]:
                said = await gateway.backends["mlx"].memory()
                assert said is not None
                return [one.tag for one in said.loaded]

            async with asyncio.timeout(60):
                while await held() != ["tiny-a", "tiny-b"]:
                    await asyncio.sleep(0.02)
            again = [str(one) for one in await gateway.admin.preload()]
        assert again == [
            "`a` was in memory already",
            "`b` was in memory already",
            "`c` was not preloaded: a would have to go",
            "`huge` was not preloaded: it needs more memory than its backend has",
        ]

    asyncio.run(main())


def test_a_gateway_that_closes_does_not_wait_for_what_it_preloads(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(Backend):
        ended = False

        async def load(self, *_: object, **__: object) -> None:
            begun.set()
            try:
                await asyncio.sleep(3_600)
            finally:
                self.ended = True

        async def close(self) -> None:
            assert self.ended, "it is told to stop before its backend is closed"

    async def main() -> None:
        slow = Slow()  # type: ignore[abstract]  # what is not called needs no body
        await mlx_gateway(tmp_path, Clock()).close()
        values = json.loads((tmp_path / "policy.yaml").read_text())
        values["catalog"]["models"]["a"]["preload"] = True
        (tmp_path / "policy.yaml").write_text(json.dumps(values))
        policy = load_policy(tmp_path / "policy.yaml")
        async with asyncio.timeout(10), ModelGateway(policy, backends={"mlx": slow}, preload=True):
            await begun.wait()

    asyncio.run(main())


def test_a_server_that_is_not_there_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = OLLAMA.format(host="http://127.0.0.1:9").replace("own: {", "own: { disabled: true,")
    (tmp_path / "policy.yaml").write_text(text.replace("memory_gb: 5.2, ", ""))

    async def main() -> None:
        policy = load_policy(tmp_path / "policy.yaml")
        async with ModelGateway(policy, backends=open_backends(policy), preload=True):
            await until(lambda: bool(caplog.messages))

    asyncio.run(main())
    assert caplog.messages == [
        "not preloaded: `here`, `large`: no connection to `127.0.0.1:9`: connection refused"
    ]


def test_a_script_preloads_too(tmp_path: Path) -> None:
    mlx_gateway(tmp_path, Clock(), a={"preload": True}).close_sync()
    with ModelGateway.from_policy(tmp_path / "policy.yaml", ledger=None) as gateway:
        answer = gateway.run_sync(Task(pin="a"), HELLO)
        assert answer.execution is not None and answer.execution.error is None
    with ModelGateway.from_policy(tmp_path / "policy.yaml", preload=False) as gateway:
        assert not gateway._own_loop.is_open, "nothing is to be done, so no thread is started"


def test_what_a_reloaded_catalog_preloads_is_loaded_too(tmp_path: Path) -> None:
    mlx_gateway(tmp_path, Clock()).close_sync()
    path = tmp_path / "policy.yaml"

    async def main() -> None:
        async with ModelGateway.from_policy(path) as gateway:
            values = json.loads(path.read_text())
            values["catalog"]["models"]["b"]["preload"] = True
            path.write_text(json.dumps(values))
            assert await gateway.reload()
            async with asyncio.timeout(60):
                while loaded(gateway.state(Task())) != ["b"]:
                    await gateway.admin.ask_memory()
                    await asyncio.sleep(0.02)

    asyncio.run(main())


def test_backends_are_asked_now_and_then_and_one_that_fails_is_not_known() -> None:
    class Says(Backend):
        answer: BackendMemory | None = BackendMemory((InMemory("x", 1),), 10)

        async def memory(self) -> BackendMemory | None:
            if self.answer is None:
                raise BackendError("it is gone", error_class="overloaded")
            return self.answer

    async def main() -> None:
        watch, backend = MemoryWatch(), Says()  # type: ignore[abstract]  # nothing else is called
        assert watch.is_due(5) and not watch.is_due(5 + ASK_AFTER_US - 1) and watch.is_due(5 + ASK_AFTER_US)
        watch.is_outdated()
        assert watch.is_due(6 + ASK_AFTER_US)
        await watch.ask([backend], at_us=100)
        assert watch.of(backend, at_us=100 + KNOWN_FOR_US - 1) == backend.answer
        assert watch.of(backend, at_us=100 + KNOWN_FOR_US) is None
        following = MemoryWatch()
        watch.tell(following, [])
        assert following.of(backend, at_us=100) is None
        watch.tell(following, [backend])
        assert following.of(backend, at_us=100) == backend.answer
        backend.answer = newer = BackendMemory(())
        await following.ask([backend], at_us=150)
        watch.tell(following, [backend])
        assert following.of(backend, at_us=150) == newer, "what is older does not replace it"
        backend.answer = None
        await watch.ask([backend], at_us=200)
        assert watch.of(backend, at_us=200) is None

    asyncio.run(main())


OLLAMA = """\
routewright: 1
name: served
catalog:
  routewright: 1
  backends:
    ollama: {{ kind: ollama, host: "{host}", memory_gb: 0.15, timeouts: {{ load: 1m }} }}
    near: {{ kind: llamacpp }}
  models:
    here: {{ backend: ollama, tag: "smollm2:135m", preload: true, keep_alive: 5m }}
    other: {{ backend: ollama, tag: "smollm2:latest" }}
    large: {{ backend: ollama, tag: "qwen3:8b", memory_gb: 5.2, preload: true }}
    cloudy: {{ backend: ollama, tag: "kimi-k2:1t-cloud" }}
    own: {{ backend: near, tag: smollm2, preload: true }}
rules: [{{ name: only, use: [here, large] }}]
"""


def test_models_says_what_is_loaded_what_fits_and_how_long_loading_took(tmp_path: Path) -> None:
    needs_llamacpp()
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        command.write("policy.yaml", OLLAMA.format(host=server.url))
        state = ["--state", str(tmp_path / "state.sqlite")]
        StateStore(tmp_path / "state.sqlite").close()
        server.turn(load_delay_s=0.7)
        before = {
            one["id"]: one
            for one in json.loads(command("models", "--format", "json", *state, "policy.yaml").out)
        }
        done = command("models", "policy.yaml", "--preload", *state)
        values = {
            one["id"]: one
            for one in json.loads(command("models", "--format", "json", *state, "policy.yaml").out)
        }
        live = command("decide", "policy.yaml", "--live", "--explain", *state)
        again = command("models", "policy.yaml", "--preload", *state)
        sent = server.seen("/api/generate")
    facts = ("loaded", "fits", "unloads", "load_ms")
    assert [before["here"][name] for name in facts] == [False, None, None, None]
    assert [before["large"][name] for name in facts] == [False, False, None, None]
    assert [before["cloudy"][name] for name in facts] == [None, None, None, None]
    assert values["here"]["loaded"] is True and values["here"]["fits"] is True
    assert 600 <= values["here"]["load_ms"] <= 30_000
    assert [values["other"][name] for name in facts[:1]] == [False]
    preloaded = [line for line in done.err.splitlines() if "preload" in line or "loaded by" in line]
    assert preloaded[-3:][0].startswith("preloaded `here` in ")
    assert preloaded[-3:][1:] == [
        "`large` was not preloaded: it needs more memory than its backend has",
        "loaded by the programs that use them: own",
    ]
    assert "never fits: 5.2 GB of 0.15 GB" in done.out and "loaded" in done.out
    assert "`here` was in memory already" in again.err
    assert [request["json"]["keep_alive"] for request in sent] == ["5m"]
    assert "target: here (use), in memory" in live.out
    assert "memory: it needs 5.2 GB of memory, and all models of ollama together have 0.15 GB" in live.out


def test_a_run_keeps_how_long_loading_took(tmp_path: Path) -> None:
    needs_llamacpp()
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        text = OLLAMA.format(host=server.url).replace("memory_gb: 0.15, ", "")
        command.write("policy.yaml", text)
        server.turn(load_delay_s=0.7)
        state = ["--state", str(tmp_path / "state.sqlite"), "--no-ledger"]
        ran = command("run", "policy.yaml", "Hello", "--max-output-tokens", "2", *state)
    assert ran.code == 0, ran.err
    store = StateStore(tmp_path / "state.sqlite")
    took = [float(str(row[0])) for row in store.read("SELECT mean_ms FROM loads")]
    store.close()
    assert len(took) == 1 and 600 <= took[0] <= 30_000


@pytest.mark.parametrize("preload", [True, False])
def test_a_model_in_a_process_of_its_own_is_preloaded(tmp_path: Path, preload: bool) -> None:
    needs_llamacpp()
    text = OLLAMA.format(host="http://127.0.0.1:9").replace("preload: true, keep_alive", "keep_alive")
    (tmp_path / "policy.yaml").write_text(text.replace("use: [here, large]", "use: [own]"))

    async def main() -> list[str]:
        policy = load_policy(tmp_path / "policy.yaml")
        async with ModelGateway(policy, backends=open_backends(policy), preload=preload) as gateway:
            for _ in range(600 if preload else 10):
                await gateway.admin.ask_memory()
                if found := loaded(gateway.state(Task())):
                    return found
                await asyncio.sleep(0.02)
            return []

    assert asyncio.run(main()) == (["own"] if preload else [])
