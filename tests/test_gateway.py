"""The gateway: decide, execute, store; what is refused, and what is never lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.fault_parts import write_policy
from support.new_ledgers import new_ledger

from routewright import (
    ChatRequest,
    FeatureError,
    Ledger,
    LedgerError,
    ModelGateway,
    NotBuiltError,
    NotStoredError,
    PolicyError,
    RequestFacts,
    State,
    Task,
    TaskError,
    load_policy,
    record_of,
    request_for,
)
from routewright.backends import ChatAnswer, EmbedRequest, Fault, Message, RerankRequest, SimulatedBackend
from routewright.backends.executing import NotCalledError
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.gateway.opening import simulated_backends
from routewright.gateway.planning import Planner
from routewright.ledger.spool import Spool
from routewright.loading.loading import shipped

POLICY = """\
routewright: 1
name: small
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models:
    small: { backend: ollama, tag: "qwen3-coder:30b", capabilities: [tools] }
    large: { backend: ollama, tag: "kimi-k2:1t-cloud", capabilities: [tools, vision] }
    old: { backend: ollama, tag: "old:1b", capabilities: [audio], disabled: true, disabled_reason: too slow }
features:
  hard: { type: boolean, default: false }
  private: { type: boolean, default: false }
constraints:
  - { name: stays_here, when: private, require: model.location == 'local' }
rules:
  - { name: hard, when: hard, use: [large] }
  - { name: otherwise, use: [small], fallback: [large] }
"""

SPLIT = """\
  - { name: otherwise, use: [small, large], choose: split, split: { weights: { small: 1, large: 1 } } }
"""

AT_US = 1_767_225_600_000_000
HELLO = ChatRequest((Message("user", "hello"),))


@pytest.fixture
def policy(tmp_path: Path) -> CompiledPolicy:
    return written(tmp_path, POLICY)


def written(folder: Path, text: str) -> CompiledPolicy:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def gateway_with(
    policy: CompiledPolicy, *, ledger: Ledger | None = None, **faults: list[Fault]
) -> ModelGateway:
    backends = simulated_backends(policy, faults=faults)
    return ModelGateway(policy, backends=backends, ledger=ledger, random=Random(1), clock=lambda: AT_US)


# --- deciding ----------------------------------------------------------------------------------------------


def test_the_same_clock_and_random_give_the_same_decision(policy: CompiledPolicy) -> None:
    first, second = (record_of(gateway_with(policy).decide(Task()).decision) for _ in range(2))
    assert first == second
    assert first.at_us == AT_US


def test_each_decision_has_an_id_of_its_own_that_sorts_by_time(policy: CompiledPolicy) -> None:
    gateway = gateway_with(policy)
    ids = [gateway.decide(Task(), state=State(AT_US + n * 1000)).decision.id for n in range(20)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 20


def test_undeclared_features_are_refused_unless_told(policy: CompiledPolicy) -> None:
    gateway = gateway_with(policy)
    with pytest.raises(FeatureError, match="unknown feature `mood`"):
        gateway.decide(Task({"mood": "good"}))
    assert gateway.decide(Task({"mood": "good"}), strict=False).decision.ignored == {"mood": "good"}


def test_an_unknown_pin_is_refused(policy: CompiledPolicy) -> None:
    with pytest.raises(TaskError, match="the pin `medium` names no model"):
        gateway_with(policy).decide(Task(pin="medium"))


def test_a_pin_that_names_two_models_tells_their_ids(tmp_path: Path) -> None:
    models = {id: {"backend": "one", "tag": "shared"} for id in ("twin", "twain")}
    catalog = {"routewright": 1, "backends": {"one": {"kind": "simulated"}}, "models": models}
    rules = [{"name": "all", "use": ["twin"]}]
    policy = write_policy({"routewright": 1, "name": "twins", "catalog": catalog, "rules": rules}, tmp_path)
    for pin in ("shared", "one:shared"):
        with pytest.raises(TaskError, match=f"the pin `{pin}` names 2 models") as caught:
            gateway_with(policy).decide(Task(pin=pin))
        assert caught.value.help == "one of: twin, twain"


def test_a_random_split_draws_for_each_task_and_keeps_a_draw_that_is_given(tmp_path: Path) -> None:
    head, _, _ = POLICY.partition("  - { name: otherwise")
    gateway = gateway_with(written(tmp_path, head + SPLIT))
    assert {gateway.decide(Task()).decision.target for _ in range(40)} == {"small", "large"}
    assert {gateway.decide(Task(draw=0.1)).decision.target for _ in range(10)} == {"small"}


# --- executing ---------------------------------------------------------------------------------------------


def test_a_chat_is_streamed_piece_by_piece(policy: CompiledPolicy) -> None:
    pieces: list[str] = []
    ran = gateway_with(policy).run_sync(Task(), HELLO, on_text=pieces.append)
    assert ran.execution is not None
    assert isinstance(ran.execution.answer, ChatAnswer)
    assert len(pieces) > 1
    assert "".join(pieces) == ran.execution.answer.text


def test_fallbacks_follow_the_plan_and_nothing_else_is_called(policy: CompiledPolicy) -> None:
    ran = gateway_with(policy, small=["overloaded"]).run_sync(Task(), HELLO)
    assert ran.execution is not None and ran.execution.error is None
    attempts = [(a.model_id, a.role, a.error_class) for a in ran.execution.attempts]
    assert attempts == [("small", "answer", "overloaded"), ("large", "fallback", None)]


def test_private_work_does_not_fall_back_into_the_cloud(policy: CompiledPolicy) -> None:
    ran = gateway_with(policy, small=["overloaded"]).run_sync(Task({"private": True}), HELLO)
    assert ran.execution is not None and ran.execution.error is not None
    assert [attempt.model_id for attempt in ran.execution.attempts] == ["small"]


def test_a_task_without_a_target_is_an_answer_and_nothing_is_called(policy: CompiledPolicy) -> None:
    ran = gateway_with(policy).run_sync(Task({"private": True, "hard": True}), HELLO)
    assert (ran.decision.outcome, ran.execution) == ("no_target", None)
    assert Planner(ran.decision.policy).work_of(ran.decision) is None


def test_run_is_for_event_loops_too(policy: CompiledPolicy) -> None:
    ran = asyncio.run(gateway_with(policy).run(Task(), HELLO))
    assert ran.execution is not None and ran.execution.answer is not None


def test_what_is_not_carried_out_is_refused_before_anything_is_called_or_stored(tmp_path: Path) -> None:
    sensitive = POLICY.replace(
        "features:\n",
        "features:\n  hour: { type: integer, from: time.hour, timezone: UTC, sensitive: true }\n",
    )
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    gateway = gateway_with(written(tmp_path, sensitive), ledger=ledger)
    with pytest.raises(NotBuiltError, match="feature hour: sensitive, but `time.hour` stays") as caught:
        gateway.run_sync(Task(), HELLO)
    assert caught.value.help is not None and "--unenforced" in caught.value.help
    assert ledger.tail(1) == ()
    assert gateway.run_sync(Task(), HELLO, unenforced=True).execution is not None


@pytest.mark.parametrize(
    ("task", "documents", "expected"),
    [
        (Task(), (), HELLO),
        (
            Task(request=RequestFacts(max_output_tokens=9)),
            (),
            ChatRequest((Message("user", "hello"),), max_output_tokens=9),
        ),
        (Task(operation="embed"), (), EmbedRequest(("hello",))),
        (Task(operation="rerank"), ("a", "b"), RerankRequest("hello", ("a", "b"))),
    ],
)
def test_a_prompt_becomes_the_request_of_its_operation(
    task: Task, documents: tuple[str, ...], expected: object
) -> None:
    assert request_for(task, "hello", documents) == expected


def test_a_ranking_needs_documents() -> None:
    with pytest.raises(TaskError, match="rerank needs documents to rank"):
        request_for(Task(operation="rerank"), "hello")


# --- the ledger --------------------------------------------------------------------------------------------


def test_decision_attempts_policy_and_tags_are_stored(policy: CompiledPolicy, tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    gateway = gateway_with(policy, ledger=ledger, small=["overloaded"])
    ran = gateway.run_sync(Task(), HELLO, tags={"team": "search"}, trace_id="4bf92f35")
    gateway.run_sync(Task({"private": True, "hard": True}), HELLO)
    answer = ledger.query(
        "SELECT decision_id::VARCHAR, target, answered_by, calls, tags['team'], trace_id FROM all_decisions_flat "
        "ORDER BY calls DESC"
    )
    assert answer.rows[0] == (ran.decision.id, "small", "large", 2, "search", "4bf92f35")
    assert answer.rows[1][1:] == (None, None, 0, None, None)
    places = ledger.query("SELECT model_id, location, host FROM attempt_rows ORDER BY number").rows
    assert places == (("small", "local", "127.0.0.1:11434"), ("large", "cloud", "127.0.0.1:11434"))
    stored = ledger.query("SELECT kind, digest, text FROM policies ORDER BY kind DESC").rows
    assert stored[0] == ("policy", policy.digest, POLICY)
    assert [kind for kind, *_ in stored] == ["policy", "catalog"]


def test_a_dead_end_of_a_simulated_gateway_is_simulated_too(policy: CompiledPolicy, tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    gateway = gateway_with(policy, ledger=ledger)
    nowhere = gateway.run_sync(Task({"private": True, "hard": True}), HELLO)
    assert nowhere.execution is None
    for view in ("decisions_flat", "routing_daily", "rule_hits", "decision_features", "unknown_features"):
        assert ledger.query(f"SELECT * FROM {view}").rows == (), view
    found = ledger.query("SELECT decision_id, outcome, simulated FROM all_decisions_flat").rows
    assert found == ((nowhere.decision.id, "no_target", True),)


def test_a_decision_is_executed_once(policy: CompiledPolicy, tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    gateway = gateway_with(policy, ledger=ledger)
    decided, request = gateway.decide(Task()), request_for(Task(), "hello")
    asyncio.run(gateway.execute(decided, request))
    with pytest.raises(TaskError, match="this decision has been executed"):
        asyncio.run(gateway.execute(decided, request))
    assert ledger.query("SELECT count(*) FROM attempt_rows").rows == ((1,),)


def test_nothing_is_called_whose_intent_cannot_be_recorded(
    policy: CompiledPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateway_with(policy, ledger=Ledger.open(tmp_path / "ledger.duckdb"))

    def refuse(*_: object, **options: bool) -> None:
        raise LedgerError("the disk is full", help="make room")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "add", refuse)
        with pytest.raises(NotStoredError, match="the disk is full") as caught:
            gateway.run_sync(Task(), HELLO)
    (backend,) = gateway.backends.values()
    assert isinstance(backend, SimulatedBackend) and backend.calls == []
    assert caught.value.help == "make room"
    execution = caught.value.ran.execution
    assert execution is not None and isinstance(execution.error, NotCalledError)
    # The policy counts as stored only once it is.
    gateway.run_sync(Task(), HELLO)
    assert gateway.ledger is not None
    assert gateway.ledger.query("SELECT count(*) FROM policies").rows == ((2,),)


def test_nothing_is_called_that_could_not_be_recorded(policy: CompiledPolicy, tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    (tmp_path / "ledger.duckdb.spool").write_text("in the way")
    gateway = gateway_with(policy, ledger=ledger)
    with pytest.raises(LedgerError, match="cannot be written"):
        gateway.run_sync(Task(), request_for(Task(), "hello"))
    (backend,) = gateway.backends.values()
    assert isinstance(backend, SimulatedBackend) and backend.calls == []


def test_an_answer_is_not_lost_when_the_ledger_refuses_it(
    policy: CompiledPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateway_with(policy, ledger=new_ledger(tmp_path / "ledger.duckdb"))

    def refuse(*_: object, **options: bool) -> None:
        raise LedgerError("the disk is full", help="make room")

    def fill(_: str) -> None:
        monkeypatch.setattr(Spool, "add", refuse)

    with pytest.raises(NotStoredError, match="the disk is full") as caught:
        asyncio.run(gateway.run(Task(), HELLO, on_text=fill))
    assert caught.value.help == "make room"
    ran = caught.value.ran
    assert ran.execution is not None and ran.execution.answer is not None
    gateway.close_sync()
    assert gateway.ledger is not None
    assert [row.status for row in gateway.ledger.tail(5)] == ["lost"], "but that it was called is on record"


def test_closing_again_does_nothing(policy: CompiledPolicy, tmp_path: Path) -> None:
    with gateway_with(policy, ledger=new_ledger(tmp_path / "ledger.duckdb")) as gateway:
        gateway.run_sync(Task(), HELLO)
        gateway.close_sync()
    gateway.close_sync()
    asyncio.run(gateway.close())
    assert gateway.ledger is not None and len(gateway.ledger.tail(5)) == 1


# --- models by capability ----------------------------------------------------------------------------------


def test_models_are_found_by_capability(policy: CompiledPolicy) -> None:
    gateway = gateway_with(policy)
    assert gateway.available_models() == ["small", "large"]
    assert gateway.available_models("tools") == ["small", "large"]
    assert gateway.available_models("vision") == ["large"]
    assert (gateway.has_capability("vision"), gateway.has_capability("smell")) == (True, False)


def test_a_disabled_model_is_not_available(policy: CompiledPolicy) -> None:
    gateway = gateway_with(policy)
    assert gateway.available_models("audio") == []
    assert not gateway.has_capability("audio")


def test_the_seeds_questions_have_the_seeds_answers() -> None:
    gateway = ModelGateway.from_policy(shipped("hybrid.yaml"), simulate=True)
    assert gateway.has_capability("mixture_of_experts")
    assert "kimi-k2-cloud" in gateway.available_models("mixture_of_experts")


def test_from_policy_says_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read the file"):
        ModelGateway.from_policy(tmp_path / "none.yaml")
    text = tmp_path / "ledger.txt"
    text.write_text("no database")
    with pytest.raises(LedgerError, match="is not a ledger"):
        ModelGateway.from_policy(shipped("hybrid.yaml"), ledger=text)


def test_a_gateway_that_is_forgotten_in_a_thread_of_its_loop_does_not_hang() -> None:
    code = """
import asyncio, gc
from routewright import ModelGateway, Task, load_policy, request_for
from routewright.loading import shipped

held = [ModelGateway(load_policy(shipped("hybrid.yaml")))]
held[0].run_sync(Task(), request_for(Task(), "hello"))

def forget():
    held.clear()
    gc.collect()

async def in_a_thread():
    await asyncio.to_thread(forget)

held[0]._own_loop.run(in_a_thread)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], timeout=60, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("task", "request_", "message"),
    [
        (Task(), "hi", "a request is a ChatRequest, an EmbedRequest or a RerankRequest, not str"),
        (Task(), None, "a request is a ChatRequest, an EmbedRequest or a RerankRequest, not NoneType"),
        ("x", "hi", "a task is a Task, not str"),
        ({"urgent": True}, "hi", "a task is a Task, not dict"),
    ],
)
def test_what_is_no_task_or_request_is_our_error(
    policy: CompiledPolicy, task: Any, request_: Any, message: str
) -> None:
    with ModelGateway(policy) as gateway:
        with pytest.raises(TaskError) as caught:
            gateway.run_sync(task, request_)
        assert str(caught.value) == message and caught.value.help
        if not isinstance(task, Task):
            with pytest.raises(TaskError, match="a task is a Task"):
                gateway.decide(task)
