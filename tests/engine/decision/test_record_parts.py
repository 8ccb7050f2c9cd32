"""Records by their parts: the parts make the same bytes and the same digest, and hold nothing of a single call."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from support.decision_strategies import AT_US, arms, compiled, policies, states, tasks
from support.records import record_bytes
from support.sizes import EXAMPLES

from routewright.engine.canonical import canonical_text, digest_of
from routewright.engine.decision.choose import estimate
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm, Decision
from routewright.engine.decision.task import MemoryState, ModelState, RequestFacts, Resident, State, Task
from routewright.engine.explain.recomputing import recompute
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.digest import (
    NOTHING_KNOWN_TEXT,
    RecordTexts,
    by_key,
    digest_of_texts,
    digest_of_values,
    memory_text,
    model_text,
    plan_texts,
    record_digest,
    text_digest,
)
from routewright.engine.record.expected import choice_inputs, expected_of, split_point
from routewright.engine.record.fields import DecisionRecord
from routewright.engine.record.parts import Part, RecordParts, parts_of
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, record_values
from routewright.engine.record.sealing import seal, sealed, take_out, without_sealed
from routewright.engine.report import ErasedError, RecordError

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["\ue000", "🐱", "\x00\u2028", '"\\', "ÿ"]
)
_numbers = (
    st.sampled_from([-0.0, 1.0, 1e-7, 5e-324, 1e16, 1e21, -1.7976931348623157e308, 2**53 - 1, -(2**53) + 1])
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
_values = _texts | _numbers | st.booleans() | st.none()


@st.composite
def _odd_policies(draw: st.DrawFn) -> dict[str, Any]:
    """Policies with a default that is an extreme number, with odd reasons, and with features that are sensitive."""
    values = draw(policies())
    features = {**values["features"], "far": {"type": "number", "default": draw(_numbers)}}
    for name in draw(st.sets(st.sampled_from(["private", "count", "score", "team", "far"]), max_size=2)):
        features[name] = {**features[name], "sensitive": True}
    rules = [{**rule, "reason": draw(st.none() | _texts)} for rule in values["rules"]]
    return {**values, "features": features, "rules": rules}


@st.composite
def _odd_tasks(draw: st.DrawFn) -> Task:
    """Tasks with odd names and extreme numbers where a task may have any."""
    task = draw(tasks())
    extra = draw(
        st.dictionaries(
            _texts.map("_{}".format),
            _values | st.lists(_texts, max_size=3) | st.lists(_numbers, max_size=3),
            max_size=3,
        )
    )
    metadata = draw(st.dictionaries(_texts, _texts, max_size=3))
    return replace(
        task,
        features={**extra, **task.features},
        request=replace(task.request, metadata={**metadata, **task.request.metadata}),
    )


@st.composite
def _odd_states(draw: st.DrawFn) -> State:
    """States that know of models, backends and quotas that the policy does not have."""
    state = draw(states())
    if draw(st.booleans()):
        memory = MemoryState(draw(st.none() | st.just(2**53 - 1)), (Resident(draw(_texts), None),))
        state = replace(
            state, memory={**state.memory, **dict.fromkeys(draw(st.lists(_texts, max_size=3)), memory)}
        )
    if draw(st.booleans()):
        known = ModelState(latency_ms=draw(st.sampled_from([0, 5e-324, 1e21])))
        state = replace(state, models={**state.models, "gone": known, "small": known})
    return state


def _decided(
    policy: CompiledPolicy | dict[str, Any], task: Task, state: State, arm: Arm | None = None
) -> Decision:
    policy = policy if isinstance(policy, CompiledPolicy) else compiled(policy)
    decision = decide(policy, task, state, decision_id="d", strict=False, arm=arm)
    return sealed(decision, lambda size: bytes(range(size)))


def _values_of(part: Part) -> dict[str, Any]:
    assert part.digest == text_digest(part.text)
    values: dict[str, Any] = _read(part.text)
    return values


def _read(text: str | bytes) -> Any:
    """JSON, in which a whole number that is not exact was one of floating point."""
    return json.loads(
        text, parse_int=lambda digits: int(digits) if abs(int(digits)) < 2**53 else float(digits)
    )


def _state_texts(parts: RecordParts) -> tuple[dict[str, str], dict[str, str]]:
    """What is known of each model of the policy, and of each backend, as canonical JSON."""
    models = {
        id: model_text(parts.models[id]) if id in parts.models else NOTHING_KNOWN_TEXT
        for id in _values_of(parts.policy)["models"]
    }
    return models, {id: memory_text(known) for id, known in parts.memory.items()}


def _object(texts: Mapping[str, str]) -> str:
    """The canonical JSON of an object of values that are canonical JSON."""
    return f"{{{','.join(f'{canonical_text(key)}:{texts[key]}' for key in sorted(texts, key=by_key))}}}"


@given(_odd_policies(), _odd_tasks(), _odd_states(), arms())
@settings(max_examples=EXAMPLES // 2)
def test_parts_that_were_written_and_read_make_the_record_and_its_digest(
    values: dict[str, Any], task: Task, state: State, arm: Arm | None
) -> None:
    decision = _decided(values, task, state, arm)
    parts, written = parts_of(decision), record_of(decision).canonical()
    models, memory = _state_texts(parts)
    policy, plan = _values_of(parts.policy), _values_of(parts.plan)
    made = RecordTexts(policy, written_out=True).text(
        parts.row,
        plan_texts(plan, written_out=True),
        "null" if parts.arm is None else parts.arm.text,
        _object(models),
        _object(memory) if memory else None,
    )
    assert made.encode() == written == record_bytes(decision)
    digest = RecordTexts(policy).digest(
        parts.row,
        plan_texts(plan),
        None if parts.arm is None else parts.arm.digest,
        digest_of_texts(models),
        digest_of_texts(memory) if memory else None,
    )
    # The second is worked out from the written record alone.
    assert digest == digest_of_values(_read(written)) == record_digest(decision)


@given(_odd_policies(), _odd_tasks(), _odd_states())
@settings(max_examples=EXAMPLES // 4)
def test_a_record_whose_sealed_values_were_erased_has_the_same_digest(
    values: dict[str, Any], task: Task, state: State
) -> None:
    decision = _decided(values, task, state)
    record = _read(record_of(decision).canonical())
    erased = dict[str, str | None]()
    for place, salt in record.pop("salts", {}).items():
        erased[place] = seal(salt, take_out(record, place))
    if erased:
        record["erased"] = erased
    assert digest_of_values(record) == record_digest(decision)
    again = read_record(json.dumps(record))
    assert again.erased == (erased or None)
    if erased:
        with suppress(ErasedError):  # else it is the same without the value: any other error is a fault
            made = recompute(compiled(values), again)
            assert (made.verdicts, made.rule, made.target) == (
                decision.verdicts,
                decision.rule,
                decision.target,
            )
            event("made again")
        record["erased"] = dict.fromkeys(erased)
        with pytest.raises(RecordError, match="was erased and had no salt"):
            digest_of_values(record)


_READERS: dict[str, dict[str, Any]] = {
    "rule `only`": {"rules": [{"name": "only", "when": "who == 'Ada'", "use": ["small"]}]},
    "rule `asks`": {
        "rules": [{"name": "asks", "when": "!has(who)", "use": ["large"]}, {"name": "only", "use": ["small"]}]
    },
    "constraint `near`": {
        "constraints": [{"name": "near", "when": "who == 'Ada'", "require": "model.location == 'local'"}]
    },
    "a gate": {"features": {"who": {"type": "boolean", "needs": "vision", "sensitive": True}}},
}


@pytest.mark.parametrize("reader", _READERS)
def test_what_reads_an_erased_value_is_named_where_it_could_have_changed_the_decision(reader: str) -> None:
    values = {
        "routewright": 1,
        "name": "p",
        "catalog": "catalog.yaml",
        "features": {"who": {"type": "string", "sensitive": True}},
        "rules": [{"name": "only", "use": ["small"]}],
    }
    policy = compiled(values | _READERS[reader])
    task = Task({"who": False if reader == "a gate" else "Ada"})
    decision = sealed(decide(policy, task, State(AT_US), decision_id="d"), bytes)
    record = _read(record_of(decision).canonical())
    [(place, salt)] = record.pop("salts").items()
    record["erased"] = {place: seal(salt, take_out(record, place))}
    with pytest.raises(ErasedError, match=f"^feature `who` was erased, and {reader} reads it$"):
        recompute(policy, read_record(json.dumps(record)))


def test_what_a_digest_is_made_of_says_nothing_of_a_sealed_value() -> None:
    policy = compiled(
        {
            "routewright": 1,
            "name": "p",
            "catalog": "catalog.yaml",
            "features": {
                "who": {"type": "string", "from": "request.metadata.who", "sensitive": True},
                "plain": {"type": "integer", "default": 1},
            },
            "rules": [{"name": "only", "use": ["small"]}],
        }
    )
    task = Task({"said": "free text"}, request=RequestFacts(metadata={"who": "Ada", "other": "seen"}))
    decision = decide(policy, task, State(AT_US), decision_id="d", strict=False)
    drawn = iter([bytes([number]) * 16 for number in (1, 2, 3)])
    decision = sealed(decision, lambda _: next(drawn))
    record = record_values(decision)
    assert record["salts"] == {
        "features.who": "01" * 16,
        "metadata.who": "02" * 16,
        "ignored.said": "03" * 16,
    }
    stands = without_sealed(record)
    assert "salts" not in stands and stands["erased"] == {
        "features.who": _hmac("01" * 16, '"Ada"'),
        "metadata.who": _hmac("02" * 16, '"Ada"'),
        "ignored.said": _hmac("03" * 16, '"free text"'),
    }
    assert stands["features"] == {
        "who": {"value": None, "source": "derived"},
        "plain": {"value": 1, "source": "default"},
    }
    assert stands["ignored"] == {"said": None} and stands["request"]["metadata"] == {"other": "seen"}
    assert sealed(decision, lambda _: b"") is decision  # once is enough
    assert record_values(decide(policy, task, State(AT_US), decision_id="d", strict=False)).keys() == (
        record.keys() - {"salts"}
    )


def _hmac(key: str, text: str) -> str:
    return hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()


@given(_odd_policies(), _odd_tasks(), _odd_states(), arms())
@settings(max_examples=EXAMPLES // 2)
def test_a_record_with_odd_texts_and_numbers_is_read_back_and_decided_again(
    values: dict[str, Any], task: Task, state: State, arm: Arm | None
) -> None:
    written = record_bytes(_decided(values, task, state, arm))
    record = read_record(written)
    assert isinstance(record, DecisionRecord) and record.canonical() == written
    assert record_bytes(recompute(compiled(values), record)) == written


@given(policies(), tasks(), _odd_states())
@settings(max_examples=EXAMPLES // 2)
def test_what_each_candidate_was_expected_to_cost_and_to_take_is_worked_out_of_the_record(
    values: dict[str, Any], task: Task, state: State
) -> None:
    decision = _decided(values, task, state)
    models = decision.policy.catalog.models
    for record in (record_of(decision), read_record(record_bytes(decision))):
        assert isinstance(record, DecisionRecord)
        for candidate, verdict in zip(record.candidates, decision.candidates, strict=True):
            expected = estimate(models[verdict.model], task.operation, decision.request, state)
            assert expected_of(record, candidate) == expected


@given(st.dictionaries(_texts, _texts))
def test_the_digest_of_a_mapping_is_that_of_its_keys_and_the_digests_of_its_texts(
    texts: dict[str, str],
) -> None:
    assert digest_of_texts(texts) == digest_of({key: text_digest(text) for key, text in texts.items()})


@st.composite
def _calls(draw: st.DrawFn) -> list[tuple[Task, State]]:
    """Calls that differ in the numbers alone: tokens, time, load, latencies, what is used of quotas."""
    task, state = draw(tasks()), draw(states())
    made = [(task, state)]
    for _ in range(2):
        tokens = draw(st.none() | st.integers(0, 70))
        facts: dict[str, Any] = {"prompt_tokens": tokens, "messages": draw(st.integers(1, 9))}
        if tokens is None:
            facts |= {"prompt_tokens_source": None, "tokenizer": None}
        request = replace(task.request, **facts)
        models = {
            id: replace(known, latency_ms=draw(st.floats(0, 1e6)), load_ms=draw(st.integers(0, 10**6)))
            for id, known in state.models.items()
        }
        now = replace(
            state,
            at_us=state.at_us + draw(st.integers(0, 10**9)),
            load=draw(st.floats(0, 1)),
            models=models,
            quota_used={name: draw(st.integers(5, 12)) for name in ("calls", "money")},
        )
        made.append((replace(task, request=request, draw=draw(st.floats(0, 0.99))), now))
    return made


def _planned(decision: Decision) -> object:
    """What a plan consists of; of the choice, what is the same whenever it comes out so."""
    choice = decision.choice
    chosen: object = None
    if choice is not None:
        split = {name: choice.inputs[name] for name in ("key", "salt")} if choice.how == "split" else None
        compared = list(choice.inputs) if choice.how in ("cheapest", "fastest") else None
        chosen = (choice.how, choice.session, split, compared)
    return (decision.rule, decision.outcome, decision.candidates, decision.plan, chosen)


def _parts_made_anew(decision: Decision) -> RecordParts:
    """The parts, without those that were made for another decision of the policy."""
    return parts_of(replace(decision, policy=replace(decision.policy)))


@given(policies(), _calls())
@settings(max_examples=EXAMPLES // 2)
def test_decisions_with_the_same_plan_share_its_part_whatever_differs_from_call_to_call(
    values: dict[str, Any], calls: list[tuple[Task, State]]
) -> None:
    policy = compiled(values)
    first, *others = [_decided(policy, task, state) for task, state in calls]
    alike = [other for other in others if _planned(first) == _planned(other)]
    assert all(other in alike for other in others if first.plan is other.plan is not None)
    assume(alike)
    made = [_parts_made_anew(decision) for decision in (first, *alike)]
    assert {(one.policy, one.plan) for one in made} == {(parts_of(first).policy, parts_of(first).plan)}


COMPARING = """\
routewright: 1
name: comparing
catalog:
  routewright: 1
  backends: { b: { kind: openai, host: "http://localhost:1/v1" } }
  models:
    a: { backend: b, operations: [chat], context_length: 100, price: { input: 1, output: 9 } }
    b: { backend: b, operations: [chat], context_length: 900, price: { input: 5, output: 5 } }
    c: { backend: b, operations: [chat], price: { input: 9, output: 1 }, expected_latency: 1s }
    d: { backend: b, operations: [chat] }
features: { quick: { type: boolean, default: false }, alone: { type: boolean, default: false } }
rules:
  - { name: alone, when: alone, use: [a], choose: cheapest }
  - { name: quick, when: quick, use: [a, b, c], choose: fastest, steps: [{ verify: { with: d } }] }
  - { name: cheap, use: [a, b], fallback: [c], choose: cheapest, sticky: session }
"""


def test_a_plan_made_anew_for_each_task_is_recorded_as_if_none_had_been_before() -> None:
    policy = compile_policy(read_policy(COMPARING, "policy.yaml"))
    known: list[dict[str, ModelState]] = [{}]
    for id in "abcd":
        facts: list[dict[str, Any]] = [{"latency_ms": 7.0}, {"breaker": "open"}, {"health": "unhealthy"}]
        facts += [{"health": "unhealthy", "health_detail": detail} for detail in ("gone", "hot")]
        known += [{id: ModelState(**one)} for one in facts]
    decided = [
        _decided(
            policy,
            Task(features, request=RequestFacts(prompt, answer, metadata=session)),
            State(1, models=models, session_model=model),
        )
        for session, model in (({}, None), ({"session": "s"}, None), ({"session": "s"}, "b"))
        for features in ({}, {"quick": True}, {"alone": True})
        for prompt, answer in ((9, 50), (50, 9), (500, 9), (800, 200))
        for models in known
    ]
    made = [parts_of(one).plan for one in decided]
    assert made == [_parts_made_anew(one).plan for one in decided]
    assert len(set(made)) > 20


@given(arms(), arms().filter(bool), st.floats(0, 1, exclude_max=True))
@settings(max_examples=EXAMPLES // 6)
def test_decisions_of_an_arm_share_its_part_wherever_they_fell(
    other: Arm | None, arm: Arm, point: float
) -> None:
    policy = compiled(_TWO)
    first, second = (_decided(policy, Task(), State(0), one) for one in (arm, replace(arm, point=point)))
    assert parts_of(first).arm == _parts_made_anew(second).arm
    assert parts_of(second).row.arm_point == point
    third = _decided(policy, Task(), State(0), other)
    assert (parts_of(third).arm == parts_of(first).arm) == (
        other is not None and replace(other, point=None) == replace(arm, point=None)
    )


_TWO: dict[str, Any] = {
    "routewright": 1,
    "name": "two",
    "catalog": "catalog.yaml",
    "rules": [{"name": "only", "use": ["small", "large"]}],
}


_ALWAYS: dict[str, Any] = {"name": "chosen", "when": True, "use": ["large", "coder", "small", "huge"]}
_SPLIT: dict[str, Any] = {
    "split": {"weights": {"small": 2, "huge": 1, "coder": 1}, "key": "count", "salt": "s"}
}


@pytest.mark.parametrize("choose", ["cheapest", "fastest", "split"])
@given(policies(), tasks(), _odd_states())
@settings(max_examples=EXAMPLES // 6)
def test_what_a_target_was_chosen_by_is_worked_out_of_the_record(
    choose: str, values: dict[str, Any], task: Task, state: State
) -> None:
    rule = {**_ALWAYS, "choose": choose} | (_SPLIT if choose == "split" else {})
    request = replace(task.request, images=0, tools=0)
    features = {**task.features, "count": 3}
    task = replace(task, features=features, pin=None, operation="chat", request=request)
    slow = ModelState(latency_ms=1.5, loaded=False, load_ms=700)
    state = replace(state, models={**state.models, "huge": slow}, session_model=None)
    decision = _decided({**values, "constraints": [], "rules": [rule]}, task, state)
    assume(decision.choice is not None and decision.choice.how == choose)
    assert decision.choice is not None
    inputs = decision.choice.inputs
    for record in (record_of(decision), read_record(record_bytes(decision))):
        assert isinstance(record, DecisionRecord)
        assert choice_inputs(record) == ({} if choose == "split" else inputs)
        assert split_point(record) == (inputs["point"] if choose == "split" else None)


def test_a_split_falls_where_it_fell_whatever_its_key_is() -> None:
    kinds: dict[str, tuple[dict[str, Any], list[object]]] = {
        "boolean": ({"type": "boolean"}, [True, False]),
        "integer": ({"type": "integer"}, [0, 1, -1, 2**53 - 1]),
        "number": ({"type": "number"}, [0, -0.0, 1, 1.0, 0.1, 1e17, 1e-7]),
        "text": ({"type": "string"}, ["", "1", "true", "🐱"]),
    }
    for name, (declared, values) in kinds.items():
        split = {"weights": {"small": 1, "large": 1}, "salt": "s", "key": name}
        rules = [{"name": "only", "use": ["small", "large"], "choose": "split", "split": split}]
        policy = compiled({**_TWO, "features": {name: declared}, "rules": rules})
        for value in values:
            decision = _decided(policy, Task({name: value}), State(0))
            read = read_record(record_bytes(decision))
            assert decision.choice is not None and isinstance(read, DecisionRecord)
            assert split_point(read) == split_point(record_of(decision)) == decision.choice.inputs["point"]
