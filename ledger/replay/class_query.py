"""Writes the statement that finds the classes of recorded rows: bindings, conditions, states and the parts of a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

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
    RULE,
    KeyPart,
    compared_models,
    condition_column,
    feature_column,
    key_parts,
    length_columns,
    plan_models,
    points,
    quota_column,
    request_columns,
    require_column,
    rule_sql,
)
from routewright.engine.policy import CompiledPolicy

from .assumed import NOTHING_ASSUMED, AssumedState
from .bound import Recorded, bindings, session, unsaid
from .comparing import counted_alike
from .parts import PolicyPart
from .redeciding import draw_sql, undeclared
from .spans import SPANS, Spans, state_column

if TYPE_CHECKING:
    pass

_PACKED: Final = 2**62
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
        self._counted_alike = counted_alike(policy, recorded.policy)
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
        for position, at in compared_models(self._policy, self._pins):
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
        """What was used of a quota; nobody knows it of one that the recorded policy lacks or counts otherwise."""
        if name in self._assumed.quota_used:
            return f"{self._assumed.quota_used[name]}::BIGINT"
        if name not in self._part.quotas or name not in self._counted_alike:
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
