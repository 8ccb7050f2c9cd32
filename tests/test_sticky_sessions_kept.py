"""`sticky: session` through gateways: sessions that several of them share, and what makes one move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from routewright import (
    ChatRequest,
    Ledger,
    ModelGateway,
    RequestFacts,
    RunResult,
    StateStore,
    Task,
    load_policy,
)
from routewright.backends import Fault, Message
from routewright.backends.control.sessions import FORGET_AFTER_US
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.gateway.opening import simulated_backends

CATALOG = """\
routewright: 1
backends: { here: { kind: mlx } }
models:
  a: { backend: here }
  b: { backend: here }
  c: { backend: here }
  d: { backend: here }
"""

POLICY = """\
routewright: 1
name: talks
catalog: catalog.yaml
rules:
  - name: talks
    use: [a, b, c]
    choose: split
    split: { weights: { a: 1, b: 1, c: 1 } }
    sticky: session
    fallback: [d]
"""

AT_US = 1_767_225_600_000_000
HELLO = ChatRequest((Message("user", "hello"),))


class Clock:
    def __init__(self) -> None:
        self.at_us = AT_US

    def __call__(self) -> int:
        return self.at_us


def written(folder: Path, policy: str = POLICY, catalog: str = CATALOG) -> CompiledPolicy:
    (folder / "catalog.yaml").write_text(catalog)
    (folder / "policy.yaml").write_text(policy)
    return load_policy(folder / "policy.yaml")


def gateway_with(
    folder: Path,
    policy: CompiledPolicy,
    seed: int,
    *,
    clock: Callable[[], int] = lambda: AT_US,
    faults: dict[str, list[Fault]] | None = None,
) -> ModelGateway:
    backends = simulated_backends(policy, faults=faults)
    store = StateStore(folder / "state.db")
    return ModelGateway(policy, backends=backends, store=store, random=Random(seed), clock=clock)


def in_session(name: str) -> Task:
    return Task(request=RequestFacts(metadata={"session": name}))


def said(ran: RunResult) -> tuple[str | None, str | None]:
    assert ran.decision.choice is not None and ran.execution is not None
    return ran.execution.attempts[-1].model_id, ran.decision.choice.session


def test_several_gateways_on_one_store_keep_a_session_on_its_model(tmp_path: Path) -> None:
    policy = written(tmp_path)
    models: dict[str, set[str | None]] = {}
    for seed in range(6):
        with gateway_with(tmp_path, policy, seed) as gateway:
            for session in "uvwxyz":
                model, how = said(gateway.run_sync(in_session(session), HELLO))
                models.setdefault(session, set()).add(model)
                assert how == ("kept" if seed else "new")
    assert all(len(found) == 1 for found in models.values())
    assert len(set().union(*models.values())) > 1, "the split still spreads new sessions"


def test_without_a_session_or_a_store_tasks_are_split_as_ever(tmp_path: Path) -> None:
    policy = written(tmp_path)
    with gateway_with(tmp_path, policy, 1) as gateway:
        ran = [said(gateway.run_sync(Task(), HELLO)) for _ in range(30)]
    assert {model for model, _ in ran} == {"a", "b", "c"} and {how for _, how in ran} == {"none"}
    with ModelGateway(policy, random=Random(1)) as gateway:
        ran = [said(gateway.run_sync(in_session("x"), HELLO)) for _ in range(30)]
    assert {model for model, _ in ran} == {"a", "b", "c"} and {how for _, how in ran} == {"new"}


def test_a_session_moves_when_its_model_is_cooled_and_stays_where_it_went(tmp_path: Path) -> None:
    policy = written(tmp_path)
    with gateway_with(tmp_path, policy, 1) as gateway:
        first, _ = said(gateway.run_sync(in_session("x"), HELLO))
    assert first is not None
    with gateway_with(tmp_path, policy, 2, faults={first: ["unauthorized"]}) as gateway:
        ran = gateway.run_sync(in_session("x"), HELLO)
        assert ran.decision.target == first, "the call fails, and its breaker opens"
        second, _ = said(ran)
        assert second != first
        third = gateway.run_sync(in_session("x"), HELLO)
        if second == "d":
            assert third.decision.choice is not None and third.decision.choice.session == "moved"
        else:
            assert said(third) == (second, "kept")


def test_a_session_moves_when_its_model_is_disabled(tmp_path: Path) -> None:
    with gateway_with(tmp_path, written(tmp_path), 1) as gateway:
        first, _ = said(gateway.run_sync(in_session("x"), HELLO))
    gone = CATALOG.replace(
        f"  {first}: {{ backend: here }}", f"  {first}: {{ backend: here, disabled: true }}"
    )
    assert gone != CATALOG
    policy = written(tmp_path, catalog=gone)
    with gateway_with(tmp_path, policy, 1) as gateway:
        second, how = said(gateway.run_sync(in_session("x"), HELLO))
        assert (how, second != first) == ("moved", True)
        assert said(gateway.run_sync(in_session("x"), HELLO)) == (second, "kept")


def test_a_session_is_forgotten_after_a_day(tmp_path: Path) -> None:
    policy, clock = written(tmp_path), Clock()
    with gateway_with(tmp_path, policy, 1, clock=clock) as gateway:
        gateway.run_sync(in_session("x"), HELLO)
        clock.at_us += FORGET_AFTER_US - 1
        assert said(gateway.run_sync(in_session("x"), HELLO))[1] == "kept"
        clock.at_us += FORGET_AFTER_US
        assert said(gateway.run_sync(in_session("x"), HELLO))[1] == "new"


def test_deciding_alone_and_failing_keep_nothing(tmp_path: Path) -> None:
    policy = written(tmp_path)
    down: dict[str, list[Fault]] = {model: ["not_found"] for model in "abcd"}
    with gateway_with(tmp_path, policy, 1, faults=down) as gateway:
        gateway.decide(in_session("x"))
        failed = gateway.run_sync(in_session("x"), HELLO)
        assert failed.execution is not None and failed.execution.answer is None
        assert said(gateway.run_sync(in_session("x"), HELLO))[1] == "new"


def test_a_policy_without_a_sticky_rule_keeps_and_reads_no_sessions(tmp_path: Path) -> None:
    policy = written(tmp_path, POLICY.replace("    sticky: session\n", ""))
    with gateway_with(tmp_path, policy, 1) as gateway:
        ran = gateway.run_sync(in_session("x"), HELLO)
        assert ran.decision.choice is not None and ran.decision.choice.session is None
        assert gateway.store is not None and gateway.store.read("SELECT * FROM sessions") == []


@pytest.mark.parametrize("sticky", [True, False])
def test_a_turn_without_news_does_not_wait_for_a_store_that_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sticky: bool
) -> None:
    policy = written(tmp_path, POLICY if sticky else POLICY.replace("    sticky: session\n", ""))
    with gateway_with(tmp_path, policy, 1) as gateway:
        gateway.run_sync(in_session("x"), HELLO)
        asked: list[object] = []
        monkeypatch.setattr(StateStore, "run_in_thread", lambda *_, **__: asked.append(0))
        ran = gateway.run_sync(in_session("x"), HELLO)
        assert ran.execution is not None and ran.execution.answer is not None
        assert asked == []


def test_an_answer_stands_where_its_session_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("routewright.backends.control.store.BUSY_TIMEOUT_S", 0.05)
    policy = written(tmp_path)
    with gateway_with(tmp_path, policy, 1) as gateway:
        assert gateway.store is not None
        other = StateStore(gateway.store.path)
        with other.change():
            ran = gateway.run_sync(in_session("x"), HELLO)
        other.close()
        assert ran.execution is not None and ran.execution.answer is not None
        warning = caplog.records[-1]
        assert (warning.name, warning.levelname) == ("routewright", "WARNING")
        why = "the model of a session was not kept, so its next turn chooses anew: the state store "
        assert warning.getMessage().startswith(why)
        assert said(gateway.run_sync(in_session("x"), HELLO))[1] == "new"


def test_the_keyword_of_a_chat_names_the_session_and_the_ledger_has_it(tmp_path: Path) -> None:
    policy = written(tmp_path)
    ledger = Ledger.open(tmp_path / "ledger.duckdb")

    async def talk() -> None:
        store = StateStore(tmp_path / "state.db")
        async with ModelGateway(policy, store=store, ledger=ledger, random=Random(3)) as gateway:
            for _ in range(4):
                await gateway.generate_chat(
                    messages=[{"role": "user", "content": "x"}], session="s1", metadata={"team": "a"}
                )
            async for _ in gateway.stream_chat(messages=[{"role": "user", "content": "x"}], session="s1"):
                pass
            await gateway.generate_chat(messages=[{"role": "user", "content": "x"}])

    asyncio.run(talk())
    found = ledger.query(
        "SELECT session_id, count(*), count(DISTINCT target) FROM all_decisions_flat GROUP BY ALL ORDER BY ALL"
    ).rows
    assert found == (("s1", 5, 1), (None, 1, 1))
