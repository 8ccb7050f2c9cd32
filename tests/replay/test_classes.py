"""Rows that a candidate cannot tell apart are found in SQL: what comes of a class is what comes of each of its rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.decision_strategies import AT_US, CATALOG, FEATURES, compiled, policies, states, tasks
from support.new_ledgers import new_ledger
from support.sizes import EXAMPLES, MADE_AGAIN, REPLAYED
from support.varied_tasks import varied

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState, State, Task
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.parts import parts_of
from routewright.gateway.deciding import uuid7
from routewright.ledger import Came, DecisionRow, Ledger, LedgerEntry
from routewright.ledger.connection import open_for_reading, open_for_writing
from routewright.ledger.replay import replaying
from routewright.ledger.replay.again import decide_again
from routewright.ledger.replay.assumptions import parse_assumption
from routewright.ledger.replay.bound import Recorded
from routewright.ledger.replay.candidates import Candidates
from routewright.ledger.replay.classes import class_rows
from routewright.ledger.replay.each import group_records
from routewright.ledger.replay.groups import Grouped
from routewright.ledger.replay.parts import policy_parts
from routewright.ledger.replay.replaying import redecided_groups
from routewright.ledger.replay.selecting import Selection, choose

Decided = tuple[dict[str, Any], Task, State]


def _without_null(value: Any) -> Any:
    """The values as a file has them: a key that says nothing is left out."""
    if isinstance(value, dict):
        return {name: _without_null(one) for name, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def decided_under(few: list[dict[str, Any]], many: list[tuple[int, Task, State]]) -> list[Decided]:
    """Each task with the policy at its number: few policies, as each costs a statement of its own."""
    return [(few[at % len(few)], task, state) for at, task, state in many]


def varied_under(
    few: list[dict[str, Any]], many: list[tuple[int, Task, State]], random: Random, times: int
) -> list[Decided]:
    """The same, with about so many others in which one thing is changed, or two."""
    return [
        (values, *other)
        for values, task, state in decided_under(few, many)
        for other in varied(task, state, random, times // len(many))
    ]


_tasks = st.lists(st.tuples(st.integers(0, 1), tasks(), states()), min_size=1, max_size=16)
_policies = st.lists(policies(), min_size=1, max_size=2)


def recorded(path: Path, many: Sequence[Decided], random: Random) -> tuple[Ledger, list[Decision]]:
    """A ledger in which several writers have recorded a decision of each."""
    compiled_by_id = {key: compiled(one) for key, one in {id(one): one for one, _, _ in many}.items()}
    decisions = [
        decide(compiled_by_id[id(values)], task, state, decision_id=uuid7(state.at_us, random), strict=False)
        for values, task, state in many
    ]
    ledger = new_ledger(path)
    writers = [ledger.writer(), ledger.writer()]
    for decision in decisions:
        writer = random.choice(writers)
        assert writer.add_all([[LedgerEntry(DecisionRow(parts_of(decision), "exploit"), [])]]) == [None]
    for writer in writers:
        writer.close()
    return ledger, decisions


def record_texts(ledger: Ledger, policies: Mapping[str, tuple[CompiledPolicy, Mapping[str, Any]]]) -> None:
    """The texts of policies, by digest, which the gateway records with the first decision under them."""
    with open_for_writing(ledger.path, lock_timeout_s=30) as connection:
        for policy, values in policies.values():
            texts = (
                ("policy", policy, json.dumps(_without_null(values))),
                ("catalog", policy.catalog, policy.catalog.text),
            )
            for kind, named, text in texts:
                row = [named.digest, kind, named.name or "", text]
                connection.execute("INSERT INTO policies VALUES (?, ?, ?, ?, 0)", row)


Counted = Counter[tuple[object, ...]]


def by_classes(
    ledger: Ledger,
    candidate: CompiledPolicy,
    monkeypatch: pytest.MonkeyPatch,
    assume: Sequence[str] = (),
) -> Counted:
    def none(*given: object, only_erased: bool = False) -> None:
        if given[2] is not None and not only_erased:  # nothing was erased of these
            raise AssertionError("decided one by one")

    monkeypatch.setattr(replaying, "group_records", none)
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        chosen = choose(connection, Selection())
        candidates = Candidates(connection, candidate, list(map(parse_assumption, assume)), chosen)
        found = redecided_groups(connection, candidates, chosen)
    return counted(found)


def counted(groups: Sequence[Any]) -> Counted:
    found: Counted = Counter()
    for one in groups:
        found[one.policy_digest, one.before, one.after, one.reason] += one.rows
    return found


def one_by_one(ledger: Ledger, candidate: CompiledPolicy, assume: Sequence[str] = ()) -> Counted:
    grouped = Grouped()
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        chosen = choose(connection, Selection())
        candidates = Candidates(connection, candidate, list(map(parse_assumption, assume)), chosen)
        for part in policy_parts(connection):
            group_records(connection, chosen, part, candidates.again, grouped)
    return counted(grouped.groups())


@st.composite
def stressed(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """A candidate, and what is assumed: nothing, or something of models, quotas and the load that hold together."""
    policy = draw(policies())
    if draw(st.booleans()):
        return policy, []
    factors = st.sampled_from(["*2", "/3", "*0", "*1000000"])
    status = st.sampled_from(["down", "up", "retired"])
    models = sorted(CATALOG["models"])
    texts = [
        f"{id}={draw(status)}" for id in draw(st.lists(st.sampled_from(models), max_size=4, unique=True))
    ]
    if draw(st.integers(0, 3)) == 0:
        texts = [f"{draw(st.sampled_from(sorted(CATALOG['backends'])))}={draw(status)}"]
    for id in draw(st.lists(st.sampled_from(models), max_size=2, unique=True)):
        texts.append(f"latency:{id}{draw(factors | st.just('=400ms'))}")
    for id in draw(st.lists(st.sampled_from(["general", "large", "huge"]), max_size=2, unique=True)):
        texts.append(f"price:{id}{draw(st.sampled_from(['*3', '/1000', '=0,0', '=9,1']))}")
    for control in policy["controls"]:
        if "of" not in control and draw(st.booleans()):
            texts.append(f"quota:{control['name']}{draw(st.sampled_from(['/2', '*3', '*0']))}")
        if control["name"] in ("calls", "money") and draw(st.booleans()):
            texts.append(
                f"quota:{control['name']} used={draw(st.sampled_from(['0%', '50%', '100%', '150%']))}"
            )
    return policy, [*texts, *draw(st.sampled_from([[], ["load=0"], ["load=90%"]]))]


@given(
    few=_policies,
    many=_tasks,
    stressed=stressed(),
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=max(4, EXAMPLES // 12),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_class_comes_out_as_each_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory,
    few: list[dict[str, Any]],
    many: list[tuple[int, Task, State]],
    stressed: tuple[dict[str, Any], list[str]],
    seed: int,
) -> None:
    path, random = tmp_path_factory.mktemp("replay") / "l.duckdb", Random(seed)
    ledger, _ = recorded(path, varied_under(few, many, random, REPLAYED), random)
    candidate, assume = compiled(stressed[0]), stressed[1]
    with pytest.MonkeyPatch.context() as patch:
        found = by_classes(ledger, candidate, patch, assume)
    assert found == one_by_one(ledger, candidate, assume)


_RULE = {"name": "a", "use": ["small", "coder"]}
_STRESSED: list[tuple[dict[str, Any], dict[str, int]]] = [
    (
        {"rules": [_RULE], "constraints": [{"name": "quick", "require": "state.latency_ms < 500.0"}]},
        {"": 2, "latency:small*2": 1, "latency:small=499ms": 3},
    ),
    (
        {"rules": [_RULE | {"choose": "fastest"}]},
        {"": 1, "latency:coder*2": 2, "latency:small*100": 0},
    ),
    (
        {"rules": [_RULE], "controls": [{"name": "calls", "on": "small", "max_requests": 4, "per": "day"}]},
        {"": 3, "quota:calls used=100%": 0},
    ),
    (
        {"rules": [_RULE | {"when": "urgent && state.load > 0.5"}, {"name": "b", "use": ["coder"]}]},
        {"": 0, "load=90%": 1},
    ),
    ({"rules": [_RULE]}, {"small=down": 0, "here=retired": 0}),
]


def test_a_class_has_the_state_of_its_rows_and_what_is_assumed_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"routewright": 1, "name": "random", "catalog": "catalog.yaml", "features": FEATURES}
    coder = ModelState(latency_ms=200)
    many: list[Decided] = [
        (
            base | {"rules": [_RULE], "controls": _STRESSED[2][0]["controls"]},
            Task({"urgent": ms == 300}),
            State(
                AT_US, models={"small": ModelState(latency_ms=ms), "coder": coder}, quota_used={"calls": 2}
            ),
        )
        for ms in (100, 900, 300)
    ]
    ledger, _ = recorded(tmp_path / "l.duckdb", many, Random(1))
    for policy, small in _STRESSED:
        found = {text: _rows_of_small(ledger, compiled(base | policy), text, monkeypatch) for text in small}
        assert found == small


def _rows_of_small(
    ledger: Ledger, candidate: CompiledPolicy, text: str, monkeypatch: pytest.MonkeyPatch
) -> int:
    found = by_classes(ledger, candidate, monkeypatch, [text] if text else [])
    return sum(
        rows
        for (_, _, after, _), rows in found.items()
        if isinstance(after, Came) and after.target == "small"
    )


def test_a_constraint_compares_a_pinned_model_of_no_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {
        "routewright": 1,
        "name": "random",
        "catalog": "catalog.yaml",
        "features": FEATURES,
        "rules": [_RULE],
        "constraints": [{"name": "quick", "require": "state.latency_ms < 500.0"}],
    }
    many: list[Decided] = [
        (policy, Task({}, pin="large"), State(AT_US, models={"large": ModelState(latency_ms=ms)}))
        for ms in (100, 900, None)
    ]
    ledger, _ = recorded(tmp_path / "l.duckdb", many, Random(1))
    found = by_classes(ledger, compiled(policy), monkeypatch)
    assert found == one_by_one(ledger, compiled(policy))
    outcomes = {one.outcome: rows for (_, _, one, _), rows in found.items() if isinstance(one, Came)}
    assert outcomes == {"routed": 1, "no_target": 2}


def test_what_is_used_of_a_quota_is_known_where_it_is_counted_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {
        "routewright": 1,
        "name": "random",
        "catalog": "catalog.yaml",
        "features": FEATURES,
        "rules": [_RULE],
    }

    def limited(**quota: object) -> dict[str, Any]:
        return base | {"controls": [{"name": "calls", "on": "small", "per": "day", **quota}]}

    before = limited(max_requests=10)
    many: list[Decided] = [(before, Task(), State(AT_US, quota_used={"calls": used})) for used in (2, 8, 10)]
    ledger, [first, *_] = recorded(tmp_path / "l.duckdb", many, Random(1))
    record_texts(ledger, {"": (first.policy, before)})
    small: dict[str, int] = {}
    for name, candidate in {
        "fewer": limited(max_requests=5),
        "tokens": limited(max_tokens=5),
        "by hour": limited(max_requests=5, per="hour"),
        "each": limited(max_requests=5, for_each="team"),
        "none": limited(max_tokens=0),
    }.items():
        policy = compiled(candidate)
        assert by_classes(ledger, policy, monkeypatch) == one_by_one(ledger, policy)
        small[name] = _rows_of_small(ledger, policy, "", monkeypatch)
        with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
            notes = replaying.replay(connection, policy, Selection(), with_consequences=False).notes
        assert ("what was used of calls is not known" in " ".join(notes)) is (name != "fewer")
    assert small == {"fewer": 1, "tokens": 3, "by hour": 3, "each": 3, "none": 0}


@pytest.mark.parametrize("knows_declarations", [True, False])
def test_a_whole_number_is_an_integer_however_it_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_declarations: bool
) -> None:
    base = {"routewright": 1, "name": "random", "catalog": "catalog.yaml", "rules": [_RULE]}
    before = base | {"features": {**FEATURES, "score": {"type": "number"}}}
    many: list[Decided] = [
        (before, Task({"score": score, "extra": score}), State(AT_US)) for score in (1.0, 0.7, 3.0, 3, None)
    ]
    ledger, [first, *_] = recorded(tmp_path / "l.duckdb", many, Random(1))
    if knows_declarations:
        record_texts(ledger, {"": (first.policy, before)})
    for name in ("score", "extra"):
        rules = [{"name": "three", "when": f"{name} == 3", "use": ["large"]}, _RULE]
        after = compiled(base | {"features": {name: {"type": "integer"}}, "rules": rules})
        found = by_classes(ledger, after, monkeypatch)
        assert found == one_by_one(ledger, after)
        outcomes = {(one and one.rule, why): rows for (_, _, one, why), rows in found.items()}  # type: ignore[attr-defined]  # a Came
        assert outcomes == {("three", None): 2, ("a", None): 2, (None, "feature_refused"): 1}


def test_rows_for_which_sql_cannot_say_a_condition_are_decided_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"routewright": 1, "name": "random", "catalog": "catalog.yaml", "features": FEATURES}
    teams = ["Ä", "ä", "A", None, None]
    many: list[Decided] = [
        (base | {"rules": [_RULE]}, Task({"team": team, "urgent": urgent}), State(AT_US))
        for urgent in (False, True)
        for team in teams
    ]
    ledger, _ = recorded(tmp_path / "l.duckdb", many, Random(1))
    capital = "matches(team, '\\\\p{Lu}')"
    candidates: list[dict[str, Any]] = [
        {"rules": [{"name": "u", "when": "urgent", "use": ["large"]}, _RULE | {"when": capital}]},
        {"rules": [_RULE], "constraints": [{"name": "c", "require": f"{capital} || model.id == 'coder'"}]},
    ]
    alone = []
    for candidate in candidates:
        policy = compiled(base | candidate)
        assert by_classes(ledger, policy, monkeypatch) == one_by_one(ledger, policy)
        alone.append(decided_rows(ledger, policy))
    # Three teams and those without one that are not urgent; of the others the first rule is sure.
    assert alone == [[1] * 5 + [5], [1] * 10]


def decided_rows(ledger: Ledger, candidate: CompiledPolicy) -> list[int]:
    """How many rows each class of the first policy has."""
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        [part] = policy_parts(connection)
        rows = class_rows(
            connection, candidate, part, Recorded(part.features), choose(connection, Selection())
        )
        return sorted(one.rows for one in rows)


@given(few=_policies, many=_tasks, seed=st.integers(0, 2**32))
@settings(
    max_examples=max(4, EXAMPLES // 12),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_every_decision_is_made_again_by_its_own_policy(
    tmp_path_factory: pytest.TempPathFactory,
    few: list[dict[str, Any]],
    many: list[tuple[int, Task, State]],
    seed: int,
) -> None:
    decided = varied_under(few, many, Random(seed), MADE_AGAIN)
    ledger, decisions = recorded(tmp_path_factory.mktemp("again") / "l.duckdb", decided, Random(seed))
    record_texts(
        ledger,
        {
            one.policy.digest: (one.policy, values)
            for one, (values, *_) in zip(decisions, decided, strict=True)
        },
    )
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        report = decide_again(connection, Selection())
    assert (report.rows, report.differences) == (len(decisions), ())
