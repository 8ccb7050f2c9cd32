"""Tasks, states and times as people write them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright import (
    ChatRequest,
    FeatureError,
    MemoryState,
    Message,
    ModelState,
    RequestFacts,
    Resident,
    State,
    Task,
    TaskError,
    load_policy,
)
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.loading import load_samples, shipped
from routewright.tasks import (
    AskedTask,
    Attached,
    asked_by,
    features_from_flags,
    parse_state,
    parse_task,
    parse_time,
    request_for,
    state_from,
    task_from,
)

POLICY = """\
routewright: 1
name: x
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { small: { backend: ollama, tag: "qwen3-coder:30b", aliases: [little] } }
features:
  on: { type: boolean }
  tokens: { type: integer }
  share: { type: number }
  team: { type: string }
  tags: { type: array, items: string }
  sizes: { type: array, items: integer }
rules:
  - { name: only, use: [small] }
controls:
  - { name: daily, max_requests: 10, per: day }
  - { name: money, max_cost: 2.5 USD, per: day, unknown_cost: allow }
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> CompiledPolicy:
    path: Path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return load_policy(path)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("on=true", {"on": True}),
        ("on=null", {"on": None}),
        (" tokens =12", {"tokens": 12}),
        ("share=0.5", {"share": 0.5}),
        ("share=1", {"share": 1}),
        ("team=true", {"team": "true"}),
        ("team=a=b", {"team": "a=b"}),
        ("team=", {"team": ""}),
        ("tags=a, b", {"tags": ["a", "b"]}),
        ('tags=["a, b"]', {"tags": ["a, b"]}),
        ("tags=", {"tags": []}),
        ("sizes=1,2", {"sizes": [1, 2]}),
        ("sizes=null", {"sizes": None}),
        ("tokens=null", {"tokens": None}),
        ("other=3", {"other": 3}),
        ("other=text", {"other": "text"}),
    ],
)
def test_flags_are_read_as_their_declaration_says(
    policy: CompiledPolicy, flag: str, expected: dict[str, object]
) -> None:
    assert features_from_flags([flag], policy) == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["on"], "`on` does not give a feature a value"),
        (["=true"], "`=true` does not give a feature a value"),
        (["on=true", "on=true"], "feature `on` is given twice"),
        (["on=yes"], "feature `on`: expected true or false, got `yes`"),
        (["tokens=many"], "feature `tokens`: expected a whole number, got `many`"),
        (["share=NaN"], "feature `share`: expected a number, got `NaN`"),
        (["sizes=1,x"], "feature `sizes`: expected a whole number, got `x`"),
        (
            ["on=" + "[" * 20_000],
            f"feature `on`: expected true or false, got `{'[' * 59}…`",
        ),
        (["x" * 90_000], f"`{'x' * 59}…` does not give a feature a value"),
        (["x" * 90_000 + "=1"] * 2, f"feature `{'x' * 59}…` is given twice"),
        (["on=" + "`x" * 45_000], "feature `on`: expected true or false, got `" + ("`x" * 250)[:456] + "…"),
    ],
)
def test_flags_that_cannot_be_read_say_why(policy: CompiledPolicy, flags: list[str], message: str) -> None:
    with pytest.raises(FeatureError) as caught:
        features_from_flags(flags, policy)
    assert str(caught.value) == message
    assert len(caught.value.help or "") <= 500


def test_a_flag_that_is_nested_too_deep_is_refused_as_any_other(policy: CompiledPolicy) -> None:
    with pytest.raises(FeatureError, match="^feature `sizes`: expected an array of integer"):
        features_from_flags(["sizes=" + "[" * 90_000], policy)


def test_without_a_policy_a_flag_is_json_or_text() -> None:
    flags = ["a=1", "b=true", "c=x", "d=null", 'e="1"', "f=[1, 2]"]
    assert features_from_flags(flags) == {"a": 1, "b": True, "c": "x", "d": None, "e": "1", "f": [1, 2]}


def test_a_task_holds_all_that_its_json_says() -> None:
    text = """{"name": "n", "prompt": "p", "documents": ["d"], "operation": "rerank", "pin": "small",
        "features": {"on": true, "team": null}, "prompt_tokens": 1, "max_output_tokens": 2, "messages": 3,
        "images": 4, "tools": 5, "json_schema": true, "metadata": {"team": "a"}, "draw": 0.5}"""
    sample = parse_task(text)
    assert (sample.name, sample.prompt, sample.documents) == ("n", "p", ["d"])
    request = RequestFacts(1, 2, 3, 4, 5, True, {"team": "a"})
    assert task_from(sample) == Task({"on": True, "team": None}, "rerank", request, "small", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the task is not JSON at column 1"),
        ("{\n\n x", "the task is not JSON at line 3"),
        ("null", "the task is not a JSON object"),
        ("[" * 100_000, "the task is not JSON"),
        ('{"prompt_tokens": ' + "9" * 5000 + "}", "the task is not JSON"),
        ('{"features": {"a": 1, "b": 2, "a": 1}}', "the task has the key `a` twice"),
        ('{"draw": NaN}', "the task is not JSON"),
        ('{"operation": "chta"}', "`operation` takes `chat`, `embed` or `rerank`, not `chta`"),
        ('{"featurs": {}}', "unknown key `featurs`"),
        (r'{"\ud83d\ude00": 1}', "unknown key `\U0001f600`"),
    ],
)
def test_what_is_no_task_says_why(text: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_task(text)
    assert str(caught.value) == message


def test_a_key_that_is_there_twice_among_many_is_found_at_once() -> None:
    keys = [f'"k{number}": 0' for number in range(60_000)]
    begun = time.process_time()
    with pytest.raises(TaskError, match="the task has the key `k59999` twice"):
        parse_task(f'{{"features": {{{", ".join([*keys, keys[-1]])}}}}}')
    assert time.process_time() - begun < 2


@given(st.text(max_size=40))
def test_any_text_is_a_task_or_our_error(text: str) -> None:
    try:
        parse_task(text)
    except TaskError:
        pass


def test_a_state_names_models_and_quotas_as_the_policy_does(policy: CompiledPolicy) -> None:
    text = """{"at": "2026-01-01T00:00:00Z", "load": 0.5, "quota_used": {"daily": 3, "money": 0.25},
        "models": {"little": {"health": "healthy", "breaker": "open", "latency_ms": 20}}}"""
    state = state_from(parse_state(text), policy, at_us=0)
    small = ModelState("healthy", "open", 20.0)
    used = {"daily": 3, "money": 250_000_000}
    assert state == State(1_767_225_600_000_000, 0.5, {"small": small}, used)
    with_currency = parse_state('{"quota_used": {"money": "0.25 USD"}}')
    assert state_from(with_currency, policy, at_us=0).quota_used == {"money": 250_000_000}


def test_a_state_says_what_is_in_the_memory_of_a_backend(policy: CompiledPolicy) -> None:
    backend = policy.catalog.models[0].backend
    text = f'''{{"memory": {{"{backend}": {{"limit_gb": 1.5, "loaded": ["little"]}}}},
        "models": {{"little": {{"memory_gb": 0.25, "load_ms": 40}}}}}}'''
    state = state_from(parse_state(text), policy, at_us=0)
    assert state.memory == {backend: MemoryState(1_500_000_000, (Resident("small", 250_000_000),))}
    assert state.models["small"] == ModelState(loaded=True, load_ms=40, memory_bytes=250_000_000)
    others = [model.id for model in policy.catalog.models if model.backend == backend and model.id != "small"]
    assert all(state.models[id].loaded is False for id in others)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"memory": {"nobody": {"limit_gb": 1}}}', "the state names an unknown backend `nobody`"),
        ('{"quota_used": {"money": "1 EUR"}}', "quota `money` is counted in USD, not in EUR"),
        ('{"quota_used": {"daily": "1 USD"}}', "quota `daily` is counted in requests, not in money"),
        ('{"quota_used": {"daily": 1.5}}', "quota `daily` is counted in whole requests, not `1.5`"),
        (
            '{"quota_used": {"money": "much"}}',
            "`money` takes an amount with its currency such as `200 USD`, not `much`",
        ),
        ('{"quotas": {}}', "unknown key `quotas`"),
        ("[]", "the state is not a JSON object"),
    ],
)
def test_a_state_in_other_words_says_why(policy: CompiledPolicy, text: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        state_from(parse_state(text), policy, at_us=0)
    assert str(caught.value) == message
    if "unknown key" in message:
        assert (
            caught.value.help
            == "did you mean `quota_used`? known: at, load, memory, models, quota_used, session_model"
        )
    if text == "[]":
        assert caught.value.help is not None and '"breaker": "open"' in caught.value.help


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"models": {"medium": {}}}', "the state names an unknown model `medium`"),
        ('{"quota_used": {"daly": 3}}', "the state names an unknown quota `daly`"),
    ],
)
def test_a_state_with_unknown_names_says_so(policy: CompiledPolicy, text: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        state_from(parse_state(text), policy, at_us=0)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000),
        ("2026-01-01T01:00:00+01:00", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00.000001", 1_767_225_600_000_001),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ],
)
def test_times_are_exact_to_the_microsecond(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "noon", "1969-12-31", "2026-13-01", "1970-01-01T00:00:00+01:00"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(TaskError):
        parse_time(text)


def test_every_sample_can_be_executed() -> None:
    for sample in load_samples(shipped("samples.yaml")).tasks:
        asked = asked_by(sample)
        assert asked.name and asked.request


def test_a_request_takes_nothing_that_it_would_ignore() -> None:
    with pytest.raises(TypeError, match="there is no option `temprature`"):
        request_for(Task(), "p", temprature=0.5)  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TaskError, match="`temperature` needs `operation` chat"):
        request_for(Task(operation="embed"), "p", temperature=0.5)
    with pytest.raises(TaskError, match="`system` needs `operation` chat"):
        request_for(Task(operation="rerank"), "p", ["d"], system="s")


def test_a_task_with_a_prompt_has_the_request_that_it_describes() -> None:
    text = """{"name": "n", "prompt": "p", "system": "s", "temperature": 0.5, "session": "c", "tags": {"run": "1"},
        "max_output_tokens": 2, "metadata": {"team": "a"}}"""
    attached = Attached((b"GIF89a",), {"type": "object"})
    messages = (Message("system", "s"), Message("user", "p", (b"GIF89a",)))
    request = ChatRequest(messages, max_output_tokens=2, temperature=0.5, json_schema={"type": "object"})
    facts = RequestFacts(max_output_tokens=2, metadata={"team": "a", "session": "c"})
    assert asked_by(parse_task(text), attached) == AskedTask("n", Task(request=facts), request, {"run": "1"})


def test_facts_are_taken_for_every_operation() -> None:
    facts = '{"operation": "embed", "tools": 0, "images": 2, "json_schema": false, "messages": 1}'
    asked = asked_by(parse_task(facts))
    assert asked.task == Task({}, "embed", RequestFacts(messages=1, images=2, tools=0, json_schema=False))


def test_a_task_without_a_prompt_knows_what_its_request_will_have() -> None:
    attached = Attached((b"GIF89a", b"GIF89a"), {"type": "object"})
    asked = asked_by(parse_task('{"system": "s"}'), attached)
    assert asked == AskedTask("", Task(request=RequestFacts(images=2, json_schema=True)), None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": ""}', "the prompt is empty"),
        ('{"operation": "embed", "system": "s"}', "`system` needs `operation` chat"),
        ('{"operation": "embed", "max_output_tokens": 5}', "`max_output_tokens` needs `operation` chat"),
        ('{"documents": ["d"]}', "`documents` needs `operation` rerank"),
        ('{"operation": "rerank", "prompt": "p"}', "rerank needs documents to rank"),
        ('{"prompt": "p", "max_output_tokens": 0}', "an answer of at most 0 tokens cannot be asked for"),
        ('{"session": "a", "metadata": {"session": "b"}}', "the session is given twice: "),
    ],
)
def test_a_task_that_cannot_be_asked_says_why(text: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        asked_by(parse_task(text))
    assert str(caught.value).startswith(message)
