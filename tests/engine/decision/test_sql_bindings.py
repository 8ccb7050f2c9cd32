"""Binding features in SQL: DuckDB gives for each recorded task what the binder gives for that task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from support.policy_texts import compiled
from support.sizes import EXAMPLES
from support.sql_rows import values_in_sql

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    MAX_EXACT_INTEGER,
    NUMBER,
    STRING,
    ListType,
    Sizes,
    Type,
    sql_name,
    sql_of,
    sql_text,
)
from routewright.engine.decision import (
    GivenColumn,
    RequestFacts,
    State,
    Task,
    TaskColumns,
    binder_of,
    decide,
    parameters_of,
    sql_of_bindings,
)
from routewright.engine.decision.bind import request_facts, time_facts
from routewright.engine.policy.compiled import CompiledFeature, CompiledPolicy
from routewright.engine.report.errors import FeatureError

FEATURES = """
  urgent: { type: boolean, default: false }
  private: { type: boolean }
  kind: { type: string, enum: [code, "it's"], default: code }
  name: { type: string }
  count: { type: integer, minimum: 0, maximum: 9, default: 3 }
  choice: { type: integer, enum: [1, 2, 5] }
  score: { type: number, minimum: -0.5, maximum: 1, default: 0.5 }
  free: { type: number }
  tags: { type: array, items: string, enum: [a, b, "c'"], default: [a, b] }
  words: { type: array, items: string }
  sizes: { type: array, items: integer, minimum: 0 }
  grades: { type: array, items: number, maximum: 7.5 }
  team: { type: string, from: request.metadata.Team, default: none }
  plan: { type: string, enum: [free, pro], from: request.metadata.plan }
  level: { type: string, enum: [low, high], from: request.metadata.level, on_other: error }
  tokens: { type: integer, from: request.prompt_tokens, maximum: 1000 }
  images: { type: number, from: request.images }
  schema: { type: boolean, from: request.json_schema, default: true }
  hour: { type: integer, from: time.hour, timezone: Europe/Berlin }
  weekday: { type: number, from: time.weekday, timezone: Pacific/Auckland, maximum: 5 }
  evening: { type: integer, from: time.hour, minimum: 12, on_other: error }
"""

RULES = """
rules:
  - { name: a, when: "state.load > 0.5 || state.hour == 3 && state.weekday != 7", use: [small] }
  - { name: b, when: "hour > 20 || team == 'x' || size(tags) > 1 || score > 0.2", use: [small] }
"""

FACTS: Mapping[str, Type] = {
    "prompt_tokens": INTEGER,
    "prompt_tokens_source": STRING,
    "tokenizer": STRING,
    "images": INTEGER,
    "tools": INTEGER,
    "json_schema": BOOLEAN,
}


@cache
def policy() -> CompiledPolicy:
    head = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { mlx: { kind: mlx } }
  models: { small: { backend: mlx } }
features:"""
    return compiled(head + FEATURES + RULES)


class Row(NamedTuple):
    """A recorded task. `features` has what was given; of those in `as_json` the value is a text of JSON."""

    features: Mapping[str, object]
    request: RequestFacts
    at_us: int
    load: float | None


DURING = (17 * 10**14, 18 * 10**14)
"""Three years, in microseconds since 1970."""

_TEXTS = ("code", "it's", "a", "b", "c'", "pro", "low", "other", "x", "", "\0'", "12", "true")
_INTEGERS = (*range(-1, 11), 12, 1001, MAX_EXACT_INTEGER, -MAX_EXACT_INTEGER)
_NUMBERS = (0.0, 0.25, -0.75, 1.0, 1.5, 7.0, 7.5, 2.0**53, 1e300, -1e18, 5e-324, -0.5)
_BY_TYPE: Mapping[Type, tuple[object, ...]] = {
    BOOLEAN: (True, False),
    INTEGER: _INTEGERS,
    NUMBER: _NUMBERS,
    STRING: _TEXTS,
}
_TYPES: tuple[Type, ...] = (*_BY_TYPE, *map(ListType, _BY_TYPE))


def value_of(random: Random, type_: Type) -> object:
    if isinstance(type_, ListType):
        return tuple(value_of(random, type_.element) for _ in range(random.randrange(4)))
    return random.choice(_BY_TYPE[type_])


def random_columns(random: Random) -> dict[str, Type | None]:
    """The type that each feature was recorded with, mostly its own; None for JSON. Some are not recorded at all."""
    own = {one.name: one.declaration.type for one in policy().features if random.random() < 0.9}
    mixed = {name: random.choice([type_, type_, None]) for name, type_ in own.items()}
    return mixed | {name: random.choice(_TYPES) for name in random.sample(list(own), 2)}


def random_row(random: Random, recorded: Mapping[str, Type | None]) -> Row:
    """Most values fit, or every task would be refused."""
    odd = random.choice(list(recorded))
    features: dict[str, object] = {}
    for name, type_ in recorded.items():
        own = policy().features[policy().slots[name]]
        if random.random() < 0.6:
            chosen = type_ or (random.choice(_TYPES) if name == odd else own.declaration.type)
            tried = (value_of(random, chosen) for _ in range(1 if name == odd else 50))
            features[name] = next((one for one in tried if fitting(own, one)), value_of(random, chosen))
            if random.random() < 0.2:
                features[name] = None
    tokens = random.choice([None, 0, 5, 1000, 1500])
    source = None if tokens is None else random.choice(["stated", "counted", "estimated"])
    metadata = {
        name: random.choice(["free", "pro", "low", "x", ""]) for name in ("team", "plan", "level", "session")
    }
    request = RequestFacts(
        prompt_tokens=tokens,
        images=random.choice([None, 0, 2]),
        tools=random.choice([None, 0, 2]),
        json_schema=random.choice([None, True, False]),
        metadata={name: text for name, text in metadata.items() if random.random() < 0.3},
        prompt_tokens_source=source,  # type: ignore[arg-type]  # from a list of names
        tokenizer="qwen3" if source == "counted" else None,
    )
    return Row(features, request, random.randint(*DURING), random.choice([None, 0.0, 0.75]))


def fitting(feature: CompiledFeature, value: object, under: CompiledPolicy | None = None) -> bool:
    task = Task({feature.name: as_json_reads(value)})
    try:
        binder_of(under or policy()).bind(task, State(18 * 3_600_000_000), strict=True)
    except FeatureError:
        return False
    return True


def as_json_reads(value: object) -> object:
    """A recorded value: JSON has one number where Python has 1 and 1.0, and no exact integer beyond 2**53."""
    if isinstance(value, tuple):
        return tuple(map(as_json_reads, value))
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_INTEGER
    return int(value) if whole and isinstance(value, float) else value


def in_doubles(value: object) -> object:
    """The same value as doubles, which DuckDB writes with a fraction even where they are whole."""
    if isinstance(value, tuple):
        return tuple(map(in_doubles, value))
    return float(value) if type(value) is int else value


def bound(row: Row) -> list[object] | str:
    """Values, sources and request of a task, as the engine binds it; or the feature that is refused."""
    features = {name: as_json_reads(value) for name, value in row.features.items()}
    task, state = Task(features, request=row.request), State(row.at_us, load=row.load)
    try:
        found = binder_of(policy()).bind(task, state, strict=True)
    except FeatureError as error:
        assert error.feature is not None
        return error.feature
    request = request_facts(policy(), task, found.values, found.sources)
    parameters = parameters_of(policy(), found.values, state)
    return [*parameters, *found.sources, *(getattr(request, fact) for fact in FACTS)]


def task_columns(recorded: Mapping[str, Type | None]) -> TaskColumns:
    """With operators in the SQL of each, which no precedence may pull apart."""
    return TaskColumns(
        at_us='"at us" + 0',
        features={
            name: GivenColumn(
                f"{sql_name(f'value of {name}')}{'' if type_ else '::JSON'}",
                type_,
                f"{sql_name(f'has {name}')} OR false",
            )
            for name, type_ in recorded.items()
        },
        request={fact: sql_name(fact) for fact in FACTS}
        | {"metadata": "CAST(metadata::JSON AS MAP(VARCHAR, VARCHAR))"},
        load=sql_name("load"),
        during_us=DURING,
    )


def table_of(
    recorded: Mapping[str, Type | None], tasks: list[Row]
) -> tuple[dict[str, Type], list[dict[str, object]]]:
    """The types of columns, and their values for each task."""
    types: dict[str, Type] = {"at us": INTEGER, "load": NUMBER, "metadata": STRING, **FACTS}
    table: list[dict[str, object]] = [
        {
            "at us": row.at_us,
            "load": row.load,
            "metadata": json.dumps(dict(row.request.metadata)),
            **{fact: getattr(row.request, fact) for fact in FACTS},
        }
        for row in tasks
    ]
    for name, type_ in recorded.items():
        types |= {f"value of {name}": STRING if type_ is None else type_, f"has {name}": BOOLEAN}
        for at, (row, cells) in enumerate(zip(tasks, table, strict=True)):
            value = row.features.get(name)
            written = in_doubles(value) if at % 2 else as_json_reads(value)
            text = json.dumps(written, ensure_ascii=False) if name in row.features else None
            cells |= {
                f"value of {name}": text if type_ is None else value,
                f"has {name}": name in row.features,
            }
    return types, table


def in_sql(recorded: Mapping[str, Type | None], tasks: list[Row]) -> list[list[object] | set[str]]:
    """The same from DuckDB, or all features that are refused."""
    bindings = sql_of_bindings(policy(), task_columns(recorded))
    refused = [f"CASE WHEN {sql} THEN {sql_text(name)} END" for name, sql in bindings.refused.items()]
    asked = [
        *bindings.values.values(),
        *bindings.sources.values(),
        *(bindings.request[fact] for fact in FACTS),
    ]
    assert list(bindings.values) == list(policy().parameters)
    found = values_in_sql([*asked, *refused], *table_of(recorded, tasks))
    return [
        {str(name) for name in row[len(asked) :] if name is not None} or list(row[: len(asked)])
        for row in found
    ]


@pytest.mark.parametrize("seed", range(max(6, EXAMPLES // 6)))
def test_bindings_agree_with_the_binder(seed: int) -> None:
    random = Random(seed)
    recorded = random_columns(random)
    tasks = [random_row(random, recorded) for _ in range(60)]
    found = in_sql(recorded, tasks)
    refused = 0
    for row, got in zip(tasks, found, strict=True):
        wanted = bound(row)
        if isinstance(wanted, str):
            assert isinstance(got, set) and wanted in got, (row, wanted, got)
            refused += 1
        else:
            assert repr(got) == repr(wanted), row
    assert 0 < refused < 60


def test_conditions_over_bound_columns_give_the_verdicts_of_decide() -> None:
    random = Random("verdicts")
    recorded: dict[str, Type | None] = {one.name: one.declaration.type for one in policy().features}
    tasks = [
        row for row in (random_row(random, recorded) for _ in range(90)) if not isinstance(bound(row), str)
    ]
    bindings = sql_of_bindings(policy(), task_columns(recorded))
    columns = bindings.columns(policy())
    asked = [sql_of(condition, columns, sizes=policy().sizes) for condition in policy().conditions]
    found = values_in_sql(asked, *table_of(recorded, tasks), bound=bindings.values)
    wanted = [
        decide(
            policy(),
            Task(dict(row.features), request=row.request),
            State(row.at_us, row.load),
            decision_id="d",
        )
        for row in tasks
    ]
    assert found == [decision.verdicts for decision in wanted]
    assert len({decision.verdicts for decision in wanted}) > 3


def test_every_time_is_that_of_the_platform() -> None:
    centuries = (-(2**50), 2**51)
    random = Random("times")
    task = TaskColumns('"at us"', during_us=centuries)
    bindings = sql_of_bindings(policy(), task)
    asked = ["hour", "weekday", "state.hour", "state.weekday"]
    # Berlin goes to summer time at 01:00 UTC on 29 March 2026.
    times = [*centuries, 1_774_746_000_000_000, 1_774_746_000_000_000 - 1, -1, 0]
    times += [random.randint(*centuries) for _ in range(300)]
    found = values_in_sql(
        [bindings.values[name] for name in asked], {"at us": INTEGER}, [{"at us": at} for at in times]
    )
    for at, got in zip(times, found, strict=True):
        there = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at)
        berlin, auckland = (
            there.astimezone(ZoneInfo(zone)) for zone in ("Europe/Berlin", "Pacific/Auckland")
        )
        day = auckland.isoweekday()
        assert got == (berlin.hour, float(day) if day <= 5 else None, *time_facts(at)), there


def test_what_is_too_long_for_the_policy_is_refused() -> None:
    kinds: dict[str, Type] = {"name": STRING, "words": ListType(STRING)}
    task = TaskColumns(
        "0", {name: GivenColumn(name, type_) for name, type_ in kinds.items()}, during_us=DURING
    )
    small = replace(policy(), sizes=Sizes(3, 10))
    rows: list[dict[str, object]] = [
        {"name": "é" * 10, "words": ("a", "b", "c" * 8)},
        {"name": "é" * 11, "words": ("a", "b", "c" * 9)},
        {"name": None, "words": ("", "", "", "")},
    ]
    refused = sql_of_bindings(small, task).refused
    assert set(refused) == {"name", "words", "evening"}
    found = values_in_sql([refused["name"], refused["words"]], kinds, rows)
    assert found == [(False, False), (True, True), (False, True)]
    for row, verdicts in zip(rows, found, strict=True):
        for (name, value), verdict in zip(row.items(), verdicts, strict=True):
            assert verdict == (not fitting(small.features[small.slots[name]], value, small))


def test_values_recorded_under_the_same_policy_are_not_checked_again() -> None:
    for feature in policy().features:
        column = GivenColumn("v", feature.declaration.type, "g", is_checked=True)
        bindings = sql_of_bindings(
            policy(), TaskColumns("t", features={feature.name: column}, during_us=DURING)
        )
        assert bindings.values[feature.name].startswith("(CASE WHEN g THEN v ELSE ")
        assert set(bindings.refused) == {"evening"}
