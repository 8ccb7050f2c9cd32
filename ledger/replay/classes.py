"""Decides recorded tasks again by classes: rows that a candidate cannot tell apart are found in SQL, and one of each
class is decided by the engine itself.

Policies tell few combinations of facts apart, so a class has many rows, and what is read of each is read by DuckDB.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.decision import (
    NOTHING_KNOWN,
    RULE,
    ModelState,
    State,
    models_of_rule,
)
from routewright.engine.policy import CompiledPolicy

from ..proof.logged import DECISIONS
from .assumed import NOTHING_ASSUMED, AssumedState
from .bound import Recorded
from .class_query import ClassQuery, NotDecidableInSql
from .comparing import facts_as_known, state_as_known, strangers
from .parts import PolicyPart
from .recorded_tasks import ids_of, tasks
from .redeciding import Redecided, redecide
from .selecting import Chosen
from .spans import Spans, SpanState

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROW_GROUPS: Final = "replay_row_groups"
"""The temporary table of the group of each row, as ``ClassRows`` has it: ``row`` (its rowid) and ``group``."""

_GROUPS: Final = "replay_groups"
_KEYED: Final = "replay_keyed_rows"
_MOST_ALONE: Final = 100_000
"""So many rows of a policy may be classes of their own; more are read one after another."""


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
    spans = Spans(policy, pins, assumed, part.table, strangers(policy, recorded.policy))
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
    yield from _decided(connection, policy, part, recorded, states, query.key_columns, spans.columns, assumed)


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


def _decided(
    connection: DuckDBPyConnection,
    policy: CompiledPolicy,
    part: PolicyPart,
    recorded: Recorded,
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
    ids = ids_of(connection, part, [own[2] for found in classes.values() for own in found[1:]])
    facts = facts_as_known(policy, recorded.policy, part.facts)
    for row, id, task, at_us, rest in tasks(connection, part, list(first)):
        key = first[row]
        known = states[spans[key]]
        models = _with_compared(policy, known.models, compared, classes[key][0][4])
        state = State(at_us, models=models, memory=known.memory, **rest)
        state = state_as_known(policy, recorded.policy, state)
        after = redecide(policy, task, state, facts, decision_id=id, assumed=assumed)
        for plan_part, rows, example, other, _ in classes[key]:
            yield ClassRows(example, plan_part, after, rows, ids.get(example, id), other)


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
