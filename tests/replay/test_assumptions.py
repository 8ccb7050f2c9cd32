"""What a replay assumes: how it is written, what it makes of policy and state, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.command_line import POLICY as TEXT
from support.decision_strategies import AT_US, CATALOG, FEATURES
from support.replay_ledgers import add_decided, compiled_text, replay_ledger

from routewright.engine.decision.task import ModelState, State
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import Alone, AssumptionError
from routewright.ledger.replay.assuming import assume
from routewright.ledger.replay.assumptions import (
    Latency,
    Limit,
    Load,
    Prices,
    Times,
    Used,
    parse_assumption,
)

POLICY: dict[str, Any] = {
    "routewright": 1,
    "name": "assumed",
    "catalog": CATALOG,
    "features": FEATURES,
    "rules": [{"name": "a", "use": ["small", "coder"], "choose": "fastest", "fallback": ["large"]}],
    "controls": [
        {"name": "calls", "on": "small", "max_requests": 10, "per": "day"},
        {"name": "kept", "of": "calls", "reserve": "50%", "for": "urgent"},
        {"name": "money", "on": "large", "max_cost": "2 USD", "per": "month"},
        {"name": "at_once", "on": "coder", "max_concurrent": 8},
        {"name": "task", "max_cost": "1 USD", "per": "request", "unknown_cost": "allow"},
    ],
}


def _policy(values: dict[str, Any]) -> CompiledPolicy:
    return compiled_text(json.dumps(values))


@pytest.mark.parametrize(
    ("text", "subject", "name", "change"),
    [
        ("glm-4.5=down", None, "glm-4.5", "down"),
        (" cloud:kimi-k2:1t-cloud = up ", None, "cloud:kimi-k2:1t-cloud", "up"),
        ("model:ollama=retired", "model", "ollama", "retired"),
        ('"load"=down', None, "load", "down"),
        ("'a=b * c'=down", None, "a=b * c", "down"),
        ("price:hf.co/a/7b*2", "price", "hf.co/a/7b", Times(Fraction(2))),
        ("price:a / 0.5", "price", "a", Times(Fraction(2))),
        ("price:'x/2'=0.5, 2 EUR", "price", "x/2", Prices(Fraction(1, 2), Fraction(2), "EUR")),
        ("latency:a=1.5s", "latency", "a", Latency(1500)),
        ("quota:q=100 USD", "quota", "q", Limit("100 USD")),
        ("quota:q used = 90%", "quota", "q", Used(Fraction(9, 10))),
        ("quota:q used=5", "quota", "q", Used("5")),
        ("load=90%", None, "", Load(0.9)),
    ],
)
def test_an_assumption_is_read(text: str, subject: str | None, name: str, change: object) -> None:
    read = parse_assumption(text)
    assert (read.subject, read.name, read.change) == (subject, name, change)


@pytest.mark.parametrize(
    ("text", "marked", "message", "help"),
    [
        (
            "small=donw",
            "donw",
            "`donw` is nothing that can be assumed of a model or a backend",
            "did you mean `down`?",
        ),
        ("small", "", "expected what is assumed of it", "`NAME=down`"),
        ("small=", "", "expected a value after `=`", "`NAME=down`"),
        ("=down", "=down", "expected a name", "`NAME=down`"),
        ("'small=down", "'small=down", "expected the end of a name in quotes", ""),
        ("smal=down", "smal", "unknown model or backend `smal`", "did you mean `small`?"),
        ("backend:small=down", "small", "unknown backend `small`", "in the catalog: away, here, server"),
        ("small*2", "*2", "expected what is assumed of it", ""),
        ("price:smal*2", "smal", "unknown model `smal`", "did you mean `small`?"),
        ("price:small*2", "small", "the catalog has no price of `small`", "`price:small=0.5,2`"),
        ("price:large/0", "0", "nothing can be divided by 0", None),
        ("price:large=1", "1", "expected the prices in and out per million tokens, up to 1,000,000", ""),
        ("price:large*1000000", "*1000000", "expected prices up to 1,000,000 per million tokens", None),
        ("price:large*2000000", "2000000", "expected a factor up to 1,000,000", None),
        ("latency:small=3", "3", "expected a duration such as `5s`, `250ms` or `1h`", ""),
        ("quota:cals/2", "cals", "unknown quota `cals`", "did you mean `calls`?"),
        ("quota:kept/2", "kept", "unknown quota `kept`", "quotas: at_once, calls, money, task"),
        ("quota:calls=2 USD", "=2 USD", "expected a whole number up to 9007199254740991", None),
        ("quota:money=2 EUR", "=2 EUR", "expected an amount in USD, as nothing is converted", None),
        ("quota:at_once/9", "/9", "expected a limit from 1 to 9007199254740991", None),
        ("quota:task used=50%", "used=50%", "`task` limits each task by itself: nothing of it is used", ""),
        ("load=2", "2", "expected a load from 0 to 1", '`"load"=down`'),
        ("small=up", "small", "the health of `small` is assumed twice", "`here=down` says otherwise"),
    ],
)
def test_a_wrong_assumption_is_told_with_its_place(
    text: str, marked: str, message: str, help: str | None
) -> None:
    with pytest.raises(AssumptionError) as raised:
        assume(_policy(POLICY), [parse_assumption("here=down"), parse_assumption(text)])
    problem = raised.value.problem
    assert problem.column is not None
    assert (str(raised.value), problem.message) == (f"cannot assume `{text}`: {message}", message)
    assert text[problem.column - 1 :][: problem.width if marked else 0] == marked
    assert (raised.value.help is None) is (help is None) and (help or "") in (raised.value.help or "")


def _set(*path: Any, to: object) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        for step in path[:-1]:
            values = values[step]
        values[path[-1]] = to

    return change


SMALL = ModelState(
    breaker="open", breaker_until_us=AT_US + 9, breaker_after="overloaded", latency_ms=100.0, loaded=True
)
STATE = State(AT_US, load=0.1, models={"small": SMALL}, quota_used={"calls": 1, "other": 2})
OFF = {"disabled": True, "disabled_reason": "assumed to be retired"}
HEALTHY = ModelState(health="healthy", breaker="closed")
UNHEALTHY = ModelState(health="unhealthy", health_detail="assumed")


def _models(**models: ModelState) -> State:
    return replace(STATE, models={**STATE.models, **models})


@pytest.mark.parametrize(
    ("texts", "changes", "state"),
    [
        (
            ["small=down", "large=up"],
            [],
            _models(small=replace(SMALL, health="unhealthy", health_detail="assumed"), large=HEALTHY),
        ),
        (["small=up"], [], _models(small=replace(HEALTHY, latency_ms=100.0, loaded=True))),
        (["server=down"], [], _models(general=UNHEALTHY, seeing=UNHEALTHY)),
        (
            ["small=retired"],
            [_set("catalog", "models", "small", to=CATALOG["models"]["small"] | OFF)],
            STATE,
        ),
        (
            ["price:large*2", "price:here:coder=0.5,2", "price:huge/2"],
            [
                _set("catalog", "models", "large", "price", to={"input": 4, "output": 12}),
                _set("catalog", "models", "coder", "price", to={"input": 0.5, "output": 2}),
                _set("catalog", "models", "huge", "price", to={"input": 1.75, "output": 4.5}),
            ],
            STATE,
        ),
        (
            ["quota:calls/3", "quota:calls used=100%", "quota:money=0.50 USD", "quota:task*1.5"],
            [
                _set("controls", 0, "max_requests", to=3),
                _set("controls", 2, "max_cost", to="0.5 USD"),
                _set("controls", 4, "max_cost", to="1.5 USD"),
            ],
            replace(STATE, quota_used={"calls": 3, "other": 2}),
        ),
        (
            ["quota:money used=1.25 USD"],
            [],
            replace(STATE, quota_used={**STATE.quota_used, "money": 1_250_000_000}),
        ),
        (
            ["latency:small*3", "latency:coder=5s", "load=0.9"],
            [_set("catalog", "models", "small", "expected_latency", to="600ms")],
            replace(
                _models(small=replace(SMALL, latency_ms=300.0), coder=ModelState(latency_ms=5000.0)), load=0.9
            ),
        ),
    ],
)
def test_assumptions_change_policy_and_state(
    texts: list[str], changes: list[Callable[[dict[str, Any]], None]], state: State
) -> None:
    values = deepcopy(POLICY)
    for change in changes:
        change(values)
    policy = _policy(POLICY)
    assumed = assume(policy, [parse_assumption(text) for text in texts])
    assert assumed.policy.digest == _policy(values).digest
    assert (assumed.policy is policy) is (not changes)
    assert assumed.state.of(STATE) == state


def test_without_a_candidate_each_decision_is_made_again_by_its_own_policy(tmp_path: Path) -> None:
    ledger = replay_ledger(tmp_path / "l.duckdb", TEXT, 4)
    add_decided(ledger, TEXT.replace("small:", "tiny:").replace("[small]", "[tiny]"), 4, seed=8)
    add_decided(ledger, TEXT.replace("first", "lost"), 4, seed=9, keep_text=False)
    report = ledger.replay(None, assume=["small=down"], each=True, consequences=False)
    assert (report.candidate, report.assumed) == (None, ("small=down",))
    assert (report.rows, report.decided, report.elsewhere, report.new_dead_ends) == (12, 8, 3, 1)
    assert report.alone == (
        Alone(None, 8, 0, 0),
        Alone("small=down", 8, 3, 1),
    )
    moves = {(move.before, move.after): move.rows for move in report.moves if move.before != move.after}
    assert moves == {("small", "large"): 2, ("small", "(no_target)"): 1}
    assert [(one.reason, one.rows) for one in report.not_decided] == [("policy_missing", 4)]
    with pytest.raises(AssumptionError, match="unknown model or backend `lage`") as raised:
        ledger.replay(None, assume=["lage=down"])
    assert raised.value.help is not None and raised.value.help.startswith("did you mean `large`?")


def test_a_model_that_nobody_watched_can_be_assumed_to_be_up(tmp_path: Path) -> None:
    ledger = replay_ledger(tmp_path / "l.duckdb", TEXT, 4)
    candidate = compiled_text(
        TEXT.replace("  models:", "  models:\n    new: { backend: ollama }").replace(
            "use: [small]", "use: [new]"
        )
    )
    without = ledger.replay(candidate, consequences=False, examples=0)
    assumed = ledger.replay(candidate, assume=["new=up"], consequences=False, examples=1)
    assert [(one.reason, one.rows) for one in without.not_decided] == [("state_missing", 2)]
    assert (without.elsewhere, assumed.elsewhere, assumed.not_decided) == (0, 2, ())
    # Without a mark that its health is not known.
    [example] = [move.examples[0] for move in assumed.moves if move.after == "new"][:1]
    assert example.candidate is not None and "health" not in str(example.candidate)


@pytest.mark.parametrize(
    ("when", "missing"),
    [("fresh", 4), ("has(fresh)", 4), ("!has(fresh)", 4), ("complex_reasoning && has(fresh)", 2)],
)
def test_a_feature_that_nobody_could_give_is_not_taken_for_one_that_was_not_given(
    tmp_path: Path, when: str, missing: int
) -> None:
    ledger = replay_ledger(tmp_path / "l.duckdb", TEXT, 4)
    declared = TEXT.replace("features:", "features:\n  fresh: { type: boolean }")
    candidate = compiled_text(
        declared.replace("rules:", f"rules:\n  - {{ name: new, when: '{when}', use: [small] }}")
    )
    report = ledger.replay(candidate, consequences=False, examples=0)
    assert report.decided == 4 - missing
    assert [(one.reason, one.rows) for one in report.not_decided] == [("feature_missing", missing)]
