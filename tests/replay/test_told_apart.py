"""Each thing that tells plans apart tells classes apart: pairs of tasks that differ in one, under one policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from support.decision_strategies import AT_US, FEATURES, compiled
from support.new_ledgers import new_ledger

from routewright.engine.decision import sql
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.sql import KeyPart
from routewright.engine.decision.task import MemoryState, ModelState, RequestFacts, Resident, State, Task
from routewright.engine.policy import compile_policy, read_policy
from routewright.engine.record.parts import parts_of
from routewright.gateway.deciding import uuid7
from routewright.ledger import DecisionRow, Ledger, LedgerEntry
from routewright.ledger.connection import open_for_reading, open_for_writing
from routewright.ledger.replay import class_query
from routewright.ledger.replay.again import decide_again
from routewright.ledger.replay.selecting import Selection

POLICY: Mapping[str, Any] = {
    "routewright": 1,
    "name": "all_kinds",
    "catalog": "catalog.yaml",
    "features": FEATURES,
    "constraints": [
        {
            "name": "fast",
            "when": "private",
            "require": "state.latency_ms < 500.0 || model.location == 'local'",
        },
        {"name": "scored", "when": "kind == 'table'", "require": "model.memory_gb < 100.0 * score"},
    ],
    "rules": [
        {"name": "cheapest", "when": "count == 0", "use": ["general", "large", "huge"], "choose": "cheapest"},
        {"name": "fastest", "when": "count == 1", "use": ["small", "coder", "general"], "choose": "fastest"},
        {
            "name": "split",
            "when": "count == 2",
            "use": ["large", "huge"],
            "choose": "split",
            "split": {"weights": {"large": 1, "huge": 1}, "salt": "s", "key": "team"},
        },
        {"name": "sticky", "when": "count == 3", "use": ["small", "coder"], "sticky": "session"},
        {
            "name": "alike",
            "when": "count == 4",
            "use": ["small", "coder", "general", "large", "huge", "words"],
        },
        {"name": "unsure", "when": "has(team) && score > 0.9", "use": ["small"], "on_unknown": "fail"},
        {"name": "rest", "when": True, "use": ["small", "coder", "general", "large", "huge", "words"]},
    ],
    "controls": [
        {"name": "calls", "on": ["small", "coder"], "max_requests": 10, "per": "day"},
        {"name": "kept", "of": "calls", "reserve": "50%", "for": "urgent"},
        {"name": "task", "max_cost": "0.0001 USD", "per": "request", "unknown_cost": "allow"},
    ],
}
BASE = Task(
    {"count": 5, "score": 0.1, "private": False},
    request=RequestFacts(prompt_tokens=4, max_output_tokens=1),
    draw=0.3,
)
STATE = State(AT_US, models={"small": ModelState("healthy", "closed", 100.0)}, quota_used={"calls": 0})


def task(features: Mapping[str, object] = {}, **request: Any) -> Task:  # noqa: B006  # not changed
    """The base with other features and facts of its request."""
    facts = {"prompt_tokens": 4, "max_output_tokens": 1, **request}
    return replace(BASE, features={**BASE.features, **features}, request=RequestFacts(**facts))


def state(model: str = "small", **known: object) -> State:
    """The base with other facts of a model."""
    models = {**STATE.models, model: replace(STATE.models.get(model, ModelState()), **known)}  # type: ignore[arg-type]
    return replace(STATE, models=models)


def split(team: str | None, draw: float) -> Task:
    """A task that the split divides."""
    return replace(task({"count": 2, "team": team}), draw=draw)


def sticky(**request: Any) -> Task:
    """A task of the rule that keeps conversations."""
    return task({"count": 3}, **request)


ESTIMATED: Mapping[str, Any] = {"prompt_tokens_source": "estimated"}
USED_UP = replace(STATE, quota_used={"calls": 12})
FULL = replace(STATE, memory={"here": MemoryState(5 * 10**9, (Resident("x", 1),))})

PAIRS: Mapping[str, tuple[tuple[Task, State], tuple[Task, State]]] = {
    "rule": ((BASE, STATE), (task({"count": 4}), STATE)),
    "operation": ((BASE, STATE), (replace(BASE, operation="embed"), STATE)),
    "pin": ((replace(BASE, pin="coder"), STATE), (replace(BASE, pin="general"), STATE)),
    "when_": ((BASE, STATE), (task({"private": True}), STATE)),
    "require_": (
        (task({"kind": "table", "score": 0.05}), STATE),
        (task({"kind": "table", "score": 0.5}), STATE),
    ),
    "needs_": ((BASE, STATE), (task({"sees": True}), STATE)),
    "images": ((BASE, STATE), (task(images=1), STATE)),
    "tools": ((BASE, STATE), (task(tools=1), STATE)),
    "json_schema": ((BASE, STATE), (task(json_schema=True), STATE)),
    "length_known": (
        (task(prompt_tokens=None, max_output_tokens=None), STATE),
        (task(max_output_tokens=None), STATE),
    ),
    "exceeds_least": (
        (task(prompt_tokens=8, max_output_tokens=7), STATE),
        (task(prompt_tokens=9, max_output_tokens=7), STATE),
    ),
    "exceeds_with_answer": (
        (task(prompt_tokens=8, max_output_tokens=4, **ESTIMATED), STATE),
        (task(prompt_tokens=8, max_output_tokens=5, **ESTIMATED), STATE),
    ),
    "exceeds_most": (
        (task(prompt_tokens=7, max_output_tokens=None), STATE),
        (task(prompt_tokens=7, max_output_tokens=None, **ESTIMATED), STATE),
    ),
    "too_dear": (
        (task(prompt_tokens=50, max_output_tokens=None), STATE),
        (task(prompt_tokens=51, max_output_tokens=None), STATE),
    ),
    "answer_too_dear": (
        (task(prompt_tokens=38, max_output_tokens=10, **ESTIMATED), STATE),
        (task(prompt_tokens=42, max_output_tokens=10, **ESTIMATED), STATE),
    ),
    "answer": ((task(max_output_tokens=30), STATE), (task(max_output_tokens=31), STATE)),
    "perhaps_too_dear": (
        (task(prompt_tokens=18, **ESTIMATED), STATE),
        (task(prompt_tokens=24, **ESTIMATED), STATE),
    ),
    "quota_": ((BASE, STATE), (BASE, replace(STATE, quota_used={"calls": 10}))),
    "reserve_": ((BASE, USED_UP), (task({"urgent": True}), USED_UP)),
    "session": ((sticky(), STATE), (sticky(metadata={"session": "s"}), STATE)),
    "session_model": (
        (sticky(metadata={"session": "s"}), replace(STATE, session_model="small")),
        (sticky(metadata={"session": "s"}), replace(STATE, session_model="coder")),
    ),
    "split_2": ((split("a", 0.3), STATE), (split("c", 0.3), STATE)),
    "split_2_keyed": ((split(None, 0.1), STATE), (split("a", 0.1), STATE)),
    "state": ((BASE, STATE), (BASE, state(health="unhealthy"))),
    "order of the fastest": (
        (task({"count": 1}), state("coder", latency_ms=50.0)),
        (task({"count": 1}), state("coder", latency_ms=500.0)),
    ),
    "memory": ((BASE, STATE), (BASE, FULL)),
}
"""Two tasks with their states for each part of a class's key; the last ones are told apart by the state's number."""


def recorded(path: Path) -> Ledger:
    """A ledger with the decisions of all pairs."""
    random, policy, ledger = Random(1), compiled(POLICY), new_ledger(path)
    writer = ledger.writer()
    for pair in PAIRS.values():
        for asked, known in pair:
            decision = decide(policy, asked, known, decision_id=uuid7(AT_US, random), strict=False)
            assert writer.add_all([[LedgerEntry(DecisionRow(parts_of(decision), "exploit"), [])]]) == [None]
    writer.close()
    with open_for_writing(path, lock_timeout_s=30) as connection:
        texts = (("policy", policy, json.dumps(POLICY)), ("catalog", policy.catalog, policy.catalog.text))
        for kind, named, text in texts:
            row = [named.digest, kind, named.name or "", text]
            connection.execute("INSERT INTO policies VALUES (?, ?, ?, ?, 0)", row)
    return ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return recorded(tmp_path_factory.mktemp("told_apart") / "l.duckdb")


@pytest.fixture(scope="module")
def connection(ledger: Ledger) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as opened:
        yield opened


def differences(connection: duckdb.DuckDBPyConnection) -> int:
    return decide_again(connection, Selection()).different


def test_rows_that_differ_in_one_thing_come_out_as_they_were_recorded(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert differences(connection) == 0


_STATES = ("state", "order of the fastest", "memory")


@pytest.mark.parametrize("name", [name for name in PAIRS if name not in ("pin", *_STATES)])
def test_without_a_part_of_the_key_they_do_not(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every part counts: else nothing would show that one is missing. A pin stands beside the key, too."""

    def others(*given: Any) -> list[KeyPart]:
        parts = sql.key_parts(*given)
        kept = [one for one in parts if re.fullmatch(rf"{name}(_?[\d_]+)?", one.name) is None]
        assert len(kept) < len(parts)
        return kept

    monkeypatch.setattr(class_query, "key_parts", others)
    assert differences(connection) > 0


CHEAPEST = """
routewright: 1
name: cheapest
catalog:
  routewright: 1
  backends: { away: { kind: openai, host: "https://models.example" } }
  models:
    short: { backend: away, price: { input: 1, output: 9 } }
    long: { backend: away, price: { input: 3, output: 2 } }
    free: { backend: away, price: { input: 0, output: 4.5 } }
    unpriced: { backend: away }
rules:
  - { name: only, use: [unpriced, short, long, free], choose: cheapest }
"""


def test_the_order_of_prices_is_that_of_the_engine() -> None:
    """Rows with one order are in one class, and rows with two are not; no price is too large to be compared."""
    policy = compile_policy(read_policy(CHEAPEST, "cheapest.yaml"), None)
    tokens = [None, 0, 1, 2, 3, 5, 999, 1_000, 1_001, 2**53 - 1]
    parts = [one for one in sql.key_parts(policy) if one.name.startswith("order_")]
    by_key: dict[object, set[object]] = {}
    with duckdb.connect() as connection:
        for sent, asked in product(tokens, tokens):
            row = "SELECT 1 AS rule, 0 AS op, ?::BIGINT AS prompt_tokens, ?::BIGINT AS max_output_tokens"
            [key] = connection.execute(
                f"SELECT {', '.join(one.sql for one in parts)} FROM ({row})", [sent, asked]
            ).fetchall()
            facts = RequestFacts(prompt_tokens=sent, max_output_tokens=asked)
            decision = decide(policy, Task(request=facts), State(AT_US), decision_id=uuid7(AT_US, Random(1)))
            by_key.setdefault(key, set()).add(tuple(one.model for one in decision.candidates))
    assert all(len(orders) == 1 for orders in by_key.values())
    assert len(by_key) == len({order for orders in by_key.values() for order in orders}) >= 4
