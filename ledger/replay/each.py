"""Decides recorded tasks again one by one, from their records.

What can be decided by classes is (see ``classes``); this is for the rest, and what tests compare the classes with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from routewright.engine.record import Record, read_record

from ..restoring import all_records
from .groups import Beside, Came, Grouped, parts_of
from .parts import PolicyPart
from .redeciding import Facts, Redecided
from .selecting import Chosen

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Again = Callable[[Record], Redecided]
"""Makes the decision of a record again."""


def records(
    connection: DuckDBPyConnection, chosen: Chosen, part: PolicyPart | None, *, only_erased: bool = False
) -> Iterator[Record]:
    """The records of the chosen decisions that were recorded under ``part``; without one, those of version 1.

    ``only_erased`` gives those of which a value was erased.
    """
    if part is None:
        older = connection.execute(chosen.rows_of("decisions_1", "record"), chosen.parameters)
        while rows := older.fetchmany(1000):
            yield from (read_record(text) for (text,) in rows)
        return
    of_part = f"(policy_part = {part.part}){' AND (erased IS NOT NULL)' if only_erased else ''}"
    sql = f"SELECT decision_id::VARCHAR FROM ({chosen.rows_of('decision_rows')}) WHERE {of_part}"
    ids = {id for (id,) in connection.execute(sql, chosen.parameters).fetchall()}
    if ids:
        yield from (read_record(text) for id, _, text in all_records(connection, of_part) if id in ids)


def group_records(
    connection: DuckDBPyConnection,
    chosen: Chosen,
    part: PolicyPart | None,
    again: Again,
    grouped: Grouped,
    note: Callable[[Record, Redecided], None] | None = None,
    *,
    only_erased: bool = False,
) -> None:
    """Decide what ``records`` gives again, and add it to ``grouped``; ``note`` is told of each."""
    for record in records(connection, chosen, part, only_erased=only_erased):
        after = again(record)
        grouped.add(record.policy.digest, came_of_record(record), after, 1, record.id)
        if note is not None:
            note(record, after)


def facts_of(record: Record) -> Facts:
    """What a record can tell."""
    return Facts(frozenset(record.features), frozenset(record.state.models), frozenset(record.erased or ()))


def came_of_record(record: Record) -> Came:
    """How a recorded decision came out."""
    plan = record.plan
    if plan is None:
        return Came(record.rule, record.outcome, record.target)
    steps = [(step.role, step.model, step.required, step.options) for step in plan.steps]
    ensemble = None
    if plan.ensemble is not None:
        ensemble = Beside(*(getattr(plan.ensemble, name) for name in Beside._fields))
    parts = parts_of(steps, ensemble)
    return Came(record.rule, record.outcome, record.target, tuple(plan.fallbacks), parts)
