"""A policy that is read again while calls run: they end as they began, and what is new holds for all others."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from routewright import (
    BackendError,
    ChatRequest,
    Message,
    ModelGateway,
    PolicyError,
    RoutewrightError,
    RunResult,
    Task,
    TaskError,
    load_policy,
)
from routewright.backends import Backend, HealthReport
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.gateway.generations import GatewaySource

HELLO = ChatRequest((Message("user", "hello"),))
MESSAGES = [{"role": "user", "content": "hello"}]

CATALOG = """\
routewright: 1
name: machines
backends:
  near: { kind: openai, host: NEAR }
  far: { kind: openai, host: FAR }
models:
  small: { backend: near }
  large: { backend: far }
"""

POLICY = """\
routewright: 1
name: routes
catalog: catalog.yaml
features:
  hard: { type: boolean, default: false }
rules:
  - { name: hard, when: hard, use: [large] }
  - { name: otherwise, use: [small] }
controls:
  - { name: daily, on: small, max_requests: 3, per: day }
"""


@dataclass
class Server:
    """Answers every chat as soon as ``open`` is set, and notes which model was asked for, and who hung up."""

    url: str
    asked: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[int] = field(default_factory=set)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server("")

    async def chat(request: web.Request) -> web.Response:
        assert request.transport is not None
        server.connections.add(id(request.transport))
        server.asked.append((await request.json())["model"])
        server.waiting.set()
        await server.open.wait()
        message = {"role": "assistant", "content": "Hello."}
        body = {
            "model": "it",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def health(request: web.Request) -> web.Response:
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    server.open.set()
    try:
        yield server
    finally:
        await runner.cleanup()


def write(folder: Path, near: Server | str, far: Server | str, policy: str = POLICY) -> Path:
    urls = [one if isinstance(one, str) else one.url for one in (near, far)]
    (folder / "catalog.yaml").write_text(
        CATALOG.replace("NEAR", urls[0]).replace("FAR", urls[1]), encoding="utf-8"
    )
    path = folder / "policy.yaml"
    path.write_text(policy, encoding="utf-8")
    return path


def noting_close(backend: Backend) -> list[Backend]:
    """Where each closing of a backend is noted, from now on."""
    closed: list[Backend] = []
    close = backend.close

    async def closing() -> None:
        closed.append(backend)
        await close()

    backend.close = closing  # type: ignore[method-assign]
    return closed


async def under_way(gateway: ModelGateway, server: Server) -> asyncio.Task[RunResult]:
    """A call that waits at the server until it is opened again."""
    server.open.clear()
    running = asyncio.create_task(gateway.run(Task(), HELLO))
    await asyncio.wait_for(server.waiting.wait(), 10)
    return running


NOWHERE = "http://127.0.0.1:9/v1"


def test_what_is_read_again_holds_for_the_next_task(tmp_path: Path) -> None:
    async def ask() -> None:
        path = write(tmp_path, NOWHERE, NOWHERE)
        async with ModelGateway.from_policy(path) as gateway:
            assert gateway.decide(Task()).decision.target == "small"
            assert not await gateway.reload()
            write(tmp_path, NOWHERE, NOWHERE, "# a comment means nothing\n" + POLICY)
            before = gateway.policy
            assert not await gateway.reload() and gateway.policy is before
            write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("use: [small]", "use: [large]"))
            assert gateway.decide(Task()).decision.target == "small", "not before it is asked to"
            assert await gateway.reload()
            assert gateway.decide(Task()).decision.target == "large"
            assert gateway.policy.digest != before.digest

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (POLICY.replace("when: hard", "when: hrad"), PolicyError),
        (POLICY + "x: [", PolicyError),
        (POLICY.replace("catalog.yaml", "nowhere.yaml"), PolicyError),
    ],
)
def test_a_policy_that_is_no_good_leaves_the_last_good_one(
    tmp_path: Path, broken: str, error: type[RoutewrightError]
) -> None:
    async def ask() -> None:
        path = write(tmp_path, NOWHERE, NOWHERE)
        async with ModelGateway.from_policy(path) as gateway:
            before, backends = gateway.policy, dict(gateway.backends)
            write(tmp_path, NOWHERE, NOWHERE, broken)
            with pytest.raises(error):
                await gateway.reload()
            assert gateway.policy is before and gateway.backends == backends
            assert gateway.decide(Task()).decision.target == "small"
            write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("use: [small]", "use: [large]"))
            assert await gateway.reload(), "and it is not remembered"

    asyncio.run(ask())


def test_a_backend_that_does_not_open_leaves_the_last_good_policy(tmp_path: Path) -> None:
    async def ask() -> None:
        path = write(tmp_path, NOWHERE, NOWHERE)
        async with ModelGateway.from_policy(path) as gateway:
            before = gateway.policy
            catalog = (tmp_path / "catalog.yaml").read_text(encoding="utf-8")
            keyed = catalog.replace(
                f"host: {NOWHERE} }}", f"host: {NOWHERE}, api_key: '${{NO_SUCH_KEY}}' }}", 1
            )
            assert keyed != catalog
            (tmp_path / "catalog.yaml").write_text(keyed, encoding="utf-8")
            with pytest.raises(BackendError, match="NO_SUCH_KEY"):
                await gateway.reload()
            assert gateway.policy is before

    asyncio.run(ask())


def test_a_call_under_way_ends_under_the_policy_it_was_decided_under(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, far)
            async with ModelGateway.from_policy(
                path, ledger=tmp_path / "l.duckdb", state=tmp_path / "s"
            ) as gateway:
                old = gateway.policy
                running = await under_way(gateway, near)
                backend = gateway.backends["near"]
                closed = noting_close(backend)
                # The near machine is gone from the new policy.
                write(tmp_path, far, far)
                assert await gateway.reload()
                new = gateway.policy
                assert gateway.backends["near"] is not backend
                ran = await gateway.run(Task(), HELLO)
                assert ran.decision.policy is new and far.asked == ["small"]
                assert not closed, "something runs on it"
                near.open.set()
                begun = await running
                assert begun.decision.policy is old and near.asked == ["small"]
                assert begun.execution is not None and begun.execution.answer is not None
                await asyncio.sleep(0)
                assert len(closed) == 1
                ledger = gateway.ledger
        assert ledger is not None
        # The texts of both policies are there, whichever call ended first.
        digests = {row[0] for row in ledger.query("SELECT digest FROM policies WHERE kind = 'policy'").rows}
        assert digests == {old.digest, new.digest}
        decided = ledger.query("SELECT policy_digest FROM decision_records ORDER BY decision_id").rows
        assert decided == ((old.digest,), (new.digest,))

    asyncio.run(ask())


def test_a_backend_is_closed_when_no_call_of_any_policy_before_runs_on_it(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, far)
            async with ModelGateway.from_policy(path, state=tmp_path / "s") as gateway:
                closed = noting_close(gateway.backends["near"])
                running = await under_way(gateway, near)
                # The second policy still has it, the third has not, and the call is the first one's.
                write(tmp_path, near, far, POLICY.replace("name: otherwise", "name: all_else"))
                assert await gateway.reload()
                write(tmp_path, far, far)
                assert await gateway.reload()
                await gateway.run(Task(), HELLO)
                assert not closed
                near.open.set()
                ran = await running
                assert ran.execution is not None and ran.execution.answer is not None
                await asyncio.sleep(0)
                assert len(closed) == 1
            assert len(closed) == 1, "and not once more"

    asyncio.run(ask())


def test_closing_lets_go_of_what_a_replaced_policy_still_uses(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, far)
            gateway = ModelGateway.from_policy(path, state=tmp_path / "s")
            closed = noting_close(gateway.backends["near"])
            running = await under_way(gateway, near)
            write(tmp_path, far, far)
            assert await gateway.reload()
            await gateway.close()
            assert len(closed) == 1
            ran = await running
            assert ran.execution is not None and ran.execution.error is not None

    asyncio.run(ask())


def test_backends_that_are_declared_as_before_keep_their_connections_and_health(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, NOWHERE)
            async with ModelGateway.from_policy(path, state=tmp_path / "state.sqlite") as gateway:
                await gateway.generate_chat(messages=MESSAGES)
                reports = await gateway.admin.check_health(timeout_s=2)
                assert reports["far"].healthy is False
                kept, left = gateway.backends["near"], gateway.backends["far"]
                write(tmp_path, near, NOWHERE, POLICY.replace("name: otherwise", "name: all_else"))
                assert await gateway.reload()
                assert gateway.backends["near"] is kept and gateway.backends["far"] is left
                hard = gateway.decide(Task({"hard": True}))
                assert hard.decision.outcome == "no_target", "what it said of its health is still known"
                write(tmp_path, near, far)
                assert await gateway.reload()
                assert gateway.backends["near"] is kept and gateway.backends["far"] is not left
                assert gateway.decide(Task({"hard": True})).decision.target == "large"
                await gateway.generate_chat(messages=MESSAGES)
                assert len(near.connections) == 1

    asyncio.run(ask())


def test_what_is_used_of_a_quota_survives(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, far)
            async with ModelGateway.from_policy(path, state=tmp_path / "state.sqlite") as gateway:
                for _ in range(2):
                    await gateway.generate_chat(messages=MESSAGES)
                write(tmp_path, near, far, POLICY.replace("max_requests: 3", "max_requests: 2"))
                assert await gateway.reload()
                assert gateway.decide(Task()).decision.outcome == "no_target"
                assert [one.use.taken for one in gateway.admin.quotas()] == [2]

    asyncio.run(ask())


def test_a_decision_of_the_policy_before_is_not_executed_any_more(tmp_path: Path) -> None:
    async def ask() -> None:
        path = write(tmp_path, NOWHERE, NOWHERE)
        async with ModelGateway.from_policy(path) as gateway:
            decided = gateway.decide(Task())
            write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("use: [small]", "use: [large]"))
            await gateway.reload()
            with pytest.raises(TaskError, match="another policy than `routes` as it is now") as refused:
                await gateway.execute(decided, HELLO)
            assert refused.value.help == "decide again" and not decided.executed

    asyncio.run(ask())


def test_a_rollout_is_promoted_and_rolled_back_by_editing(tmp_path: Path) -> None:
    mine = POLICY.replace("max_requests: 3", "max_requests: 100")
    path = write(tmp_path, NOWHERE, NOWHERE, mine)
    (tmp_path / "next.yaml").write_text(mine.replace("use: [small]", "use: [large]"), encoding="utf-8")

    def roll(mode: str) -> str:
        return mine + f"rollout: {{ candidate: next.yaml, mode: {mode} }}\n"

    with ModelGateway.from_policy(path, simulate=True, state=tmp_path / "state.sqlite") as gateway:
        found = []
        for text in (mine, roll("shadow"), roll("full"), roll("shadow"), mine):
            write(tmp_path, NOWHERE, NOWHERE, text)
            gateway.reload_sync()
            ran = gateway.run_sync(Task(), HELLO)
            found.append((ran.decision.target, None if ran.shadow is None else ran.shadow.target))
        # The candidate's own file counts too.
        write(tmp_path, NOWHERE, NOWHERE, roll("full"))
        assert gateway.reload_sync()
        (tmp_path / "next.yaml").write_text(mine, encoding="utf-8")
        assert gateway.reload_sync() and gateway.decide(Task()).decision.target == "small"
    assert found == [
        ("small", None),
        ("small", "large"),
        ("large", None),
        ("small", "large"),
        ("small", None),
    ]


def test_a_gateway_that_was_not_made_from_a_file_has_nothing_to_read(tmp_path: Path) -> None:
    with ModelGateway(load_policy(write(tmp_path, NOWHERE, NOWHERE))) as gateway:
        with pytest.raises(TaskError, match="not made from a file"):
            gateway.reload_sync()


def test_reloading_beside_many_calls_loses_none(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near, serving() as far:
            path = write(tmp_path, near, far, POLICY.replace("max_requests: 3", "max_requests: 100000"))
            gateway = ModelGateway.from_policy(
                path, state=tmp_path / "state.sqlite", ledger=tmp_path / "l.duckdb"
            )
            async with gateway:
                ended, answered = asyncio.Event(), asyncio.Event()

                async def call() -> int:
                    calls = 0
                    while not ended.is_set():
                        answer = await gateway.generate_chat(messages=MESSAGES)
                        assert answer.text == "Hello."
                        calls += 1
                        answered.set()
                    return calls

                callers = [asyncio.create_task(call()) for _ in range(8)]
                for turn in range(12):
                    one, other = (near, far) if turn % 2 else (far, near)
                    write(
                        tmp_path,
                        one,
                        other,
                        POLICY.replace("max_requests: 3", f"max_requests: {100000 + turn}"),
                    )
                    await gateway.reload()
                    answered.clear()
                    await answered.wait()
                ended.set()
                made = sum(await asyncio.gather(*callers))
            assert gateway.ledger is not None
            [[stored, policies]] = gateway.ledger.query(
                "SELECT count(*), count(DISTINCT policy_digest) "
                "FROM decision_records JOIN policies ON digest = policy_digest"
            ).rows
            assert stored == made and policies > 3

    asyncio.run(ask())


def test_a_gateway_reads_its_own_files_again_wherever_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, NOWHERE, NOWHERE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere, NOWHERE, NOWHERE, POLICY.replace("name: routes", "name: others"))
    monkeypatch.chdir(tmp_path)
    with ModelGateway.from_policy("policy.yaml") as gateway:
        monkeypatch.chdir(elsewhere)
        assert not gateway.reload_sync() and gateway.policy.name == "routes"
        write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("use: [small]", "use: [tiny]"))
        with pytest.raises(PolicyError) as caught:
            gateway.reload_sync()
        assert caught.value.problems[0].source == str(tmp_path / "policy.yaml")


def test_a_closed_gateway_is_not_reloaded(tmp_path: Path) -> None:
    gateway = ModelGateway.from_policy(write(tmp_path, NOWHERE, NOWHERE))
    gateway.close_sync()
    with pytest.raises(TaskError, match="the gateway is closed"):
        asyncio.run(gateway.reload())


def test_a_replaced_backend_that_cannot_be_closed_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse() -> None:
        raise OSError("it is stuck")

    with ModelGateway.from_policy(write(tmp_path, NOWHERE, NOWHERE)) as gateway:
        gateway.backends["near"].close = refuse  # type: ignore[method-assign]
        write(tmp_path, "http://127.0.0.1:10/v1", NOWHERE)
        assert gateway.reload_sync()
    (warning,) = [one for one in caplog.records if one.name == "routewright"]
    assert warning.getMessage() == "a backend that was replaced could not be closed: it is stuck"


def test_reloading_in_one_event_loop_after_another_closes_what_is_replaced(tmp_path: Path) -> None:
    gateway = ModelGateway.from_policy(write(tmp_path, NOWHERE, NOWHERE))

    async def reload_twice() -> list[bool]:
        return list(await asyncio.gather(gateway.reload(), gateway.reload()))

    closed = []
    for turn in range(3):
        closed.append(noting_close(gateway.backends["near"]))
        write(tmp_path, f"http://127.0.0.1:{turn + 10}/v1", NOWHERE)
        assert any(asyncio.run(reload_twice()))
    assert [len(one) for one in closed] == [1, 1, 1]
    closed.append(noting_close(gateway.backends["near"]))
    asyncio.run(gateway.close())
    assert [len(one) for one in closed] == [1, 1, 1, 1]


def test_of_two_readings_the_later_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        path = write(tmp_path, NOWHERE, NOWHERE)
        async with ModelGateway.from_policy(path) as gateway:
            slow = threading.Event()
            real = GatewaySource.policy
            readings: list[CompiledPolicy] = []

            def reading(opening: GatewaySource) -> CompiledPolicy:
                policy = real(opening)
                readings.append(policy)
                if len(readings) == 1:
                    slow.wait(10)
                return policy

            monkeypatch.setattr(GatewaySource, "policy", reading)
            write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("name: routes", "name: first"))
            first = asyncio.create_task(gateway.reload())
            while not readings:
                await asyncio.sleep(0.001)
            write(tmp_path, NOWHERE, NOWHERE, POLICY.replace("name: routes", "name: second"))
            assert await gateway.reload()
            slow.set()
            assert not await first
            assert gateway.policy.name == "second"

    asyncio.run(ask())


def test_what_a_backend_says_of_its_health_while_the_policy_is_read_again_is_known(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving() as near:
            path = write(tmp_path, near, NOWHERE)
            async with ModelGateway.from_policy(path, state=tmp_path / "s") as gateway:
                asked = asyncio.Event()
                far_backend = gateway.backends["far"]
                real = far_backend.health

                async def slow() -> HealthReport:
                    await asked.wait()
                    return await real()

                far_backend.health = slow  # type: ignore[method-assign]
                checking = asyncio.create_task(gateway.admin.check_health())
                await asyncio.sleep(0)
                write(tmp_path, near, NOWHERE, POLICY.replace("name: otherwise", "name: all_else"))
                assert await gateway.reload()
                asked.set()
                assert (await checking)["far"].healthy is False
                assert gateway.decide(Task({"hard": True})).decision.outcome == "no_target"

    asyncio.run(ask())
