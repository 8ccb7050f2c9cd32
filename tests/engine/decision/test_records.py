"""Records: read strictly, recomputed exactly; tasks and states that no record could hold are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.decision_strategies import AT_US, FEATURES, compiled
from support.records import record_bytes

from routewright.engine.decision.choose import Estimate
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.recomputing import recompute
from routewright.engine.explain.report_tree import explanation_tree
from routewright.engine.record.expected import expected_of
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, record_values
from routewright.engine.report.errors import FeatureError, RecordError, TaskError
from routewright.engine.report.tree import render_markdown, render_tree
from routewright.loading.loading import load_policy

_CASES = Path(__file__).parents[2] / "cases"


def _policy(**changes: Any) -> Any:
    values = {
        "routewright": 1,
        "name": "p",
        "catalog": "catalog.yaml",
        "features": FEATURES,
        "rules": [{"name": "only", "use": ["large", "small"], "choose": "fastest"}],
    }
    return compiled({**values, **changes})


def _decided(task: Task | None = None, state: State | None = None, **changes: Any) -> Decision:
    return decide(_policy(**changes), task or Task(), state or State(AT_US), decision_id="d", strict=False)


def test_whole_record_of_a_small_decision() -> None:
    policy = load_policy(_CASES / "steps" / "policy.yaml", root=_CASES)
    task = Task({"private": True, "extra": [1, 2]}, request=RequestFacts(prompt_tokens=10))
    state = State(AT_US, load=0.25, models={"small": ModelState("healthy", "closed", 120)})
    values = record_values(decide(policy, task, state, decision_id="0197", strict=False))
    nothing = dict.fromkeys(("health", "breaker", "breaker_until_us", "breaker_after", "latency_ms"))
    models = {model.id: nothing for model in policy.catalog.models}
    assert values == {
        "record": 2,
        "id": "0197",
        "at_us": AT_US,
        "engine": "0.1.0",
        "policy": {"name": "steps", "digest": policy.digest},
        "catalog": {"name": None, "digest": policy.catalog.digest},
        "arm": None,
        "arm_point": None,
        "operation": "chat",
        "pin": None,
        "draw": None,
        "request": {
            "prompt_tokens": 10,
            "prompt_tokens_source": "stated",
            "tokenizer": None,
            "max_output_tokens": None,
            "messages": None,
            "images": None,
            "tools": None,
            "json_schema": None,
            "metadata": {},
        },
        "prompt_tokens": 10,
        "features": {
            "screened": {"value": False, "source": "default"},
            "private": {"value": True, "source": "given"},
        },
        "ignored": {"extra": [1, 2]},
        "rules": ["screened_work", "all"],
        "verdicts": [False, True],
        "rule": "all",
        "reason": None,
        "outcome": "routed",
        "target": "small",
        "candidates": [
            {
                "model": "small",
                "backend": "here",
                "location": "local",
                "origin": "use",
                "eligible": True,
                "gate": None,
                "detail": None,
                "marks": [],
                "probability": 1.0,
                "price": None,
                "expected_latency_ms": 200.0,
                "memory_bytes": 2_000_000_000,
                "size_bytes": None,
            },
            {
                "model": "words",
                "backend": "here",
                "location": "local",
                "origin": "use",
                "eligible": False,
                "gate": "operation",
                "detail": "the model does not offer chat",
                "marks": ["context_unverified", "health_unknown"],
                "probability": 0.0,
                "price": None,
                "expected_latency_ms": None,
                "memory_bytes": None,
                "size_bytes": None,
            },
        ],
        "details": {},
        "choice": {"how": "first", "among": [], "key": None, "salt": None, "session": None},
        "plan": {
            "target": "small",
            "fallbacks": [],
            "steps": [{"role": "draft", "model": "coder", "required": False, "options": {}}],
            "dropped": [{"role": "verify", "model": "huge", "gate": "constraint", "detail": "private_stays"}],
            "ensemble": None,
            "ensemble_dropped": None,
            "timeouts": {},
            "first_token_within_ms": None,
            "cache_ttl_ms": None,
            "max_attempts": None,
            "backoff_ms": None,
            "deadline_ms": None,
            "max_cost_nano": None,
            "max_cost_currency": None,
            "unknown_cost": None,
            "lease_ms": None,
            "unenforced": [],
            "defaults": {
                "connect_ms": 10_000,
                "load_ms": 600_000,
                "first_token_ms": 120_000,
                "idle_ms": 120_000,
                "total_ms": 900_000,
                "deadline_ms": 1_200_000,
            },
        },
        "state": {
            "load": 0.25,
            "models": {
                **models,
                "small": {**nothing, "health": "healthy", "breaker": "closed", "latency_ms": 120.0},
            },
            "quota_used": {},
            "session_model": None,
        },
    }


def test_costs_are_estimated_from_what_is_known_and_null_where_nothing_is() -> None:
    def costs(task: Task) -> list[tuple[str, int | None, str | None]]:
        return [(model, one.cost_nano, one.cost_source) for model, one in _expected(task).items()]

    assumed, small = "price, 1000 tokens assumed", ("small", None, None)
    assert costs(Task()) == [small, ("large", 8_000_000, assumed)]
    known = RequestFacts(prompt_tokens=8, max_output_tokens=0)
    assert costs(Task(request=known)) == [small, ("large", 16_000, "price")]
    # What a feature says of the request counts as the request's.
    assert costs(Task({"tokens": 4}, request=RequestFacts(max_output_tokens=0)))[1] == (
        "large",
        8_000,
        "price",
    )
    # A number that JSON cannot hold exactly is not known.
    endless = RequestFacts(prompt_tokens=0, max_output_tokens=2**53 - 1)
    assert costs(Task(request=endless)) == [("large", None, None), small], "nor has a model room for it"


def test_what_an_embedding_is_expected_to_cost_has_no_tokens_out() -> None:
    found = _expected(Task(operation="embed", request=RequestFacts(prompt_tokens=1)))
    assert {model: one.cost_source for model, one in found.items()} == {"large": "price", "small": None}


def _expected(task: Task) -> dict[str, Estimate]:
    record = record_of(_decided(task))
    return {candidate.model: expected_of(record, candidate) for candidate in record.candidates}


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(record=3), "the record has version 3, this engine reads 1 and 2"),
        (lambda r: r.update(record=1), "not a decision record at `"),
        (lambda r: r.update(record="1"), "not a decision record at `record`"),
        (lambda r: r.update(at_us="5"), "at `at_us`: input should be a valid integer"),
        (lambda r: r.update(at_us=5.5), "at `at_us`"),
        (lambda r: r.update(verdicts=["true"]), "at `verdicts.0`: input should be a valid boolean"),
        (lambda r: r.update(verdicts=[1]), "at `verdicts.0`"),
        (lambda r: r["candidates"][0].update(eligible=1), "at `candidates.0.eligible`"),
        (lambda r: r["candidates"][0].update(gate="mood"), "at `candidates.0.gate`"),
        (lambda r: r["candidates"][0].update(probability="1"), "at `candidates.0.probability`"),
        (
            lambda r: r["features"]["kind"].update(value={"a": 1}),
            "at `features.kind.value`: expected a boolean",
        ),
        (lambda r: r["choice"]["among"].append(1), "at `choice.among.2`"),
        (lambda r: r["candidates"][1]["price"].update(input_nano=0.5), "at `candidates.1.price.input_nano`"),
        (lambda r: r.update(more=1), "at `more`: extra inputs are not permitted"),
        (lambda r: r.pop("draw"), "at `draw`: field required"),
        (lambda r: r["request"].pop("images"), "at `request.images`: field required"),
        (lambda r: r["state"]["models"]["small"].pop("health"), "at `state.models.small.health`"),
    ],
)
def test_record_that_is_not_one_is_refused(change: Change, message: str) -> None:
    values = json.loads(record_bytes(_decided()))
    change(values)
    with pytest.raises(RecordError) as caught:
        read_record(json.dumps(values))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a decision record: not JSON"),
        ("[]", "not a decision record: expected a JSON object"),
        ("[" * 100_000, "not a decision record: not JSON"),
        ('{"record": 1, "record": 1}', "not a decision record: a key is there twice"),
        ('{"at_us": NaN}', "not a decision record: `NaN` is not a number that a record has"),
        ('{"at_us": 1e999}', "not a decision record: `1e999` is not a number that a record has"),
        ('{"id": "\\ud800"}', "not a decision record: not JSON"),
        (b"\xff\xfe\xfa", "not a decision record: not JSON"),
    ],
)
def test_text_that_is_no_record_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_record(text)
    assert str(caught.value) == message


def test_numbers_too_large_for_exact_integers_survive_the_way_through_json() -> None:
    features = {"score": {"type": "number"}}
    state = State(AT_US, models={"large": ModelState(latency_ms=3e17)})
    decision = _decided(Task({"score": 1e17, "extra": -1e300}), state, features=features)
    record = read_record(record_bytes(decision))
    assert record.features["score"].value == 1e17
    assert record.canonical() == record_bytes(decision)
    assert record_bytes(recompute(decision.policy, record)) == record_bytes(decision)


def test_record_of_another_policy_is_refused() -> None:
    record = record_of(_decided())
    other = _policy(name="other")
    with pytest.raises(
        RecordError, match="the record was made under the policy sha256:.*, this one is sha256:"
    ):
        explain(other, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(target="large"), "target differ"),
        (lambda r: r["features"]["urgent"].update(value=0), "features differ"),
        (lambda r: r["candidates"][0].update(probability=0.5), "candidates differ"),
        (lambda r: r.update(pin="nothing"), "cannot be decided: the pin `nothing` names no model"),
        (
            lambda r: r["features"]["count"].update(value=99, source="given"),
            "cannot be decided: feature `count`: 99 is above the maximum 9",
        ),
    ],
)
def test_record_that_was_tampered_with_is_found_out(change: Change, message: str) -> None:
    decision = _decided()
    values = json.loads(record_bytes(decision))
    change(values)
    with pytest.raises(RecordError) as caught:
        recompute(decision.policy, read_record(json.dumps(values)))
    assert message in str(caught.value)


def test_undeclared_whole_numbers_are_what_json_makes_of_them() -> None:
    decision = _decided(Task({"extra": [0.0, 2.0], "more": 1e17}))
    assert repr(decision.ignored) == "{'extra': (0, 2), 'more': 1e+17}"
    assert repr(recompute(decision.policy, record_of(decision)).ignored) == repr(decision.ignored)


def test_undeclared_features_are_kept_in_the_order_of_their_names() -> None:
    decision = _decided(Task({"zeta": True, "alpha": None, "Beta": 1.5}))
    assert list(decision.ignored.items()) == [("Beta", 1.5), ("alpha", None), ("zeta", True)]
    with pytest.raises(FeatureError, match="unknown feature `zeta`"):
        decide(decision.policy, decision.task, decision.state, decision_id="d", strict=True)


@pytest.mark.parametrize(
    "features",
    [
        {1: True},
        {"\ud800": 1},
        {"extra": "\ud800"},
        {"extra": math.nan},
        {"extra": 2**60},
        {"extra": {"a": 1}},
        {"extra": object()},
        {"urgent": 1},
        {"urgent": "true"},
        {"count": True},
        {"count": 1.0},
        {"count": 10},
        {"count": -1},
        {"score": math.inf},
        {"score": 1.1},
        {"score": "0.5"},
        {"kind": "poem"},
        {"kind": ["code"]},
        {"team": b"infra"},
        {"tokens": 2**53},
    ],
)
def test_hostile_feature_is_our_error(features: dict[Any, object]) -> None:
    policy = _policy()
    for strict in (True, False):
        with pytest.raises(FeatureError) as caught:
            decide(policy, Task(features), State(AT_US), decision_id="d", strict=strict)
        str(caught.value).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Task(operation="sing"),  # type: ignore[arg-type]  # hostile on purpose, here and below
        lambda: Task(features=[("a", 1)]),  # type: ignore[arg-type]
        lambda: Task(pin=1),  # type: ignore[arg-type]
        lambda: Task(pin="\ud800"),
        lambda: Task(draw=1.0),
        lambda: Task(draw=-0.1),
        lambda: Task(draw=math.nan),
        lambda: Task(draw=True),
        lambda: RequestFacts(prompt_tokens=-1),
        lambda: RequestFacts(prompt_tokens=2**53),
        lambda: RequestFacts(images=True),
        lambda: RequestFacts(tools=1.0),  # type: ignore[arg-type]
        lambda: RequestFacts(json_schema=1),  # type: ignore[arg-type]
        lambda: RequestFacts(metadata={"team": 1}),  # type: ignore[dict-item]
        lambda: RequestFacts(metadata={"team": "\ud800"}),
        lambda: ModelState(health="fine"),  # type: ignore[arg-type]
        lambda: ModelState(breaker="ajar"),  # type: ignore[arg-type]
        lambda: ModelState(latency_ms=-1),
        lambda: ModelState(latency_ms=math.inf),
        lambda: ModelState(latency_ms=True),
        lambda: State(1.5),  # type: ignore[arg-type]
        lambda: State(2**53),
        lambda: State(0, load=1.1),
        lambda: State(0, load=math.nan),
        lambda: State(0, load=10**400),
        lambda: State(0, models={"small": None}),  # type: ignore[dict-item]
        lambda: State(0, models=["small"]),  # type: ignore[arg-type]
        lambda: State(0, quota_used={"calls": -1}),
        lambda: State(0, quota_used={"calls": 0.5}),  # type: ignore[dict-item]
    ],
)
def test_hostile_task_or_state_is_our_error(make: Callable[[], object]) -> None:
    with pytest.raises(TaskError):
        make()


@pytest.mark.parametrize("at_us", [-(2**53) + 1, -1, 0, 2**53 - 1])
def test_every_time_that_a_state_can_hold_can_be_decided_at(at_us: int) -> None:
    decision = _decided(state=State(at_us))
    assert read_record(record_bytes(decision)).at_us == at_us
    assert render_tree(explanation_tree(explain(decision.policy, decision)))


def test_pin_that_names_no_model_or_several_is_our_error() -> None:
    with pytest.raises(TaskError, match="the pin `smal` names no model") as caught:
        _decided(Task(pin="smal"))
    assert caught.value.help is not None and "did you mean `small`?" in caught.value.help


def test_split_without_key_and_draw_is_our_error() -> None:
    split = {"weights": {"small": 1}}
    rules = [{"name": "drawn", "use": ["small"], "choose": "split", "split": split}]
    with pytest.raises(TaskError, match="rule `drawn` splits at random, and the task has no random draw"):
        _decided(rules=rules)


def test_what_is_written_for_people_cannot_move_a_cursor_or_make_markup() -> None:
    text = "a\x1b[31m\r\n`*_[x](http://example)<b>|#"
    decision = _decided(Task({"team": text, f"name{text}": 1}))
    outline = explanation_tree(explain(decision.policy, decision))
    assert all(line.isprintable() for line in render_tree(outline).split("\n"))
    bullets = render_markdown(outline)
    assert "[31m" not in bullets.replace("\\[31m", "")
    assert "<b>" not in bullets.replace("\\<b\\>", "")


def test_a_decision_and_its_policy_are_shown_in_one_line() -> None:
    decision = _decided()
    target = decision.target
    assert repr(decision) == f"<Decision d: routed, target {target!r}, rule 'only', policy 'p'>"
    assert repr(decision.policy) == f"<CompiledPolicy 'p': 1 rule, {decision.policy.digest}>"
    catalog = decision.policy.catalog
    assert (
        repr(catalog) == f"<CompiledCatalog 'catalog.yaml': {len(catalog.models)} models, {catalog.digest}>"
    )


def test_a_feature_that_is_not_declared_is_refused_unless_the_caller_says_otherwise() -> None:
    task = Task({"cuont": 3})
    with pytest.raises(FeatureError, match="unknown feature `cuont`") as caught:
        decide(_policy(), task, State(AT_US), decision_id="d")
    assert "did you mean `count`?" in str(caught.value.help)
    assert decide(_policy(), task, State(AT_US), decision_id="d", strict=False).ignored == {"cuont": 3}
