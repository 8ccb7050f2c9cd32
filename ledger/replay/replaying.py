"""Replays a ledger: decides its tasks again under a candidate, and counts what comes out otherwise."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from routewright.engine.decision import State, Task
from routewright.engine.policy import CompiledPolicy, differences_text
from routewright.engine.record import Record, state_of, task_of
from routewright.engine.report import RecordError

from .actions import Choice, choice_of, choice_of_decision
from .assumed import NOTHING_ASSUMED, AssumedState
from .bound import Recorded
from .classes import NotDecidableInSql, class_rows
from .consequences import NOT_ASKED, consequences
from .each import facts_of, group_records
from .examples import Examples, RecordedPolicies
from .groups import Came, Group, Grouped
from .other_arms import OtherArms
from .parts import PolicyPart, policy_parts, recorded_policy
from .redeciding import Facts, Redecided, redecide
from .report import Replayed, ReplayReport, report_of
from .row_tables import RowTables
from .selecting import Selection, choose, why_none

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def replay(
    connection: DuckDBPyConnection,
    candidate: CompiledPolicy,
    selection: Selection,
    *,
    assumed: AssumedState,
    examples: int,
    with_consequences: bool = True,
) -> ReplayReport:
    """The report on what ``candidate`` would have made of the selected decisions. See ``Ledger.replay``."""
    began = time.monotonic()
    rows = RowTables(connection) if with_consequences else None
    groups = redecided_groups(connection, candidate, selection, assumed, rows)
    found = NOT_ASKED if rows is None else consequences(connection, rows)

    def again(record: Record) -> Redecided:
        task, state, facts = task_of(record), state_of(record), facts_of(record)
        return redecide(candidate, task, state, facts, decision_id=record.id, assumed=assumed)

    policies = lru_cache(maxsize=64)(partial(recorded_policy, connection))
    of = Replayed(
        candidate=(candidate.name, candidate.digest),
        names=_names(connection),
        selection=selection,
        period=choose(connection, selection).period(connection),
        differences=_differences(connection, candidate, groups, policies),
        notes=[
            *_notes(candidate, groups),
            *(() if rows is None else rows.notes),
            *(why_none(connection, selection) if not groups else ()),
        ],
        examples=Examples(connection, policies, again, examples),
        consequences=found,
    )
    return report_of(groups, of, began)


def _differences(
    connection: DuckDBPyConnection,
    candidate: CompiledPolicy,
    groups: Sequence[Group],
    policies: RecordedPolicies,
) -> tuple[str, ...]:
    """What the candidate does to the promises of the recorded policy with the most rows."""
    rows = Counter[str]()
    for group in groups:
        rows[group.policy_digest or ""] += group.rows
    catalogs = {part.digest: part.catalog_digest for part in policy_parts(connection)}
    for digest, _ in rows.most_common(1):
        if digest in catalogs:
            try:
                return tuple(differences_text(policies(digest, catalogs[digest]), candidate))
            except RecordError as error:
                return (f"is not compared: {error}",)
    return ()


def _names(connection: DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute("SELECT digest, name FROM policies WHERE kind = 'policy'").fetchall()
    return {str(digest): str(name) for digest, name in rows}


def _notes(candidate: CompiledPolicy, groups: Sequence[Group]) -> Iterator[str]:
    """What a reader has to know of how the tasks were decided again."""
    others = {group.policy_digest for group in groups} - {candidate.digest}
    if candidate.quotas and others:
        names = ", ".join(quota.name for quota in candidate.quotas)
        yield f"what was used of quotas is as it was recorded, and is not counted anew: {names}"
    if candidate.is_sticky and others:
        yield "conversations stay where they were recorded to be; those that would have moved are not followed"
    if candidate.limits.cache_ttl_ms is not None:
        yield "the cache is not simulated: every task is decided as if its answer had to be asked for"
    if candidate.splits:
        yield "where no draw was recorded, one made of the decision's id says where a split of the candidate sends it"
    if candidate.rollout is not None:
        yield "the candidate's own rollout is left out: all tasks are decided by the candidate itself"


def redecided_groups(
    connection: DuckDBPyConnection,
    candidate: CompiledPolicy,
    selection: Selection,
    assumed: AssumedState = NOTHING_ASSUMED,
    rows: RowTables | None = None,
) -> list[Group]:
    """What ``candidate`` decides of the selected rows, those alike together; each row is noted in ``rows``."""
    chosen, grouped, plans = choose(connection, selection), Grouped(), _Plans(connection)
    parts = policy_parts(connection)
    others = OtherArms(connection, parts)

    def one_by_one(id: str, task: Task, state: State, facts: Facts) -> Redecided:
        return redecide(candidate, task, state, facts, decision_id=id, assumed=assumed)

    def note(record: Record, after: Redecided) -> None:
        if rows is not None and after.decision is not None:
            others.note_record(record, after.decision, rows)

    for part in parts:
        recorded = _recorded(connection, part)
        try:
            if rows is not None:
                others.note(chosen, part, recorded, rows)
            for one in class_rows(
                connection, candidate, part, recorded, chosen, assumed=assumed, keep_rows=rows is not None
            ):
                grouped.add(part.digest, plans.came(one.plan_part), one.after, one.rows, one.example)
                if rows is not None and one.after.decision is not None:
                    before, after = plans.choice(one.plan_part), choice_of_decision(one.after.decision)
                    rows.add_group(one.group, part.digest, one.plan_part, before, after)
            if rows is not None:
                rows.take_groups()
        except NotDecidableInSql:
            group_records(connection, chosen, part, one_by_one, grouped, note)
    group_records(connection, chosen, None, one_by_one, grouped, note)
    return grouped.groups()


def _recorded(connection: DuckDBPyConnection, part: PolicyPart) -> Recorded:
    """How the recorded policy declares its features, where its text can still be compiled."""
    try:
        policy = recorded_policy(connection, part.digest, part.catalog_digest)
    except RecordError:
        return Recorded(part.features)
    return Recorded(part.features, {one.name: one for one in policy.features}, policy.sizes)


class _Plans:
    """How the recorded plans came out, read when the first one is asked for."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._texts: dict[int, list[Any]] | None = None
        self._chances: dict[int, list[Any]] | None = None
        self._read: dict[int, Came] = {}

    def came(self, part: int) -> Came:
        """How the plan of a part came out. Raises RecordError if the ledger lacks the part."""
        found = self._read.get(part)
        if found is None:
            if self._texts is None:
                self._texts = {
                    number: texts for number, *texts in self._connection.execute(_PLANS).fetchall()
                }
            if part not in self._texts:
                raise RecordError(f"part {part} of a record is missing from the ledger")
            found = self._read[part] = _came(*self._texts[part])
        return found

    def choice(self, part: int) -> Choice:
        """What was chosen in the plan of a part, and with which chances."""
        if self._chances is None:
            self._chances = {
                number: chances for number, *chances in self._connection.execute(_CHANCES).fetchall()
            }
        models, chances, key = self._chances[part]
        return choice_of(self.came(part), zip(models, map(float, chances), strict=True), key)


_PLANS: Final = """
SELECT part, value->>'rule', value->>'outcome', value->>'target', value->'$.plan.fallbacks', value->'$.plan.steps',
    value->'$.plan.ensemble'
FROM parts WHERE kind = 'plan'
"""


_CHANCES: Final = """
SELECT part, value->>'$.candidates[*].model', value->>'$.candidates[*].probability', value->>'$.choice.key'
FROM parts WHERE kind = 'plan'
"""


def _came(
    rule: str | None,
    outcome: str | None,
    target: str | None,
    fallbacks: str | None,
    steps: str | None,
    ensemble: str | None,
) -> Came:
    if fallbacks is None:
        return Came(rule, outcome, target)
    parts = list(_parts(json.loads(steps or "[]"), json.loads(ensemble or "null")))
    return Came(rule, outcome, target, tuple(json.loads(fallbacks)), tuple(parts))


def _parts(steps: Sequence[Mapping[str, Any]], ensemble: Mapping[str, Any] | None) -> Iterator[str]:
    yield from (f"{step['role']} by {step['model']}" for step in steps)
    if ensemble is not None:
        yield from (f"member {model}" for model in ensemble["members"])
        if ensemble["judge"] is not None:
            yield f"judge {ensemble['judge']}"
