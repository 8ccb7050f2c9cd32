"""No attempt ever uses a model that a constraint excludes: whatever the policy, the state, the task and the faults.

Who may be called is decided here by the reference interpreter, over each constraint and the catalog's facts; the
gates, the plan and the executor have no say in it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.decision_strategies import AT_US, CATALOG, compiled, plans_of, policies, states, tasks

from routewright import ChatRequest, ModelGateway, RequestFacts, RunResult, State, Task, request_for
from routewright.backends import ERROR_CLASSES, BackendError, Fault, Message, SimulatedBackend
from routewright.backends.control import StateStore
from routewright.engine.condition import evaluate_reference
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.record import record_values
from routewright.gateway.opening import simulated_backends
from routewright.gateway.results import NoTargetError

MODELS = tuple(CATALOG["models"])
QUICK_FAULTS: tuple[Fault, ...] = ("ok", *(fault for fault in ERROR_CLASSES if fault != "rate_limited"))
"""A simulated model that is asked too much wants a second's pause, and hypothesis has many."""

CLOUD = frozenset({"large", "huge", "more_words"})
TAKES_PROMPTS = ("answer", "fallback", "retry", "screen", "draft", "verify", "refine", "member", "judge")

_faults = st.dictionaries(
    st.sampled_from(MODELS), st.lists(st.sampled_from(QUICK_FAULTS), min_size=1, max_size=3), max_size=6
)


@st.composite
def busy_policies(draw: st.DrawFn) -> dict[str, Any]:
    """Random policies with every kind of step, with retries and with a cache."""
    values = draw(policies())
    chats = [name for name, model in CATALOG["models"].items() if "chat" in model.get("operations", ["chat"])]
    for rule in values["rules"]:
        for role, more in (
            ("screen", {"on": draw(st.sampled_from(["prompt", "answer", "both"]))}),
            ("refine", {"rounds": draw(st.integers(1, 2))}),
        ):
            if draw(st.booleans()):
                rule["steps"].append({role: {"with": draw(st.sampled_from(chats)), **more}})
        for step in rule["steps"]:
            if "verify" in step:
                step["verify"]["on_reject"] = draw(st.sampled_from(["annotate", "retry", "escalate"]))
    values["controls"] += [
        {"name": "again", "max_attempts": draw(st.integers(1, 12)), "backoff": "1ms", "deadline": "1h"},
        {"name": "kept_answers", "cache_ttl": "1h"},
    ]
    return values


def excluded(
    policy: CompiledPolicy, task_record: Mapping[str, Any], state: State, model_id: str
) -> list[str]:
    """The constraints that exclude a model: those that are not known to be off, and not known to be met."""
    known = {name: feature["value"] for name, feature in task_record["features"].items()}
    hours = state.at_us // 3_600_000_000
    known |= {"state.load": state.load, "state.hour": hours % 24, "state.weekday": (hours // 24 + 3) % 7 + 1}
    model = policy.catalog.find(model_id)
    assert model is not None
    observed = state.models.get(model_id)
    now = {f"state.{name}": getattr(observed, name, None) for name in ("latency_ms", "loaded", "load_ms")}
    facts = {**known, **model.facts, **now}
    return [
        constraint.name
        for constraint in policy.constraints
        if evaluate_reference(constraint.when, facts) is not False
        and evaluate_reference(constraint.require, facts) is not True
    ]


def called(gateway: ModelGateway) -> Counter[str]:
    """How often the backends were really asked for each model, whatever the attempts say."""
    ids = {(model.backend, model.tag): model.id for model in gateway.policy.catalog.models}
    calls: Counter[str] = Counter()
    for backend_id, backend in gateway.backends.items():
        assert isinstance(backend, SimulatedBackend)
        calls.update(ids[backend_id, tag] for tag in backend.calls)
    return calls


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateStore]:
    store = StateStore(tmp_path_factory.mktemp("state") / "state.db")
    yield store
    store.close()


@given(busy_policies(), st.lists(st.tuples(tasks(), states()), min_size=1, max_size=4), _faults, st.randoms())
def test_no_attempt_in_any_role_uses_a_model_that_a_constraint_excludes(
    shared: StateStore,
    values: dict[str, Any],
    asked: list[tuple[Task, State]],
    faults: dict[str, list[Fault]],
    random: Random,
) -> None:
    """Several tasks through one gateway, so that what one leaves behind (cache, breakers) meets the next."""
    policy = compiled(values)
    with shared.change() as connection:
        for table in ("leases", "quota_used", "breakers"):
            connection.execute(f"DELETE FROM {table}")

    async def run() -> None:
        backends = simulated_backends(policy, faults=faults)
        gateway = ModelGateway(
            policy, backends=backends, store=shared, random=Random(random.random()), clock=lambda: AT_US
        )
        before: Counter[str] = Counter()
        for task, state in [*asked, *asked]:
            documents = ("one", "two") if task.operation == "rerank" else ()
            ran = await gateway.run(task, request_for(task, "which?", documents), state=state, strict=False)
            after = called(gateway)
            assert_allowed(policy, ran, state, after - before)
            before = after

    asyncio.run(run())


def assert_allowed(policy: CompiledPolicy, ran: RunResult, state: State, really: Counter[str]) -> None:
    record = record_values(ran.decision)
    attempts = () if ran.execution is None else ran.execution.attempts
    for attempt in attempts:
        assert attempt.role in TAKES_PROMPTS
        broken = excluded(policy, record, state, attempt.model_id)
        assert not broken, (attempt.role, attempt.model_id, attempt.status, broken)
    made = Counter(a.model_id for a in attempts if a.status not in ("cached", "skipped"))
    assert made == really, "every call is an attempt, and every attempt a call"
    for model_id in really:
        assert not excluded(policy, record, state, model_id), model_id
    if ran.execution is not None and ran.execution.answered_by is not None:
        by = attempts[ran.execution.answered_by - 1]
        assert by.status in ("ok", "cached") and ran.execution.error is None


@given(busy_policies(), tasks(), states(), _faults, st.booleans())
def test_private_work_whose_local_models_are_down_never_leaves(
    shared: StateStore,
    values: dict[str, Any],
    task: Task,
    state: State,
    faults: dict[str, list[Fault]],
    is_known: bool,
) -> None:
    """It ends without a target, with a failure, or with a local answer. So does work that may be private."""
    here = {"name": "stays_here", "when": "private", "require": "model.location == 'local'"}
    policy = compiled({**values, "constraints": [*values["constraints"], here]})
    down: list[Fault] = ["overloaded", "timeout.connect"] * 10
    faults = {**faults, **{name: down for name in ("small", "coder")}}
    features = {name: value for name, value in task.features.items() if name != "private"}
    task = replace(task, features={**features, "private": True} if is_known else features)
    with shared.change() as connection:
        for table in ("leases", "quota_used", "breakers"):
            connection.execute(f"DELETE FROM {table}")

    async def run() -> None:
        gateway = ModelGateway(
            policy,
            backends=simulated_backends(policy, faults=faults),
            store=shared,
            random=Random(1),
            clock=lambda: AT_US,
        )
        # A colleague's work that may go anywhere comes before: what is kept of it is not for private work.
        public = replace(task, features={**features, "private": False})
        documents = ("one", "two") if task.operation == "rerank" else ()
        request = request_for(task, "which?", documents)
        await gateway.run(public, request, state=state, strict=False)
        before = called(gateway)
        ran = await gateway.run(task, request, state=state, strict=False)
        assert not (called(gateway) - before).keys() & CLOUD
        if ran.execution is None:
            assert ran.decision.outcome in ("no_target", "no_match", "undecided")
            return
        assert not {attempt.model_id for attempt in ran.execution.attempts} & CLOUD
        if ran.execution.answer is None:
            assert ran.execution.error is not None

    asyncio.run(run())


MODES: tuple[dict[str, Any], ...] = (
    {"mode": "shadow"},
    {"mode": "canary", "percent": "50%"},
    {"mode": "canary", "percent": "50%", "key": "team", "salt": "s"},
    {"mode": "full"},
)


@given(
    busy_policies(),
    busy_policies(),
    st.sampled_from(MODES),
    st.lists(st.tuples(tasks(), states()), min_size=1, max_size=4),
    _faults,
    st.randoms(),
    st.booleans(),
)
def test_no_rollout_is_a_way_around_a_constraint(
    shared: StateStore,
    values: dict[str, Any],
    others: dict[str, Any],
    mode: dict[str, Any],
    asked: list[tuple[Task, State]],
    faults: dict[str, list[Fault]],
    random: Random,
    both_are_private: bool,
) -> None:
    """In either arm the constraints of its policy hold, and for a shadow nothing is called at all.

    Where both policies keep private work here, no private task is ever called elsewhere, whatever the mode.
    """
    here = {"name": "stays_here", "when": "private", "require": "model.location == 'local'"}
    if both_are_private:
        values = {**values, "constraints": [*values["constraints"], here]}
        others = {**others, "constraints": [*others["constraints"], here]}
    candidate = compiled({**others, "name": "next"})
    policy = compiled({**values, "rollout": {"candidate": "next.yaml", **mode}}, candidate)
    with shared.change() as connection:
        for table in ("leases", "quota_used", "breakers", "sessions"):
            connection.execute(f"DELETE FROM {table}")

    async def run() -> None:
        gateway = ModelGateway(
            policy,
            backends=simulated_backends(policy, faults=faults),
            store=shared,
            random=Random(random.random()),
            clock=lambda: AT_US,
        )
        before: Counter[str] = Counter()
        for task, state in [*asked, *asked]:
            documents = ("one", "two") if task.operation == "rerank" else ()
            ran = await gateway.run(task, request_for(task, "which?", documents), state=state, strict=False)
            after = called(gateway)
            decided_by = policy if mode["mode"] != "full" else candidate
            if mode["mode"] != "canary":
                assert ran.decision.policy is decided_by
            assert (ran.shadow is None) == (mode["mode"] != "shadow")
            # Every call is an attempt of the one decision that is executed: none is left over for a shadow.
            assert_allowed(ran.decision.policy, ran, state, after - before)
            if both_are_private and task.features.get("private") is not False:
                assert not (after - before).keys() & CLOUD
            if ran.shadow is not None:
                assert_plan_allowed(candidate, ran.shadow, state)
            before = after

    asyncio.run(run())


def assert_plan_allowed(policy: CompiledPolicy, decision: Decision, state: State) -> None:
    """What a shadow would have called, it would have been allowed to."""
    record = record_values(decision)
    for model_id in plans_of(record):
        assert not excluded(policy, record, state, model_id), model_id


def test_a_private_task_whose_local_model_is_down_says_so() -> None:
    """One by one: the call fails, then its breaker is open; neither is a way into the cloud."""
    policy = compiled(
        {
            "routewright": 1,
            "name": "private",
            "catalog": "catalog.yaml",
            "features": {"private": {"type": "boolean", "default": True}},
            "constraints": [{"name": "here", "when": "private", "require": "model.location == 'local'"}],
            "rules": [
                {
                    "name": "all",
                    "use": ["small"],
                    "fallback": ["large", "huge"],
                    "steps": [{"verify": {"with": "huge", "on_reject": "escalate"}}],
                }
            ],
            "controls": [{"name": "kept", "cache_ttl": "1h"}],
        }
    )
    hello = (Message("user", "hello"),)
    short = RequestFacts(prompt_tokens=2)  # the local model's window is tiny

    async def run() -> None:
        backends = simulated_backends(policy, faults={"small": ["overloaded"] * 9})
        gateway = ModelGateway(policy, backends=backends, random=Random(1), clock=lambda: AT_US)
        public = await gateway.run(Task({"private": False}), ChatRequest(hello))
        assert public.execution is not None and public.execution.answer is not None
        failed = await gateway.run(Task(request=short), ChatRequest(hello))
        assert failed.execution is not None and isinstance(failed.execution.error, BackendError)
        assert (failed.execution.answer, failed.execution.error.error_class) == (None, "overloaded")
        await gateway.admin.check_health()
        down = {
            model.id: ModelState(health="unhealthy")
            for model in policy.catalog.models
            if model.location == "local"
        }
        state = State(AT_US, models=down)
        ran = await gateway.run(Task(request=short), ChatRequest(hello), state=state)
        assert (ran.decision.outcome, ran.execution) == ("no_target", None)
        assert str(NoTargetError(ran.decision)).startswith("no eligible target")

    asyncio.run(run())
