"""Writes as SQL what `Binder` does for one task: the value of each feature, its source, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from ...condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    SOURCES,
    STRING,
    SqlColumn,
    Type,
    sql_name,
    sql_operand,
    sql_text,
    sql_value,
)
from ...policy import MAX_EXACT, CompiledFeature, CompiledPolicy
from .times import hour_in, weekday_in
from .values import converted, fits

_TIMES: Final[Mapping[str, Callable[..., str]]] = {"hour": hour_in, "weekday": weekday_in}

_STATE: Final = {"state.hour": hour_in, "state.weekday": weekday_in}


@dataclass(frozen=True, slots=True)
class GivenColumn:
    """Where the values are that tasks gave for a feature.

    `sql` is cheap enough to be repeated; `type` is the type of its values, None for JSON. `given` says for which rows
    the task gave the feature, and is never NULL; a value that is NULL there was given as null. `is_checked` says that
    every value fits the policy's declaration, as those recorded under this very policy do.
    """

    sql: str
    type: Type | None
    given: str = "true"
    is_checked: bool = False


@dataclass(frozen=True, slots=True)
class TaskColumns:
    """Where the tasks are. What is left out is not known of any of them.

    `features` has columns by the names of features; `request` SQL for `prompt_tokens`, `prompt_tokens_source`,
    `tokenizer`, `messages`, `images`, `tools`, `json_schema` and `metadata` (a MAP of texts). `at_us` is the time of
    the decision, `during_us` the first and the last of them; `load` the state's load.
    """

    at_us: str
    features: Mapping[str, GivenColumn] = field(default_factory=dict)
    request: Mapping[str, str] = field(default_factory=dict)
    load: str = "CAST(NULL AS DOUBLE)"
    during_us: tuple[int, int] = (-MAX_EXACT, MAX_EXACT)


class Bindings(NamedTuple):
    """SQL for what a policy's conditions need, each to be a column of an inner select, so that it is computed once.

    `values` are in the order of the policy's parameters, NULL where unknown. `sources` are `given`, `derived`,
    `default` and `unknown`. `refused` is, by feature, for which rows `decide` raises FeatureError; features that no
    value of which can be refused are left out. `request` has the facts that gates go by, as `request_facts` makes them.
    """

    values: dict[str, str]
    sources: dict[str, str]
    refused: dict[str, str]
    request: dict[str, str]

    def columns(self, policy: CompiledPolicy) -> dict[str, SqlColumn]:
        """The columns of the inner select for `sql_of`, each called as its parameter."""
        return {name: SqlColumn(sql_name(name), policy.scope[name].type) for name in self.values}


def sql_of_bindings(policy: CompiledPolicy, task: TaskColumns) -> Bindings:
    """Return the SQL that binds recorded tasks to `policy`; features that it does not declare are ignored."""
    task = replace(
        task,
        at_us=sql_operand(task.at_us),
        features={
            name: replace(column, sql=sql_operand(column.sql), given=sql_operand(column.given))
            for name, column in task.features.items()
        },
        request={name: sql_operand(sql) for name, sql in task.request.items()},
    )
    values, sources, refused = dict[str, str](), dict[str, str](), dict[str, str]()
    for feature in policy.features:
        bound = _bound(policy, feature, task)
        values[feature.name], sources[feature.name] = bound.value, bound.source
        if bound.refused is not None:
            refused[feature.name] = bound.refused
    for name in policy.parameters[len(policy.features) :]:
        time = _STATE.get(name)
        values[name] = task.load if time is None else time(task.at_us, None, task.during_us)
    return Bindings(values, sources, refused, _request(policy, task))


class _Bound(NamedTuple):
    value: str
    source: str
    refused: str | None


def _bound(policy: CompiledPolicy, feature: CompiledFeature, task: TaskColumns) -> _Bound:
    type_ = feature.declaration.type
    has_default = feature.default is not None
    value = sql_value(feature.default, type_)
    source = sql_text("default" if has_default else "unknown")
    refused: list[str] = []
    if (derived := _derived(feature, task)) is not None:
        made, test = _made(policy, feature, derived, _fact_type(feature), is_checked=False)
        known = f"({derived} IS NOT NULL)"
        if feature.derived is not None and feature.derived.fact in _TIMES:  # no task is without a time
            value, source, known = made, sql_text("derived"), "true"
        else:
            value = f"(CASE WHEN {known} THEN {made} ELSE {value} END)"
            source = f"(CASE WHEN {known} THEN 'derived' ELSE {source} END)"
        if feature.refuses_other and test is not None:
            refused.append(f"({known} AND (NOT coalesce({test}, false)))")
    if (column := task.features.get(feature.name)) is not None:
        made, test = _made(policy, feature, column.sql, column.type, is_checked=column.is_checked)
        value = f"(CASE WHEN {column.given} THEN {made} ELSE {value} END)"
        source = f"(CASE WHEN {column.given} THEN 'given' ELSE {source} END)"
        refused = [f"((NOT {column.given}) AND {one})" for one in refused]
        if test is not None:
            there = _is_there(column)
            refused.append(f"({column.given} AND {there} AND (NOT coalesce({test}, false)))")
    return _Bound(value, source, f"({' OR '.join(refused)})" if refused else None)


def _is_there(column: GivenColumn) -> str:
    if column.type is not None:
        return f"({column.sql} IS NOT NULL)"
    return f"(coalesce(json_type({column.sql}), 'NULL') <> 'NULL')"


def _made(
    policy: CompiledPolicy, feature: CompiledFeature, sql: str, given: Type | None, *, is_checked: bool
) -> tuple[str, str | None]:
    """SQL for the feature's value, NULL where `sql` has one that is not allowed; and for whether it is allowed."""
    made = converted(sql, given, feature.declaration.type)
    if is_checked:
        return made, None
    is_metadata = feature.derived is not None and feature.derived.fact == "metadata"
    test = fits(made, feature, policy.sizes, measured=not is_metadata)
    if test is None:
        return made, None if made == sql else f"({made} IS NOT NULL)"
    return f"(CASE WHEN {test} THEN {made} END)", test


def _fact_type(feature: CompiledFeature) -> Type:
    assert feature.derived is not None
    group = "time" if feature.derived.fact in _TIMES else "request"
    return SOURCES.get(f"{group}.{feature.derived.fact}", STRING)


def _derived(feature: CompiledFeature, task: TaskColumns) -> str | None:
    """SQL for the fact that a feature is derived from; None where there is none."""
    if feature.derived is None:
        return None
    fact, key = feature.derived.fact, feature.derived.key
    if (time := _TIMES.get(fact)) is not None:
        return time(task.at_us, feature.derived.zone, task.during_us)
    known = task.request.get(fact)
    return f"{known}[{sql_text(key or '')}]" if known is not None and fact == "metadata" else known


# -- the request -------------------------------------------------------------------------------------------

_COUNTS: Final = ("prompt_tokens", "images", "tools")


def _request(policy: CompiledPolicy, task: TaskColumns) -> dict[str, str]:
    """What is known of the request: its own facts, and what given features say of it. The larger counts."""
    facts = {
        **dict.fromkeys(_COUNTS, sql_value(None, INTEGER)),
        "json_schema": sql_value(None, BOOLEAN),
        **dict.fromkeys(("prompt_tokens_source", "tokenizer"), sql_value(None, STRING)),
        **task.request,
    }
    said = {
        fact: [_said(policy.features[slot], task) for slot, of in policy.stated if of == fact]
        for fact in facts
    }
    own = dict(facts)
    for fact, stated in said.items():
        if not (texts := [one for one in stated if one is not None]):
            continue
        if fact == "json_schema":
            joined = " OR ".join(f"coalesce({one}, false)" for one in (*texts, own[fact]))
        else:
            joined = f"greatest(coalesce({own[fact]}, 0), {', '.join(texts)})"
        anyone = " OR ".join(f"({one} IS NOT NULL)" for one in texts)
        facts[fact] = f"(CASE WHEN {anyone} THEN ({joined}) ELSE {own[fact]} END)"
        if fact == "prompt_tokens":
            # What was counted or estimated is no more than that: the caller's word counts.
            source = f"coalesce({own['prompt_tokens_source']}, CASE WHEN {anyone} THEN 'stated' END)"
            word = f"(coalesce(greatest({', '.join(texts)}), -1) >= coalesce({own[fact]}, 0))"
            facts["prompt_tokens_source"] = f"(CASE WHEN {word} THEN 'stated' ELSE {source} END)"
            facts["tokenizer"] = f"(CASE WHEN NOT {word} THEN {own['tokenizer']} END)"
    return facts


def _said(feature: CompiledFeature, task: TaskColumns) -> str | None:
    """What a feature that a task gives says of its request; NULL where it says nothing."""
    column = task.features.get(feature.name)
    if column is None:
        return None
    value = (
        f"(CASE WHEN {column.given} THEN {converted(column.sql, column.type, feature.declaration.type)} END)"
    )
    if feature.declaration.type != NUMBER:
        return value
    whole = f"CAST(least(greatest(ceil({value}), (-1e0)), {MAX_EXACT}e0) AS BIGINT)"
    return f"(CASE WHEN {value} IS NOT NULL THEN {whole} END)"
