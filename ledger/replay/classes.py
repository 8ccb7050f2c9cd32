"""Decides recorded tasks again by classes: rows that a candidate cannot tell apart are found in SQL, and one of each
class is decided by the engine itself.

Policies tell few combinations of facts apart, so a class has many rows, and what is read of each is read by DuckDB.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    CheckedExpr,
    SqlColumn,
    sql_value,
    sql_within,
)
from routewright.engine.decision import (
    NOTHING_KNOWN,
    RULE,
    KeyPart,
    ModelState,
    RequestFacts,
    State,
    Task,
    compared_models,
    condition_column,
    feature_column,
    key_parts,
    length_columns,
    models_of_rule,
    plan_models,
    points,
    quota_column,
    request_columns,
    require_column,
    rule_sql,
)
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import REQUEST_FIELDS

from ..proof.logged import DECISIONS
from .assumed import NOTHING_ASSUMED, AssumedState
from .bound import Recorded, bindings, session, unsaid
from .parts import PolicyPart
from .redeciding import Redecided, draw_sql, redecide, undeclared
from .selecting import Chosen
from .spans import SPANS, Spans, SpanState, state_column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROW_GROUPS: Final = "replay_row_groups"
"""The temporary table of the group of each row, as ``ClassRows`` has it: ``row`` (its rowid) and ``group``."""

_GROUPS: Final = "replay_groups"
_KEYED: Final = "replay_keyed_rows"
_PACKED: Final = 2**62
_MOST_ALONE: Final = 100_000
"""So many rows of a policy may be classes of their own; more are read one after another."""
_REQUEST: Final = (
    "prompt_tokens",
    "prompt_tokens_source",
    "tokenizer",
    "max_output_tokens",
    "images",
    "tools",
    "json_schema",
)


class NotDecidableInSql(Exception):
    """Rows of one policy that have to be decided one by one."""


class ClassRows(NamedTuple):
    """Rows of one class that were recorded with one plan: the number of the group, that of the plan's part, how many
    rows, an example's id, and of how many the recorded verdicts are not those of the candidate (0 unless that was asked
    for)."""

    group: int
    plan_part: int
    after: Redecided
    rows: int
    example: str
    other_verdicts: int


def class_rows(
    connection: DuckDBPyConnection,
    policy: CompiledPolicy,
    part: PolicyPart,
    recorded: Recorded,
    chosen: Chosen,
    *,
    assumed: AssumedState = NOTHING_ASSUMED,
    compare_verdicts: bool = False,
    keep_rows: bool = False,
) -> Iterator[ClassRows]:
    """What ``policy`` decides of the chosen rows that were recorded under ``part``, but for those with an erased value.

    Rows for which SQL cannot say a condition are classes of their own. With ``keep_rows`` the table ``ROW_GROUPS`` then
    has the group of each row. Raises NotDecidableInSql where there are too many such rows, or where SQL cannot say the
    verdicts that are to be compared.
    """
    # One level and no subquery: through a filter below, DuckDB 2.0 reads whole features, not the fields asked for.
    # Nothing is ever erased of what was imported.
    whole = "AND (d.erased IS NULL)" if part.table == DECISIONS.table else ""
    source = f"{part.table} AS d WHERE (d.policy_part = {part.part}) {whole} AND {chosen.where}"
    pins = [
        pin
        for (pin,) in connection.execute(
            f"SELECT DISTINCT d.pin FROM {source} AND d.pin IS NOT NULL ORDER BY d.pin", chosen.parameters
        ).fetchall()
    ]
    spans = Spans(policy, pins, assumed, part.table)
    states = spans.make(connection)
    during_us = _during(connection, source, chosen)
    query = ClassQuery(
        policy, part, recorded, spans, pins, during_us, assumed=assumed, compare_verdicts=compare_verdicts
    )
    if keep_rows:
        _keep_rows(connection, query, source, chosen)
    else:
        grouped = query.grouped(query.keyed(source))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_GROUPS} AS {grouped}", chosen.parameters)
    if query.alone is not None:
        [(alone,)] = connection.execute(f"SELECT count({query.alone}) FROM {_GROUPS}").fetchall()
        if alone > _MOST_ALONE:
            raise NotDecidableInSql(f"SQL cannot say the conditions for {alone} rows")
    yield from _decided(connection, policy, part, states, query.key_columns, spans.columns, assumed)


def _keep_rows(connection: DuckDBPyConnection, query: ClassQuery, source: str, chosen: Chosen) -> None:
    """Make ``ROW_GROUPS`` too. Keys are dear to compute, and are computed once."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_KEYED} AS {query.keyed(source)}", chosen.parameters)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_GROUPS} AS {query.grouped(f'FROM {_KEYED}')}")
    same = " AND ".join(
        f"(k.{name} IS NOT DISTINCT FROM g.{name})" for name in [*query.key_columns, "plan_part"]
    )
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE {ROW_GROUPS} AS SELECT k.row, g.example AS "group" '
        f"FROM {_KEYED} AS k JOIN {_GROUPS} AS g ON {same}"
    )
    connection.execute(f"DROP TABLE {_KEYED}")


def _during(connection: DuckDBPyConnection, source: str, chosen: Chosen) -> tuple[int, int]:
    """The first and the last time of the rows of ``source``."""
    [(first, last)] = connection.execute(
        f"SELECT min(d.at_us), max(d.at_us) FROM {source}", chosen.parameters
    ).fetchall()
    return (first or 0, last or 0)


class ClassQuery:
    """The statement that finds the classes of one recorded policy's rows."""

    def __init__(
        self,
        policy: CompiledPolicy,
        part: PolicyPart,
        recorded: Recorded,
        spans: Spans,
        pins: Sequence[str],
        during_us: tuple[int, int],
        *,
        assumed: AssumedState = NOTHING_ASSUMED,
        compare_verdicts: bool = False,
    ) -> None:
        self._assumed = assumed
        self._policy, self._part, self._spans, self._pins = policy, part, spans, pins
        self._recorded, self._bound = recorded, bindings(policy, recorded, during_us, assumed.load)
        self._lacked = [
            (slot, feature)
            for slot, feature in enumerate(policy.features)
            if feature.name in undeclared(policy, part.facts)
        ]
        self._compare_verdicts = compare_verdicts
        columns = self._names()
        self._unsure: list[str] = []
        self._conditions = [
            self._sql(condition, columns, self._is_asked(position))
            for position, condition in enumerate(policy.conditions)
        ]
        self._requires = list(self._require_columns())
        # Conditions of rules are columns only where more than the rule that matched is asked of them.
        first = 0 if compare_verdicts else len(policy.rules)
        self._read = set(range(first, len(policy.conditions)))
        self._packed, self._open = _packed([*key_parts(policy, pins), *self._own_parts()])
        # The last part of the key, if there is any such row.
        self.alone = f"k{len(self._packed) + len(self._open) - 1}" if self._unsure else None
        self.key_columns = [f"k{number}" for number in range(len(self._packed) + len(self._open))] + ["span"]

    def keyed(self, source: str) -> str:
        """The rows of ``source`` with the columns of their class's key, ``row`` and ``plan_part``."""
        bound = [(feature_column(slot), sql) for slot, sql in enumerate(self._bound.values.values())]
        bound += [(f"misfit_{at}", sql) for at, sql in enumerate(self._bound.refused.values())]
        bound += [(f"unsaid_{slot}", unsaid(self._recorded, one.name)) for slot, one in self._lacked]
        asked = [(name, self._bound.request[name]) for name in _REQUEST]
        if self._policy.is_sticky:
            asked.append(("session", session()))
        facts = _listed(asked)
        quotas = _listed(
            (quota_column(at), self._quota(quota.name)) for at, quota in enumerate(self._policy.quotas)
        )
        state = "".join(f", s.{state_column(*one)}" for one in self._spans.columns)
        compared = "".join(f", {state_column(*one)}" for one in self._spans.columns)
        verdicts = ", verdicts" if self._compare_verdicts else ""
        keyed = _listed((f"k{number}", sql) for number, sql in enumerate([*self._packed, *self._open]))
        other = f"(verdicts <> {self._verdict_letters()})::INTEGER" if self._compare_verdicts else "0"
        rule = rule_sql(self._policy, self._conditions[: len(self._policy.rules)])
        judged = _listed((condition_column(at), self._conditions[at]) for at in sorted(self._read))
        requires, request = _listed(self._requires), _listed(request_columns(self._policy))
        lengths = _listed(length_columns(self._policy, plan_models(self._policy, self._pins)))
        return f"""
        WITH facts AS (
            SELECT d.rowid AS row, d.writer, d.entry, d.plan_part, d.operation, d.pin, {draw_sql("d")} AS draw,
                d.session_model{verdicts}{quotas}{_listed(bound)}{facts}
            FROM {source}
        ),
        judged AS (SELECT *, {rule} AS {RULE}{judged}{request} FROM facts),
        -- Joined when the texts have been compared: DuckDB compares those that it reads several times as fast.
        stated AS (SELECT d.*, s.span{state} FROM judged AS d JOIN {SPANS} AS s ON {self._spans.joined("d", "s")}),
        placed AS (SELECT *{_listed(points(self._policy))}{lengths}{requires} FROM stated)
        SELECT row, plan_part, pin, {RULE}, span{keyed}, {other} AS other{compared} FROM placed
        """

    def grouped(self, keyed: str) -> str:
        """The classes of ``keyed``: key, plan, number of rows, one of them, how many have other verdicts, and what the
        one row's state says of models that constraints compare."""
        keys = ", ".join(self.key_columns)
        columns = [state_column(*one) for one in self._spans.columns]
        compared = f"arg_min(({', '.join(columns)},), row)" if columns else "NULL"
        return f"""
        SELECT {keys}, any_value({RULE}) AS {RULE}, any_value(pin) AS pin, plan_part, count(*) AS rows,
            min(row) AS example, sum(other)::BIGINT AS other, {compared} AS compared
        FROM ({keyed}) GROUP BY {keys}, plan_part
        """

    def _require_columns(self) -> Iterator[tuple[str, str]]:
        for position, at in compared_models(self._policy):
            constraint, columns = self._policy.constraints[position], self._names()
            for name in constraint.model_names:
                columns[name] = self._candidate_column(name, at)
            yield require_column(position, at), self._sql(constraint.require, columns, "true")

    def _names(self) -> dict[str, SqlColumn]:
        """Where the values of the names are that every condition may use."""
        scope = self._policy.scope
        return {
            name: SqlColumn(feature_column(slot), scope[name].type)
            for slot, name in enumerate(self._policy.parameters)
        }

    def _candidate_column(self, name: str, at: int) -> SqlColumn:
        """Where the value of a name is that a constraint may use of a model."""
        of_state = {"state.latency_ms": NUMBER, "state.loaded": BOOLEAN, "state.load_ms": INTEGER}.get(name)
        if of_state is not None:
            sql = state_column(at, name.removeprefix("state."))
            assumed = self._assumed.models.get(self._policy.catalog.models[at].id)
            if assumed is not None and name == "state.latency_ms":
                sql = assumed.latency_sql(sql)
            return SqlColumn(sql, of_state)
        kind = self._policy.catalog.scope[name].type
        return SqlColumn(sql_value(self._policy.catalog.models[at].facts.get(name), kind), kind)

    def _is_asked(self, position: int) -> str:
        """For which rows the condition at ``position`` makes a difference: those that no rule before it has matched."""
        if position >= len(self._policy.rules):
            return "true"
        return f"({RULE} = 0 OR {RULE} > {2 * position})"

    def _sql(self, condition: CheckedExpr, columns: Mapping[str, SqlColumn], asked: str) -> str:
        found = sql_within(condition, columns, sizes=self._policy.sizes)
        if found.holds != "true":
            if self._compare_verdicts:
                raise NotDecidableInSql("SQL cannot say the verdicts of all rules")
            self._unsure.append(f"({asked} AND (NOT {found.holds}))")
        return found.value

    def _quota(self, name: str) -> str:
        """What was used of a quota; nobody knows it of one that the recorded policy did not have."""
        if name in self._assumed.quota_used:
            return f"{self._assumed.quota_used[name]}::BIGINT"
        if name not in self._part.quotas:
            return "NULL::BIGINT"
        return f"d.quota_used[{self._part.quotas.index(name) + 1}]"

    def _own_parts(self) -> Iterator[KeyPart]:
        """What tells apart rows that cannot be decided, or for which the record lacks something."""
        if self._bound.refused:
            count = len(self._bound.refused)
            cases = " ".join(f"WHEN misfit_{at} THEN {at + 1}" for at in range(count))
            yield KeyPart("misfit", f"(CASE {cases} ELSE 0 END)", count + 1)
        for slot, _ in self._lacked:
            yield KeyPart(f"lacks_{slot}", f"unsaid_{slot}::INTEGER", 2)
        lacked = {feature.name for _, feature in self._lacked}
        for position, condition in enumerate(self._policy.conditions):
            if not lacked.isdisjoint(condition.names):
                self._read.add(position)
                yield KeyPart(f"open_{position}", f"({condition_column(position)} IS NULL)::INTEGER", 2)
        if self._unsure:
            yield KeyPart("alone", f"(CASE WHEN {' OR '.join(self._unsure)} THEN row END)", None)

    def _verdict_letters(self) -> str:
        """The verdicts of the rules as a row holds them."""
        letters = [
            f"(CASE WHEN {column} THEN 't' WHEN {column} IS NULL THEN 'u' ELSE 'f' END)"
            for column in (condition_column(rule.index) for rule in self._policy.rules)
        ]
        return f"({' || '.join(letters)})" if letters else "''"


def _decided(
    connection: DuckDBPyConnection,
    policy: CompiledPolicy,
    part: PolicyPart,
    states: Mapping[int, SpanState],
    key_columns: Sequence[str],
    compared: Sequence[tuple[int, str]],
    assumed: AssumedState,
) -> Iterator[ClassRows]:
    """One row of each class decided by the engine, for all of its rows."""
    classes: dict[tuple[Any, ...], list[tuple[int, int, int, int, Any]]] = {}
    spans: dict[tuple[Any, ...], int] = {}
    state_of = _StatesOfRules(policy, states)
    keys = ", ".join(one for one in key_columns if one != "span")
    result = connection.execute(
        f"SELECT plan_part, rows, example, other, compared, span, {RULE}, pin, {keys} FROM {_GROUPS}"
    )
    for *own, span, rule, pin, in_key in ((*row[:8], row[8:]) for row in result.fetchall()):
        key = (in_key, pin, span if pin is not None else state_of(span, rule))
        classes.setdefault(key, []).append(tuple(own))
        spans.setdefault(key, span)
    first = {found[0][2]: key for key, found in classes.items()}
    # Where a class was recorded with several plans, each has an example of its own.
    ids = _ids(connection, part, [own[2] for found in classes.values() for own in found[1:]])
    facts = part.facts
    for row, id, task, at_us, rest in tasks(connection, policy, part, list(first)):
        key = first[row]
        known = states[spans[key]]
        models = _with_compared(policy, known.models, compared, classes[key][0][4])
        state = State(at_us, models=models, memory=known.memory, **rest)
        after = redecide(policy, task, state, facts, decision_id=id, assumed=assumed)
        for plan_part, rows, example, other, _ in classes[key]:
            yield ClassRows(example, plan_part, after, rows, ids.get(example, id), other)


def _ids(connection: DuckDBPyConnection, part: PolicyPart, rows: Sequence[int]) -> dict[int, str]:
    if not rows:
        return {}
    result = connection.execute(
        f"""
        SELECT d.rowid, d.decision_id::VARCHAR
        FROM {part.table} AS d JOIN (SELECT unnest(?::BIGINT[]) AS row) AS e ON (d.rowid = e.row)
        """,
        [rows],
    )
    return dict(result.fetchall())


class _StatesOfRules:
    """Numbers states by what the models of one rule have in them: the others change nothing for its rows."""

    def __init__(self, policy: CompiledPolicy, states: Mapping[int, SpanState]) -> None:
        self._policy, self._states = policy, states
        self._found: dict[tuple[int, int], Hashable] = {}

    def __call__(self, span: int, rule: int) -> Hashable:
        """What tells the state ``span`` from others for the rows of a rule, whose number is as in ``RULE``."""
        found = self._found.get((span, rule))
        if found is None:
            found = self._found[span, rule] = self._of(span, rule)
        return found

    def _of(self, span: int, code: int) -> Hashable:
        if code == 0 or code % 2 == 0:
            return ()  # no rule, or an unknown one: no plan is made
        rule = self._policy.rules[code // 2]
        if rule.choose == "fastest":
            return span  # which is told apart by what is compared, too
        models = [self._policy.catalog.models[at] for at in sorted(models_of_rule(rule))]
        state = self._states[span]
        known = tuple(state.models.get(model.id) for model in models)
        return (
            known,
            tuple((id, state.memory.get(id)) for id in sorted({model.backend for model in models})),
        )


def _with_compared(
    policy: CompiledPolicy,
    models: Mapping[str, ModelState],
    compared: Sequence[tuple[int, str]],
    values: Sequence[Any] | None,
) -> Mapping[str, ModelState]:
    """The states of models with what was known of those that constraints compare, which one span does not tell."""
    of_row = dict(models)
    for (at, name), value in zip(compared, values or (), strict=bool(compared)):
        id = policy.catalog.models[at].id
        known = of_row.get(id, NOTHING_KNOWN)
        if getattr(known, name) != value:
            of_row[id] = replace(known, **{name: value})
    return of_row


def tasks(
    connection: DuckDBPyConnection, policy: CompiledPolicy, part: PolicyPart, rows: Sequence[int]
) -> Iterator[tuple[int, str, Task, int, dict[str, Any]]]:
    """The tasks of rows, with their ids and what beside models was known of the state."""
    result = connection.execute(
        f"""
        SELECT d.rowid, d.decision_id::VARCHAR, d.at_us, d.operation, d.pin, d.draw, d.request, d.sources,
            d.features::JSON::VARCHAR, d.ignored, d.load, d.quota_used, d.session_model
        FROM {part.table} AS d JOIN (SELECT unnest(?::BIGINT[]) AS row) AS e ON (d.rowid = e.row)
        """,
        [rows],
    )
    names = {quota.name for quota in policy.quotas}
    for (
        row,
        id,
        at_us,
        operation,
        pin,
        draw,
        request,
        sources,
        text,
        ignored,
        load,
        used,
        session_model,
    ) in result.fetchall():
        values = json.loads(text, parse_int=whole_number) if text is not None else {}
        given = [name for name, letter in zip(part.features, sources, strict=True) if letter == "g"]
        features = {name: as_value(values.get(name)) for name in (*given, *(ignored or ()))}
        facts = (
            RequestFacts()
            if request is None
            else RequestFacts(**{name: request[name] for name in REQUEST_FIELDS})
        )
        quota_used = {
            name: one
            for name, one in zip(part.quotas, used or (), strict=False)
            if one is not None and name in names
        }
        state = {"load": load, "quota_used": quota_used, "session_model": session_model}
        yield row, id, Task(features, operation, facts, pin, draw), at_us, state


def whole_number(text: str) -> int | float:
    """No record has an integer that is not exact as a number; a number may have come without its fraction."""
    whole = int(text)
    return whole if abs(whole) < 2**53 else float(text)


def as_value(value: Any) -> Any:
    """A value as tasks have it: arrays are tuples."""
    return tuple(map(as_value, value)) if isinstance(value, list) else value


def _packed(parts: Sequence[KeyPart]) -> tuple[list[str], list[str]]:
    """Parts of a key put together into as few numbers of 62 bits as there have to be, and those that are no numbers."""
    packed: list[str] = []
    size, terms = 1, list[str]()
    for part in parts:
        if part.values is None:
            continue
        if size * part.values > _PACKED:
            packed.append(f"({' + '.join(terms)})")
            size, terms = 1, []
        terms.append(f"{size}::BIGINT * {part.sql}")
        size *= part.values
    if terms:
        packed.append(f"({' + '.join(terms)})")
    return packed, [part.sql for part in parts if part.values is None]


def _listed(columns: Any) -> str:
    return "".join(f",\n            {sql} AS {name}" for name, sql in columns)
