"""Replays a ledger: decides its tasks again under a candidate, and counts what comes out otherwise."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from routewright.engine.policy import CompiledPolicy, differences_text
from routewright.engine.record import Record
from routewright.engine.report import RecordError

from .actions import Choice, choice_of, choice_of_decision
from .assumed import NOTHING_ASSUMED
from .assumptions import Assumption
from .bound import Recorded
from .candidates import Candidates, recorded_digests
from .class_query import NotDecidableInSql
from .classes import ClassRows, class_rows
from .comparing import strangers
from .consequences import NOT_ASKED, Consequences, consequences
from .each import group_records
from .examples import Examples, RecordedPolicies
from .groups import Beside, Came, Group, Grouped, parts_of, rows_of
from .imported import Imported, import_notes
from .other_arms import OtherArms
from .parts import PolicyPart, policy_parts, recorded_policy
from .redeciding import Redecided
from .report import Replayed, ReplayReport, report_of
from .row_tables import RowTables
from .selecting import Chosen, Selection, choose, why_none

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def replay(
    connection: DuckDBPyConnection,
    candidate: CompiledPolicy | None,
    selection: Selection,
    assumptions: Sequence[Assumption] = (),
    *,
    each: bool = False,
    examples: int = 0,
    with_consequences: bool = True,
) -> ReplayReport:
    """The report on what ``candidate`` would have made of the selected decisions. See ``Ledger.replay``."""
    began = time.monotonic()
    chosen = choose(connection, selection)
    candidates = Candidates(connection, candidate, assumptions, chosen)
    rows = RowTables(connection) if with_consequences else None
    groups = redecided_groups(connection, candidates, chosen, rows)
    dead_ends = rows_of(one for one in groups if one.after is not None and one.after.target is None)
    found = NOT_ASKED if rows is None else consequences(connection, rows, dead_ends=dead_ends)
    alone = list(_alone(connection, candidate, assumptions, chosen)) if each else []
    policies = lru_cache(maxsize=64)(partial(recorded_policy, connection))
    changed = candidates.candidate
    of = Replayed(
        candidate=None if changed is None else (changed.name, changed.digest),
        assumed=[one.text for one in assumptions],
        alone=alone,
        names=_names(connection)
        | ({} if (name := selection.import_name) is None else {"": f"import {name}"}),
        selection=selection,
        period=chosen.period(connection),
        differences=() if candidate is None else _differences(connection, candidate, groups, policies),
        notes=[
            *(_notes(candidates, groups) if groups else ()),
            *(import_notes(connection, candidates.all, groups, chosen) if chosen.is_import else ()),
            *_measured_notes(assumptions, candidates, found),
            *(() if rows is None else rows.notes),
            *(why_none(connection, selection) if not groups else ()),
        ],
        examples=Examples(connection, policies, candidates.again, examples),
        consequences=found,
    )
    return report_of(groups, of, began)


def _alone(
    connection: DuckDBPyConnection,
    candidate: CompiledPolicy | None,
    assumptions: Sequence[Assumption],
    chosen: Chosen,
) -> Iterator[tuple[str | None, list[Group]]]:
    """What is decided where nothing is assumed, and under each assumption by itself."""
    for one in (None, *assumptions):
        candidates = Candidates(connection, candidate, [] if one is None else [one], chosen)
        yield None if one is None else one.text, redecided_groups(connection, candidates, chosen)


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


def _notes(candidates: Candidates, groups: Sequence[Group]) -> Iterator[str]:
    """What a reader has to know of how the tasks were decided again."""
    digests = {group.policy_digest for group in groups}
    otherwise = candidates.counted_otherwise
    others = [one for one in candidates.all if one.state != NOTHING_ASSUMED or digests - {one.policy.digest}]
    quotas = {
        quota.name: None
        for one in others
        for quota in one.policy.quotas
        if quota.name not in one.state.quota_used and quota.name not in otherwise
    }
    if quotas:
        yield f"what was used of quotas is as it was recorded, and is not counted anew: {', '.join(quotas)}"
    if otherwise:
        yield (
            f"what was used of {', '.join(otherwise)} is not known, and closes nothing, where the recorded policy "
            "counts it in another unit or period, or for somebody else"
        )
    if any(one.policy.is_sticky for one in others):
        yield "conversations stay where they were recorded to be; those that would have moved are not followed"
    if any(one.policy.limits.cache_ttl_ms is not None for one in candidates.all):
        yield "the cache is not simulated: every task is decided as if its answer had to be asked for"
    if any(one.policy.splits for one in candidates.all):
        yield "where no draw was recorded, one made of the decision's id says where a split sends it"
    if candidates.candidate is not None and candidates.candidate.rollout is not None:
        yield "the candidate's own rollout is left out: all tasks are decided by the candidate itself"


def _measured_notes(
    assumptions: Sequence[Assumption], candidates: Candidates, found: Consequences
) -> Iterator[str]:
    if found == NOT_ASKED:
        return
    changed = [one for one in ("price", "latency") if any(one == each.subject for each in assumptions)]
    if (others := candidates.priced_otherwise) and "price" not in changed:
        yield f"costs are as they were measured, and not by the candidate's other prices of {', '.join(others)}"
    if changed:
        yield (
            f"an assumed {' or '.join(changed)} changes where decisions go, and nothing of what was measured"
        )


def redecided_groups(
    connection: DuckDBPyConnection, candidates: Candidates, chosen: Chosen, rows: RowTables | None = None
) -> list[Group]:
    """What becomes of the chosen rows, those alike together; each row is noted in ``rows``."""
    grouped = Grouped()
    if chosen.is_import:
        _group_imported(connection, candidates, chosen, grouped, rows)
    else:
        _group_own(connection, candidates, chosen, grouped, rows)
    return grouped.groups()


def _group_own(
    connection: DuckDBPyConnection,
    candidates: Candidates,
    chosen: Chosen,
    grouped: Grouped,
    rows: RowTables | None,
) -> None:
    parts, plans = policy_parts(connection), _Plans(connection)
    digests = set(recorded_digests(connection, chosen))
    # Where each decision is made again by the policy that made it, its arm is given, and was not left to chance.
    others = OtherArms(connection, parts, arms_are_given=candidates.candidate is None)

    def note(record: Record, after: Redecided) -> None:
        if rows is not None and after.decision is not None:
            others.note_record(record, after.decision, rows)

    for part in parts:
        if (part.digest, part.catalog_digest) not in digests:
            continue
        try:
            under = candidates.of((part.digest, part.catalog_digest))
        except RecordError as error:
            _add_lost(connection, part, chosen, str(error), grouped, plans)
            continue
        recorded = Recorded(part.features, candidates.recorded((part.digest, part.catalog_digest)))
        keep_rows = rows is not None
        try:
            if rows is not None:
                others.note(chosen, part, recorded, rows)
            for piece, told in others.by_arms(chosen, part, under.policy):
                found = class_rows(
                    connection, under.policy, told, recorded, piece, assumed=under.state, keep_rows=keep_rows
                )
                _group_classes(part, found, plans, grouped, rows, strangers(under.policy, recorded.policy)[0])
            group_records(connection, chosen, part, candidates.again, grouped, note, only_erased=True)
        except NotDecidableInSql:
            group_records(connection, chosen, part, candidates.again, grouped, note)
    group_records(connection, chosen, None, candidates.again, grouped, note)


def _group_imported(
    connection: DuckDBPyConnection,
    candidates: Candidates,
    chosen: Chosen,
    grouped: Grouped,
    rows: RowTables | None,
) -> None:
    for under in candidates.all:
        imported = Imported(connection, under, chosen)
        for part in imported.parts:
            found = imported.groups(part, chosen, keep_rows=rows is not None)
            _group_classes(part, found, imported, grouped, rows)
    if rows is not None:
        rows.are_imported = True


class _Recorded(Protocol):
    """Tells how plans came out, by the numbers of their parts, and what was chosen in them."""

    def came(self, part: int, /) -> Came: ...
    def choice(self, part: int, /) -> Choice: ...


def _group_classes(
    part: PolicyPart,
    found: Iterable[ClassRows],
    recorded: _Recorded,
    grouped: Grouped,
    rows: RowTables | None,
    others: Set[str] = frozenset(),
) -> None:
    """Add classes to ``grouped``, and their rows to ``rows``; models by the ids ``others`` are not those of the log."""
    for one in found:
        grouped.add(part.digest, recorded.came(one.plan_part), one.after, one.rows, one.example)
        if rows is not None and one.after.decision is not None:
            before, after = recorded.choice(one.plan_part), choice_of_decision(one.after.decision, others)
            rows.add_group(one.group, part.digest, one.plan_part, before, after)
    if rows is not None:
        rows.take_groups(part.table)


def _add_lost(
    connection: DuckDBPyConnection,
    part: PolicyPart,
    chosen: Chosen,
    why: str,
    grouped: Grouped,
    plans: _Plans,
) -> None:
    """Count the rows of a policy that cannot be had any more."""
    found = connection.execute(
        f"""
        SELECT plan_part, count(*), min(decision_id)::VARCHAR
        FROM ({chosen.rows_of("decision_rows")}) WHERE policy_part = {part.part} GROUP BY plan_part
        """,
        chosen.parameters,
    ).fetchall()
    for plan_part, rows, example in found:
        came = plans.came(plan_part)
        grouped.add(part.digest, came, Redecided(None, "policy_missing", why), rows, example)


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
        models, chances, key, salt = self._chances[part]
        return choice_of(self.came(part), zip(models, map(float, chances), strict=True), key, salt)


_PLANS: Final = """
SELECT part, value->>'rule', value->>'outcome', value->>'target', value->'$.plan.fallbacks', value->'$.plan.steps',
    value->'$.plan.ensemble'
FROM parts WHERE kind = 'plan'
"""


_CHANCES: Final = """
SELECT part, value->>'$.candidates[*].model', value->>'$.candidates[*].probability', value->>'$.choice.key',
    value->>'$.choice.salt'
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
    asked = [
        (one["role"], one["model"], one["required"], one["options"]) for one in json.loads(steps or "[]")
    ]
    beside = json.loads(ensemble or "null")
    own = None if beside is None else Beside(*(beside.get(name) for name in Beside._fields))
    return Came(rule, outcome, target, tuple(json.loads(fallbacks)), parts_of(asked, own))
